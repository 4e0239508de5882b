"""Writes about notices: acknowledged, snoozed, shown again. Recorded as every change is."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from console.common.errors import NotFound
from console.dashboard.attention import Notice
from console.dashboard.groups import Group
from console.dashboard.models import Attention
from console.organizations.actors import Actor
from console.organizations.models import Organization
from console.organizations.services import audit_record

KEPT = timedelta(days=90)
MORNING = 8  # o'clock UTC, when "until tomorrow" ends


def until(choice: str, now: datetime) -> datetime | None:
    """When a snooze ends; None for what is no choice."""
    if choice == "tomorrow":
        return (now + timedelta(days=1)).replace(hour=MORNING, minute=0, second=0, microsecond=0)
    return {"1h": now + timedelta(hours=1), "8h": now + timedelta(hours=8)}.get(choice)


def notice_hide(*, actor: Actor, notice: Notice | Group, now: datetime, snoozed_until: datetime | None = None) -> None:
    """Hide a notice, or each of a group, until it happens anew or, snoozed, until then. Doing it again moves the time."""
    actor.require_write()
    organization = actor.require_organization()
    keys = [one.snooze_key if snoozed_until else one.key for one in each(notice)]
    after = {"hidden": True, "until": snoozed_until.isoformat() if snoozed_until else None}
    with transaction.atomic():
        mine = Attention.objects.filter(organization=organization)
        mine.filter(snoozed_until__lt=now).delete()
        mine.filter(at__lt=now - KEPT).delete()
        before = standing(organization, notice)
        Attention.objects.bulk_create(
            [Attention(organization=organization, key=key, user=actor.user, at=now, snoozed_until=snoozed_until)
             for key in sorted(set(keys))],
            update_conflicts=True, unique_fields=["organization", "key"],
            update_fields=["user", "at", "snoozed_until"],
        )  # fmt: skip
        audit_record(
            actor=actor, action="notice.snooze" if snoozed_until else "notice.acknowledge", obj_type="Notice",
            obj_id=subject(notice), obj_name=notice.title[:150], before=before, after=after,
        )  # fmt: skip


def notice_show(*, actor: Actor, notice: Notice | Group) -> None:
    """Show a hidden notice, or each of a group, again; NotFound when nothing hides any of it."""
    actor.require_write()
    organization = actor.require_organization()
    with transaction.atomic():
        before = standing(organization, notice)
        gone, _ = hiding(organization, notice).delete()
        if not gone:
            raise NotFound("Notice", subject(notice))
        audit_record(actor=actor, action="notice.show", obj_type="Notice", obj_id=subject(notice),
                     obj_name=notice.title[:150], before=before, after={"hidden": False, "until": None})  # fmt: skip


def hiding(organization: Organization, notice: Notice | Group) -> QuerySet[Attention]:
    """What hides it, or some of a group."""
    keys = {key for one in each(notice) for key in one.hiding_keys()}
    return Attention.objects.filter(organization=organization, key__in=keys)


def standing(organization: Organization, notice: Notice | Group) -> dict[str, Any]:
    """Whether anything hides it, and until when; no time: until it happens anew."""
    times = list(hiding(organization, notice).values_list("snoozed_until", flat=True))
    last = max((one for one in times if one), default=None)
    return {"hidden": bool(times), "until": last.isoformat() if last else None}


def each(notice: Notice | Group) -> Sequence[Notice]:
    return notice.notices if isinstance(notice, Group) else [notice]


def subject(notice: Notice | Group) -> str:
    return (notice.kind if isinstance(notice, Group) else notice.subject)[:64]
