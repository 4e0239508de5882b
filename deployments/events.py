"""What happened to an organization's claims and deployments by itself, newest first: a claim's status and conditions, and
decisions that changed a size. What people asked for is in the audit trail. Nothing is stored for it that is there already."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from heapq import merge
from itertools import islice
from typing import Any

from django.db.models import F, Q

from claims.history import Place, older, order_of
from claims.models import ClaimEvent
from console.organizations.models import Organization
from deployments.core import explain
from deployments.models import Decision
from deployments.selectors import names_in


class EventKind(StrEnum):
    CLAIM = "CLAIM"
    SCALING = "SCALING"


@dataclass(frozen=True, slots=True)
class Event:
    """`what` is `Status` or the type of a condition of a claim, `Replicas` of a deployment; `before` and `after` are its
    values, `reason` is for programs and `text` for people."""

    place: Place
    kind: EventKind
    object_id: uuid.UUID
    object_name: str
    what: str
    before: Any
    after: Any
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events: all of them where nothing is said."""

    kind: str = ""
    object_id: uuid.UUID | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def times(self) -> Q:
        found = Q(at__gte=self.since) if self.since else Q()
        return found & Q(at__lt=self.until) if self.until else found


def events_of(
    organization: Organization, wanted: Wanted, limit: int, before: Place | None = None
) -> tuple[list[Event], Place | None]:
    """So many events from there on, and the place after which the next page begins; None: there is no more. A query for
    each kind, however many there are."""
    parts = [read(organization, wanted, source, limit + 1, before) for source, (kind, read) in enumerate(SOURCES)
             if wanted.kind in ("", kind)]  # fmt: skip
    rows = list(islice(merge(*parts, key=lambda one: order_of(one.place), reverse=True), limit + 1))
    return rows[:limit], rows[limit - 1].place if len(rows) > limit else None


def _decided(
    organization: Organization, wanted: Wanted, source: int, most: int, before: Place | None
) -> Iterator[Event]:
    which = Q(deployment__id=wanted.object_id) if wanted.object_id else Q()
    found = Decision.objects.filter(which, wanted.times, older(source, before), organization=organization)
    changed = found.exclude(granted=F("current")).select_related("deployment").order_by("-at", "-id")
    rows = list(changed[:most])
    names = names_in(rows, organization)
    for one in rows:
        yield Event(Place(one.at, source, one.id), EventKind.SCALING, one.deployment.id, one.deployment.name, "Replicas",
                    one.current, one.granted, one.bound, explain.line(one.record, names))  # fmt: skip


def _of_claims(
    organization: Organization, wanted: Wanted, source: int, most: int, before: Place | None
) -> Iterator[Event]:
    which = Q(claim_id=wanted.object_id) if wanted.object_id else Q()
    found = ClaimEvent.objects.filter(which, wanted.times, older(source, before), organization=organization)
    for one in found.order_by("-at", "-id")[:most]:
        yield Event(Place(one.at, source, one.id), EventKind.CLAIM, one.claim_id, one.claim_name, one.what,
                    one.before or None, one.after, one.reason, one.message)  # fmt: skip


SOURCES = ((EventKind.SCALING, _decided), (EventKind.CLAIM, _of_claims))
