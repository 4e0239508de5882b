"""Simulated machines, the embedded default: they join 10 to 20 minutes after they were asked for, divided by the
speed setting. Their whole world is in the database, so it survives restarts."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
from django.conf import settings
from django.db import connection
from django.db.models import Value
from django.db.models.functions import Coalesce

from claims.backends.base import NodeState, Observation
from claims.models import SimulatedNode
from console.common import clock

QUICKEST_S, SLOWEST_S = 600.0, 1200.0
LEAVING_S = 60.0
# Asked again, it says what it said.
_JOIN = """
    INSERT INTO claims_simulatednode AS n (instance_key, requested_at, ready_at) VALUES (%s, %s, %s)
    ON CONFLICT (instance_key) DO UPDATE SET ready_at = n.ready_at RETURNING ready_at"""


def join_seconds(key: int) -> float:
    """How long this machine takes to join at speed 1; the same each time it is asked."""
    rng = np.random.Generator(np.random.Philox(key=[key, 0x6E6F6465]))
    return float(rng.uniform(QUICKEST_S, SLOWEST_S))


class SimulatedNodeBackend:
    in_database = True

    def join(self, key: int) -> datetime | None:
        now = clock.now()
        ready_at = now + timedelta(seconds=join_seconds(key) / settings.SIM_SPEED)
        with connection.cursor() as cursor:
            cursor.execute(_JOIN, [key, now, ready_at])
            (first,) = cursor.fetchone()
        kept: datetime = first
        return kept

    def usual_join(self) -> tuple[timedelta, timedelta]:
        least, most = (timedelta(seconds=one / settings.SIM_SPEED) for one in (QUICKEST_S, SLOWEST_S))
        return least, most

    def adopt(self, keys: Sequence[int], now: datetime) -> None:
        SimulatedNode.objects.bulk_create(
            (SimulatedNode(instance_key=key, requested_at=now, ready_at=now) for key in keys),
            ignore_conflicts=True,
        )

    def observe(self, keys: Sequence[int]) -> Mapping[int, Observation]:
        now = clock.now()
        nodes = SimulatedNode.objects.filter(instance_key__in=list(keys), leaving_at__isnull=True)
        return {
            node.instance_key: Observation(
                NodeState.READY if node.ready_at <= now else NodeState.JOINING, node.ready_at
            )
            for node in nodes
        }

    def leave(self, key: int) -> bool:
        now = clock.now()
        SimulatedNode.objects.filter(instance_key=key).update(leaving_at=Coalesce("leaving_at", Value(now)))
        _forget_gone(now)
        return not SimulatedNode.objects.filter(instance_key=key).exists()

    def nodes(self) -> Sequence[int]:
        _forget_gone(clock.now())
        return list(SimulatedNode.objects.filter(leaving_at__isnull=True).values_list("instance_key", flat=True))


def _forget_gone(now: datetime) -> None:
    """Machines that were asked to leave long enough ago, whether or not anybody looked, are there no more."""
    gone_since = now - timedelta(seconds=LEAVING_S / settings.SIM_SPEED)
    SimulatedNode.objects.filter(leaving_at__lte=gone_since).delete()
