"""Arrays by name as few bytes, packed fast and read back exactly.

A column that holds one value is that value. Whole numbers take as few bytes as their largest needs; the bytes of what is
left lie by significance, since neighbours look alike, and are compressed as runs alone: at half the price of all that
zlib can, for a fifth more bytes.
"""

import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Arrays = dict[str, Array]

_MAGIC = b"HRTK"
VERSION = 1
_HEADER = struct.Struct("<4sHI")  # magic, version, bytes of the description
_NARROWER = {kind: [np.dtype(f"{kind}{size}") for size in (1, 2, 4)] for kind in ("i", "u")}


class UnreadableError(ValueError):
    """Bytes that `pack` of this version did not write, or that are cut short."""


def pack(arrays: Mapping[str, Array], words: Mapping[str, Any]) -> bytes:
    """Bytes of the arrays and of what else is to be remembered of them, as JSON has it."""
    described, planes = [], []
    for name, values in arrays.items():
        stored = _stored(values)
        described.append([name, values.dtype.str, list(values.shape), stored.dtype.str, stored.size])
        planes.append(_planes(stored))
    text = json.dumps([dict(words), described], separators=(",", ":")).encode()
    return _HEADER.pack(_MAGIC, VERSION, len(text)) + _squeezed(text + b"".join(planes))


def _squeezed(plain: bytes) -> bytes:
    squeezer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
    return squeezer.compress(plain) + squeezer.flush()


def unpack(data: bytes) -> tuple[Arrays, dict[str, Any]]:
    """What `pack` was given; raises UnreadableError for anything else."""
    try:
        magic, version, length = _HEADER.unpack_from(data)
        if magic != _MAGIC or version != VERSION:
            raise UnreadableError("of another form or version")
        plain = zlib.decompress(data[_HEADER.size :])
        words, described = json.loads(plain[:length])
        return _arrays(plain, length, described), words
    except (struct.error, zlib.error, ValueError) as error:
        raise UnreadableError(f"a record of a pass that cannot be read: {error}") from error


def _arrays(plain: bytes, offset: int, described: list[list[Any]]) -> Arrays:
    found: Arrays = {}
    for name, kind, shape, stored, size in described:
        values = _from_planes(plain, offset, np.dtype(stored), size)
        offset += size * values.dtype.itemsize
        wide = values.astype(np.dtype(kind))
        found[name] = np.full(shape, wide[0]) if size == 1 else wide.reshape(shape)
    if offset != len(plain):
        raise UnreadableError("of another length")
    return found


def _stored(values: Array) -> Array:
    """One value where all are the same, bit for bit; else the narrowest whole numbers that hold them."""
    flat = np.ascontiguousarray(values).reshape(-1)
    if len(flat) > 1 and _same(flat):
        return flat[:1]
    if flat.dtype.kind not in _NARROWER or not len(flat):
        return flat
    low, high = int(flat.min()), int(flat.max())
    for kind in _NARROWER[flat.dtype.kind]:
        if kind.itemsize < flat.dtype.itemsize and np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return flat.astype(kind)
    return flat


def _same(flat: Array) -> bool:
    """Whether all values have the same bytes; NaN equals NaN here, and -0.0 is not 0.0."""
    bits = flat.view(f"u{flat.dtype.itemsize}")
    return bool(bits[0] == bits[-1]) and bool((bits == bits[0]).all())


def _planes(flat: Array) -> bytes:
    little = flat.astype(flat.dtype.newbyteorder("<"), copy=False)
    if flat.dtype.itemsize == 1:
        return little.tobytes()
    return np.ascontiguousarray(little.view(np.uint8).reshape(-1, flat.dtype.itemsize).T).tobytes()


def _from_planes(data: bytes, offset: int, kind: npt.DTypeLike, size: int) -> Array:
    item = np.dtype(kind)
    planes = np.frombuffer(data, np.uint8, size * item.itemsize, offset).reshape(item.itemsize, size)
    return np.ascontiguousarray(planes.T).reshape(-1).view(item)
