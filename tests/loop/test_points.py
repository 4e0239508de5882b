"""Points of history: counters add up exactly, gauges keep their extremes, whatever the resolution."""

import zlib
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deployments.core.waits import BUCKETS, UNKNOWN
from deployments.loop.blocks import GROUP, Block, UnreadableBlockError, pack_waits
from deployments.loop.points import COUNTERS, Points, UnreadablePointsError, aggregate, from_samples

START = 1_800_000_000.0


@st.composite
def samples(draw: st.DrawFn) -> tuple["np.ndarray", "np.ndarray", "np.ndarray"]:
    """Times about 5 s apart with gaps, gauges, counters that grow and sometimes begin anew."""
    n = draw(st.integers(2, 60))
    gaps = draw(st.lists(st.sampled_from([4.9, 5.0, 5.2, 10.0, 65.0, 4000.0]), min_size=n, max_size=n))
    at = START + np.cumsum(gaps)
    gauges = draw(arrays(np.int64, (n, 4), elements=st.integers(0, 50))).astype(float)
    totals = np.cumsum(draw(arrays(np.int64, (n, 5), elements=st.integers(0, 900))).astype(float), axis=0)
    reset = draw(st.integers(1, 2 * n))
    if reset < n:
        totals[reset:] -= totals[reset - 1]
    return at, gauges, totals


@st.composite
def wait_counts(draw: st.DrawFn) -> tuple["np.ndarray", "np.ndarray"]:
    """Times, and counts of waits that grow, begin anew and are not known now and then."""
    at, _, _ = draw(samples())
    n = len(at)
    counts = np.cumsum(draw(arrays(np.int64, (n, BUCKETS), elements=st.integers(0, 40), fill=st.just(0))), axis=0)
    reset = draw(st.integers(1, 2 * n))
    if reset < n:
        counts[reset:] -= counts[reset - 1]
    counts[draw(arrays(np.bool_, n, elements=st.booleans(), fill=st.just(False)))] = UNKNOWN
    return at, counts


def added(totals: "np.ndarray") -> "np.ndarray":
    """What the counters grew by, told sample by sample."""
    total = np.zeros(5)
    for before, after in pairwise(totals):
        total += [b if b < a else b - a for a, b in zip(before, after, strict=True)]
    return total


@given(samples())
def test_counters_add_up_exactly_at_every_resolution(given_: tuple["np.ndarray", "np.ndarray", "np.ndarray"]) -> None:
    at, gauges, totals = given_
    fine = from_samples(at, gauges, totals, 5)
    for points in (fine, aggregate(fine, 60), aggregate(fine, 3600), aggregate(aggregate(fine, 60), 3600)):
        assert points.counters[:, :5].sum(axis=0).tolist() == added(totals).tolist()
        assert points.samples.sum() == len(at) - 1


@given(samples())
def test_rolling_up_in_two_steps_is_rolling_up_in_one(given_: tuple["np.ndarray", "np.ndarray", "np.ndarray"]) -> None:
    fine = from_samples(*given_, 5)
    once, twice = aggregate(fine, 3600), aggregate(aggregate(fine, 60), 3600)
    assert once.at.tolist() == twice.at.tolist()
    assert once.gauges[:, :, [0, 2]].tolist() == twice.gauges[:, :, [0, 2]].tolist()
    np.testing.assert_allclose(once.gauges[:, :, 1], twice.gauges[:, :, 1], rtol=1e-12)
    np.testing.assert_allclose(once.counters, twice.counters, rtol=1e-12)


@given(samples())
def test_gauges_of_a_point_are_those_of_its_samples(given_: tuple["np.ndarray", "np.ndarray", "np.ndarray"]) -> None:
    at, gauges, totals = given_
    points = aggregate(from_samples(at, gauges, totals, 5), 60)
    for row, start in enumerate(points.at):
        inside = gauges[1:][(np.floor(at[1:]) >= start) & (np.floor(at[1:]) < start + 60)]
        assert points.gauges[row, :, 0].tolist() == inside.min(axis=0).tolist()
        assert points.gauges[row, :, 2].tolist() == inside.max(axis=0).tolist()
        np.testing.assert_allclose(points.gauges[row, :, 1], inside.mean(axis=0))


@given(samples())
def test_points_are_read_back_as_they_were_written(given_: tuple["np.ndarray", "np.ndarray", "np.ndarray"]) -> None:
    points = from_samples(*given_, 5)
    again = Points.from_bytes(points.to_bytes())
    assert all(np.array_equal(getattr(points, name), getattr(again, name)) for name in Points.__slots__)


def test_an_even_flow_has_the_same_squares_however_often_it_is_sampled() -> None:
    every_5_s = from_samples(
        START + np.arange(13, dtype=np.float64) * 5.0, np.zeros((13, 4)), np.arange(13)[:, None] * np.full(5, 10.0), 5
    )
    once = from_samples(START + np.array([0.0, 60.0]), np.zeros((2, 4)), np.array([[0.0] * 5, [120.0] * 5]), 5)
    squares = COUNTERS.index("arrived_squares")
    assert aggregate(every_5_s, 3600).counters[:, squares].sum() == 1200
    assert once.counters[:, squares].tolist() == [1200]


def test_a_counter_that_a_backend_lacks_is_unknown_and_not_zero() -> None:
    totals = np.array([[5, 5, np.nan, -1, -1], [9, 8, np.nan, -1, -1]], float)
    points = aggregate(from_samples(np.array([0.0, 5.0]) + START, np.zeros((2, 4)), totals, 5), 60)
    assert points.counters[0, :2].tolist() == [4, 3]
    assert np.isnan(points.counters[0, 2:5]).all()


def test_a_counter_seen_for_the_first_time_is_not_taken_for_growth() -> None:
    totals = np.array([[-1] * 5, [900] * 5, [903] * 5], float)
    points = from_samples(START + np.arange(3, dtype=np.float64) * 5.0, np.zeros((3, 4)), totals, 5)
    assert np.isnan(points.counters[0, 0])
    assert points.counters[1, 0] == 3


def test_a_gauge_that_is_unknown_now_and_then_is_that_of_the_other_samples() -> None:
    gauges = np.array([[0] * 4, [-1] * 4, [4] * 4, [6] * 4], float)
    points = aggregate(from_samples(START + np.arange(4, dtype=np.float64) * 5.0, gauges, np.zeros((4, 5)), 5), 60)
    assert points.gauges[0, 0].tolist() == [4, 5, 6]


@given(wait_counts())
def test_counts_of_waits_add_up_exactly_at_every_resolution(given_: tuple["np.ndarray", "np.ndarray"]) -> None:
    at, counts = given_
    grown = np.zeros(BUCKETS, np.int64)
    for before, after in pairwise(counts):
        if before[0] >= 0 and after[0] >= 0:
            grown += after if (after < before).any() else after - before
    fine = from_samples(at, np.zeros((len(at), 4)), np.zeros((len(at), 5)), 5, counts)
    for points in (fine, aggregate(fine, 60), aggregate(aggregate(fine, 60), 3600), Points.from_bytes(fine.to_bytes())):
        assert points.waits[points.waits[:, 0] >= 0].sum(axis=0).tolist() == grown.tolist()
    both = (counts[:-1, 0] >= 0) & (counts[1:, 0] >= 0)
    assert (aggregate(fine, 3600).waits[:, 0] >= 0).any() == both.any()


def test_points_and_blocks_of_the_version_before_are_read_and_know_no_waits() -> None:
    points = from_samples(
        np.array([0.0, 5.0]) + START, np.zeros((2, 4)), np.zeros((2, 5)), 5, np.zeros((2, BUCKETS), np.int64)
    )
    body = zlib.decompress(points.to_bytes()[9:])
    old = Points.from_bytes(b"hrsp\x01" + points.to_bytes()[5:9] + zlib.compress(body[: -4 * BUCKETS]))
    assert (old.at.tolist(), old.counters.tolist()) == (points.at.tolist(), points.counters.tolist())
    assert old.waits.tolist() == [[UNKNOWN] * BUCKETS]
    new = block([10, 20]).to_bytes()
    before = Block.from_bytes(b"hrsb\x01" + new[5:9] + new[13:])
    assert before.queued.tolist() == [11, 21]
    assert before.waits(np.arange(2)).tolist() == [[UNKNOWN] * BUCKETS] * 2


@pytest.mark.parametrize("n", [1, GROUP - 1, GROUP, 3 * GROUP + 5])
def test_counts_of_waits_stay_with_their_deployments(n: int) -> None:
    keys, counts = np.random.default_rng(n).permutation(n), np.arange(n * BUCKETS).reshape(n, BUCKETS)
    again = Block.from_bytes(replace(block(keys.tolist()), packed_waits=pack_waits(counts)).to_bytes())
    wanted = np.random.default_rng(n).permutation(keys)[: n // 2 + 1]
    rows, there = again.rows_of(wanted)
    assert there.all()
    assert again.waits(rows).tolist() == [counts[keys.tolist().index(key)].tolist() for key in wanted]
    damaged = replace(again, packed_waits=again.packed_waits[:-3])
    assert (damaged.waits(np.array([n - 1])) == UNKNOWN).all()
    assert (replace(again, packed_waits=b"").waits(rows) == UNKNOWN).all()


def block(keys: list[int]) -> Block:
    n = len(keys)
    counters: dict[str, Any] = {
        name: np.array(keys) * 10 for name in ("arrived", "finished", "waited_le_1s", "waited_le_5s")
    }
    return Block(key=np.array(keys), queued=np.array(keys) + 1, active=np.arange(n), ready=np.arange(n),
                 starting=np.zeros(n), service_seconds=np.full(n, 0.5), **counters)  # fmt: skip


def test_a_block_finds_its_deployments_whatever_the_order() -> None:
    again = Block.from_bytes(block([30, 10, 20]).to_bytes())
    rows, there = again.rows_of(np.array([10, 15, 30, 99]))
    assert there.tolist() == [True, False, True, False]
    assert again.queued[rows[there]].tolist() == [11, 31]


@pytest.mark.parametrize(
    "data",
    [b"", b"hrsb", b"hrsb\x03\x00\x00\x00\x00", b"hrsb\x02\x00\x00\x00\x00", b"hrsb\x01\x01\x00\x00\x00nonsense"],
)
def test_what_is_not_a_block_of_this_version_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableBlockError):
        Block.from_bytes(data)


def test_what_is_not_points_is_refused() -> None:
    with pytest.raises(UnreadablePointsError):
        Points.from_bytes(b"hrsp\x01\x00\x00\x00\x01nonsense")
