"""A sampling pass of a shard as bytes: columns of one value a deployment, ordered by key, compressed.

Version 2: magic, version, row count, bytes of the columns, the columns one after the other, compressed, then the counts
of waits (`pack_waits`), which most readers leave packed. All little-endian. Version 1 had
neither the number of bytes nor the counts.
"""

import struct
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deployments.core.waits import BUCKETS, UNKNOWN

_HEADER, _LENGTH = struct.Struct("<4sBI"), struct.Struct("<I")
_MAGIC, _VERSION = b"hrsb", 2
_TYPES = {
    "key": "<i8", "queued": "<i4", "active": "<i4", "ready": "<i4", "starting": "<i4", "arrived": "<i8",
    "finished": "<i8", "service_seconds": "<f8", "waited_le_1s": "<i8", "waited_le_5s": "<i8",
}  # fmt: skip
Column = npt.NDArray[np.generic]
Int64s = npt.NDArray[np.int64]
GROUP = 64  # rows whose counts of waits are compressed together


def pack_waits(counts: Int64s) -> bytes:
    """Counts [n, BUCKETS] of all deployments of a pass: compressed by GROUP rows, so that few are read quickly. First how
    many bytes each group has, then the groups."""
    groups = [
        zlib.compress(np.ascontiguousarray(counts[at : at + GROUP].T, "<i8").tobytes(), 1)
        for at in range(0, len(counts), GROUP)
    ]
    return np.array([len(one) for one in groups], "<u4").tobytes() + b"".join(groups)


def _columns_at(data: bytes, version: int) -> tuple[int, int]:
    if version == 1:
        return _HEADER.size, len(data)
    start = _HEADER.size + _LENGTH.size
    return start, start + int(_LENGTH.unpack_from(data, _HEADER.size)[0])


class UnreadableBlockError(ValueError):
    """The bytes are not a block of a known version."""


@dataclass(frozen=True, slots=True)
class Block:
    """Columns of one pass; -1 (NaN for seconds) where a backend has no value. Counters grow for ever."""

    key: Column
    queued: Column
    active: Column
    ready: Column
    starting: Column
    arrived: Column
    finished: Column
    service_seconds: Column
    waited_le_1s: Column
    waited_le_5s: Column
    packed_waits: bytes = b""  # of `pack_waits`, in the order of the rows; nothing where no backend counts them

    def to_bytes(self) -> bytes:
        order = np.argsort(self.key, kind="stable")
        body = zlib.compress(b"".join(getattr(self, name)[order].astype(_TYPES[name]).tobytes() for name in _TYPES), 1)
        waits = self.packed_waits
        if waits and np.any(np.diff(order) < 0):
            waits = pack_waits(self.waits(order))
        return _HEADER.pack(_MAGIC, _VERSION, len(self.key)) + _LENGTH.pack(len(body)) + body + waits

    def waits(self, rows: Int64s) -> Int64s:
        """Requests of these rows by how long they waited (`deployments.core.waits`), int64 [n, BUCKETS]; UNKNOWN where
        they were not counted, or are damaged."""
        found = np.full((len(rows), BUCKETS), UNKNOWN, np.int64)
        if self.packed_waits:
            group = rows // GROUP
            for number in np.unique(group).tolist():
                mine = group == number
                found[mine] = self._waits_of(number)[rows[mine] - number * GROUP]
        return found

    def _waits_of(self, group: int) -> Int64s:
        """Counts of the rows of a group."""
        rows = min(GROUP, len(self.key) - group * GROUP)
        sizes = np.frombuffer(self.packed_waits, "<u4", -(-len(self.key) // GROUP))
        start = sizes.nbytes + int(sizes[:group].sum())
        try:
            counts = zlib.decompress(self.packed_waits[start : start + int(sizes[group])])
            return np.frombuffer(counts, "<i8").reshape(BUCKETS, rows).T
        except (ValueError, zlib.error):
            return np.full((rows, BUCKETS), UNKNOWN, np.int64)

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> "Block":
        """Read `to_bytes`; raises UnreadableBlockError for anything else."""
        data = bytes(data)
        try:
            magic, version, rows = _HEADER.unpack_from(data)
            if magic != _MAGIC or not 1 <= version <= _VERSION:
                raise UnreadableBlockError("not a signal block of a known version")
            start, end = _columns_at(data, version)
            body = zlib.decompress(data[start:end])
        except (struct.error, zlib.error) as error:
            raise UnreadableBlockError("not a signal block") from error
        offset, columns = 0, {}
        for name, type_ in _TYPES.items():
            kind = np.dtype(type_)
            columns[name] = np.frombuffer(body, kind, rows, offset)
            offset += rows * kind.itemsize
        return cls(**columns, packed_waits=data[end:])

    def rows_of(self, keys: Column) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Row of each key in this block, and whether it is there at all."""
        if not len(self.key):
            return np.zeros(len(keys), np.int64), np.zeros(len(keys), np.bool_)
        if np.array_equal(self.key, keys):
            return np.arange(len(keys)), np.ones(len(keys), np.bool_)
        at = np.minimum(np.searchsorted(self.key, keys), len(self.key) - 1)
        return at, self.key[at] == keys
