"""How long a machine takes to join: measured where some lately did, else what the backend says of itself."""

from dataclasses import dataclass
from datetime import timedelta
from statistics import median

from django.db.models import F

from claims.backends.base import node_backend, usual_join
from claims.models import Instance, Offering

LATELY = 20


@dataclass(frozen=True, slots=True)
class JoinTime:
    """From the request to readiness, at least and at most (equal where measured). `seen` machines are its median; 0:
    it is the backend's expectation."""

    least: timedelta
    most: timedelta
    seen: int


def join_time(offering: Offering) -> JoinTime | None:
    """Of the machines of the offering that joined last; None where nobody knows. One query.

    Machines that were taken over with a running fleet stood there already and say nothing.
    """
    joined = Instance.objects.filter(offering=offering, ready_at__gt=F("joining_at")).order_by("-ready_at")
    times = [one.ready_at - one.created_at for one in joined.only("created_at", "ready_at")[:LATELY] if one.ready_at]
    if times:
        middle = timedelta(seconds=median(one.total_seconds() for one in times))
        return JoinTime(middle, middle, len(times))
    usual = usual_join(node_backend())
    return None if usual is None else JoinTime(*usual, seen=0)
