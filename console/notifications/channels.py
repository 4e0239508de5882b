"""Writes about channels: where notifications go. For admins of the organization."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from console.common.errors import FailedPrecondition, FieldViolation, InvalidArgument
from console.common.wake import wake_on_commit
from console.notifications import signing
from console.notifications.addresses import BadTarget, endpoint_of
from console.notifications.models import (
    UNDER_WAY,
    Channel,
    ChannelType,
    Delivery,
    DeliveryState,
    Kind,
    Notification,
)
from console.notifications.services import DELIVER, TRIED_FOR
from console.organizations.actors import Actor
from console.organizations.models import Organization
from console.organizations.services import audit_record, require_admin_of

MOST_CHANNELS = 50
OLD_SECRET_FOR = timedelta(hours=24)
CHOSEN = [kind for kind in Kind if kind != Kind.TEST]
DELETED, TURNED_OFF = "The channel was deleted", "The channel was disabled"


def channel_create(
    *, actor: Actor, organization: Organization, type: str, name: str, target: str, kinds: Iterable[str]
) -> tuple[Channel, str]:
    """A new channel and, of a webhook, the secret that signs what it gets; empty for e-mail."""
    require_admin_of(actor, organization)
    wanted = set(kinds)
    require_valid(type=type, name=name, target=target, kinds=wanted)
    with transaction.atomic():
        Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        if Channel.objects.filter(organization=organization, deleted_at=None).count() >= MOST_CHANNELS:
            text = f"There are {MOST_CHANNELS} channels, as many as there may be; delete one first."
            raise FailedPrecondition("TOO_MANY_CHANNELS", f"organizations/{organization.id}", text)
        channel = Channel.objects.create(
            organization=organization, type=type, name=name.strip(), target=target, kinds=in_order(wanted),
            salt=signing.new_salt(), created_by=actor.user,
        )  # fmt: skip
        recorded(actor, "channel.create", channel, after=described(channel))
    return channel, signing.secret_of(channel.salt) if type == ChannelType.WEBHOOK else ""


def channel_change(
    *,
    actor: Actor,
    channel: Channel,
    name: str | None = None,
    kinds: Iterable[str] | None = None,
    enabled: bool | None = None,
    now: datetime,
) -> Channel:
    """Change what is given. Turned off, it gets nothing that happens meanwhile, and what is under way is cancelled."""
    require_admin_of(actor, channel.organization)
    with transaction.atomic():
        found = locked(channel)
        before = described(found)
        found.name = found.name if name is None else name.strip()
        found.kinds = found.kinds if kinds is None else in_order(set(kinds))
        found.enabled = found.enabled if enabled is None else enabled
        require_valid(type=found.type, name=found.name, target=found.target,
                      kinds=set(found.kinds if kinds is None else kinds))  # fmt: skip
        if described(found) == before:
            return found
        found.disabled_because = "" if found.enabled else found.disabled_because
        found.save(update_fields=["name", "kinds", "enabled", "disabled_because"])
        if not found.enabled:
            deliveries_cancel(channel=found, why=TURNED_OFF, now=now)
        recorded(actor, "channel.change", found, before=before, after=described(found))
    return found


def channel_rotate(*, actor: Actor, channel: Channel, now: datetime) -> str:
    """Another secret of a webhook, which is returned; the old one signs beside it for a day."""
    require_admin_of(actor, channel.organization)
    with transaction.atomic():
        found = locked(channel)
        if found.type != ChannelType.WEBHOOK:
            raise FailedPrecondition("NO_SECRET", f"channels/{found.id}", "E-mail is not signed; it has no secret.")
        before, until = found.old_salt_until, now + OLD_SECRET_FOR
        found.old_salt, found.old_salt_until = found.salt, until
        found.salt = signing.new_salt()
        found.save(update_fields=["salt", "old_salt", "old_salt_until"])
        recorded(actor, "channel.rotate", found, before={"old_secret_until": before.isoformat() if before else None},
                 after={"old_secret_until": until.isoformat()})  # fmt: skip
    return signing.secret_of(found.salt)


def channel_delete(*, actor: Actor, channel: Channel, now: datetime) -> None:
    """Nothing more is sent to it; what was stays in the log. Again changes nothing."""
    require_admin_of(actor, channel.organization)
    with transaction.atomic():
        changed = Channel.objects.filter(pk=channel.pk, deleted_at=None).update(deleted_at=now, enabled=False)
        if not changed:
            return
        deliveries_cancel(channel=channel, why=DELETED, now=now)
        recorded(actor, "channel.delete", channel, before=described(channel))


def channel_test(*, actor: Actor, channel: Channel, now: datetime) -> Delivery:
    """Send a test to this channel alone, whatever kinds it wants."""
    organization = channel.organization
    require_admin_of(actor, organization)
    with transaction.atomic():
        found = locked(channel)
        require_enabled(found)
        notification = Notification.objects.create(
            organization=organization, kind=Kind.TEST, key=f"test:{found.id}:{now.isoformat()}",
            subject=f"Test of {found.name}", path="/notifications", created_at=now,
            text=f"{actor.name} asked for this test. Whoever reads it can be reached.",
        )  # fmt: skip
        delivery = Delivery.objects.create(
            notification=notification, channel=found, next_at=now, give_up_at=now + TRIED_FOR, created_at=now
        )
        recorded(actor, "channel.test", found, after={"delivery": delivery.pk})
        wake_on_commit(DELIVER, "io")
    return delivery


def delivery_replay(*, actor: Actor, delivery: Delivery, now: datetime) -> Delivery:
    """Send it anew, for 24 hours and with the same message id, whatever came of it. One that is under way is tried at
    once; one that is being sent stays as it is."""
    channel = delivery.channel
    require_admin_of(actor, channel.organization)
    with transaction.atomic():
        require_enabled(locked(channel))
        found = delivery_locked(delivery)
        if found.state != DeliveryState.SENDING:
            before = standing(found)
            found.state, found.in_a_row, found.ended_at = DeliveryState.WAITING, 0, None
            found.next_at, found.give_up_at = now, now + TRIED_FOR
            found.save(update_fields=["state", "in_a_row", "ended_at", "next_at", "give_up_at"])
            recorded(actor, "delivery.replay", channel, before=before, after=standing(found))
            wake_on_commit(DELIVER, "io")
    return found


def deliveries_cancel(*, channel: Channel, why: str, now: datetime) -> int:
    """End what is under way, in the caller's transaction. What is being sent this moment may still arrive."""
    mine = Delivery.objects.filter(channel=channel, state__in=UNDER_WAY)
    return mine.update(state=DeliveryState.CANCELLED, ended_at=now, last_error=why)


def locked(channel: Channel) -> Channel:
    """The channel, held until the transaction ends; FailedPrecondition where it was deleted."""
    found = Channel.objects.select_for_update(no_key=True, of=("self",)).select_related("organization")
    one = found.filter(pk=channel.pk, deleted_at=None).first()
    if one is None:
        raise FailedPrecondition("CHANNEL_DELETED", f"channels/{channel.pk}", f"{channel.name} was deleted.")
    return one


def delivery_locked(delivery: Delivery) -> Delivery:
    """The delivery, held until the transaction ends."""
    return Delivery.objects.select_for_update(no_key=True).get(pk=delivery.pk)


def require_enabled(channel: Channel) -> None:
    if not channel.enabled:
        text = f"{channel.name} is disabled; enable it first."
        raise FailedPrecondition("CHANNEL_DISABLED", f"channels/{channel.pk}", text)


def require_valid(*, type: str, name: str, target: str, kinds: set[str]) -> None:
    """InvalidArgument with everything that is wrong."""
    wrong = []
    if type not in ChannelType.values:
        wrong.append(FieldViolation("type", f"must be one of {', '.join(ChannelType.values)}"))
    if not name.strip() or len(name) > 100 or not name.isprintable():
        wrong.append(FieldViolation("name", "must have 1 to 100 printable characters"))
    if not kinds or not kinds <= set(map(str, CHOSEN)):
        wrong.append(FieldViolation("kinds", f"must be some of {', '.join(CHOSEN)}"))
    if why := wrong_target(type, target):
        wrong.append(FieldViolation("target", why))
    if wrong:
        raise InvalidArgument(wrong)


def wrong_target(type: str, target: str) -> str:
    """Why nothing can be sent there; empty where it may do. What a name resolves to is looked at when it is sent."""
    if type == ChannelType.WEBHOOK:
        try:
            endpoint_of(target, allow_private=settings.WEBHOOK_PRIVATE)
        except BadTarget as error:
            return str(error)
    if type == ChannelType.EMAIL:
        try:
            validate_email(target)
        except ValidationError:
            return "must be a mailbox such as oncall@example.com"
        if len(target) > 254:
            return "must have at most 254 characters"
    return ""


def in_order(kinds: set[str]) -> list[str]:
    return [kind.value for kind in CHOSEN if kind.value in kinds]


def described(channel: Channel) -> dict[str, Any]:
    return {"type": channel.type, "name": channel.name, "target": channel.target, "kinds": list(channel.kinds),
            "enabled": channel.enabled}  # fmt: skip


def standing(delivery: Delivery) -> dict[str, Any]:
    return {"delivery": delivery.pk, "notification": str(delivery.notification_id), "state": delivery.state,
            "give_up_at": delivery.give_up_at.isoformat()}  # fmt: skip


def recorded(actor: Actor, action: str, channel: Channel, **change: Any) -> None:
    audit_record(actor=actor, action=action, obj_type="Channel", obj_id=str(channel.pk), obj_name=channel.name,
                 organization=channel.organization, **change)  # fmt: skip
