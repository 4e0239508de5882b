"""What every runtime backend promises. A new implementation joins the list and has to pass."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from console.common import clock
from deployments.backends.base import RuntimeBackend, RuntimeState, Target
from deployments.backends.simulated import SimulatedRuntimeBackend
from deployments.core.states import ReplicaState
from deployments.models import Deployment, Replica, SimulatedReplica, SimulatedWorkload
from tests import fleet, world
from tests.cast import Cast

pytestmark = pytest.mark.django_db


def simulated_loads() -> None:
    fleet.loaded()


# Each with what makes its models be loaded at once.
IMPLEMENTATIONS = [(SimulatedRuntimeBackend, simulated_loads)]


@pytest.fixture(params=IMPLEMENTATIONS, ids=lambda one: one[0].__name__)
def runtime(request: pytest.FixtureRequest) -> tuple[RuntimeBackend, Callable[[], None]]:
    make, loads = request.param
    return make(), loads


@pytest.fixture
def one(cast: Cast) -> Deployment:
    return fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), world.offering())


def rows(one: Deployment, count: int) -> list[Replica]:
    return Replica.objects.bulk_create(
        Replica(deployment=one, instance_type=one.instance_type, revision=1, capacity_class=2,
                state=ReplicaState.STARTING, gpus=1) for _ in range(count)
    )  # fmt: skip


def states(backend: RuntimeBackend, replicas: list[Replica]) -> list[str]:
    seen = backend.observe([replica.key for replica in replicas])
    return [seen[replica.key].state if replica.key in seen else "GONE" for replica in replicas]


def test_a_replica_loads_and_is_then_ready(runtime: tuple[RuntimeBackend, Callable[[], None]], one: Deployment) -> None:
    backend, loads = runtime
    replicas = rows(one, 2)
    expected = backend.start(replicas)
    assert set(expected) == {replica.key for replica in replicas}
    assert states(backend, replicas) == [RuntimeState.LOADING] * 2
    assert sorted(backend.replicas()) == sorted(expected)
    loads()
    assert states(backend, replicas) == [RuntimeState.READY] * 2


def test_each_call_may_be_repeated(runtime: tuple[RuntimeBackend, Callable[[], None]], one: Deployment) -> None:
    backend, loads = runtime
    replicas = rows(one, 2)
    keys = [replica.key for replica in replicas]
    first = backend.start(replicas)
    assert backend.start(replicas) == first
    loads()
    backend.start(replicas)
    assert states(backend, replicas) == [RuntimeState.READY] * 2
    for _ in range(2):
        backend.drain(keys)
    assert states(backend, replicas) == [RuntimeState.DRAINED] * 2
    for _ in range(2):
        backend.stop(keys)
    assert states(backend, replicas) == ["GONE"] * 2
    assert not backend.replicas()


def test_what_was_never_started_can_be_drained_and_stopped(
    runtime: tuple[RuntimeBackend, Callable[[], None]], one: Deployment
) -> None:
    backend, _ = runtime
    replicas = rows(one, 1)
    backend.drain([replicas[0].key])
    assert states(backend, replicas) == ["GONE"]
    backend.stop([replicas[0].key])


def test_one_that_is_still_loading_is_drained_at_once(
    runtime: tuple[RuntimeBackend, Callable[[], None]], one: Deployment
) -> None:
    backend, _ = runtime
    replicas = rows(one, 1)
    backend.start(replicas)
    backend.drain([replicas[0].key])
    assert states(backend, replicas) == [RuntimeState.DRAINED]


def test_samples_are_in_the_order_asked_and_whole(
    runtime: tuple[RuntimeBackend, Callable[[], None]], one: Deployment, cast: Cast
) -> None:
    backend, _ = runtime
    two = fleet.deployment(cast.admin.actor, one.gateways.get(), world.offering(), name="two")
    targets = [Target(two.key, 12), Target(one.key, 12)]
    samples = backend.sample(targets, clock.now())
    for name in ("queued", "active", "arrived", "finished", "service_seconds", "waited_le_1s", "waited_le_5s"):
        assert len(getattr(samples, name)) == 2
    assert len(backend.sample([], clock.now()).queued) == 0


def test_simulated_counters_only_grow_and_requests_go_nowhere_else(one: Deployment) -> None:
    backend = SimulatedRuntimeBackend()
    replicas = rows(one, 2)
    start = clock.now()
    fleet.workload(one, scale=1.0)
    backend.start(replicas)
    fleet.loaded()
    last = None
    for second in range(5, 300, 5):
        got = backend.sample([Target(one.key, 12)], start + timedelta(seconds=second))
        arrived, finished, queued, active = (int(v[0]) for v in (got.arrived, got.finished, got.queued, got.active))
        assert arrived == finished + queued + active
        assert sum(got.replica_active.values()) == active <= 24
        assert last is None or (arrived >= last[0] and finished >= last[1])
        assert got.waited_le_1s[0] <= got.waited_le_5s[0]
        last = (arrived, finished)
    assert last is not None
    assert last[1] > 20


def test_simulated_requests_do_not_depend_on_how_often_they_are_sampled(one: Deployment) -> None:
    backend = SimulatedRuntimeBackend()
    backend.start(rows(one, 1))
    fleet.loaded()
    start = clock.now()
    arrived = []
    for every in (5, 20):
        SimulatedWorkload.objects.all().delete()
        fleet.workload(one, scale=1.0)
        for second in range(0, 301, every):
            got = backend.sample([Target(one.key, 12)], start + timedelta(seconds=second))
        arrived.append(int(got.arrived[0]))
    assert arrived[0] == arrived[1] > 0


def test_simulated_requests_of_a_pause_did_not_come(one: Deployment) -> None:
    backend = SimulatedRuntimeBackend()
    backend.start(rows(one, 1))
    fleet.loaded()
    start = clock.now()
    fleet.workload(one, scale=1.0)
    backend.sample([Target(one.key, 12)], start)
    before = int(backend.sample([Target(one.key, 12)], start + timedelta(seconds=60)).arrived[0])
    after = int(backend.sample([Target(one.key, 12)], start + timedelta(hours=6)).arrived[0])
    assert 0 < after - before < 4 * before
    again = int(backend.sample([Target(one.key, 12)], start + timedelta(hours=5)).arrived[0])
    assert again == after  # a clock that was set back lets nothing arrive twice


def test_simulated_requests_wait_for_nobody_before_the_first_replica_is_ready(one: Deployment) -> None:
    backend = SimulatedRuntimeBackend()
    fleet.workload(one, scale=1.0)
    for second in range(0, 60, 5):
        got = backend.sample([Target(one.key, 12)], clock.now() + timedelta(seconds=second))
    assert (int(got.queued[0]), int(got.arrived[0])) == (0, 0)


def test_simulated_requests_under_way_finish_before_a_replica_is_drained(one: Deployment) -> None:
    backend = SimulatedRuntimeBackend()
    replicas = rows(one, 1)
    start = clock.now()
    fleet.workload(one, scale=1.0)
    backend.start(replicas)
    fleet.loaded()
    at = 0
    while not SimulatedReplica.objects.filter(active__gt=0).exists():
        at += 5
        backend.sample([Target(one.key, 12)], start + timedelta(seconds=at))
    backend.drain([replicas[0].key])
    assert states(backend, replicas) == [RuntimeState.READY]
    SimulatedReplica.objects.update(draining_at=start + timedelta(seconds=at))
    seen = [backend.sample([Target(one.key, 12)], start + timedelta(seconds=at + more)) for more in range(5, 400, 5)]
    assert states(backend, replicas) == [RuntimeState.DRAINED]
    assert seen[-1].queued[0] > 0
