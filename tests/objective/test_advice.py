"""Where no setting meets an objective: what would have, found by replaying with more replicas and with shorter start-ups."""

from datetime import timedelta

import numpy as np
import pytest

from deployments.core.objective import Objective
from deployments.objective.demand import Demand
from deployments.objective.replay import Terms, advice_for

HOURS = 2
SOON = Objective(known=1)


def steady(per_s: float) -> Demand:
    """Requests of 4 s, evenly."""
    arrivals = np.arange(0.0, HOURS * 3600.0, 1 / per_s)
    return Demand(HOURS, arrivals, np.full(len(arrivals), 4.0))


def waves() -> Demand:
    """Two in flight, and for five minutes of each twenty sixteen."""
    second = np.arange(HOURS * 3600)
    arrivals = np.repeat(second, np.where(second % 1200 < 300, 4, 1)).astype(float)
    return Demand(HOURS, arrivals, np.full(len(arrivals), 4.0))


def told(demand: Demand, **terms: object) -> dict[str, dict[str, float]]:
    given = Terms(**{"slots": 4, "startup": timedelta(seconds=20), "low": 1, "high": 2, **terms})  # type: ignore[arg-type]
    return {one["kind"]: one for one in advice_for(demand, given, SOON, 0.5, lambda share: None)}


@pytest.mark.thorough
def test_a_max_that_is_too_low_is_answered_with_the_least_that_would_do() -> None:
    """Twenty in flight need five replicas of four slots."""
    found = told(steady(per_s=5.0))
    assert found["share"] == {"kind": "share", "share": 0.5}, "the best that was reached is always said"
    assert found["max"]["max"] == 5
    assert found["max"]["share"] >= 0.992
    assert "startup" not in found, "no start-up time makes up for a max"


@pytest.mark.thorough
def test_start_ups_that_are_too_long_are_answered_with_the_longest_that_would_do() -> None:
    found = told(waves(), startup=timedelta(minutes=20), high=40)
    assert "max" not in found, "there is room for more than the busiest moment needs"
    assert found["startup"]["seconds"] == 600.0, "half of it is tried first"
    assert found["startup"]["share"] >= 0.992
