"""Sampling passes read back: blocks of a shard, and points of 5 s of each deployment in them."""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime

import numpy as np
from django.db import connection

from deployments.core.waits import BUCKETS, UNKNOWN
from deployments.loop.blocks import Block, UnreadableBlockError
from deployments.loop.points import Points, from_samples
from deployments.models import Deployment, Replica, SignalBlock

log = logging.getLogger(__name__)

GAUGES = ("queued", "active", "ready", "starting")
TOTALS = ("arrived", "finished", "service_seconds", "waited_le_1s", "waited_le_5s")
FINEST_S = 5

Pass = tuple[float, Block]


def readable(rows: Iterable[tuple[datetime, bytes | memoryview]]) -> list[Pass]:
    """Passes with their times; one that cannot be read is a pass that was missed, and the log says so."""
    blocks = ((at, block_of(at, payload)) for at, payload in rows)
    return [(at.timestamp(), block) for at, block in blocks if block]


def block_of(at: datetime, payload: bytes | memoryview) -> Block | None:
    """None where it cannot be read, which the log says."""
    try:
        return Block.from_bytes(payload)
    except UnreadableBlockError as error:
        log.warning("the signal block of %s is left out: %s", at, error)
        return None


def passes_between(type_keys: Sequence[int], start: datetime, end: datetime) -> list[Pass]:
    """Passes of the shards in [start, end), and of each shard the one before, from which counters go on."""
    inside = SignalBlock.objects.filter(instance_type__in=type_keys, at__gte=start, at__lt=end)
    before = SignalBlock.objects.filter(instance_type__in=type_keys, at__lt=start)
    newest = before.order_by("instance_type_id", "-at").distinct("instance_type_id").values_list("at", "payload")
    rows = [*newest, *inside.order_by("at").values_list("at", "payload")]
    return readable(sorted(rows, key=lambda row: row[0]))


def passes_sparse(type_keys: Sequence[int], start: datetime, end: datetime, *, step_s: int) -> dict[int, list[Pass]]:
    """By shard: the first pass in each span of `step_s` seconds of [start, end), and the newest. Few to read."""
    query = """
        SELECT instance_type_id, at, payload FROM (
            SELECT instance_type_id, at, payload,
                   row_number() OVER (PARTITION BY instance_type_id, floor(extract(epoch FROM at) / %s) ORDER BY at) AS n,
                   row_number() OVER (PARTITION BY instance_type_id ORDER BY at DESC) AS last
            FROM deployments_signalblock WHERE instance_type_id = ANY(%s) AND at >= %s AND at < %s
        ) s WHERE n = 1 OR last = 1 ORDER BY at"""
    with connection.cursor() as cursor:
        cursor.execute(query, [step_s, list(type_keys), start, end])
        rows = cursor.fetchall()
    return {key: readable((at, payload) for shard, at, payload in rows if shard == key) for key in type_keys}


def points_of(passes: Sequence[Pass], keys: Sequence[int], *, waits: bool) -> list[Points]:
    """5 s points of each deployment of `keys`; their counts of waits cost most, and are UNKNOWN unless asked for."""
    if not passes or not keys:
        return [Points.none() for _ in keys]
    wanted = np.array(keys, np.int64)
    order = np.argsort(wanted)
    at = np.array([moment for moment, _ in passes])
    there = np.zeros((len(passes), len(keys)), np.bool_)
    gauges = np.zeros((len(passes), len(keys), len(GAUGES)))
    totals = np.zeros((len(passes), len(keys), len(TOTALS)))
    counts = np.full((len(passes), len(keys), BUCKETS), UNKNOWN) if waits else None
    for place, (_, block) in enumerate(passes):
        rows, found = block.rows_of(wanted[order])
        there[place, order] = found
        if len(block.key):
            gauges[place, order] = np.stack([getattr(block, name)[rows] for name in GAUGES], axis=1)
            totals[place, order] = np.stack([getattr(block, name)[rows] for name in TOTALS], axis=1)
            if counts is not None:
                counts[place, order] = block.waits(rows)
    return [
        from_samples(
            at[seen],
            gauges[seen, place],
            totals[seen, place],
            FINEST_S,
            None if counts is None else counts[seen, place],
        )
        for place, seen in enumerate(np.ascontiguousarray(there.T))
    ]


def points_between(deployment: Deployment, start: datetime, end: datetime, *, waits: bool) -> Points:
    """5 s points of one deployment in [start, end), in whatever shard it was."""
    (points,) = points_of(passes_between(types_of(deployment), start, end), [deployment.key], waits=waits)
    return points.between(start.timestamp(), end.timestamp())


def types_of(deployment: Deployment) -> list[int]:
    """The instance types that the deployment has, or had replicas of: a shard is one type (W3)."""
    had = Replica.objects.filter(deployment=deployment).values_list("instance_type_id", flat=True).distinct()
    return sorted({deployment.instance_type_id, *had})
