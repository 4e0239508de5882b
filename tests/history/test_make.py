"""What is simulated, and how its hours join."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.common import clock
from deployments.backends.simulated import demand_of
from deployments.history.description import describe
from deployments.history.hours import HOUR, Hour, batches, hours_before
from deployments.history.make import Made, make
from deployments.loop.points import Points, joined
from deployments.models import Deployment, HistoryRun
from tests import world
from tests.cast import Cast
from tests.history import worlds

NOON = int(datetime(2026, 3, 5, 12, tzinfo=UTC).timestamp())


@given(end=st.integers(0, 3 * 86_400).map(lambda at: 5.0 * at), length=st.integers(1, 30 * 720))
def test_hours_cover_the_time_once_newest_first(end: float, length: int) -> None:
    start = end - 5 * length
    hours = hours_before(end, start)
    assert [hours[0].end, hours[-1].start] == [end, start]
    for newer, older in pairwise(hours):
        assert older.end == newer.start == newer.begins
    assert all(hour.begins <= hour.start < hour.end <= hour.begins + HOUR for hour in hours)
    assert all(hour.begins % HOUR == 0 for hour in hours)
    assert [hour for batch in batches(hours, 3) for hour in batch] == hours
    assert max(len(batch) for batch in batches(hours, 3)) <= 3


def nothing(share: float) -> None:
    assert 0 <= share <= 1


def told(made: Made) -> list[Any]:
    return [
        {key: [part.tolist() for part in vars_of(points)] for key, points in made.points.items()},
        made.decisions,
    ]


def vars_of(points: Points) -> list[np.ndarray]:
    return [points.at, points.samples, points.gauges, points.counters]


@pytest.fixture
def small(cast: Cast) -> HistoryRun:
    return worlds.asked(cast)


@pytest.mark.thorough
@pytest.mark.django_db
def test_an_hour_is_the_same_alone_and_beside_others(small: HistoryRun) -> None:
    newest, older = Hour(NOON, NOON, NOON + 1800), Hour(NOON - HOUR, NOON - HOUR, NOON)
    together = make(small.world, [newest, older], nothing)
    assert [made.hour for made in together] == [newest, older]
    assert told(together[0]) == told(make(small.world, [newest], nothing)[0])
    assert told(together[1]) == told(make(small.world, [older], nothing)[0])


@pytest.mark.thorough
@pytest.mark.django_db
def test_no_request_of_the_demand_is_missing_where_hours_join(small: HistoryRun) -> None:
    """Arrivals are exact over hours that were made apart; what a queue holds at a joint is all that may differ."""
    hours = [Hour(at, at, at + HOUR) for at in (NOON, NOON - HOUR)]
    made = make(small.world, hours, nothing)
    (shard,) = small.world["shards"]
    for key, one in zip(shard["deployments"]["key"], shard["workloads"], strict=True):
        points = joined([made[1].points[key], made[0].points[key]])
        assert np.diff(points.at).tolist() == [5] * 1439
        demand = demand_of(one["trace"], one["scale"], one["seed"], one["phase_s"])
        # A point at a pass counts what came in the five seconds before it.
        arrivals, _ = demand.between(NOON - HOUR - 5 - one["origin"], NOON + HOUR - 5 - one["origin"])
        assert points.counters[:, 0].sum() == len(arrivals)
        queued, active, ready = (points.gauges[:, row, 1] for row in range(3))
        assert ready.min() >= 1, "they ran all the time"
        seam = 720
        for gauge in (queued, active):
            usual = np.abs(np.diff(gauge)).max()
            assert abs(gauge[seam] - gauge[seam - 1]) <= usual


@pytest.mark.django_db
def test_a_description_outlives_what_happens_to_its_deployments(cast: Cast) -> None:
    run = worlds.asked(cast)
    before = run.world
    Deployment.objects.update(gpu_count=4)
    world.pool(world.offering(), 3)
    run.refresh_from_db()
    assert run.world == before
    assert describe(Deployment.objects.all(), clock.now()) != before
