"""Replicas that are replaced by others, through the whole loop: the new one serves before the old one goes."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from claims.core.states import InstanceState, Status
from claims.models import Instance, InstanceType, Offering, UsageInterval
from console.common import clock
from deployments.core.states import ReplicaState
from deployments.loop.actuate import actuate_pass
from deployments.loop.tick import shard_tick
from deployments.models import Deployment, Replica, SimulatedFault
from deployments.services import deployment_delete, deployment_set_disabled, deployment_update, replica_restart
from tests import fleet, world
from tests.cast import Cast
from tests.loop.test_failures import LIMIT, time_passes
from tests.loop.test_faults import consistent

pytestmark = pytest.mark.django_db

FREE = timedelta(minutes=10)


def passes(type_: InstanceType, start: datetime, most: int = 40) -> Iterator[datetime]:
    """Passes of the loops, each with what there is after its tick, before its models load, and at its end."""
    now = start
    for _ in range(most):
        fleet.tick(type_, now)
        yield now
        fleet.loaded()
        actuate_pass(now=clock.now())
        yield now
        now += fleet.EVERY
    pytest.fail("it does not come to an end")


def count(state: ReplicaState, **of: object) -> int:
    return Replica.objects.filter(state=state, **of).count()


def serving(of: Offering, one: Deployment, start: datetime, done: Callable[[], bool]) -> tuple[int, int]:
    """Let the loop run until `done`; the fewest that were ready and the most that held GPUs meanwhile."""
    fewest, most = 10**6, 0
    for _ in passes(of.instance_type, start):
        ready = count(ReplicaState.READY, deployment=one)
        held = Replica.objects.filter(deployment=one, state__in=[1, 2, 3]).count()
        fewest, most = min(fewest, ready), max(most, held)
        if done():
            break
    consistent()
    return fewest, most


def settled(one: Deployment) -> Callable[[], bool]:
    return lambda: fleet.reread(one).status == Status.READY and not count(ReplicaState.DRAINING, deployment=one)


def said(one: Deployment) -> dict[str, tuple[str, str, str]]:
    return {each["type"]: (each["status"], each["reason"], each["message"]) for each in fleet.reread(one).conditions}


def running(cast: Cast, of: Offering, pool: int, **spec: Any) -> tuple[Deployment, datetime]:
    world.pool(of, pool)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, **spec)
    return one, fleet.run(of.instance_type, clock.now(), 3)


def changed(cast: Cast, one: Deployment, **spec: Any) -> None:
    at = one.gateways.get()
    deployment_update(actor=cast.admin.actor, deployment_id=one.id, spec=fleet.spec(at, model_path="new", **spec))


def test_r10_a_roll_out_surges_by_one_and_never_serves_with_fewer(cast: Cast) -> None:
    of = world.offering()
    one, now = running(cast, of, 2, min=3, max=3)
    changed(cast, one, min=3, max=3)
    assert fleet.reread(one).status == Status.UPDATING
    assert serving(of, one, now, settled(one)) == (3, 4)
    live = Replica.objects.filter(state=ReplicaState.READY)
    assert list(live.values_list("revision", flat=True)) == [2, 2, 2]
    assert set(Replica.objects.filter(state=4).values_list("reason", flat=True)) == {"STOP_REPLACED"}
    assert set(live.values_list("replaces", flat=True)) == set(
        Replica.objects.filter(revision=1).values_list("key", flat=True)
    )


def test_r10_how_far_it_is_is_told(cast: Cast) -> None:
    of = world.offering()
    one, now = running(cast, of, 2, min=3, max=3)
    changed(cast, one, min=3, max=3)
    told: list[tuple[str, str, str]] = []
    for _ in passes(of.instance_type, now):
        status, reason, message = said(one)["ResourcesApplied"]
        if not told or told[-1] != (status, reason, message):
            told.append((status, reason, message))
        if settled(one)():
            break
    assert [each for each in told if each[1] == "RollingOut"] == [
        ("STATUS_FALSE", "RollingOut", f"{done} of 3 replicas have the newest revision") for done in (0, 1, 2)
    ]
    assert told[-1] == ("STATUS_TRUE", "Applied", "Every replica has the newest revision")


def test_r10_a_tenth_of_max_surges_at_a_time(cast: Cast) -> None:
    of = world.offering()
    one, now = running(cast, of, 4, min=8, max=30)
    changed(cast, one, min=8, max=30)
    fewest, most = serving(of, one, now, settled(one))
    assert fewest == 8
    assert 9 <= most <= 8 + 3 + 3  # three begin while the three before them still drain


def test_r10_where_nothing_is_free_one_goes_first(cast: Cast) -> None:
    of = world.offering()
    one, now = running(cast, of, 1, min=2, max=4, gpu_count=2)
    changed(cast, one, min=2, max=4, gpu_count=2)
    assert serving(of, one, now, settled(one)) == (1, 2)
    assert set(Replica.objects.filter(state=ReplicaState.READY).values_list("revision", flat=True)) == {2}
    assert Replica.objects.filter(reason="STOP_MAKES_ROOM").exists()


def test_r10_what_does_not_get_ready_stops_the_roll_out_and_the_old_ones_serve_on(cast: Cast) -> None:
    of = world.offering()
    one, _ = running(cast, of, 2, min=3, max=3)
    SimulatedFault.objects.create(deployment_key=one.key, never_ready=True)
    changed(cast, one, min=3, max=3)
    for failed in (1, 2, 3):
        fleet.tick(of.instance_type)
        assert count(ReplicaState.STARTING) == 1
        time_passes(LIMIT + timedelta(seconds=5))
        for _ in range(2):
            fleet.tick(of.instance_type)
        assert [count(state) for state in (ReplicaState.READY, ReplicaState.FAILED)] == [3, failed]
        assert count(ReplicaState.STARTING) == 0, "it backs off"
        time_passes(timedelta(minutes=1))
    assert fleet.reread(one).status == Status.UPDATING
    consistent()


def test_r10_a_restart_renews_that_replica_and_no_other(cast: Cast) -> None:
    of = world.offering()
    one, now = running(cast, of, 2, min=3, max=3)
    first, *others = Replica.objects.order_by("key")
    replica_restart(actor=cast.admin.actor, deployment_id=one.id, replica_key=first.key)
    assert serving(of, one, now, lambda: count(ReplicaState.STOPPED) == 1) == (3, 4)
    first.refresh_from_db()
    assert (first.state, first.reason) == (ReplicaState.STOPPED, "STOP_REPLACED")
    assert {row.key for row in Replica.objects.filter(state=2)} > {row.key for row in others}
    assert Replica.objects.get(replaces=first).revision == 1


def test_r9_a_restart_leaves_the_deployment_ready(cast: Cast) -> None:
    of = world.offering()
    one, now = running(cast, of, 2, min=2, max=3)
    replica_restart(actor=cast.admin.actor, deployment_id=one.id, replica_key=Replica.objects.order_by("key")[0].key)
    for _ in passes(of.instance_type, now):
        assert fleet.reread(one).status == Status.READY
        assert said(one)["ResourcesApplied"][1] == "Applied"
        if count(ReplicaState.STOPPED):
            break


@pytest.mark.parametrize("ends", ["delete", "disable"])
def test_w2_a_pair_goes_whole_when_its_deployment_is_deleted_or_disabled(cast: Cast, ends: str) -> None:
    of = world.offering()
    one, now = running(cast, of, 2, min=2, max=3)
    changed(cast, one, min=2, max=3)
    fleet.tick(of.instance_type, now)
    assert count(ReplicaState.STARTING, replaces__isnull=False) == 1
    if ends == "delete":
        deployment_delete(actor=cast.admin.actor, deployment_id=one.id)
    else:
        deployment_set_disabled(actor=cast.admin.actor, deployment_id=one.id, disabled=True)
    shard_tick(of.instance_type, now + fleet.EVERY)
    assert set(Replica.objects.values_list("state", flat=True)) == {ReplicaState.DRAINING}
    for _ in range(2):
        actuate_pass(now=clock.now())
        shard_tick(of.instance_type, now + 2 * fleet.EVERY)
    assert not Instance.objects.filter(gpus_used__gt=0).exists()
    assert Deployment.objects.filter(key=one.key).exists() is (ends == "disable")
    assert not UsageInterval.objects.filter(ended_at__isnull=True).exists()


def test_c10_replicas_move_off_an_instance_that_drains_and_it_is_free(cast: Cast) -> None:
    of = world.offering()
    one, now = running(cast, of, 2, min=3, max=4)
    used = Instance.objects.get(gpus_used=3)
    Instance.objects.filter(key=used.key).update(state=InstanceState.DRAINING, drain_until=now + FREE)
    assert serving(of, one, now, lambda: Instance.objects.get(key=used.key).gpus_used == 0) == (3, 6)
    assert count(ReplicaState.READY) == 3
    assert fleet.reread(one).status == Status.READY


def test_c10_what_finds_no_room_serves_until_the_deadline_and_then_stops_with_a_reason(cast: Cast) -> None:
    of = world.offering()
    one, now = running(cast, of, 1, min=2, max=2)
    Instance.objects.update(state=InstanceState.DRAINING, drain_until=now + timedelta(seconds=30))
    fleet.run(of.instance_type, now, 3)
    assert count(ReplicaState.READY) == 2
    fleet.run(of.instance_type, now + timedelta(seconds=31), 2)
    assert set(Replica.objects.values_list("state", "reason")) == {(ReplicaState.STOPPED, "STOP_NO_ROOM")}
    assert Instance.objects.get().gpus_used == 0
    told = said(one)
    assert fleet.reread(one).status == Status.READY
    assert told["Ready"][:2] == ("STATUS_FALSE", "CapacityShort")


def test_r15_replicas_move_over_to_claims_that_stayed_free_for_ten_minutes_one_by_one(cast: Cast) -> None:
    of = world.offering()
    one, now = running(cast, of, 2, min=2, max=3)
    assert set(Replica.objects.values_list("capacity_class", flat=True)) == {2}
    world.claim(cast.admin.actor, of, 1)
    claimed = Instance.objects.get(claim__isnull=False)
    fleet.run(of.instance_type, now, 2)
    assert count(ReplicaState.STARTING) == 0
    assert count(ReplicaState.READY, capacity_class=2) == 2
    later = now + FREE + timedelta(seconds=15)

    def moved() -> bool:
        return count(ReplicaState.READY, capacity_class=1) == 2 and count(ReplicaState.STOPPED) == 2

    assert serving(of, one, later, moved) == (2, 3)
    claimed.refresh_from_db()
    assert claimed.gpus_used == 2
    assert not UsageInterval.objects.filter(kind="REPLICA", ended_at__isnull=True).exists()
    assert fleet.reread(one).status == Status.READY


def test_r15_only_on_demand_deployments_stay_where_they_are(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 2)
    fleet.deployment(
        cast.admin.actor, fleet.gateway(cast.admin.actor), of, capacity_classes=("CAPACITY_CLASS_ON_DEMAND",)
    )
    now = fleet.run(of.instance_type, clock.now(), 3)
    world.claim(cast.admin.actor, of, 1)
    fleet.run(of.instance_type, now, 1)
    fleet.run(of.instance_type, now + FREE + timedelta(minutes=1), 3)
    assert list(Replica.objects.values_list("state", "capacity_class")) == [(2, 2)]


def test_r18_on_demand_goes_before_reserved_when_it_shrinks(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 2)
    world.claim(cast.admin.actor, of, 1)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, min=6, max=9)
    now = fleet.run(of.instance_type, clock.now(), 3)
    assert [count(ReplicaState.READY, capacity_class=each) for each in (1, 2)] == [4, 2]
    deployment_update(actor=cast.admin.actor, deployment_id=one.id, spec=fleet.spec(one.gateways.get(), min=1, max=3))
    fleet.run(of.instance_type, now, 3)
    stopped = Replica.objects.filter(state=ReplicaState.STOPPED)
    assert sorted(stopped.values_list("capacity_class", "reason")) == [
        (1, "STOP_LEAST_ACTIVE"), (2, "STOP_ON_DEMAND"), (2, "STOP_ON_DEMAND"),
    ]  # fmt: skip
    newest = max(Replica.objects.filter(capacity_class=1).values_list("key", flat=True))
    assert stopped.get(capacity_class=1).key == newest
    consistent()
