"""History made afterwards and the roll-up of what was sampled since: whoever comes first, nothing is lost or doubled."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from deployments.history.chunks import store
from deployments.history.hours import HOUR, hours_before
from deployments.history.make import Made
from deployments.loop import history, rollup
from deployments.loop.points import Points, unknown_waits
from deployments.models import Deployment, HistoryRun, HistoryState, SignalChunk
from tests import fleet, world
from tests.cast import Cast
from tests.loop.test_history import sampled

pytestmark = pytest.mark.django_db

BEGAN = datetime(2026, 3, 5, 12, 20, tzinfo=UTC)
FIRST_HOUR = BEGAN.replace(minute=0)


@pytest.fixture
def one(cast: Cast) -> Deployment:
    made = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), world.offering())
    Deployment.objects.update(created_at=BEGAN)
    made.refresh_from_db()
    return made


def afterwards(of: Deployment, hours: float = 26.0) -> list[Made]:
    """Seven requests in each five seconds, newest hour first."""
    end = BEGAN.timestamp()
    return [
        Made(hour, {of.key: steady(int(hour.start), int(hour.end))}, [])
        for hour in hours_before(end, end - hours * HOUR)
    ]


def steady(start: int, end: int) -> Points:
    at = np.arange(start, end, 5)
    n = len(at)
    counters = np.tile([7.0, 7.0, 70.0, 7.0, 7.0, 49.0], (n, 1))
    return Points(at, np.ones(n, np.int64), np.full((n, 4, 3), 2.0), counters, unknown_waits(n))


def sample(of: Deployment, minutes: int) -> None:
    """Three requests in each five seconds since the deployment began."""
    for number in range(minutes * 12 + 1):
        sampled(of.instance_type, [of.key], BEGAN + number * timedelta(seconds=5), 3 * number)


def arrived(of: Deployment, start: datetime, end: datetime, step: int = 5) -> float:
    return float(history.series(of, start, end, step).counters[:, 0].sum())


def chunk(of: Deployment) -> SignalChunk:
    return SignalChunk.objects.get(deployment=of, resolution=5, starts_at=FIRST_HOUR)


def under_way(of: Deployment, **changes: Any) -> HistoryRun:
    run = HistoryRun.objects.create(
        organization=of.organization, starts_at=BEGAN - timedelta(hours=26), ends_at=BEGAN, made_from=BEGAN, world={},
        first_decision=1, state=HistoryState.WORKING, **changes,
    )  # fmt: skip
    run.deployments.add(of)
    return run


def test_before_the_hour_ends_both_parts_are_read(one: Deployment) -> None:
    sample(one, 10)
    store(afterwards(one, 2.0)[0], {one.key})
    assert chunk(one).until == BEGAN
    end = BEGAN + timedelta(minutes=10, seconds=5)
    for step in (5, 60):
        assert arrived(one, FIRST_HOUR, end, step) == 7 * 20 * 12 + 3 * 120
    at = history.series(one, FIRST_HOUR, end, 5).at
    assert np.diff(at).max() <= 10, "no hole"
    assert len(set(at.tolist())) == len(at), "nothing twice"


@pytest.mark.parametrize("first", ["history", "roll-up"])
def test_the_hour_in_which_it_began_holds_both_parts_whoever_comes_first(one: Deployment, first: str) -> None:
    sample(one, 42)
    after = FIRST_HOUR + timedelta(hours=1, minutes=2)
    steps: list[Callable[[], object]] = [
        lambda: store(afterwards(one, 2.0)[0], {one.key}),
        lambda: rollup.roll_up(after),
    ]
    for step in steps if first == "history" else reversed(steps):
        step()
    whole = chunk(one)
    assert whole.until is None
    points = Points.from_bytes(whole.payload)
    assert np.diff(points.at).min() == 5
    assert points.counters[points.at < BEGAN.timestamp(), 0].tolist() == [7.0] * 240
    assert points.counters[points.at >= BEGAN.timestamp(), 0].sum() == 3 * 479
    assert rollup.roll_up(after) == 0
    assert bytes(chunk(one).payload) == bytes(whole.payload)


def test_a_part_of_an_hour_that_was_never_sampled_stays_to_be_read(one: Deployment) -> None:
    store(afterwards(one, 2.0)[0], {one.key})
    later = FIRST_HOUR + timedelta(hours=5)
    sampled(one.instance_type, [one.key], later, 10)
    rollup.roll_up(later + timedelta(hours=2))
    assert arrived(one, FIRST_HOUR, later, 5) == 7 * 240


def test_a_day_is_rolled_up_only_when_its_history_is_made(one: Deployment) -> None:
    run, made = under_way(one), afterwards(one)
    yesterday = BEGAN.replace(hour=0, minute=0) - timedelta(days=1)
    now = BEGAN + timedelta(minutes=1)
    for hour in made[:20]:
        store(hour, {one.key})
        rollup.roll_up(now)
    assert not SignalChunk.objects.filter(resolution=60).exists()
    for hour in made[20:]:
        store(hour, {one.key})
    assert arrived(one, yesterday, BEGAN, 60) == arrived(one, yesterday, BEGAN, 5)
    HistoryRun.objects.filter(pk=run.pk).update(state=HistoryState.DONE, made_from=run.starts_at)
    assert rollup.roll_up(now) == 1
    day = SignalChunk.objects.get(resolution=60)
    assert day.starts_at == yesterday
    assert Points.from_bytes(day.payload).counters[:, 0].sum() == arrived(one, yesterday, yesterday + timedelta(days=1))
    assert arrived(one, BEGAN - timedelta(hours=26), BEGAN, 60) == 7 * 26 * 720


@pytest.mark.parametrize("state", [HistoryState.CANCELLED, HistoryState.FAILED])
def test_what_is_made_of_a_history_that_was_given_up_is_rolled_up(one: Deployment, state: HistoryState) -> None:
    run = under_way(one)
    for hour in afterwards(one)[:15]:
        store(hour, {one.key})
    HistoryRun.objects.filter(pk=run.pk).update(state=state)
    assert rollup.roll_up(BEGAN + timedelta(minutes=1)) == 1


def test_charts_of_a_day_and_a_week_show_it(one: Deployment) -> None:
    for hour in afterwards(one, 24.0):
        store(hour, {one.key})
    for days in (1, 7):
        points = history.chart_series(one, BEGAN - timedelta(days=days), BEGAN, BEGAN)
        assert points.counters[:, 0].sum() == 7 * 24 * 720
        assert len(points) > 80
