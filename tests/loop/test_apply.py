"""Acting on a plan: what no longer holds is left out and said, replicas leave where they must, twice changes nothing."""

from collections.abc import Callable
from datetime import datetime

import pytest

from claims.core.states import InstanceState
from claims.models import Instance, InstanceType
from console.common import clock
from deployments.core.params import Params
from deployments.core.planner import plan
from deployments.core.reasons import Reason
from deployments.core.states import ReplicaState
from deployments.loop.apply import Applied, apply_plan
from deployments.loop.snapshot import read_shard
from deployments.models import Decision, Deployment, PlannerState, Replica, ReplicaPlacement
from deployments.services import deployment_delete, deployment_update
from tests import fleet, world
from tests.cast import Cast

pytestmark = pytest.mark.django_db


def planned(type_: InstanceType, now: datetime) -> Callable[[], Applied | None]:
    """A plan that waits to be acted on."""
    shard = read_shard(type_, Params(), now)
    made = plan(shard.snapshot, Params(), now.timestamp())
    return lambda: apply_plan(type_, shard, made, now)


def counts() -> dict[str, int]:
    return {ReplicaState(state).name: Replica.objects.filter(state=state).count()
            for state in set(Replica.objects.values_list("state", flat=True))}  # fmt: skip


def test_a_tick_repeated_changes_nothing(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 2)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, min=2)
    now = fleet.run(of.instance_type, clock.now(), 4)
    before = (counts(), list(Decision.objects.values_list("id", flat=True)), fleet.reread(one).updated_at)
    fleet.run(of.instance_type, now, 4)
    assert (counts(), list(Decision.objects.values_list("id", flat=True)), fleet.reread(one).updated_at) == before


def test_w2_a_stale_grant_is_said_and_its_later_success_is_a_decision_of_its_own(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 1)
    fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, min=3)
    act = planned(of.instance_type, clock.now())
    world.claim(cast.outsider.actor, of, 1)
    act()
    decision = Decision.objects.get()
    assert (decision.wanted, decision.granted, decision.bound) == (3, 0, "CAPACITY")
    assert decision.record["granted_code"] == Reason.STALE
    assert decision.record["stale"] == 3
    world.pool(of, 1)
    fleet.tick(of.instance_type)
    assert list(Decision.objects.order_by("id").values_list("granted", flat=True)) == [0, 3]


def test_w2_only_the_part_that_no_longer_holds_is_left_out(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 2)
    fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, min=6, max=9)
    act = planned(of.instance_type, clock.now())
    world.claim(cast.outsider.actor, of, 1)
    done = act()
    assert done is not None
    assert (done.started, done.stale) in {(4, 2), (2, 4)}
    assert ReplicaPlacement.objects.count() == Replica.objects.count() == done.started
    assert sum(Instance.objects.values_list("gpus_used", flat=True)) == done.started
    assert Decision.objects.get().granted == done.started


def test_a_deployment_deleted_after_the_plan_gets_no_replica(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 1)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, min=3)
    act = planned(of.instance_type, clock.now())
    deployment_delete(actor=cast.admin.actor, deployment_id=one.id)
    act()
    assert not Replica.objects.exists()
    fleet.tick(of.instance_type)
    assert not Deployment.objects.exists()


def test_a_deployment_changed_after_the_plan_rolls_what_was_planned(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 3)
    at = fleet.gateway(cast.admin.actor)
    one = fleet.deployment(cast.admin.actor, at, of, min=2)
    now = clock.now()
    act = planned(of.instance_type, now)
    deployment_update(actor=cast.admin.actor, deployment_id=one.id, spec=fleet.spec(at, gpu_count=2, min=2))
    act()
    assert set(Replica.objects.values_list("gpus", "revision")) == {(1, 1)}
    fleet.run(of.instance_type, now, 12)
    live = Replica.objects.filter(state=ReplicaState.READY)
    assert list(live.values_list("gpus", "revision")) == [(2, 2), (2, 2)]
    assert sum(Instance.objects.values_list("gpus_used", flat=True)) == 4


def test_c10_replicas_leave_an_instance_that_is_draining(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 2)
    fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, min=2)
    now = fleet.run(of.instance_type, clock.now(), 3)
    used = Instance.objects.get(gpus_used=2)
    Instance.objects.filter(key=used.key).update(state=InstanceState.DRAINING)
    fleet.run(of.instance_type, now, 4)
    assert set(Replica.objects.filter(state=4).values_list("reason", flat=True)) == {"STOP_REPLACED"}
    assert Instance.objects.get(key=used.key).gpus_used == 0
    assert counts() == {"READY": 2, "STOPPED": 2}


def test_c10_a_replica_on_two_instances_leaves_when_either_is_draining(cast: Cast) -> None:
    of = world.offering()
    instances = world.pool(of, 4)
    fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, gpu_count=8)
    now = fleet.run(of.instance_type, clock.now(), 3)
    replica = Replica.objects.get()
    on = sorted(replica.placements.values_list("instance_id", flat=True))
    assert (len(on), len(instances)) == (2, 4)
    Instance.objects.filter(key=on[1]).update(state=InstanceState.DRAINING)
    fleet.run(of.instance_type, now, 4)
    replica.refresh_from_db()
    assert (replica.state, replica.reason) == (ReplicaState.STOPPED, "STOP_REPLACED")
    assert counts() == {"READY": 1, "STOPPED": 1}


def test_replicas_started_while_their_deployment_moved_to_another_type_leave_once_it_is_served_there(
    cast: Cast,
) -> None:
    old, new = world.offering(), world.offering("US-EAST-01A", "gd-8xh100ib-i128")
    world.pool(old, 1)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), old, min=2)
    now = fleet.run(old.instance_type, clock.now(), 3)
    # The service refuses this while replicas run; a tick that planned before may still start some.
    Deployment.objects.filter(key=one.key).update(instance_type=new.instance_type, revision=2, status="STATUS_UPDATING")
    for _ in range(3):
        now = fleet.run(old.instance_type, now, 1)
        now = fleet.run(new.instance_type, now, 1)
    assert counts() == {"READY": 2}  # there is no machine of the new type yet
    assert fleet.reread(one).status != "STATUS_READY"
    world.pool(new, 1)
    for _ in range(6):
        now = fleet.run(new.instance_type, now, 1)
        now = fleet.run(old.instance_type, now, 1)
    assert counts() == {"READY": 2, "STOPPED": 2}
    assert set(Replica.objects.filter(state=ReplicaState.READY).values_list("instance_type", flat=True)) == {
        new.instance_type.key
    }
    assert fleet.reread(one).status == "STATUS_READY"


def test_memory_that_cannot_be_read_holds_the_size(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 4)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, max=9, concurrency=4)
    fleet.workload(one, scale=2.0)
    now = fleet.run(of.instance_type, clock.now(), 30)
    size = Replica.objects.filter(state__in=[1, 2]).count()
    assert size > 1
    PlannerState.objects.update(payload=b"from another version")
    fleet.workload_stops(one)
    fleet.run(of.instance_type, now, 3)
    assert Replica.objects.filter(state__in=[1, 2]).count() == size
