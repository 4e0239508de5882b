"""What the autoscaler remembers from one tick to the next, as columns keyed by deployment.

The recommendations of the scale-down window are kept as the highest of each of BUCKETS spans of time, not one
by one: a deployment's window is BUCKETS - 1 spans long, so what is remembered always covers the whole window
and at most one span (a fifteenth) more.
"""

import struct
import zlib
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Self, TypeVar

import numpy as np

from deployments.core.columns import Columns, Int8s, Int32s, Int64s, column

T = TypeVar("T", bound=Columns)

BUCKETS = 16
SPANS = 16  # of the means that stage 3 holds its forecasts against
EMPTY = -1  # a span in which nothing was recommended; a size or limit that is not known
_MAGIC = b"HRAS"
_VERSION = 4
_ADDED: dict[int, set[str]] = {
    2: {"exclusive"},
    3: set(),
}  # what states of an older version, which are read as well, do not have
_HEADER = struct.Struct("<4sHHqII")
_COUNT = struct.Struct("<I")  # of forecasts, in front of them; since version 4


@dataclass(frozen=True, slots=True)
class Memory(Columns):
    """One row per deployment. Times are milliseconds since 1970."""

    key: Int64s = field(metadata=column(np.int64))
    wanted: Int32s = field(metadata=column(np.int32, EMPTY))  # of the last tick, after bounds
    granted: Int32s = field(metadata=column(np.int32, EMPTY))
    bound: Int8s = field(metadata=column(np.int8, EMPTY))  # plan.Bound of the last tick, with planner.HELD
    burst_until_ms: Int64s = field(metadata=column(np.int64, 0))  # burst mode lasts until then
    short_since_ms: Int64s = field(metadata=column(np.int64, 0))  # since when granted < wanted; 0 = it is not
    free_since_ms: Int64s = field(metadata=column(np.int64, 0))  # since when it could move to claims (R15); 0 = not
    width_ms: Int32s = field(metadata=column(np.int32, 0))  # length of a span; 0 = nothing remembered
    bucket: Int64s = field(metadata=column(np.int64, 0))  # number of the newest span (time / width)
    highest: Int32s = field(metadata=column(np.int32, EMPTY, BUCKETS))  # [D, BUCKETS]; span n is at n % BUCKETS


@dataclass(frozen=True, slots=True)
class Kept(Columns):
    """Instances from which replicas were let go to make room for a deployment that waits. Keys, not rows."""

    instance: Int64s = field(metadata=column(np.int64))
    deployment: Int64s = field(metadata=column(np.int64))
    since_ms: Int64s = field(metadata=column(np.int64, 0))
    exclusive: Int8s = field(metadata=column(np.int8, 0))  # 1 = nobody else of its organization either


@dataclass(frozen=True, slots=True)
class Forecasts(Columns):
    """What stage 3 remembers, one row for each deployment that looks ahead and for no other."""

    key: Int64s = field(metadata=column(np.int64))
    margin_micro: Int64s = field(metadata=column(np.int64, EMPTY))  # millionths of a request
    width_ms: Int64s = field(metadata=column(np.int64, 0))  # length of a span
    span: Int64s = field(metadata=column(np.int64, 0))  # number of the newest (time / width)
    level_milli: Int64s = field(metadata=column(np.int64, EMPTY, SPANS))  # mean at the start of each; n is at n % SPANS


@dataclass(frozen=True, slots=True)
class AutoscalerState:
    """Memory of all deployments of a shard and the time of the tick that left it."""

    at_ms: int  # 0 = there was no tick yet
    memory: Memory
    kept: Kept = field(default_factory=Kept.none)
    forecasts: Forecasts = field(default_factory=Forecasts.none)

    @classmethod
    def empty(cls) -> Self:
        """The state before the first tick."""
        return cls(0, Memory.none())

    def __len__(self) -> int:
        return len(self.memory)

    def realign(self, keys: Int64s) -> Self:
        """The same memory in the order of `keys` (int64[D]); of new deployments nothing is remembered."""
        if np.array_equal(keys, self.memory.key):
            return self
        fresh = Memory.build(key=keys.copy())
        rows, found = _positions(self.memory.key, keys)
        for name, values in fresh.items():
            values[found] = getattr(self.memory, name)[rows]
        return type(self)(self.at_ms, fresh, self.kept, self.forecasts)

    def to_bytes(self) -> bytes:
        """Compressed bytes of a version of their own; `from_bytes` reads them back exactly."""
        tables = [b"".join(_planes(values) for _, values in table.items())
                  for table in (self.memory, self.kept, self.forecasts)]  # fmt: skip
        planes = b"".join((*tables[:2], _COUNT.pack(len(self.forecasts)), tables[2]))
        header = _HEADER.pack(_MAGIC, _VERSION, BUCKETS, self.at_ms, len(self), len(self.kept))
        return header + zlib.compress(planes, 1)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read `to_bytes`, also of versions 2 and 3; of what any other version wrote nothing is remembered.

        Raises ValueError for anything else: a caller then starts from `empty()`.
        """
        try:
            magic, version, buckets, at_ms, rows, kept_rows = _HEADER.unpack_from(data)
            if magic != _MAGIC:
                raise ValueError("not an autoscaler state")
            if version not in (_VERSION, *_ADDED) or buckets != BUCKETS:
                return cls.empty()
            planes, absent = zlib.decompress(data[_HEADER.size :]), _ADDED.get(version, set())
            memory, offset = _unpack(Memory, planes, 0, rows)
            kept, offset = _unpack(Kept, planes, offset, kept_rows, absent)
            forecasts = Forecasts.none()
            if version == _VERSION:
                (rows,) = _COUNT.unpack_from(planes, offset)
                forecasts, offset = _unpack(Forecasts, planes, offset + _COUNT.size, rows)
        except (struct.error, zlib.error) as error:
            raise ValueError("not an autoscaler state") from error
        if offset != len(planes):
            raise ValueError("not an autoscaler state of that length")
        return cls(at_ms, memory, kept, forecasts)


def _positions(have: Int64s, keys: Int64s) -> tuple[Int64s, Int64s]:
    """Rows of `have` and rows of `keys` that hold the same key."""
    order = np.argsort(have, kind="stable")
    at = np.searchsorted(have, keys, sorter=order)
    at[at == len(have)] = 0
    found = np.flatnonzero(have[order[at]] == keys) if len(have) else np.zeros(0, np.int64)
    return order[at[found]] if len(have) else found, found


def _planes(values: Int64s) -> bytes:
    """Bytes by significance: neighbours look alike, so that they compress well and fast."""
    little = np.ascontiguousarray(values.T).astype(values.dtype.newbyteorder("<"), copy=False)
    return little.view(np.uint8).reshape(-1, values.dtype.itemsize).T.tobytes()


def _unpack(record: type[T], data: bytes, offset: int, rows: int, absent: Collection[str] = ()) -> tuple[T, int]:
    """A table of so many rows from the planes that begin at `offset`, and where they end.

    Columns that are `absent` from the data are filled as if nobody had given them.
    """
    given: dict[str, np.ndarray] = {}
    for name, empty in record.none().items():
        if name in absent:
            continue
        width = empty.shape[1] if empty.ndim == 2 else 1
        size = rows * width * empty.dtype.itemsize
        plane = np.frombuffer(data, np.uint8, size, offset).reshape(empty.dtype.itemsize, rows * width)
        flat = np.ascontiguousarray(plane.T).view(empty.dtype.newbyteorder("<")).astype(empty.dtype).ravel()
        given[name] = flat.reshape(width, rows).T if empty.ndim == 2 else flat
        offset += size
    return record.build(**given), offset
