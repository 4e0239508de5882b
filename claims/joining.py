"""How long machines take to join, by zone, type and backend: measured on those that joined last, else what the backend
says of itself; and so when those that are on their way will be there."""

from collections.abc import Collection, Mapping
from datetime import datetime

from django.conf import settings
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import F, OuterRef

from claims.backends.base import node_backend, usual_join
from claims.core import waits
from claims.core.states import PENDING_STATES
from claims.core.waits import Expected, Spread
from claims.models import Instance, Offering

LATELY = 50


def join_time(offering: Offering) -> Spread | None:
    """Of the machines of the offering that joined last, from the request to readiness; None where nobody knows. One
    query."""
    return join_times([offering.key]).get(offering.key)


def join_times(offering_keys: Collection[int]) -> Mapping[int, Spread]:
    """By offering key, left out where nobody knows. One query, however many offerings and machines there are.

    Machines that were taken over with a running fleet stood there already and say nothing, neither does what another
    backend took, nor one that was asked for late since others before it had failed.
    """
    joined = Instance.objects.filter(
        offering=OuterRef("key"), ready_at__gt=F("joining_at"), backend=settings.NODE_BACKEND, join_failures=0
    )
    taken = joined.order_by("-ready_at").annotate(took=F("ready_at") - F("created_at")).values("took")[:LATELY]
    rows = Offering.objects.filter(key__in=offering_keys).annotate(took=ArraySubquery(taken))
    usual = usual_join(node_backend())
    stated = None if usual is None else Spread(least=usual[0], most=usual[1])
    found = {key: Spread(sorted(took)) if took else stated for key, took in rows.values_list("key", "took")}
    return {key: one for key, one in found.items() if one is not None}


def expected(instances: Collection[Instance], now: datetime) -> dict[int, Expected]:
    """By key, when those of the instances that are on their way will be ready: median and 90th percentile of the recent
    joins in their place that took longer than they have waited. Left out where nobody knows. One query.

    An instance that waits before it is asked for again, since others failed, has not begun to wait for a machine.
    """
    pending = [one for one in instances if one.state in PENDING_STATES]
    times = join_times({one.offering_id for one in pending}) if pending else {}
    return {
        one.key: waits.expected(times[one.offering_id], _since(one), now) for one in pending if one.offering_id in times
    }


def _since(one: Instance) -> datetime:
    """When the machine was asked for, or will be."""
    if one.joining_at is not None and one.join_failures:
        return one.joining_at
    if one.joining_at is None and one.next_attempt_at is not None:
        return max(one.created_at, one.next_attempt_at)
    return one.created_at
