"""Recorded signals as requests again: what was counted comes back, whatever had to be drawn between."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from claims.models import InstanceType
from deployments.backtest.recorded import NoDemandError, Recorded, recorded, recorded_demand
from deployments.loop.blocks import Block
from deployments.loop.points import Points, aggregate, from_samples
from deployments.models import Deployment, SignalBlock
from tests import fleet, world
from tests.cast import Cast

NOON = datetime(2026, 3, 5, 12, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def sampled(arrived: list[int], *, at: list[int] | None = None, ran: float = 4.0) -> Points:
    """5 s points of what arrived in each window; requests run `ran` seconds."""
    total = np.concatenate([[0], np.cumsum(arrived)]).astype(np.float64)
    times = NOON.timestamp() + 5.0 * np.array(at if at is not None else range(len(total)), np.float64) - 5
    totals = np.stack([total, total, ran * total, total, total], axis=1)
    return from_samples(times, np.zeros((len(total), 4)), totals, 5)


def told(points: Points, seconds: float, step: int = 5, seed: int = 0) -> Recorded:
    return recorded(points, NOON, after(seconds), step, seed)


def test_every_window_has_as_many_arrivals_as_were_counted() -> None:
    counts = [3, 0, 7, 1, 120, 2]
    found = told(sampled(counts), 30)
    assert np.bincount((found.arrivals // 5).astype(int), minlength=6).tolist() == counts
    assert found.resolution_s == 5
    assert found.paused_s == 0
    assert found.span_s == 30
    assert np.all(np.diff(found.arrivals) >= 0)


def test_minutes_keep_their_counts_and_scatter_as_recorded() -> None:
    """Half of the minutes even, half with all requests in one window: by their squares the minutes tell which."""
    even, burst = [10] * 12, [0] * 5 + [120] + [0] * 6
    found = told(aggregate(sampled((even + burst) * 60), 60), 7200, 60)
    windows = np.bincount((found.arrivals // 5).astype(int), minlength=1440).reshape(60, 2, 12)
    assert np.all(windows.sum(axis=2) == 120)
    squares = (windows**2).sum(axis=2).mean(axis=0)
    assert squares[0] == pytest.approx(12 * 100 + 120 * 11 / 12, rel=0.05)  # chance alone
    assert squares[1] == pytest.approx(120**2, rel=0.05)


def test_service_times_have_the_recorded_mean_of_their_time() -> None:
    calm, slow = sampled([10] * 360, ran=2.0), sampled([10] * 360, ran=9.0)
    later = Points(slow.at + 1800, slow.samples, slow.gauges, slow.counters, slow.waits)
    both = Points(*(np.concatenate([getattr(calm, n), getattr(later, n)]) for n in Points.__slots__))
    found = told(both, 3600)
    first = found.arrivals < 1800
    assert found.services[first].mean() == pytest.approx(2.0, rel=0.05)
    assert found.services[~first].mean() == pytest.approx(9.0, rel=0.05)


def test_what_came_while_nobody_looked_is_spread_over_the_pause() -> None:
    found = told(sampled([5, 1000, 5], at=[0, 1, 101, 102]), 520)
    paused = (found.arrivals >= 5) & (found.arrivals < 505)
    assert paused.sum() == 1000
    assert found.paused_s == 495
    assert np.bincount((found.arrivals[paused] // 100).astype(int)).max() < 260


def test_another_range_has_the_same_requests_and_another_seed_has_others() -> None:
    points = sampled([4] * 1440)
    whole, part = told(points, 7200), recorded(points, after(3600), after(5400), 5, 0)
    inside = (whole.arrivals >= 3600) & (whole.arrivals < 5400)
    assert np.allclose(whole.arrivals[inside] - 3600, part.arrivals)
    assert np.allclose(whole.services[inside], part.services)
    assert not np.allclose(told(points, 7200, seed=1).arrivals, whole.arrivals)


def test_what_is_not_recorded_is_said() -> None:
    unknown = sampled([4] * 12)
    unknown.counters[:, 0] = np.nan
    for points, seconds, text in (
        (sampled([0] * 12), 60, "No request"),
        (Points.none(), 60, "No signals"),
        (unknown, 60, "not counted"),
    ):
        with pytest.raises(NoDemandError, match=text):
            told(points, seconds)


def test_time_without_counts_has_no_requests_and_is_told() -> None:
    points = sampled([4] * 12)
    points.counters[3:6, 0] = np.nan
    found = told(points, 60)
    assert found.missing_s == 15
    assert len(found.arrivals) == 36
    assert not np.any((found.arrivals >= 15) & (found.arrivals < 30))


def put(type_: InstanceType, one: Deployment, at: datetime, arrived: int) -> None:
    total, none = np.array([arrived]), np.zeros(1, np.int64)
    block = Block(key=np.array([one.key]), queued=none, active=none, ready=none, starting=none, arrived=total,
                  finished=total, service_seconds=total * 0.5, waited_le_1s=total, waited_le_5s=total)  # fmt: skip
    SignalBlock.objects.create(instance_type=type_, at=at, payload=block.to_bytes())


@pytest.mark.django_db
def test_the_demand_of_a_deployment_is_read_from_its_history(cast: Cast) -> None:
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), world.offering())
    for number in range(60):
        put(one.instance_type, one, after(5 * number), 7 * number)
    found = recorded_demand(one, NOON - timedelta(hours=3), after(250), after(250))
    assert (found.start, found.end) == (after(5), after(250))  # the first sample only says where counters begin
    assert len(found.arrivals) == 7 * 49
    assert found.services.mean() == pytest.approx(0.5, rel=0.2)
    assert found.load.arrived[-1] == 7 * 49
    assert found.traffic.span_s == 245
    coarse = recorded_demand(one, NOON, after(250), NOON + timedelta(days=3))
    assert coarse.resolution_s == 60
    with pytest.raises(NoDemandError, match="60 days"):
        recorded_demand(one, after(10), after(20), NOON + timedelta(days=61))
