"""The recommendations of the scale-down window: how they age and are added to (see autoscaler_state)."""

from dataclasses import dataclass, replace

import numpy as np

from deployments.core.autoscaler_state import BUCKETS, EMPTY, Memory
from deployments.core.columns import Bools, Int32s, Int64s
from deployments.core.params import Settings


@dataclass(frozen=True, slots=True)
class Ring:
    """Spans of the window as they are at one moment."""

    width_ms: Int64s
    bucket: Int64s
    highest: Int32s  # [D, BUCKETS]

    def top(self) -> Int64s:
        """Highest recommendation of the window; -1 where there is none."""
        tops: Int64s = self.highest.max(axis=1).astype(np.int64)
        return tops


def advance(memory: Memory, settings: Settings, now_ms: int) -> Ring:
    """Forget the spans that have left the window."""
    width = np.maximum(-(-settings.scale_down_ms // (BUCKETS - 1)), 1)
    bucket = now_ms // width
    elapsed = bucket - memory.bucket
    # Another delay, or a clock set far back, makes the old spans unreadable: the highest of them is kept as
    # new.
    unreadable = (memory.width_ms != width) | (elapsed <= -BUCKETS)
    # One span after the other, in which order the highest of each deployment is found ten times as fast.
    highest = memory.highest.copy(order="F")
    _clear(highest, memory.bucket, np.where(unreadable, 0, elapsed))
    _collapse(highest, bucket, unreadable)
    return Ring(width, np.where(unreadable, bucket, np.maximum(bucket, memory.bucket)), highest)


def add(ring: Ring, values: Int64s, rows: Bools | bool = True) -> Ring:
    """Note a recommendation of now, where `rows` says so."""
    if not np.any(rows):
        return ring
    at = np.flatnonzero(np.broadcast_to(rows, values.shape))
    spans = ring.bucket[at] % BUCKETS
    highest = ring.highest.copy(order="F")
    highest[at, spans] = np.maximum(highest[at, spans], values[at].astype(np.int32))
    return replace(ring, highest=highest)


def forgotten_at_ms(memory: Memory) -> Int64s:
    """When the highest recommendation of each window will have left it, if none that is as high is added."""
    spans = memory.bucket[:, None] - (memory.bucket[:, None] - np.arange(BUCKETS)) % BUCKETS
    at_top = memory.highest == memory.highest.max(axis=1, keepdims=True)
    newest: Int64s = np.where(at_top, spans, 0).max(axis=1)
    return (newest + BUCKETS) * memory.width_ms


def _clear(highest: Int32s, bucket: Int64s, elapsed: Int64s) -> None:
    """Empty the spans that began since, which are those that ended a window ago."""
    for step in range(1, min(int(elapsed.max(initial=0)), BUCKETS) + 1):
        rows = np.flatnonzero(elapsed >= step)
        highest[rows, (bucket[rows] + step) % BUCKETS] = EMPTY


def _collapse(highest: Int32s, bucket: Int64s, rows: Bools) -> None:
    if not rows.any():
        return
    at = np.flatnonzero(rows)
    top = highest[at].max(axis=1, initial=EMPTY)
    highest[at] = EMPTY
    highest[at, bucket[at] % BUCKETS] = top
