"""Passes of the planner as bytes: read back exactly, planned again to the same."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.core.columns import Columns
from deployments.core.params import Params
from deployments.core.planner import plan
from deployments.replay.packing import UnreadableError, pack, unpack
from deployments.replay.recorded import from_bytes, to_bytes
from tests.core.fleet import NOW
from tests.core.random_shards import random_shard
from tests.search import examples

KINDS = (np.int8, np.int16, np.int32, np.int64, np.uint64, np.float64, np.bool_)
SHAPES = ((0,), (1,), (7,), (0, 3), (4, 3))


def same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def drawn(rng: np.random.Generator, kind: type[np.generic], shape: tuple[int, ...]) -> np.ndarray:
    """Any bits at all, few of them, or one value all over."""
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    if kind is np.bool_:
        return rng.integers(0, 2, shape).astype(kind)
    if rng.random() < 0.3:
        return rng.integers(-(2 ** int(rng.integers(0, 7))) if np.dtype(kind).kind == "i" else 0, 100, shape).astype(
            kind
        )
    if rng.random() < 0.3:
        return np.full(shape, np.frombuffer(rng.bytes(np.dtype(kind).itemsize), kind)[0])
    return np.frombuffer(rng.bytes(size), kind).reshape(shape)


def test_arrays_of_every_kind_are_read_back_bit_for_bit() -> None:
    rng = np.random.default_rng(5)
    for _ in range(40):
        arrays = {f"{kind.__name__}{shape}": drawn(rng, kind, shape) for kind in KINDS for shape in SHAPES}
        now = float(rng.random() * 2e9)
        found, words = unpack(pack(arrays, {"now": now}))
        assert words == {"now": now}
        assert list(found) == list(arrays)
        assert all(same(found[name], values) for name, values in arrays.items())


def test_what_is_the_same_everywhere_costs_nothing() -> None:
    one = len(pack({"a": np.zeros(1), "b": np.full(1, 2**40)}, {}))
    many = len(pack({"a": np.zeros(100_000), "b": np.full(100_000, 2**40)}, {}))
    assert many < one + 20


@given(st.binary(max_size=60))
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(UnreadableError):
        unpack(data)


def test_a_record_that_is_cut_short_is_refused() -> None:
    whole = pack({"a": np.arange(99)}, {})
    for end in range(0, len(whole) - 4, 7):
        with pytest.raises(UnreadableError):
            unpack(whole[:end])


@examples(40)
@given(st.integers(0, 2**32))
def test_a_pass_read_back_is_planned_again_to_the_same(seed: int) -> None:
    shard = random_shard(seed)
    made = plan(shard, Params(stable_s=40.0), NOW + 0.1234567)
    read = from_bytes(to_bytes(shard, made))
    assert read.params == made.params
    again = read.again()
    for name in ("signal", "need", "damped", "wanted", "granted", "starts", "stops"):
        assert_same(getattr(again, name), getattr(made, name))
    for name in ("wanted", "granted", "starts", "stops"):
        assert_same(getattr(read.output, name), getattr(made, name))
    assert_same(again.state.memory, made.state.memory)
    assert_same(again.state.kept, made.state.kept)


def assert_same(one: Columns, other: Columns) -> None:
    for (name, values), (_, expected) in zip(one.items(), other.items(), strict=True):
        assert np.array_equal(values, expected), name


def test_a_record_from_before_a_column_was_thought_of_gives_its_default() -> None:
    shard = random_shard(3)
    arrays, words = unpack(to_bytes(shard, plan(shard, Params(), NOW)))
    del arrays["deployments.shadow"]
    arrays["deployments.later"] = np.zeros(len(shard.deployments))
    old = from_bytes(pack(arrays, {**words, "params": {"later": 1.0}}))
    assert not old.snapshot.deployments.shadow.any()
    assert old.params == replace(Params(), ahead=0.0), "nobody looked ahead"
    del arrays["replicas.key"]
    with pytest.raises(UnreadableError):
        from_bytes(pack(arrays, words))
