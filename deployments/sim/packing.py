"""A queue state as bytes, so that it outlives the process.

Layout, version 2: the mark, one byte of version, then zlib over a header (`_HEADER`), the columns of the waiting and of
the running requests and the counts of waits, each column 8 bytes a value, little-endian. Floats come back bit by bit.
Version 1 had no counts of waits: they begin with nothing.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

import numpy as np

from deployments.core.waits import BUCKETS
from deployments.sim.queue import Counters, QueueState

VERSION = 2
_MARK = b"HQ"
_PREFIX = len(_MARK) + 1
# until_s, the six counters, the numbers of waiting and of running requests
_HEADER = struct.Struct("<d3qd2q2q")
_WAITING = ("<i8", "<f8", "<f8")
_RUNNING = ("<f8", "<i8", "<i8", "<f8", "<f8")
_LEVEL = 1


class UnreadableState(ValueError):
    """The bytes are not a queue state that this version reads."""


def to_bytes(state: QueueState) -> bytes:
    """The state in about 10 bytes for each request that waits and 20 for each that runs."""
    header = _HEADER.pack(state.until_s, *astuple(state.counters), len(state.waiting), len(state.running))
    waits = np.array(state.waits, "<i8").tobytes()
    body = header + _packed(state.waiting, _WAITING) + _packed(state.running, _RUNNING) + waits
    return _MARK + bytes([VERSION]) + zlib.compress(body, _LEVEL)


def from_bytes(data: bytes | bytearray | memoryview) -> QueueState:
    """The state that `to_bytes` wrote. Raises `UnreadableState` for another version and for anything else."""
    data = bytes(data)
    if len(data) < _PREFIX or not data.startswith(_MARK):
        raise UnreadableState("These bytes are not a queue state.")
    if not 1 <= data[_PREFIX - 1] <= VERSION:
        raise UnreadableState(f"The queue state has version {data[_PREFIX - 1]}; this code reads 1 to {VERSION}.")
    try:
        return _read(zlib.decompress(data[_PREFIX:]), counted=data[_PREFIX - 1] > 1)
    except (zlib.error, struct.error) as error:
        raise UnreadableState(f"The queue state is damaged: {error}.") from error


def _read(body: bytes, *, counted: bool) -> QueueState:
    until_s, *counters, waiting, running = _HEADER.unpack_from(body)
    split = _HEADER.size + 8 * len(_WAITING) * waiting
    end = split + 8 * len(_RUNNING) * running
    counts, odd = divmod(len(body) - end, 8)
    if odd or not 0 <= counts <= (BUCKETS if counted else 0):
        raise UnreadableState("The queue state is damaged: it has not the length it says.")
    return QueueState(
        until_s,
        _unpacked(body[_HEADER.size : split], _WAITING),
        _unpacked(body[split:end], _RUNNING),
        Counters(*counters),
        tuple(np.frombuffer(body, "<i8", offset=end).tolist()),
    )


def _packed(rows: Sequence[tuple[Any, ...]], types: Sequence[str]) -> bytes:
    if not rows:
        return b""
    columns = zip(types, zip(*rows, strict=True), strict=True)
    return b"".join(np.array(column, type_).tobytes() for type_, column in columns)


def _unpacked(body: bytes, types: Sequence[str]) -> tuple[Any, ...]:
    size = len(body) // len(types)
    starts = [place * size for place in range(len(types))]
    columns = (np.frombuffer(body[at : at + size], type_) for at, type_ in zip(starts, types, strict=True))
    return tuple(zip(*(column.tolist() for column in columns), strict=True))
