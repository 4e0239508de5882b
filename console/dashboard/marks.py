"""What is marked on the charts of a deployment: notes, holds, and new revisions."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q

from console.organizations.actors import Actor
from console.organizations.models import AuditEvent
from deployments.models import Deployment, Hold
from deployments.selectors import annotations_of, concerning, holds_of

MOST = 50  # of each kind; the newest


@dataclass(frozen=True, slots=True)
class Mark:
    """At a time, or from it until `until` (None: a moment). `kind` is note, hold or revision."""

    kind: str
    at: datetime
    text: str
    by: str
    until: datetime | None = None
    id: UUID | None = None  # of a note
    user_key: int | None = None  # who wrote it

    def deletable_by(self, actor: Actor) -> bool:
        wrote = actor.user is not None and actor.user.pk == self.user_key
        return self.kind == "note" and (wrote or actor.can_write)


def marks_of(deployment: Deployment, start: datetime, end: datetime) -> list[Mark]:
    """Newest first: three queries."""
    found = [*_notes(deployment, start), *_holds(deployment, start, end), *_revisions(deployment, start)]
    return sorted(found, key=lambda one: one.at, reverse=True)


def as_json(marks: Iterable[Mark], start: datetime, end: datetime) -> list[dict[str, Any]]:
    """For the chart module: milliseconds, inside the window; a hold without an end goes on to the edge."""

    def ms(at: datetime) -> int:
        return round(at.timestamp() * 1000)

    return [
        {"kind": one.kind, "text": one.text, "at": ms(max(one.at, start)),
         "until": ms(one.until) if one.until is not None and one.until < end else None, "moment": one.kind != "hold"}
        for one in marks
    ]  # fmt: skip


def _notes(deployment: Deployment, start: datetime) -> list[Mark]:
    return [
        Mark("note", one.at, one.text, one.user.username if one.user else "a token", None, one.id, one.user_id)
        for one in annotations_of(deployment, start)[:MOST]
    ]


def _holds(deployment: Deployment, start: datetime, end: datetime) -> list[Mark]:
    there = holds_of(deployment.organization).filter(Q(deployment=deployment) | Q(deployment__isnull=True))
    lasted = (Q(ended_at__isnull=True) | Q(ended_at__gt=start)) & (Q(expires_at__isnull=True) | Q(expires_at__gt=start))
    rows = concerning(there.filter(lasted, created_at__lt=end)[:MOST], deployment)
    return [Mark("hold", one.created_at, hold_in_words(one), one.created_by, ended(one)) for one in rows]


def hold_in_words(hold: Hold) -> str:
    whose = "" if hold.deployment else " (organization)" if hold.organization else " (fleet)"
    what = f"Pinned to {hold.size}" if hold.size is not None else f"Frozen{whose}"
    return f"{what}: {hold.reason}"


def ended(hold: Hold) -> datetime | None:
    """When it was ended or expires, whichever comes first."""
    return min((at for at in (hold.ended_at, hold.expires_at) if at is not None), default=None)


def _revisions(deployment: Deployment, start: datetime) -> list[Mark]:
    """New revisions are read from the audit trail, which keeps them longer than replicas are kept."""
    events = AuditEvent.objects.filter(
        object_type="Deployment", object_id=str(deployment.id), at__gte=start, after__has_key="revision"
    )
    return [
        Mark("revision", one.at, f"Revision {(one.after or {})['revision']}", one.actor)
        for one in events.order_by("-id")[:MOST]
    ]
