"""How long requests waited before they started, counted in fixed buckets: counts add up over replicas and over time, so
that percentiles of any range are those of its requests, as exactly as the buckets are narrow.

Bucket 0 holds the requests that did not wait at all, bucket i those that waited longer than EDGES_S[i - 1] and at most
EDGES_S[i], the last one all that waited longer than every edge. 1 and 5 s are edges. An edge lies at most 1.67 times the one before it, and so a
percentile between two edges is at most two thirds of itself too high and two fifths too low.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

EDGES_S = (0.0, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 50.0, 70.0,
           100.0, 150.0, 200.0, 300.0, 500.0, 700.0)  # fmt: skip
BUCKETS = len(EDGES_S) + 1
UNKNOWN = -1  # every count of a row that a backend cannot tell
_EDGES = np.array(EDGES_S)
_LOWS = np.array([0.0, *EDGES_S])
_HIGHS = np.array([*EDGES_S, EDGES_S[-1]])


@dataclass(frozen=True, slots=True)
class Wait:
    """A percentile in seconds: the true one lies in (longer_than_s, at_most_s]; `at_most_s` is None beyond the last edge.
    `about_s` is where it lies if the waits of its bucket are spread evenly."""

    about_s: float
    longer_than_s: float
    at_most_s: float | None


def counted(waits: Sequence[float] | Floats) -> Int64s:
    """Requests by bucket, int64 [BUCKETS]; `waits` in seconds."""
    found: Int64s = np.bincount(np.searchsorted(_EDGES, waits), minlength=BUCKETS)
    return found


def counted_by_row(waits: Sequence[Sequence[float]]) -> Int64s:
    """The same for many lists at once, int64 [n, BUCKETS]."""
    rows = np.repeat(np.arange(len(waits)), [len(one) for one in waits])
    every = np.array([wait for one in waits for wait in one])
    flat: Int64s = np.bincount(rows * BUCKETS + np.searchsorted(_EDGES, every), minlength=len(waits) * BUCKETS)
    return flat.reshape(len(waits), BUCKETS)


def grown_by(before: Int64s, after: Int64s) -> Int64s:
    """What counts grew by between two looks, row by row [n, BUCKETS]. Counts that fell began anew: what they show was
    added. A row that is unknown before or after is UNKNOWN."""
    grown = after - before
    grown = np.where((grown < 0).any(axis=1, keepdims=True), after, grown)
    unknown = (before[:, :1] < 0) | (after[:, :1] < 0)
    found: Int64s = np.where(unknown, UNKNOWN, grown)
    return found


def known(counts: Int64s) -> npt.NDArray[np.bool_]:
    """Which rows a backend could tell."""
    rows: npt.NDArray[np.bool_] = counts[:, 0] >= 0
    return rows


def summed(counts: Int64s, first: Int64s) -> Int64s:
    """Sums of rows [n, BUCKETS] from each of `first` (rising) to the next; of rows that are partly unknown those of the
    others, UNKNOWN where none is known."""
    there = known(counts)
    sums = np.add.reduceat(np.where(there[:, None], counts, 0), first, axis=0)
    found: Int64s = np.where(np.logical_or.reduceat(there, first)[:, None], sums, UNKNOWN)
    return found


def percentiles(counts: Int64s, percent: int) -> Floats:
    """`about_s` of `percentile` for each row [n, BUCKETS]; NaN where nothing started or it is not known."""
    counts = np.maximum(counts, 0)
    upto = np.cumsum(counts, axis=1)
    total = upto[:, -1]
    rank = -(-percent * total // 100)
    bucket = np.argmax(upto >= np.maximum(rank, 1)[:, None], axis=1)
    rows = np.arange(len(counts))
    inside = counts[rows, bucket]
    place = (rank - (upto[rows, bucket] - inside)) / np.maximum(inside, 1)
    about = _LOWS[bucket] + place * (_HIGHS[bucket] - _LOWS[bucket])
    found: Floats = np.where(total > 0, about, np.nan)
    return found


def percentile(counts: Int64s, percent: int) -> Wait | None:
    """The shortest wait that at least `percent` of a hundred of these requests [BUCKETS] did not exceed; None: there is
    none, or nothing is known."""
    about = float(percentiles(counts[None], percent)[0])
    if np.isnan(about):
        return None
    rank = -(-percent * int(counts.sum()) // 100)
    bucket = int(np.argmax(np.cumsum(counts) >= max(rank, 1)))
    return Wait(about, float(_LOWS[bucket]), float(_HIGHS[bucket]) if bucket < BUCKETS - 1 else None)
