"""History as columns of points: gauges with min, mean and max, counters that add up exactly (DESIGN section 6)."""

import struct
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deployments.core.waits import BUCKETS, UNKNOWN, grown_by, summed

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

GAUGES = ("queued", "active", "ready", "starting")
COUNTERS = ("arrived", "finished", "service_seconds", "waited_le_1s", "waited_le_5s", "arrived_squares")
_HEADER = struct.Struct("<4sBI")
_MAGIC, _VERSION = b"hrsp", 2  # version 1 had no counts of waits


class UnreadablePointsError(ValueError):
    """The bytes are not points of a known version."""


@dataclass(frozen=True, slots=True)
class Points:
    """n points in order of time.

    at: int64 [n], seconds since 1970 at which each begins
    samples: int64 [n], how many samples it stands for
    gauges: float64 [n, 4, 3], min, mean and max of GAUGES
    counters: float64 [n, 6], what was added to COUNTERS; whole numbers below 2^53 are exact. `arrived_squares` is the
        sum of squares of arrivals per 5 s, which tells burstiness.
    waits: int64 [n, BUCKETS], requests that started, by how long they had waited (`deployments.core.waits`); a row of
        UNKNOWN where nobody counted them. Of a point that is partly unknown it holds the other part.
    NaN is what a backend does not know.
    """

    at: Int64s
    samples: Int64s
    gauges: Floats
    counters: Floats
    waits: Int64s

    @classmethod
    def none(cls) -> "Points":
        return cls(
            np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 4, 3)), np.zeros((0, 6)), unknown_waits(0)
        )

    def __len__(self) -> int:
        return len(self.at)

    def between(self, start: float, end: float) -> "Points":
        """Points that begin in [start, end)."""
        low, high = np.searchsorted(self.at, (start, end))
        return Points(*(getattr(self, name)[low:high] for name in Points.__slots__))

    def to_bytes(self) -> bytes:
        body = b"".join(
            np.ascontiguousarray(part).astype(kind).tobytes()
            for part, kind in zip(
                (self.at, self.samples, self.gauges, self.counters, self.waits.T), _KINDS, strict=True
            )
        )
        return _HEADER.pack(_MAGIC, _VERSION, len(self)) + zlib.compress(body, 6)

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> "Points":
        data = bytes(data)
        try:
            magic, version, rows = _HEADER.unpack_from(data)
            if magic != _MAGIC or not 1 <= version <= _VERSION:
                raise UnreadablePointsError("not points of a known version")
            body = zlib.decompress(data[_HEADER.size :])
        except (struct.error, zlib.error) as error:
            raise UnreadablePointsError("not points") from error
        parts, offset = [], 0
        for kind, shape in zip(_KINDS[:4], _SHAPES, strict=True):
            width = int(np.prod(shape, dtype=np.int64)) * rows
            parts.append(np.frombuffer(body, kind, width, offset).reshape(rows, *shape))
            offset += width * np.dtype(kind).itemsize
        if version == 1:
            parts.append(unknown_waits(rows))
        else:
            waits = np.frombuffer(body, _KINDS[4], BUCKETS * rows, offset).reshape(BUCKETS, rows)
            parts.append(np.ascontiguousarray(waits.T, np.int64))
        return cls(*parts)


def unknown_waits(rows: int) -> Int64s:
    return np.full((rows, BUCKETS), UNKNOWN, np.int64)


_KINDS = ("<i8", "<i8", "<f8", "<f8", "<i4")  # counts of waits lie bucket after bucket: most of these are empty
_SHAPES: tuple[tuple[int, ...], ...] = ((), (), (4, 3), (6,))


def joined(parts: list[Points]) -> Points:
    """Parts that follow each other in time."""
    full = [part for part in parts if len(part)]
    if not full:
        return Points.none()
    return Points(*(np.concatenate([getattr(part, name) for part in full]) for name in Points.__slots__))


def aggregate(points: Points, seconds: int) -> Points:
    """Points of `seconds` each: extremes of extremes, means weighted by samples, sums of counters.

    A gauge that a backend did not know in some samples is that of the others; a counter is unknown as a whole.
    """
    if not len(points):
        return points
    bucket = points.at // seconds * seconds
    first = np.flatnonzero(np.diff(bucket, prepend=bucket[0] - 1))
    low, mean, high = np.moveaxis(points.gauges, 2, 0)
    weights = np.where(np.isnan(mean), 0, points.samples[:, None])
    weight = np.add.reduceat(weights, first, axis=0)
    weighted = np.add.reduceat(np.where(weights > 0, mean, 0.0) * weights, first, axis=0)
    gauges = [
        np.fmin.reduceat(low, first, axis=0),
        np.divide(weighted, weight, out=np.full(weighted.shape, np.nan), where=weight > 0),
        np.fmax.reduceat(high, first, axis=0),
    ]
    return Points(
        bucket[first],
        np.add.reduceat(points.samples, first),
        np.stack(gauges, axis=2),
        np.add.reduceat(points.counters, first, axis=0),
        summed(points.waits, first),
    )


def from_samples(at: Floats, gauges: Floats, totals: Floats, step: int, waits: Int64s | None = None) -> Points:
    """Points of `step` seconds from samples: gauges [n, 4], totals [n, 5] of counters that grow; negative or NaN where
    a backend has none; counts of waits [n, BUCKETS] that grow too. The first row only says where counters begin.

    A total that falls began anew: what it shows is what was added. What was added while nobody looked counts at the
    next sample; its square is that of an even flow over the time between.
    """
    if len(at) < 2:
        return Points.none()
    known = np.where(np.isfinite(totals) & (totals >= 0), totals, np.nan)
    added = np.diff(known, axis=0)
    added = np.where(added < 0, known[1:], added)
    windows = np.maximum(np.diff(at) / step, 1.0)
    squares = added[:, 0] ** 2 / windows
    values = np.repeat(np.where(gauges >= 0, gauges, np.nan)[1:, :, None], 3, axis=2)
    counters = np.concatenate([added, squares[:, None]], axis=1)
    started = unknown_waits(len(at) - 1) if waits is None else grown_by(waits[:-1], waits[1:])
    fine = Points(np.floor(at[1:]).astype(np.int64), np.ones(len(at) - 1, np.int64), values, counters, started)
    return aggregate(fine, step)
