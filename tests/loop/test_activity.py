"""What each replica ran at the last sample, kept as one row a shard."""

import logging
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from claims.models import InstanceType
from deployments.loop.activity import active_of, activity_note
from deployments.models import ReplicaActivity
from tests import world
from tests.cast import Cast

pytestmark = pytest.mark.django_db

AT = datetime(2026, 11, 28, 12, tzinfo=UTC)
KEYS = np.array([3, 5, 9, 2**40])


@pytest.fixture
def shard(cast: Cast) -> InstanceType:
    return world.offering().instance_type


def note(shard: InstanceType, at: datetime, running: dict[int, int]) -> None:
    activity_note(shard.key, at, np.array(list(running), np.int64), np.array(list(running.values()), np.int64))


def ran(shard: InstanceType) -> list[int]:
    found: list[int] = active_of(shard.key, KEYS).tolist()
    return found


def test_of_each_replica_the_last_sample_counts(shard: InstanceType) -> None:
    assert ran(shard) == [0, 0, 0, 0]
    note(shard, AT, {2**40: 7, 5: 300, 4: 1})
    assert ran(shard) == [0, 300, 0, 7]
    note(shard, AT + timedelta(seconds=5), {3: 2})
    assert ran(shard) == [2, 0, 0, 0]
    note(shard, AT + timedelta(seconds=10), {})
    assert ran(shard) == [0, 0, 0, 0]


def test_a_pass_that_comes_late_or_twice_changes_nothing(shard: InstanceType) -> None:
    note(shard, AT, {3: 1})
    note(shard, AT - timedelta(seconds=5), {3: 8})
    note(shard, AT, {3: 9})
    assert ran(shard) == [1, 0, 0, 0]


def test_a_shard_has_a_row_of_its_own(shard: InstanceType) -> None:
    other = InstanceType.objects.exclude(key=shard.key)[0]
    note(shard, AT, {3: 1})
    note(other, AT, {3: 2})
    assert (ran(shard), ran(other)) == ([1, 0, 0, 0], [2, 0, 0, 0])


def test_what_cannot_be_read_counts_as_nothing_and_is_told(
    shard: InstanceType, caplog: pytest.LogCaptureFixture
) -> None:
    note(shard, AT, {3: 1})
    ReplicaActivity.objects.update(payload=b"HRTK?")
    with caplog.at_level(logging.WARNING):
        assert ran(shard) == [0, 0, 0, 0]
    assert "2026-11-28 12:00:00" in caplog.text


def test_a_hundred_thousand_replicas_are_a_small_row(shard: InstanceType) -> None:
    keys = np.arange(100_000) * 3
    running = np.random.default_rng(1).integers(0, 9, 100_000)
    activity_note(shard.key, AT, keys, running)
    assert len(ReplicaActivity.objects.get().payload) < 250_000
    np.testing.assert_array_equal(active_of(shard.key, keys), running)
