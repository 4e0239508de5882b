"""The newest sample of deployments, and which way their load goes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from django.db import connection

from deployments.loop.blocks import Block, Column
from deployments.loop.passes import passes_sparse
from deployments.models import Deployment
from deployments.selectors import Brief

TREND_MINUTES = 10
# Of each shard alone, from the end of the index: not out of all that is kept.
_NEWEST = """
    SELECT s.key, b.payload FROM unnest(%s::bigint[]) AS s (key) CROSS JOIN LATERAL (
        SELECT payload FROM deployments_signalblock WHERE instance_type_id = s.key ORDER BY at DESC LIMIT 1) b"""
RISES, FALLS = 1.15, 0.85  # the last two minutes against those before


@dataclass(frozen=True, slots=True)
class Now:
    """Requests of a deployment at its last sample."""

    queued: int
    active: int


def last_sample(deployments: Iterable[Deployment | Brief]) -> dict[int, Now]:
    """By deployment key; one query, whatever the number of deployments."""
    return {
        key: Now(queued, active)
        for sample in newest(deployments)
        for key, queued, active in zip(*(column.tolist() for column in sample), strict=True)
    }


def newest(deployments: Iterable[Deployment | Brief]) -> Iterator[tuple[Column, Column, Column]]:
    """Key, queued and active of those deployments that are in the last sample of their shard, as columns; a number that
    a backend lacks is 0. One query."""
    keys = {one.key: one.instance_type_id for one in deployments}
    with connection.cursor() as cursor:
        cursor.execute(_NEWEST, [sorted(set(keys.values()))])
        found = cursor.fetchall()
    for shard, payload in found:
        block = Block.from_bytes(payload)
        mine = np.array([key for key, type_key in keys.items() if type_key == shard], np.int64)
        rows, there = block.rows_of(mine)
        yield mine[there], np.maximum(block.queued[rows[there]], 0), np.maximum(block.active[rows[there]], 0)


@dataclass(frozen=True, slots=True)
class Trend:
    """Requests in flight, a value a minute, oldest first; `word` says which way they go."""

    values: tuple[int, ...]

    @property
    def word(self) -> str:
        if len(self.values) < 4:
            return "new"
        last, before = sum(self.values[-2:]) / 2, sum(self.values[:-2]) / (len(self.values) - 2)
        if last > max(before * RISES, before + 1):
            return "rising"
        return "falling" if last < min(before * FALLS, before - 1) else "steady"

    @property
    def line(self) -> str:
        """Points of an SVG polyline in a box of 60 x 16."""
        most, last = max(self.values, default=0) or 1, max(1, len(self.values) - 1)
        return " ".join(f"{60 * at / last:.1f},{15 - 14 * value / most:.1f}" for at, value in enumerate(self.values))


def trends(deployments: Iterable[Deployment | Brief], now: datetime) -> dict[int, Trend]:
    """By deployment key; one query, of the few passes that are looked at."""
    keys = {one.key: one.instance_type_id for one in deployments}
    since, found = now - timedelta(minutes=TREND_MINUTES), dict[int, list[int]]()
    for shard, passes in passes_sparse(sorted(set(keys.values())), since, now, step_s=60).items():
        mine = np.array([key for key, type_key in keys.items() if type_key == shard], np.int64)
        for _, block in passes:
            rows, there = block.rows_of(mine)
            for key, row in zip(mine[there].tolist(), rows[there].tolist(), strict=True):
                found.setdefault(key, []).append(max(0, int(block.queued[row])) + max(0, int(block.active[row])))
    return {key: Trend(tuple(values)) for key, values in found.items()}


def totals(briefs: Sequence[Brief]) -> dict[str, int]:
    """All deployments together, as cards and charts of the fleet show them; 0 where nothing has such a value."""
    queued = active = 0
    for _, waiting, running in newest(briefs):
        queued, active = queued + int(waiting.sum()), active + int(running.sum())
    return {
        "ready": sum(one.ready for one in briefs),
        "starting": sum(one.starting for one in briefs),
        "wanted": sum(one.last_wanted or 0 for one in briefs),
        "queued": queued,
        "active": active,
    }
