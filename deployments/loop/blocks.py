"""A sampling pass of a shard as bytes: columns of one value a deployment, ordered by key, compressed.

Version 1: magic, version, row count, then the columns one after the other, little-endian.
"""

import struct
import zlib
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

_HEADER = struct.Struct("<4sBI")
_MAGIC, _VERSION = b"hrsb", 1
_TYPES = {
    "key": "<i8", "queued": "<i4", "active": "<i4", "ready": "<i4", "starting": "<i4", "arrived": "<i8",
    "finished": "<i8", "service_seconds": "<f8", "waited_le_1s": "<i8", "waited_le_5s": "<i8",
}  # fmt: skip
Column = npt.NDArray[np.generic]


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

    def to_bytes(self) -> bytes:
        order = np.argsort(self.key, kind="stable")
        body = b"".join(getattr(self, name)[order].astype(_TYPES[name]).tobytes() for name in _TYPES)
        return _HEADER.pack(_MAGIC, _VERSION, len(self.key)) + zlib.compress(body, 1)

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> "Block":
        """Read `to_bytes`; raises UnreadableBlockError for anything else."""
        data = bytes(data)
        try:
            magic, version, rows = _HEADER.unpack_from(data)
            if (magic, version) != (_MAGIC, _VERSION):
                raise UnreadableBlockError("not a signal block of a known version")
            body = zlib.decompress(data[_HEADER.size :])
        except (struct.error, zlib.error) as error:
            raise UnreadableBlockError("not a signal block") from error
        offset, columns = 0, {}
        for field in fields(cls):
            kind = np.dtype(_TYPES[field.name])
            columns[field.name] = np.frombuffer(body, kind, rows, offset)
            offset += rows * kind.itemsize
        return cls(**columns)

    def rows_of(self, keys: Column) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Row of each key in this block, and whether it is there at all."""
        if not len(self.key):
            return np.zeros(len(keys), np.int64), np.zeros(len(keys), np.bool_)
        at = np.minimum(np.searchsorted(self.key, keys), len(self.key) - 1)
        return at, self.key[at] == keys
