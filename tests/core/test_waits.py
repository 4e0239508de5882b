"""When something awaited will be there (claims.core.waits)."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from claims.core.waits import Spread, expected

BEGAN = datetime(2026, 3, 1, 8, tzinfo=UTC)


def minutes(*values: float) -> list[timedelta]:
    return [timedelta(minutes=value) for value in values]


def after(spread: Spread, waited: float) -> tuple[float | None, float | None, bool]:
    """Median and 90th percentile in minutes from the beginning, and whether it is late, after so many minutes."""
    found = expected(spread, BEGAN, BEGAN + timedelta(minutes=waited))
    since = [None if one is None else (one - BEGAN) / timedelta(minutes=1) for one in (found.at, found.until)]
    return since[0], since[1], found.late_since is not None


def test_measured_times_give_nearest_rank_percentiles() -> None:
    spread = Spread(minutes(10, 11, 12, 13, 14, 15, 16, 17, 18, 40))
    assert (spread.usual, spread.late, spread.longest) == tuple(minutes(14, 18, 40))
    assert after(spread, 0) == (14, 18, False)


def test_what_has_been_waited_leaves_only_those_that_took_longer() -> None:
    spread = Spread(minutes(10, 11, 12, 13, 14, 15, 16, 17, 18, 40))
    assert after(spread, 14.5) == (17, 40, False)
    assert after(spread, 20) == (40, 40, True)
    assert after(spread, 40) == (None, None, True)


def test_a_stated_range_is_taken_as_evenly_spread() -> None:
    spread = Spread(least=timedelta(minutes=10), most=timedelta(minutes=20))
    assert after(spread, 0) == (15, 19, False)
    assert after(spread, 12) == (16, 19.2, False)
    assert after(spread, 20) == (None, None, True)


@given(
    times=st.lists(st.integers(1, 10_000), min_size=1, max_size=30),
    waits=st.lists(st.integers(0, 10_000), min_size=2, max_size=2),
)
def test_an_expectation_lies_ahead_and_only_moves_out(times: list[int], waits: list[int]) -> None:
    spread = Spread(sorted(timedelta(seconds=one) for one in times))
    sooner, later = (expected(spread, BEGAN, BEGAN + timedelta(seconds=one)) for one in sorted(waits))
    if later.at is None or later.until is None:
        assert later.late_since is not None
        return
    assert sooner.at is not None
    assert BEGAN + timedelta(seconds=max(waits)) < later.at <= later.until
    assert sooner.at <= later.at
