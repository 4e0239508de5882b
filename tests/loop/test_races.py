"""Ticks side by side on the real database: shown to go wrong without each lock, and right with it (W1 to W3)."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.db import connection
from django.db.models import Sum

from claims import locks
from claims.models import Instance, InstanceType, Offering
from claims.services import gpus
from console.common import clock
from deployments.core.params import Params
from deployments.core.planner import plan
from deployments.loop import apply
from deployments.loop.actuate import actuate_pass
from deployments.loop.snapshot import read_shard
from deployments.loop.tick import shard_tick
from deployments.models import Decision, Replica, ReplicaPlacement, SimulatedReplica
from tests import fleet, world
from tests.cast import Cast, make_cast

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    return make_cast()


def side_by_side(jobs: list[Callable[[], object]]) -> list[object]:
    """Each in a thread with a connection of its own; what they returned, in order."""
    results: list[object] = [None] * len(jobs)

    def run(place: int) -> None:
        try:
            results[place] = jobs[place]()
        except Exception as error:
            results[place] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[place]) for place in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


@contextmanager
def meeting(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, parties: int) -> Iterator[None]:
    """All threads that call the function wait for each other once they have its answer, as far as locks let them."""
    barrier, original = threading.Barrier(parties), getattr(where, name)

    def meet(*given: Any, **named: Any) -> Any:
        answer = original(*given, **named)
        with suppress(threading.BrokenBarrierError):
            barrier.wait(1)
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(where, name, meet)
        yield


def acting(type_: InstanceType) -> Callable[[], object]:
    """A plan made from the state there is now, to be acted on later."""
    now = clock.now()
    shard = read_shard(type_, Params(), now)
    made = plan(shard.snapshot, Params(), now.timestamp())
    return lambda: apply.apply_plan(type_, shard, made, now)


def small_fleet(cast: Cast) -> Offering:
    """One instance of four GPUs, and a deployment that wants three."""
    of = world.offering()
    world.pool(of, 1)
    fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, min=3)
    return of


def overpromised() -> bool:
    """Whether placements hold more GPUs than there are, or another number than the instance says."""
    held = dict(ReplicaPlacement.objects.values_list("instance").annotate(Sum("gpus")))
    return any(held.get(one.key, 0) > one.gpus or held.get(one.key, 0) != one.gpus_used
               for one in Instance.objects.all())  # fmt: skip


def test_without_the_lock_on_offerings_gpus_are_promised_twice(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    of = small_fleet(cast)
    jobs = [acting(of.instance_type) for _ in range(2)]
    monkeypatch.setattr(apply, "_move_state", lambda *_: True)
    monkeypatch.setattr(locks, "offerings_lock", lambda keys: None)
    with meeting(monkeypatch, gpus, "_locked", 2):
        side_by_side(jobs)
    assert overpromised()


def test_w1_the_lock_on_offerings_keeps_gpus_from_being_promised_twice(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = small_fleet(cast)
    jobs = [acting(of.instance_type) for _ in range(2)]
    monkeypatch.setattr(apply, "_move_state", lambda *_: True)
    with meeting(monkeypatch, gpus, "_locked", 2):
        done = side_by_side(jobs)
    assert not overpromised()
    assert sorted((one.started, one.stale) for one in done) == [(1, 2), (3, 0)]  # type: ignore[attr-defined]


def test_without_the_guard_two_ticks_start_more_than_is_wanted(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    of = small_fleet(cast)
    world.pool(of, 1)
    jobs = [acting(of.instance_type) for _ in range(2)]
    monkeypatch.setattr(apply, "_move_state", lambda *_: True)
    side_by_side(jobs)
    assert Replica.objects.count() > 3


def test_w3_two_ticks_from_one_state_act_once(cast: Cast) -> None:
    of = small_fleet(cast)
    world.pool(of, 1)
    for round_ in range(2):  # the first state of a shard is made, later ones are moved
        Replica.objects.all().delete()
        Instance.objects.update(gpus_used=0, organization=None)
        done = side_by_side([acting(of.instance_type) for _ in range(4)])
        assert sum(one is not None for one in done) == 1, done
        assert Replica.objects.count() <= 3, round_
    assert not overpromised()


def test_whole_passes_side_by_side_leave_what_one_would(cast: Cast) -> None:
    of = small_fleet(cast)
    world.pool(of, 2)
    type_ = of.instance_type
    for _ in range(3):
        jobs = [*[lambda: shard_tick(type_, clock.now())] * 3, *[lambda: actuate_pass(now=clock.now())] * 3]
        done = side_by_side(jobs)
        assert not [one for one in done if isinstance(one, Exception)], done
        fleet.loaded()
    side_by_side([lambda: actuate_pass(now=clock.now())] * 2)
    assert list(Replica.objects.values_list("state", flat=True)) == [2, 2, 2]
    assert SimulatedReplica.objects.count() == 3
    assert Decision.objects.count() == 1
    assert not overpromised()


def test_replicas_that_end_in_two_workers_at_once_release_their_gpus_once(cast: Cast) -> None:
    of = small_fleet(cast)
    now = fleet.run(of.instance_type, clock.now(), 3)
    Replica.objects.update(state=3)
    fleet.loaded()
    side_by_side([lambda: actuate_pass(now=clock.now())] * 4)
    actuate_pass(now=now)
    assert set(Replica.objects.values_list("state", flat=True)) == {4}
    assert Instance.objects.get().gpus_used == 0
    assert not overpromised()
