"""Writes about notices: acknowledged, snoozed, shown again. Recorded as every change is."""

from datetime import datetime, timedelta

from django.db import transaction

from console.common.errors import NotFound
from console.dashboard.attention import Notice
from console.dashboard.models import Attention
from console.organizations.actors import Actor
from console.organizations.services import audit_record

KEPT = timedelta(days=90)
MORNING = 8  # o'clock UTC, when "until tomorrow" ends


def until(choice: str, now: datetime) -> datetime | None:
    """When a snooze ends; None for what is no choice."""
    if choice == "tomorrow":
        return (now + timedelta(days=1)).replace(hour=MORNING, minute=0, second=0, microsecond=0)
    return {"1h": now + timedelta(hours=1), "8h": now + timedelta(hours=8)}.get(choice)


def notice_hide(*, actor: Actor, notice: Notice, now: datetime, snoozed_until: datetime | None = None) -> Attention:
    """Hide a notice until it happens anew or, snoozed, until then. Doing it again moves the time."""
    actor.require_write()
    organization = actor.require_organization()
    key = notice.snooze_key if snoozed_until else notice.key
    with transaction.atomic():
        mine = Attention.objects.filter(organization=organization)
        mine.filter(snoozed_until__lt=now).delete()
        mine.filter(at__lt=now - KEPT).delete()
        row, _ = Attention.objects.update_or_create(
            organization=organization, key=key,
            defaults={"user": actor.user, "at": now, "snoozed_until": snoozed_until},
        )  # fmt: skip
        audit_record(
            actor=actor, action="notice.snooze" if snoozed_until else "notice.acknowledge", obj_type="Notice",
            obj_id=notice.subject[:64], obj_name=notice.title[:150],
            after={"until": snoozed_until.isoformat()} if snoozed_until else None,
        )  # fmt: skip
    return row


def notice_show(*, actor: Actor, notice: Notice) -> None:
    """Show a hidden notice again; NotFound when nothing hides it."""
    actor.require_write()
    organization = actor.require_organization()
    with transaction.atomic():
        gone, _ = Attention.objects.filter(organization=organization, key__in=notice.hiding_keys()).delete()
        if not gone:
            raise NotFound("Notice", notice.subject)
        audit_record(actor=actor, action="notice.show", obj_type="Notice", obj_id=notice.subject[:64],
                     obj_name=notice.title[:150])  # fmt: skip
