"""What a deployment says of itself through its life (R9), and when a decision is worth a row."""

import itertools
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from claims.core.states import InstanceState, Status
from claims.models import Instance
from console.common import clock
from deployments.core.states import ReplicaState
from deployments.core.status import Facts, deployment_status
from deployments.loop import settle
from deployments.loop.columns import read_rows
from deployments.loop.tick import shard_tick
from deployments.models import AutoscalingPolicy, Decision, Deployment, Replica
from deployments.services import deployment_update
from tests import fleet, world
from tests.cast import Cast

pytestmark = pytest.mark.django_db


def ready_of(one: Deployment) -> tuple[str, str]:
    condition = next(each for each in fleet.reread(one).conditions if each["type"] == "Ready")
    return condition["status"], condition["reason"]


def test_r9_ready_from_min_on_and_a_later_shortage_is_a_condition(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 1)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, min=4, max=9)
    fleet.tick(of.instance_type)
    assert (fleet.reread(one).status, *ready_of(one)) == (Status.CREATING, "STATUS_FALSE", "Starting")
    now = fleet.run(of.instance_type, clock.now(), 2)
    assert (fleet.reread(one).status, *ready_of(one)) == (Status.READY, "STATUS_TRUE", "MinReady")
    Instance.objects.update(lost_at=clock.now(), state=InstanceState.DRAINING)
    now = fleet.run(of.instance_type, now, 2)
    assert Replica.objects.filter(state=ReplicaState.READY).count() == 0
    assert (fleet.reread(one).status, *ready_of(one)) == (Status.READY, "STATUS_FALSE", "CapacityShort")
    world.pool(of, 1)
    fleet.run(of.instance_type, now, 3)
    assert (fleet.reread(one).status, *ready_of(one)) == (Status.READY, "STATUS_TRUE", "MinReady")


def test_r9_a_min_raised_beyond_what_there_is_leaves_it_ready_and_says_so(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 1)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, min=1, max=9)
    now = fleet.run(of.instance_type, clock.now(), 2)
    spec = fleet.spec(one.gateways.get(), min=6, max=9)
    assert deployment_update(actor=cast.admin.actor, deployment_id=one.id, spec=spec).status == Status.READY
    fleet.run(of.instance_type, now, 2)
    assert (fleet.reread(one).status, *ready_of(one)) == (Status.READY, "STATUS_FALSE", "CapacityShort")


def test_r9_what_was_right_only_while_it_was_judged_is_judged_again(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = world.offering()
    world.pool(of, 1)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, min=1, max=9)
    now = fleet.run(of.instance_type, clock.now(), 2)
    policy = AutoscalingPolicy.objects.filter(deployment=one)

    def between(query: str, given: Any) -> list[tuple[Any, ...]]:
        policy.update(min=1)
        rows = read_rows(query, given)
        policy.update(min=6)
        return rows

    policy.update(min=6)
    with monkeypatch.context() as patch:
        patch.setattr(settle, "read_rows", between)
        settle.settle(of.instance_type, now)
    assert ready_of(one) == ("STATUS_TRUE", "MinReady")
    settle.settle(of.instance_type, now)
    assert ready_of(one) == ("STATUS_FALSE", "CapacityShort")


def test_r9_no_condition_is_ever_without_a_reason_or_a_message() -> None:
    now = clock.now()
    numbers = itertools.product(Status, [False, True], [False, True], [0, 3], [0, 2, 4], [0, 2], [0, 5], ["", "why"])
    for status, disabled, ever, ready, live, old, failures, error in numbers:
        facts = Facts(status, disabled, ever, 3, ready, live, 1, old, failures, error, "US-WEST-04A")
        after, conditions = deployment_status(facts, now)
        assert after in Status
        assert {"Ready", "Progressing" if status == Status.DELETING else "ResourcesApplied"} <= {
            one["type"] for one in conditions
        }
        assert all(one["reason"] and one["message"] and one["lastUpdateTime"] and one["zone"] for one in conditions)
        assert not (status == Status.CREATING and after == Status.UPDATING)
        assert (status == Status.DELETING) == (after == Status.DELETING)


def test_a_decision_is_written_when_wanted_granted_or_its_bound_changes_only(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 2)
    at = fleet.gateway(cast.admin.actor)
    one = fleet.deployment(cast.admin.actor, at, of, min=3, max=3)
    now = fleet.run(of.instance_type, clock.now(), 4)
    before = list(Decision.objects.values_list("id", flat=True))
    spec = fleet.spec(at, model_path="new", min=3, max=3)
    deployment_update(actor=cast.admin.actor, deployment_id=one.id, spec=spec)
    fleet.run(of.instance_type, now, 12)
    assert set(Replica.objects.filter(state=2).values_list("revision", flat=True)) == {2}
    assert list(Decision.objects.values_list("id", flat=True)) == before, "a roll-out changes no size"
    rows = list(Decision.objects.order_by("id").values_list("wanted", "granted", "bound"))
    assert all(earlier != later for earlier, later in itertools.pairwise(rows))


# Queries of a tick in which nothing changes: a change of this number is a decision.
QUIET_TICK = 36


def test_a_quiet_tick_takes_the_same_few_queries_whatever_the_size(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 8)
    at = fleet.gateway(cast.admin.actor)
    counts: list[int] = []
    now = clock.now()
    for names in ("ab", "cdefghij"):
        for name in names:
            fleet.deployment(cast.admin.actor, at, of, name=name * 3, min=2)
        now = fleet.run(of.instance_type, now, 3)
        with CaptureQueriesContext(connection) as queries:
            shard_tick(of.instance_type, now)
        counts.append(len(queries))
        now += timedelta(seconds=5)
    assert counts == [QUIET_TICK, QUIET_TICK]
