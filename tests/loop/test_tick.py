"""The scaling loop on the real database: sample, plan, place, start, follow the queue, let go."""

from datetime import timedelta

import pytest

from claims.core.states import Status
from claims.models import Instance, UsageInterval
from console.common import clock
from deployments.core.states import ReplicaState
from deployments.loop.tick import shard_tick
from deployments.models import Decision, Deployment, Replica, ReplicaPlacement, SignalBlock
from deployments.services import deployment_delete, deployment_set_disabled
from tests import fleet, world
from tests.cast import Cast

pytestmark = pytest.mark.django_db


def test_a_new_deployment_gets_its_min_and_becomes_ready(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 2)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, min=2)
    assert one.status == Status.CREATING
    fleet.tick(of.instance_type)
    assert list(Replica.objects.values_list("state", flat=True)) == [ReplicaState.STARTING] * 2
    assert fleet.reread(one).status == Status.CREATING
    fleet.loaded()
    fleet.tick(of.instance_type)
    fleet.tick(of.instance_type)
    one = fleet.reread(one)
    assert (one.status, one.ready) == (Status.READY, 2)  # type: ignore[attr-defined]
    assert sum(Instance.objects.values_list("gpus_used", flat=True)) == 2


def test_replicas_follow_the_queue_up_and_decisions_say_why(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 4)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, max=9, concurrency=4)
    start = clock.now()
    fleet.workload(one, scale=2.0)
    fleet.run(of.instance_type, start, 40)
    assert Replica.objects.filter(state=ReplicaState.READY).count() > 3
    decision = Decision.objects.order_by("id").last()
    assert decision is not None
    assert decision.wanted >= decision.granted > 1
    assert decision.record["concurrency"] == 4


def test_max_is_never_passed_and_the_bound_says_so(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 8)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, max=2, concurrency=1)
    fleet.workload(one, scale=2.0)
    fleet.run(of.instance_type, clock.now(), 30)
    assert Replica.objects.filter(state__in=[1, 2]).count() == 2
    assert Decision.objects.order_by("id").last().bound == "MAX"  # type: ignore[union-attr]


def test_what_capacity_does_not_give_is_said_and_waited_for(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 1)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor, of.zone.name), of, min=6, max=9)
    fleet.tick(of.instance_type)
    decision = Decision.objects.get(deployment=one)
    assert (decision.wanted, decision.granted, decision.bound) == (6, 4, "CAPACITY")
    world.pool(of, 1)
    fleet.tick(of.instance_type)
    assert Replica.objects.count() == 6


def test_on_demand_replicas_are_billed_from_placement_to_release(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 1)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, gpu_count=2)
    fleet.tick(of.instance_type)
    interval = UsageInterval.objects.get()
    assert (interval.kind, interval.gpus, interval.holder_id, interval.ended_at) == ("REPLICA", 2, one.id, None)
    deployment_delete(actor=cast.admin.actor, deployment_id=one.id)
    fleet.tick(of.instance_type)
    interval.refresh_from_db()
    assert interval.ended_at is not None
    assert not ReplicaPlacement.objects.exists()
    assert Instance.objects.get(gpus_used=0, organization__isnull=True)
    fleet.tick(of.instance_type)
    assert not Deployment.objects.exists()


def test_reserved_replicas_run_on_the_claim_and_cost_nothing_more(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 2)
    world.claim(cast.admin.actor, of, 1)
    fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, min=4, max=4)
    fleet.tick(of.instance_type)
    assert set(Replica.objects.values_list("capacity_class", flat=True)) == {1}
    assert not UsageInterval.objects.filter(kind="REPLICA").exists()


def test_a_disabled_deployment_is_torn_down_and_then_ready(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 1)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of)
    fleet.run(of.instance_type, clock.now(), 3)
    deployment_set_disabled(actor=cast.admin.actor, deployment_id=one.id, disabled=True)
    assert fleet.reread(one).status == Status.UPDATING
    for _ in range(3):
        fleet.tick(of.instance_type)
    one = fleet.reread(one)
    assert one.status == Status.READY
    assert [(c["type"], c["status"], c["reason"]) for c in one.conditions] == [
        ("Ready", "STATUS_TRUE", "Disabled"), ("ResourcesApplied", "STATUS_TRUE", "Disabled"),
    ]  # fmt: skip
    assert not ReplicaPlacement.objects.exists()


def test_a_change_of_the_model_rolls_every_replica(cast: Cast) -> None:
    from deployments.services import deployment_update

    of = world.offering()
    world.pool(of, 2)
    at = fleet.gateway(cast.admin.actor)
    one = fleet.deployment(cast.admin.actor, at, of, min=2)
    now = fleet.run(of.instance_type, clock.now(), 3)
    deployment_update(actor=cast.admin.actor, deployment_id=one.id, spec=fleet.spec(at, model_path="llama/71b", min=2))
    assert fleet.reread(one).status == Status.UPDATING
    fleet.run(of.instance_type, now, 12)
    live = Replica.objects.filter(state=ReplicaState.READY)
    assert list(live.values_list("revision", flat=True)) == [2, 2]
    assert fleet.reread(one).status == Status.READY


def test_two_passes_from_one_state_act_once(cast: Cast) -> None:
    from deployments.core.params import Params
    from deployments.core.planner import plan
    from deployments.loop.apply import apply_plan
    from deployments.loop.snapshot import read_shard

    of = world.offering()
    world.pool(of, 4)
    fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, min=3)
    now = clock.now()
    both = [read_shard(of.instance_type, Params(), now) for _ in range(2)]
    plans = [plan(shard.snapshot, Params(), now.timestamp()) for shard in both]
    done = [apply_plan(of.instance_type, shard, made, now) for shard, made in zip(both, plans, strict=True)]
    assert done[0] is not None
    assert done[1] is None
    assert Replica.objects.count() == 3


def test_what_no_longer_holds_is_left_out_and_planned_again(cast: Cast) -> None:
    from deployments.core.params import Params
    from deployments.core.planner import plan
    from deployments.loop.apply import apply_plan
    from deployments.loop.snapshot import read_shard

    of = world.offering()
    world.pool(of, 1)
    fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, min=3)
    now = clock.now()
    shard = read_shard(of.instance_type, Params(), now)
    made = plan(shard.snapshot, Params(), now.timestamp())
    world.claim(cast.outsider.actor, of, 1)
    done = apply_plan(of.instance_type, shard, made, now)
    assert done is not None
    assert (done.started, done.stale) == (0, 3)
    assert not Replica.objects.exists()
    assert not UsageInterval.objects.filter(kind="REPLICA").exists()


def test_a_block_is_kept_for_each_pass(cast: Cast) -> None:
    of = world.offering()
    fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of)
    now = clock.now()
    shard_tick(of.instance_type, now)
    shard_tick(of.instance_type, now + timedelta(seconds=5))
    assert SignalBlock.objects.count() == 2
