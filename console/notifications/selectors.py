"""Reads of notifications, channels and deliveries; each organization's own."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Count, Max, Q, QuerySet

from console.common.errors import NotFound
from console.notifications.models import ABOUT_MONEY, UNDER_WAY, Channel, Delivery, DeliveryState, Kind, Notification
from console.organizations.actors import Actor
from console.organizations.models import Organization


def notifications_of(actor: Actor) -> QuerySet[Notification]:
    """What the actor may read, newest first: those about money only with a role that sees it, tests only as admin."""
    found = Notification.objects.filter(organization=actor.require_organization()).select_related("organization")
    found = found.order_by("-created_at", "-id")
    if not actor.sees_money:
        found = found.exclude(kind__in=ABOUT_MONEY)
    return found if actor.can_write else found.exclude(kind=Kind.TEST)


def notification_get(actor: Actor, id: uuid.UUID) -> Notification:
    found = notifications_of(actor).filter(pk=id).first()
    if found is None:
        raise NotFound("Notification", id)
    return found


@dataclass(frozen=True, slots=True)
class Counts:
    """Of a notification's deliveries."""

    all: int
    delivered: int
    failed: int
    under_way: int


def delivery_counts(notifications: Iterable[Notification]) -> dict[uuid.UUID, Counts]:
    """By notification, of those that have deliveries: one query."""
    found = Delivery.objects.filter(notification__in=[one.pk for one in notifications]).order_by()
    rows = found.values_list("notification").annotate(
        n=Count("id"),
        delivered=Count("id", filter=Q(state=DeliveryState.DELIVERED)),
        failed=Count("id", filter=Q(state=DeliveryState.FAILED)),
        under_way=Count("id", filter=Q(state__in=UNDER_WAY)),
    )
    return {id: Counts(*counts) for id, *counts in rows}


def channels_of(organization: Organization) -> QuerySet[Channel]:
    """Those that are not deleted, each with `last_delivered_at` and `n_under_way`, `n_failed` of the log."""
    found = Channel.objects.filter(organization=organization, deleted_at=None).select_related("organization")
    return found.annotate(
        last_delivered_at=Max("deliveries__ended_at", filter=Q(deliveries__state=DeliveryState.DELIVERED)),
        n_under_way=Count("deliveries", filter=Q(deliveries__state__in=UNDER_WAY)),
        n_failed=Count("deliveries", filter=Q(deliveries__state=DeliveryState.FAILED)),
    ).order_by("created_at", "id")


def channel_get(organization: Organization, id: uuid.UUID) -> Channel:
    """One channel; NotFound also for another organization's and a deleted one."""
    found = channels_of(organization).filter(pk=id).first()
    if found is None:
        raise NotFound("Channel", id)
    return found


def deliveries_of(organization: Organization) -> QuerySet[Delivery]:
    """Newest first, those to deleted channels included."""
    found = Delivery.objects.filter(notification__organization=organization)
    return found.select_related("notification__organization", "channel__organization").order_by("-id")


def delivery_get(organization: Organization, id: int) -> Delivery:
    found = deliveries_of(organization).filter(pk=id).first() if id < 2**63 else None
    if found is None:
        raise NotFound("Delivery", id)
    return found
