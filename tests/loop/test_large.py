"""Replicas larger than a machine: several whole instances of one zone through the whole loop (R16)."""

import pytest

from claims.models import Instance, UsageInterval
from console.common import clock
from deployments.core.states import ReplicaState
from deployments.models import Replica, ReplicaPlacement
from deployments.services import deployment_delete
from tests import fleet, world
from tests.cast import Cast
from tests.loop.test_faults import consistent

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("type_", "zone", "parts"), [("gd-8xh100ib-i128", "US-EAST-01A", 2), ("gb200-4x", "US-WEST-04A", 4)]
)
def test_r16_sixteen_gpus_lie_on_whole_instances_and_each_is_booked_and_paid(
    cast: Cast, type_: str, zone: str, parts: int
) -> None:
    of = world.offering(zone, type_)
    size = of.instance_type.gpus
    world.pool(of, parts + 1)
    at = fleet.gateway(cast.admin.actor)
    small = fleet.deployment(cast.admin.actor, at, of, name="small")
    now = fleet.run(of.instance_type, clock.now(), 3)
    large = fleet.deployment(cast.admin.actor, at, of, name="large", gpu_count=16)
    now = fleet.run(of.instance_type, now, 3)
    replica = Replica.objects.get(deployment=large)
    assert replica.state == ReplicaState.READY
    assert list(replica.placements.values_list("gpus", flat=True)) == [size] * parts
    on = set(replica.placements.values_list("instance_id", flat=True))
    beside = ReplicaPlacement.objects.get(replica__deployment=small).instance_id
    assert len(on) == parts
    assert beside not in on
    assert set(Instance.objects.filter(key__in=on).values_list("gpus_used", "organization")) == {
        (size, cast.organization.key)
    }
    paid = UsageInterval.objects.filter(holder_id=large.id)
    assert {(one.instance_id, one.gpus, one.resource_key) for one in paid} == {(key, size, replica.key) for key in on}
    consistent()
    deployment_delete(actor=cast.admin.actor, deployment_id=large.id)
    fleet.run(of.instance_type, now, 2)
    assert not paid.filter(ended_at__isnull=True).exists()
    assert not Instance.objects.filter(key__in=on, organization__isnull=False).exists()
    assert set(Instance.objects.filter(key__in=on).values_list("gpus_used", flat=True)) == {0}
    assert Instance.objects.get(key=beside).gpus_used == 1
    consistent()


def test_r16_it_waits_for_whole_instances_and_says_so(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 3)
    other = world.offering("US-EAST-01A")
    world.pool(other, 1)  # four in all, but in two zones
    large = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, name="large", gpu_count=16)
    now = fleet.run(of.instance_type, clock.now(), 2)
    assert not Replica.objects.exists()
    decision = large.decisions.get()
    assert (decision.wanted, decision.granted, decision.bound) == (1, 0, "CAPACITY")
    world.pool(of, 1)
    fleet.run(of.instance_type, now, 2)
    assert Replica.objects.get().placements.count() == 4
    consistent()
