"""History in the database: what was sampled is what charts read, before, while and after it is rolled up."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from claims.models import InstanceType
from deployments.loop import history, rollup
from deployments.loop.blocks import Block
from deployments.models import Deployment, Replica, SignalBlock, SignalChunk
from tests import fleet, world
from tests.cast import Cast

NOON = datetime(2026, 3, 5, 12, tzinfo=UTC)


def sampled(type_: InstanceType, keys: list[int], at: datetime, arrived: int, queued: int = 0) -> None:
    n = len(keys)
    total, none = np.full(n, arrived), np.zeros(n, np.int64)
    block = Block(key=np.array(keys, np.int64), queued=np.full(n, queued), active=none, ready=none, starting=none,
                  arrived=total, finished=total, service_seconds=total * 0.5, waited_le_1s=total,
                  waited_le_5s=total)  # fmt: skip
    SignalBlock.objects.create(instance_type=type_, at=at, payload=block.to_bytes())


def made(cast: Cast, names: str = "a") -> list[Deployment]:
    of = world.offering()
    at = fleet.gateway(cast.admin.actor)
    found = [fleet.deployment(cast.admin.actor, at, of, name=name) for name in names]
    Deployment.objects.update(created_at=NOON - timedelta(days=40))
    return found


def arrived(one: Deployment, start: datetime, end: datetime, step: int) -> float:
    return float(history.series(one, start, end, step).counters[:, 0].sum())


@pytest.mark.django_db
def test_an_hour_reads_the_same_before_and_after_it_is_rolled_up(cast: Cast) -> None:
    one, two = made(cast, "ab")
    for number in range(900):
        sampled(one.instance_type, [one.key, two.key], NOON + number * timedelta(seconds=5), 3 * number)
    end = NOON + timedelta(seconds=4500)
    before = [history.series(one, NOON, end, step) for step in (5, 60, 3600)]
    assert rollup.roll_up(end) == 2
    assert SignalChunk.objects.count() == 2
    after = [history.series(one, NOON, end, step) for step in (5, 60, 3600)]
    for was, has in zip(before, after, strict=True):
        assert was.counters.tolist() == has.counters.tolist()
        assert was.gauges.tolist() == has.gauges.tolist()
        assert has.counters[:, 0].sum() == 3 * 899


@pytest.mark.django_db
def test_rolling_up_again_writes_nothing(cast: Cast) -> None:
    (one,) = made(cast)
    for number in range(10):
        sampled(one.instance_type, [one.key], NOON + number * timedelta(minutes=10), number)
    assert rollup.roll_up(NOON + timedelta(hours=2)) > 0
    stored = list(SignalChunk.objects.order_by("pk").values_list("pk", "payload"))
    assert rollup.roll_up(NOON + timedelta(hours=2)) == 0
    assert list(SignalChunk.objects.order_by("pk").values_list("pk", "payload")) == stored


@pytest.mark.django_db
def test_nothing_is_lost_when_the_roll_up_comes_hours_late(cast: Cast) -> None:
    (one,) = made(cast)
    for number in range(600):
        sampled(one.instance_type, [one.key], NOON + number * timedelta(minutes=1), 7 * number)
    late = NOON + timedelta(hours=13)
    rollup.roll_up(late)
    assert arrived(one, NOON, late, 5) == 7 * 599
    assert arrived(one, NOON, late, 3600) == 7 * 599


@pytest.mark.django_db
def test_counters_go_on_from_the_last_block_however_long_the_pause(cast: Cast) -> None:
    (one,) = made(cast)
    sampled(one.instance_type, [one.key], NOON, 100)
    rollup.roll_up(NOON + timedelta(hours=9))
    sampled(one.instance_type, [one.key], NOON + timedelta(hours=10), 180)
    assert SignalBlock.objects.count() == 2
    rollup.roll_up(NOON + timedelta(hours=14))
    assert arrived(one, NOON, NOON + timedelta(hours=14), 5) == 80


@pytest.mark.thorough
@pytest.mark.django_db
def test_days_and_months_are_made_of_what_is_finer(cast: Cast) -> None:
    (one,) = made(cast)
    start = history.floor(NOON, history.MONTH)
    grown = 0
    for hour in range(0, 31 * 24, 5):
        grown += hour
        at = start + timedelta(hours=hour)
        sampled(one.instance_type, [one.key], at, grown)
        rollup.roll_up(at + timedelta(minutes=1))
    end = start + timedelta(days=31)
    rollup.roll_up(end + timedelta(minutes=1))
    assert set(SignalChunk.objects.values_list("resolution", flat=True)) == {5, 60, 3600}
    for step in (60, 3600):
        assert arrived(one, start, end, step) == grown
    assert not SignalChunk.objects.filter(resolution=5, starts_at__lt=end - timedelta(days=3)).exists()


@pytest.mark.django_db
def test_a_deployment_that_moved_to_another_type_keeps_its_history(cast: Cast) -> None:
    (one,) = made(cast)
    old = one.instance_type
    new = world.offering("US-EAST-01A", "gd-8xh100ib-i128").instance_type
    for number in range(10):
        sampled(old if number < 5 else new, [one.key], NOON + number * timedelta(seconds=5), number)
    Replica.objects.create(deployment=one, instance_type=old, revision=1, capacity_class=2, state=4, gpus=1,
                           stopped_at=NOON + timedelta(hours=1))  # fmt: skip
    one.instance_type = new
    one.save()
    assert arrived(one, NOON, NOON + timedelta(hours=1), 5) == 9
    rollup.roll_up(NOON + timedelta(hours=2))
    assert arrived(one, NOON, NOON + timedelta(hours=1), 5) == 9


@pytest.mark.django_db
def test_a_block_that_cannot_be_read_is_a_pass_that_was_missed(cast: Cast) -> None:
    (one,) = made(cast)
    for number in range(10):
        sampled(one.instance_type, [one.key], NOON + number * timedelta(seconds=5), number)
    SignalBlock.objects.filter(at=NOON + timedelta(seconds=20)).update(payload=b"garbage")
    rollup.roll_up(NOON + timedelta(hours=2))
    assert arrived(one, NOON, NOON + timedelta(hours=1), 5) == 9


@pytest.mark.django_db
@pytest.mark.parametrize("days", [1, 30, 365, 700])
def test_a_chart_takes_as_many_queries_for_two_years_as_for_a_day(
    cast: Cast, days: int, django_assert_max_num_queries: Callable[..., CaptureQueriesContext]
) -> None:
    (one,) = made(cast)
    sampled(one.instance_type, [one.key], NOON - timedelta(minutes=1), 1)
    one = Deployment.objects.get(key=one.key)
    with django_assert_max_num_queries(9):
        history.chart_series(one, NOON - timedelta(days=days), NOON, NOON)


@pytest.mark.django_db
def test_rolling_up_takes_as_many_queries_for_twenty_deployments_as_for_two(cast: Cast) -> None:
    counts = []
    for names in ("ab", "cdefghijklmnopqrstu"):
        made_ = [one.key for one in made_named(cast, names)]
        SignalBlock.objects.all().delete()
        SignalChunk.objects.all().delete()
        for number in range(3):
            sampled(world.offering().instance_type, made_, NOON + number * timedelta(minutes=5), number)
        with CaptureQueriesContext(connection) as queries:
            rollup.roll_up(NOON + timedelta(hours=2))
        counts.append(len(queries))
    assert counts[0] == counts[1]


def made_named(cast: Cast, names: str) -> list[Deployment]:
    at = Deployment.objects.first().gateways.get() if Deployment.objects.exists() else fleet.gateway(cast.admin.actor)  # type: ignore[union-attr]
    found = [fleet.deployment(cast.admin.actor, at, world.offering(), name=name * 3) for name in names]
    Deployment.objects.update(created_at=NOON - timedelta(days=40))
    return found


@given(seconds=st.integers(1, 3 * 365 * 86_400), ago=st.integers(0, 2 * 365 * 86_400))
def test_a_chart_has_at_most_600_points(seconds: int, ago: int) -> None:
    end = NOON - timedelta(seconds=ago)
    start = end - timedelta(seconds=seconds)
    step, wide = history.chart_step(start, end, NOON)
    assert wide % step == 0
    assert -(-(end - history.floor(start, wide)).total_seconds() // wide) <= (600 if seconds <= 730 * 86_400 else 601)


def test_an_old_range_is_read_from_a_resolution_that_is_still_kept() -> None:
    start = NOON - timedelta(days=10)
    assert history.chart_step(start, start + timedelta(minutes=30), NOON) == (60, 60)
    assert history.chart_step(NOON - timedelta(minutes=30), NOON, NOON) == (5, 5)
