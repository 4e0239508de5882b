"""Instances that a claim takes over in place: their replicas become reserved, the ledger stays as the claim left it."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from claims.models import UsageInterval
from console.common import clock
from deployments.core.params import Params
from deployments.core.states import ReplicaState
from deployments.loop.snapshot import read_shard
from deployments.loop.tick import shard_tick
from deployments.models import Replica
from tests import fleet, world
from tests.cast import Cast

pytestmark = pytest.mark.django_db


def intervals() -> list[dict[str, Any]]:
    return [dict(one) for one in UsageInterval.objects.order_by("id").values()]


def classes() -> list[int]:
    return list(Replica.objects.order_by("key").values_list("capacity_class", flat=True))


def test_c4_replicas_on_an_instance_that_was_converted_become_reserved_and_cost_nothing_more(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 1)
    fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, min=3)
    fleet.run(of.instance_type, clock.now(), 3)
    assert classes() == [2, 2, 2]
    world.claim(cast.admin.actor, of, 1)
    before = intervals()
    shard = read_shard(of.instance_type, Params(), clock.now())
    assert set(shard.snapshot.replicas.capacity_class.tolist()) == {1}, "the planner sees it in the same pass"
    shard_tick(of.instance_type, clock.now())
    assert classes() == [1, 1, 1]
    assert set(Replica.objects.values_list("state", flat=True)) == {ReplicaState.READY}
    assert intervals() == before
    assert [(one["kind"], one["ended_at"] is None) for one in before] == [*[("REPLICA", False)] * 3, ("CLAIM", True)]


def test_c4_one_that_drains_is_reserved_too(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 1)
    fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of)
    fleet.run(of.instance_type, clock.now(), 3)
    Replica.objects.update(state=ReplicaState.DRAINING)
    world.claim(cast.admin.actor, of, 1)
    shard_tick(of.instance_type, clock.now())
    assert classes()[0] == 1


def test_c4_a_replica_on_two_instances_is_reserved_once_a_claim_takes_both(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 2)
    fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, gpu_count=8)
    fleet.run(of.instance_type, clock.now(), 3)
    world.claim(cast.admin.actor, of, 1, name="small")
    shard_tick(of.instance_type, clock.now())
    assert classes() == [2], "half a replica is not converted"
    world.claim(cast.admin.actor, of, 2, name="large")
    shard_tick(of.instance_type, clock.now())
    assert classes() == [1]


def test_a_tick_without_conversions_writes_no_class(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 1)
    fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of)
    fleet.run(of.instance_type, clock.now(), 3)
    with CaptureQueriesContext(connection) as queries:
        shard_tick(of.instance_type, clock.now())
    assert not [query for query in queries if 'SET "capacity_class"' in query["sql"]]
