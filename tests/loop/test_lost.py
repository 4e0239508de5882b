"""A machine that vanishes takes its replicas with it at once, and they are replaced."""

from datetime import timedelta

import pytest

from claims import provisioning
from claims.models import Instance, SimulatedNode, UsageInterval
from console.common import clock
from deployments.core.states import ReplicaState
from deployments.loop.actuate import actuate_pass
from deployments.loop.tick import shard_tick
from deployments.models import Replica, SimulatedReplica
from tests import fleet, world
from tests.cast import Cast
from tests.loop.test_faults import consistent

pytestmark = pytest.mark.django_db


def vanish(instance: Instance) -> None:
    """The machine is gone, and the provision loop has seen it."""
    SimulatedNode.objects.filter(instance_key=instance.key).delete()
    provisioning.provision_pass(now=clock.now())
    instance.refresh_from_db()
    assert instance.lost_at is not None


def test_c6_replicas_on_a_lost_instance_end_in_the_next_tick_and_are_replaced_in_it(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 2)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, min=2)
    fleet.run(of.instance_type, clock.now(), 3)
    lost = Instance.objects.get(gpus_used=2)
    vanish(lost)
    shard_tick(of.instance_type, clock.now())
    lost.refresh_from_db()
    assert lost.gpus_used == 0
    assert set(Replica.objects.filter(state=ReplicaState.FAILED).values_list("reason", "retry_at")) == {
        ("INSTANCE_LOST", None)
    }
    assert Replica.objects.filter(state=ReplicaState.STARTING).count() == 2
    assert UsageInterval.objects.filter(ended_at__isnull=True).count() == 2
    assert SimulatedReplica.objects.count() == 2  # nobody has told the runtime yet
    actuate_pass(now=clock.now())
    consistent()
    fleet.run(of.instance_type, clock.now(), 2)
    assert Replica.objects.filter(state=ReplicaState.READY).count() == 2
    assert fleet.reread(one).failures == 0, "a lost machine is no fault of the model (R8)"


def test_r16_a_replica_on_several_instances_ends_when_one_of_them_is_lost(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 4)
    fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, gpu_count=8)
    now = fleet.run(of.instance_type, clock.now(), 3)
    replica = Replica.objects.get()
    on = [part.instance for part in replica.placements.order_by("pk")]
    vanish(on[1])
    fleet.run(of.instance_type, now, 3)
    replica.refresh_from_db()
    assert replica.state == ReplicaState.FAILED
    assert set(Instance.objects.filter(key__in=[one.key for one in on]).values_list("gpus_used", flat=True)) <= {0, 4}
    new = Replica.objects.get(state=ReplicaState.READY)
    assert on[1].key not in new.placements.values_list("instance_id", flat=True)
    assert new.placements.count() == 2
    consistent()


def test_one_that_drains_on_a_lost_instance_ends_too(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 1)
    fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of)
    fleet.run(of.instance_type, clock.now(), 3)
    Replica.objects.update(state=ReplicaState.DRAINING, reason="STOP_OUTDATED")
    SimulatedReplica.objects.update(active=3, draining_at=clock.now() - timedelta(seconds=5))
    vanish(Instance.objects.get())
    shard_tick(of.instance_type, clock.now())
    assert list(Replica.objects.values_list("state", "reason")) == [(ReplicaState.FAILED, "INSTANCE_LOST")]
    consistent_after_actuate()


def consistent_after_actuate() -> None:
    actuate_pass(now=clock.now())
    consistent()
