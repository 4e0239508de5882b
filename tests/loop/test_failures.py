"""Replicas that never get ready or keep crashing: given up, released, tried again elsewhere and ever later (R8)."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from claims.core.states import Status
from claims.models import Instance, Offering, UsageInterval
from console.common import clock
from deployments.core.params import Params
from deployments.core.reasons import Reason
from deployments.core.states import ReplicaState
from deployments.loop.failures import FIRST_WAIT, LONGEST_WAIT, Failure, replicas_fail, start_ups
from deployments.loop.snapshot import read_shard
from deployments.loop.tick import shard_tick
from deployments.models import Decision, Deployment, Replica, SimulatedFault, SimulatedReplica
from deployments.services import deployment_update
from tests import fleet, world
from tests.cast import Cast
from tests.loop.test_faults import consistent

pytestmark = pytest.mark.django_db

LIMIT = timedelta(seconds=600)


@pytest.fixture(autouse=True)
def usual_limit() -> None:
    assert timedelta(seconds=settings.LOADING_LIMIT_S) == LIMIT


def time_passes(span: timedelta) -> None:
    """Everything that happened, happened that much longer ago."""
    for name in ("created_at", "loading_at", "ready_at", "draining_at", "stopped_at", "retry_at"):
        Replica.objects.update(**{name: F(name) - span})
    for name in ("started_at", "ready_at"):
        SimulatedReplica.objects.update(**{name: F(name) - span})


def faulty(cast: Cast, of: Offering, pool: int = 3, min: int = 1, **fault: object) -> Deployment:
    """A deployment whose models have a fault, with its replicas started."""
    world.pool(of, pool)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, min=min, max=9)
    SimulatedFault.objects.create(deployment_key=one.key, **fault)
    fleet.tick(of.instance_type)
    return one


def newest() -> Replica:
    return Replica.objects.order_by("key").last() or pytest.fail("there is no replica")


def attempt_fails(one: Deployment) -> Replica:
    """The newest replica loads for too long; then its back-off passes and the next one starts."""
    time_passes(LIMIT + timedelta(seconds=5))
    fleet.tick(one.instance_type)
    failed = newest()
    assert failed.state == ReplicaState.FAILED, failed.get_state_display()
    assert failed.retry_at is not None
    time_passes(failed.retry_at - clock.now() + timedelta(seconds=1))
    fleet.tick(one.instance_type)
    return failed


def test_r8_one_that_loads_too_long_fails_and_its_gpus_are_free_at_once(cast: Cast) -> None:
    one = faulty(cast, world.offering(), never_ready=True, error="no weights at this path")
    replica = newest()
    on = replica.placements.get().instance_id
    time_passes(LIMIT - timedelta(seconds=5))
    fleet.tick(one.instance_type)
    assert newest().state == ReplicaState.STARTING
    time_passes(timedelta(seconds=10))
    fleet.tick(one.instance_type)
    replica.refresh_from_db()
    assert (replica.state, replica.reason, replica.ended_on) == (ReplicaState.FAILED, "LOADING_TOO_LONG", on)
    assert "10.0 min are allowed. no weights at this path" in replica.last_error
    assert replica.stopped_at is not None
    assert replica.retry_at == replica.stopped_at + FIRST_WAIT
    assert not Instance.objects.filter(gpus_used__gt=0).exists()
    assert UsageInterval.objects.get().ended_at is not None
    assert not SimulatedReplica.objects.exists()
    consistent()


def test_r8_while_backing_off_it_is_not_on_its_way_then_it_is_tried_on_another_instance(cast: Cast) -> None:
    one = faulty(cast, world.offering(), pool=2, never_ready=True)
    time_passes(LIMIT + timedelta(seconds=5))
    fleet.tick(one.instance_type)
    for _ in range(2):
        fleet.tick(one.instance_type)
    assert Replica.objects.count() == 1
    decision = Decision.objects.order_by("id").last()
    assert decision is not None
    assert (decision.bound, decision.record["granted_code"]) == ("BACKOFF", Reason.BACKING_OFF)
    assert (decision.wanted, decision.granted) == (1, 0)
    time_passes(FIRST_WAIT)
    fleet.tick(one.instance_type)
    assert newest().state == ReplicaState.STARTING
    assert newest().placements.get().instance_id != Replica.objects.order_by("key")[0].ended_on


def test_r8_the_same_instance_is_tried_where_there_is_no_other(cast: Cast) -> None:
    one = faulty(cast, world.offering(), pool=1, never_ready=True)
    time_passes(LIMIT + timedelta(seconds=5))
    fleet.tick(one.instance_type)
    time_passes(FIRST_WAIT + timedelta(seconds=5))
    fleet.tick(one.instance_type)
    assert Replica.objects.count() == 1
    time_passes(timedelta(minutes=1))
    fleet.tick(one.instance_type)
    assert newest().state == ReplicaState.STARTING


def test_r8_only_the_instance_at_fault_is_left(cast: Cast) -> None:
    of = world.offering()
    bad = world.pool(of, 1)[0]
    one = faulty(cast, of, pool=1, never_ready=True, instance_key=bad.key)
    time_passes(LIMIT + timedelta(seconds=5))
    fleet.tick(one.instance_type)
    time_passes(FIRST_WAIT)
    fleet.run(one.instance_type, clock.now(), 2)
    assert newest().state == ReplicaState.READY
    assert fleet.reread(one).status == Status.READY


def test_r8_the_wait_doubles_from_ten_seconds_to_ten_minutes(cast: Cast) -> None:
    one = faulty(cast, world.offering(), never_ready=True)
    waits = []
    for _ in range(8):
        failed = attempt_fails(one)
        failed.refresh_from_db()
        assert failed.retry_at is not None
        assert failed.stopped_at is not None
        waits.append((failed.retry_at - failed.stopped_at).total_seconds())
    assert waits == [10, 20, 40, 80, 160, 320, 600, 600]
    assert LONGEST_WAIT.total_seconds() == 600
    consistent()


def test_r8_replicas_that_fail_side_by_side_wait_equally_long(cast: Cast) -> None:
    one = faulty(cast, world.offering(), min=3, never_ready=True)
    time_passes(LIMIT + timedelta(seconds=5))
    fleet.tick(one.instance_type)
    failed = Replica.objects.filter(state=ReplicaState.FAILED)
    assert {row.retry_at - row.stopped_at for row in failed} == {FIRST_WAIT}  # type: ignore[operator]
    shard = read_shard(one.instance_type, Params(), clock.now())
    assert shard.snapshot.deployments.backoff.tolist() == [3]
    assert fleet.reread(one).failures == 3


def test_r8_a_model_known_to_load_for_long_is_given_three_times_as_long(cast: Cast) -> None:
    of = world.offering()
    one = faulty(cast, of, min=1)
    fleet.loaded()
    fleet.tick(of.instance_type)
    Replica.objects.update(loading_at=F("ready_at") - timedelta(minutes=12))
    assert start_ups({one.key}) == {one.key: timedelta(minutes=12)}
    # The same model in another deployment is known by it; another organization's files are its own.
    same = fleet.deployment(cast.admin.actor, one.gateways.get(), of, name="same")
    theirs = fleet.deployment(cast.outsider.actor, fleet.gateway(cast.outsider.actor), of)
    for each in (same, theirs):
        SimulatedFault.objects.create(deployment_key=each.key, never_ready=True)
    fleet.tick(of.instance_type)
    Replica.objects.filter(state=ReplicaState.STARTING).update(loading_at=clock.now() - timedelta(minutes=35))
    fleet.tick(of.instance_type)
    assert dict(Replica.objects.values_list("deployment__name", "state").filter(deployment=same)) == {"same": 1}
    assert set(Replica.objects.filter(deployment=theirs).values_list("state", flat=True)) == {5}
    Replica.objects.filter(state=ReplicaState.STARTING).update(loading_at=clock.now() - timedelta(minutes=37))
    fleet.tick(of.instance_type)
    assert Replica.objects.get(deployment=same).state == ReplicaState.FAILED


def test_r8_three_crashes_while_loading_are_a_failure(cast: Cast) -> None:
    of = world.offering()
    one = faulty(cast, of, crash_every_s=20 * settings.SIM_SPEED, error="CUDA out of memory")
    SimulatedReplica.objects.update(ready_at=F("started_at") + timedelta(minutes=5))
    for crashes in (1, 2):
        time_passes(timedelta(seconds=20))
        fleet.tick(one.instance_type)
        replica = newest()
        assert (replica.state, replica.crashes) == (ReplicaState.STARTING, crashes)
        assert replica.last_error == "CUDA out of memory"
    time_passes(timedelta(seconds=20))
    fleet.tick(one.instance_type)
    replica.refresh_from_db()
    assert (replica.state, replica.reason, replica.crashes) == (ReplicaState.FAILED, "CRASHED", 3)
    assert replica.last_error == "Crashed 3 times. CUDA out of memory"
    consistent()


def test_r8_a_ready_replica_survives_two_crashes_and_fails_with_the_third(cast: Cast) -> None:
    of = world.offering()
    one = faulty(cast, of, crash_every_s=100 * settings.SIM_SPEED)
    fleet.loaded()
    fleet.tick(of.instance_type)
    for _ in range(2):
        time_passes(timedelta(seconds=100))
        fleet.tick(of.instance_type)
        assert newest().state == ReplicaState.READY
    assert newest().crashes == 2
    time_passes(timedelta(seconds=100))
    fleet.tick(of.instance_type)
    assert newest().state == ReplicaState.FAILED
    assert fleet.reread(one).failures == 1


def test_r8_a_ready_replica_that_loads_again_for_too_long_fails(cast: Cast) -> None:
    of = world.offering()
    faulty(cast, of, crash_every_s=1000 * settings.SIM_SPEED)
    fleet.loaded()
    fleet.tick(of.instance_type)
    assert newest().state == ReplicaState.READY
    SimulatedReplica.objects.update(started_at=clock.now() - timedelta(seconds=1590), ready_at=clock.now())
    fleet.tick(of.instance_type)
    assert (newest().state, newest().crashes) == (ReplicaState.READY, 1)
    SimulatedReplica.objects.update(started_at=clock.now() - timedelta(seconds=1610), ready_at=clock.now())
    fleet.tick(of.instance_type)
    assert (newest().state, newest().reason) == (ReplicaState.FAILED, "LOADING_TOO_LONG")


def test_r8_five_in_a_row_are_told_and_an_error_until_one_gets_ready(cast: Cast) -> None:
    one = faulty(cast, world.offering(), never_ready=True, error="no weights at this path")
    for _ in range(4):
        attempt_fails(one)
    assert (fleet.reread(one).status, fleet.reread(one).failures) == (Status.CREATING, 4)
    attempt_fails(one)
    broken = fleet.reread(one)
    assert broken.status == Status.ERROR
    failing = next(each for each in broken.conditions if each["type"] == "ReplicasFailing")
    assert (failing["status"], failing["reason"]) == ("STATUS_TRUE", "FailedInARow")
    assert "5 replicas failed in a row" in failing["message"]
    assert "no weights at this path" in failing["message"]
    SimulatedFault.objects.all().delete()
    SimulatedReplica.objects.update(never_ready=False)
    fleet.run(one.instance_type, clock.now(), 2)
    whole = fleet.reread(one)
    assert (whole.status, whole.failures) == (Status.READY, 0)
    assert [each["type"] for each in whole.conditions] == ["Ready", "ResourcesApplied"]
    consistent()


def test_r8_a_deployment_that_was_ready_stays_so_and_says_that_its_replicas_fail(cast: Cast) -> None:
    of = world.offering()
    one = faulty(cast, of)
    fleet.run(of.instance_type, clock.now(), 2)
    assert fleet.reread(one).status == Status.READY
    SimulatedFault.objects.update(never_ready=True)
    SimulatedReplica.objects.all().delete()
    fleet.tick(of.instance_type)
    assert newest().reason == "VANISHED"
    time_passes(FIRST_WAIT)
    fleet.tick(of.instance_type)
    for _ in range(4):
        attempt_fails(one)
    told = fleet.reread(one)
    assert told.status == Status.READY
    assert [(each["type"], each["status"], each["reason"]) for each in told.conditions] == [
        ("Ready", "STATUS_FALSE", "ReplicasFailing"), ("ResourcesApplied", "STATUS_TRUE", "Applied"),
        ("ReplicasFailing", "STATUS_TRUE", "FailedInARow"),
    ]  # fmt: skip


def test_r8_a_change_of_what_failed_is_tried_at_once(cast: Cast) -> None:
    one = faulty(cast, world.offering(), never_ready=True)
    for _ in range(5):
        attempt_fails(one)
    time_passes(LIMIT + timedelta(seconds=5))
    fleet.tick(one.instance_type)
    assert (fleet.reread(one).status, newest().state) == (Status.ERROR, ReplicaState.FAILED)
    SimulatedFault.objects.all().delete()
    at = one.gateways.get()
    deployment_update(actor=cast.admin.actor, deployment_id=one.id,
                      spec=fleet.spec(at, min=1, max=9, model_path="llama/right"))  # fmt: skip
    mended = fleet.reread(one)
    assert (mended.status, mended.failures) == (Status.UPDATING, 0)
    fleet.run(one.instance_type, clock.now(), 3)
    assert (newest().state, newest().revision) == (ReplicaState.READY, 2)
    assert fleet.reread(one).status == Status.READY


def test_w2_a_replica_that_is_drained_meanwhile_does_not_fail(cast: Cast) -> None:
    one = faulty(cast, world.offering(), never_ready=True)
    replica = newest()
    Replica.objects.update(state=ReplicaState.DRAINING)
    Replica.objects.update(state=ReplicaState.STOPPED)
    assert replicas_fail([Failure(replica, "CRASHED", "late")]) == 0
    replica.refresh_from_db()
    assert (replica.state, replica.last_error, replica.retry_at) == (ReplicaState.STOPPED, "", None)
    assert fleet.reread(one).failures == 0


def test_r8_failing_costs_as_many_queries_for_many_as_for_one(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 6)
    at = fleet.gateway(cast.admin.actor)
    counts: list[int] = []
    for names in ("a", "bcdefg"):
        made = [fleet.deployment(cast.admin.actor, at, of, name=name * 3, min=2) for name in names]
        shard_tick(of.instance_type, clock.now())
        rows = [Failure(row, "CRASHED", "why") for row in
                Replica.objects.filter(deployment__in=made).select_related("deployment")]  # fmt: skip
        with CaptureQueriesContext(connection) as queries:
            assert replicas_fail(rows) == len(rows)
        counts.append(len(queries))
    assert counts[0] == counts[1], counts
