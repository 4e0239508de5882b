"""Killed between any two steps, or facing a runtime that fails: the next pass goes on, nothing is lost or twice."""

from datetime import timedelta

import pytest
from django.db.models import Sum

from claims.models import Instance, UsageInterval
from console.common import clock
from deployments.core.states import ReplicaState
from deployments.loop import actuate, apply, tick, transitions
from deployments.loop.actuate import actuate_pass
from deployments.loop.tick import shard_tick
from deployments.models import Decision, Deployment, Replica, ReplicaPlacement, SignalBlock, SimulatedReplica
from deployments.services import deployment_delete
from tests import fleet, world
from tests.cast import Cast
from tests.loop.faults import Faulty, Killed, killed_at, refusing, silent

pytestmark = pytest.mark.django_db


def consistent() -> None:
    """Instances, placements, replicas, the runtime and the ledger tell the same."""
    held = dict(ReplicaPlacement.objects.values_list("instance").annotate(Sum("gpus")))
    assert {one.key: one.gpus_used for one in Instance.objects.all() if one.gpus_used} == held
    holding = set(Replica.objects.filter(state__in=[1, 2, 3]).values_list("key", flat=True))
    assert set(ReplicaPlacement.objects.values_list("replica", flat=True)) == holding
    assert set(SimulatedReplica.objects.values_list("replica_key", flat=True)) <= holding
    paid = UsageInterval.objects.filter(kind="REPLICA", ended_at__isnull=True)
    on_demand = set(Replica.objects.filter(key__in=holding, capacity_class=2).values_list("key", flat=True))
    assert set(paid.values_list("resource_key", flat=True)) == on_demand


def lease_runs_out() -> None:
    Replica.objects.filter(leased_until__isnull=False).update(leased_until=clock.now() - timedelta(seconds=1))


def passes_for_ever(backend: Faulty) -> None:
    while True:
        actuate_pass(now=clock.now(), backend=backend)


def starting(cast: Cast) -> Deployment:
    of = world.offering()
    world.pool(of, 2)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, min=3)
    shard_tick(of.instance_type, clock.now())
    return one


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("call", range(3))
def test_an_actuate_pass_killed_at_any_call_is_taken_up_again(cast: Cast, call: int, done: bool) -> None:
    starting(cast)
    with pytest.raises(Killed):
        actuate_pass(now=clock.now(), backend=killed_at(call, done=done))
    lease_runs_out()
    actuate_pass(now=clock.now())
    fleet.loaded()
    actuate_pass(now=clock.now())
    assert list(Replica.objects.values_list("state", flat=True)) == [ReplicaState.READY] * 3
    consistent()


@pytest.mark.thorough
@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("call", range(5))
def test_draining_killed_at_any_call_is_taken_up_again(cast: Cast, call: int, done: bool) -> None:
    one = starting(cast)
    actuate_pass(now=clock.now())
    fleet.loaded()
    actuate_pass(now=clock.now())
    deployment_delete(actor=cast.admin.actor, deployment_id=one.id)
    shard_tick(one.instance_type, clock.now())
    backend = killed_at(call, done=done)
    with pytest.raises(Killed):
        passes_for_ever(backend)
    lease_runs_out()
    actuate_pass(now=clock.now())
    assert set(Replica.objects.values_list("state", flat=True)) == {ReplicaState.STOPPED}
    consistent()
    shard_tick(one.instance_type, clock.now())
    assert not Deployment.objects.exists()


@pytest.mark.thorough
@pytest.mark.parametrize("where", [
    (tick, "read_shard"), (tick, "plan"), (tick, "apply_plan"), (apply, "_start"), (apply, "gpus_take"),
    (apply, "let_go"), (apply, "_record"), (apply, "settle"), (apply, "publish"),
], ids=lambda one: one[1])  # fmt: skip
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_tick_killed_at_any_step_is_made_up_for_by_the_next(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, where: tuple[object, str], after: bool
) -> None:
    of = world.offering()
    world.pool(of, 2)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, min=3)
    module, name = where
    original = getattr(module, name)

    def killed(*given: object, **named: object) -> None:
        if after:
            original(*given, **named)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(module, name, killed)
        with pytest.raises(Killed):
            shard_tick(of.instance_type, clock.now())
    consistent()
    fleet.run(of.instance_type, clock.now(), 3)
    assert list(Replica.objects.values_list("state", flat=True)) == [ReplicaState.READY] * 3
    assert Decision.objects.count() == 1
    assert fleet.reread(one).status == "STATUS_READY"
    consistent()


@pytest.mark.parametrize("name", ["gpus_release", "publish"])
def test_an_end_that_is_killed_half_way_did_not_happen(cast: Cast, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    one = starting(cast)
    actuate_pass(now=clock.now())
    deployment_delete(actor=cast.admin.actor, deployment_id=one.id)
    shard_tick(one.instance_type, clock.now())

    def killed(*given: object, **named: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(transitions, name, killed)
        with pytest.raises(Killed):
            actuate_pass(now=clock.now())
    assert set(Replica.objects.values_list("state", flat=True)) == {ReplicaState.DRAINING}
    assert ReplicaPlacement.objects.count() == 3
    lease_runs_out()
    actuate_pass(now=clock.now())
    consistent()


@pytest.mark.parametrize("backend", [refusing("start"), silent("start"), refusing("observe"), silent("observe")],
                         ids=["start refused", "start silent", "observe refused", "observe silent"])  # fmt: skip
def test_a_runtime_that_fails_is_asked_again_later_and_later(cast: Cast, backend: Faulty) -> None:
    starting(cast)
    now = clock.now()
    actuate_pass(now=now, backend=backend)
    replica = Replica.objects.first()
    assert replica is not None
    assert (replica.state, replica.attempts, replica.leased_until) == (ReplicaState.STARTING, 1, None)
    assert replica.next_attempt_at is not None
    assert replica.next_attempt_at > now
    assert replica.last_error
    assert not actuate.lease(now=now)
    actuate_pass(now=now + timedelta(seconds=30), backend=backend)
    assert Replica.objects.filter(attempts=2).count() == 3
    actuate_pass(now=now + timedelta(minutes=10))
    fleet.loaded()
    actuate_pass(now=now + timedelta(minutes=10))
    assert set(Replica.objects.values_list("state", "attempts", "last_error")) == {(ReplicaState.READY, 0, "")}
    consistent()


def test_a_runtime_that_cannot_start_still_drains(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 2)
    at = fleet.gateway(cast.admin.actor)
    going = fleet.deployment(cast.admin.actor, at, of, name="going")
    now = fleet.run(of.instance_type, clock.now(), 3)
    deployment_delete(actor=cast.admin.actor, deployment_id=going.id)
    fleet.deployment(cast.admin.actor, at, of, name="coming")
    shard_tick(of.instance_type, now)
    actuate_pass(now=clock.now(), backend=refusing("start"))
    assert list(Replica.objects.order_by("key").values_list("state", flat=True)) == [4, 1]
    consistent()


def test_r5_a_runtime_that_cannot_be_sampled_holds_the_size(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 4)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, max=9, concurrency=4)
    fleet.workload(one, scale=2.0)
    now = fleet.run(of.instance_type, clock.now(), 30)
    size = Replica.objects.filter(state=ReplicaState.READY).count()
    blocks = SignalBlock.objects.count()
    assert size > 1
    for number in range(200):
        done = shard_tick(of.instance_type, now + number * fleet.EVERY, backend=refusing("sample"))
        assert not done.sampled
    assert Replica.objects.filter(state=ReplicaState.READY).count() == size
    assert SignalBlock.objects.count() == blocks


def test_a_replica_that_vanishes_is_failed_released_and_replaced(cast: Cast) -> None:
    one = starting(cast)
    now = fleet.run(one.instance_type, clock.now(), 2)
    SimulatedReplica.objects.filter(replica_key=Replica.objects.order_by("key")[0].key).delete()
    fleet.run(one.instance_type, now, 3)
    assert sorted(Replica.objects.values_list("state", flat=True)) == [2, 2, 2, 5]
    consistent()


def test_what_the_runtime_runs_and_no_row_wants_is_stopped(cast: Cast) -> None:
    one = starting(cast)
    actuate_pass(now=clock.now())
    now = clock.now()
    SimulatedReplica.objects.create(replica_key=10**9, deployment_key=one.key, started_at=now, ready_at=now)
    actuate_pass(now=clock.now())
    assert SimulatedReplica.objects.count() == 3
    consistent()


def test_w4_a_leased_replica_is_left_to_its_worker_until_the_lease_runs_out(cast: Cast) -> None:
    starting(cast)
    now = clock.now()
    assert len(actuate.lease(now=now)) == 3
    assert actuate.lease(now=now + actuate.LEASE - timedelta(seconds=1)) == []
    assert len(actuate.lease(now=now + actuate.LEASE)) == 3


def test_a_late_worker_does_not_give_back_the_lease_of_another(cast: Cast) -> None:
    starting(cast)
    now = clock.now()
    late = actuate.lease(now=now)
    actuate.lease(now=now + actuate.LEASE)
    actuate._release(late)
    assert not Replica.objects.filter(leased_until=None).exists()


def test_more_replicas_than_one_batch_are_all_served(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actuate, "BATCH", 2)
    starting(cast)
    actuate_pass(now=clock.now())
    assert SimulatedReplica.objects.count() == 3
    consistent()
