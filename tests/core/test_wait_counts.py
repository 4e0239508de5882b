"""Waits in buckets: what is said of a percentile is true of the requests themselves, however they were added up."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.core.waits import BUCKETS, EDGES_S, counted, counted_by_row, percentile, percentiles, summed

waits = st.lists(st.one_of(st.sampled_from(EDGES_S), st.floats(0, 2000)), max_size=60)


def exact(requests: list[float], percent: int) -> float:
    return sorted(requests)[max(1, math.ceil(percent * len(requests) / 100)) - 1]


@given(st.lists(waits, min_size=1, max_size=5), st.integers(1, 100))
def test_the_true_percentile_lies_within_the_bounds_that_are_said(parts: list[list[float]], percent: int) -> None:
    together = [wait for one in parts for wait in one]
    counts = summed(counted_by_row(parts), np.array([0]))[0]
    assert counts.tolist() == counted(together).tolist()
    said = percentile(counts, percent)
    if not together:
        assert said is None
        return
    assert said is not None
    true = exact(together, percent)
    assert true <= (math.inf if said.at_most_s is None else said.at_most_s)
    assert true > said.longer_than_s or true == said.longer_than_s == 0
    assert said.longer_than_s <= said.about_s <= (said.at_most_s or said.longer_than_s)
    (about,) = percentiles(counts[None], percent)
    assert about == said.about_s
    if 0.1 < true <= EDGES_S[-1]:
        assert 0.6 * true <= about <= 1.67 * true, "the error that is stated"


@given(st.lists(st.floats(0, 2000), min_size=1, max_size=60))
def test_percentiles_rise(requests: list[float]) -> None:
    counts = counted(requests)[None]
    found = [float(percentiles(counts, percent)[0]) for percent in range(1, 101)]
    assert all(before <= after for before, after in pairwise(found))


def test_one_and_five_seconds_are_edges_and_no_edge_is_far_from_the_next() -> None:
    assert {1, 5} <= set(EDGES_S)
    assert max(high / low for low, high in pairwise(EDGES_S[1:])) == pytest.approx(5 / 3)


def test_nothing_started_and_nothing_known_are_no_waits() -> None:
    nothing, unknown = np.zeros(BUCKETS, np.int64), np.full(BUCKETS, -1, np.int64)
    assert percentile(nothing, 50) is None
    assert percentile(unknown, 50) is None
    assert np.isnan(percentiles(np.stack([nothing, unknown]), 95)).all()
    partly = summed(np.stack([unknown, counted([3.0])]), np.array([0]))
    assert partly.tolist() == [counted([3.0]).tolist()]
    assert summed(unknown[None], np.array([0])).tolist() == [unknown.tolist()]
