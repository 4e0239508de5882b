"""What every runtime backend promises. A new implementation joins the list and has to pass."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from console.common import clock
from deployments.backends.base import RuntimeBackend, RuntimeState, Target
from deployments.backends.simulated import SimulatedRuntimeBackend
from deployments.core.states import ReplicaState
from deployments.models import Deployment, Replica, SimulatedFault, SimulatedReplica, SimulatedWorkload
from tests import fleet, world
from tests.cast import Cast

pytestmark = pytest.mark.django_db


class SimulatedWorld:
    """What happens to replicas of the simulated runtime."""

    backend = SimulatedRuntimeBackend

    @staticmethod
    def loads() -> None:
        """Every model is loaded at once."""
        fleet.loaded()

    @staticmethod
    def never_loads(of: Deployment, error: str) -> None:
        SimulatedFault.objects.create(deployment_key=of.key, never_ready=True, error=error)

    @staticmethod
    def crash(times: int, error: str) -> None:
        """The process of every replica has ended so often, the last one a moment ago."""
        at = clock.now() - timedelta(seconds=100 * times + 1)
        SimulatedReplica.objects.update(started_at=at, ready_at=at + timedelta(seconds=60), crash_every_s=100,
                                        error=error)  # fmt: skip


IMPLEMENTATIONS = [SimulatedWorld]


@pytest.fixture(params=IMPLEMENTATIONS, ids=lambda one: one.__name__)
def outside(request: pytest.FixtureRequest) -> type[SimulatedWorld]:
    world_of: type[SimulatedWorld] = request.param
    return world_of


@pytest.fixture
def runtime(outside: type[SimulatedWorld]) -> tuple[RuntimeBackend, Callable[[], None]]:
    return outside.backend(), outside.loads


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


def test_r8_crashes_are_counted_and_say_why_and_the_model_loads_again(
    outside: type[SimulatedWorld], one: Deployment
) -> None:
    backend, (replica,) = outside.backend(), rows(one, 1)
    backend.start([replica])
    outside.loads()
    well = backend.observe([replica.key])[replica.key]
    assert (well.state, well.crashes, well.error) == (RuntimeState.READY, 0, "")
    outside.crash(2, "CUDA out of memory")
    ill = backend.observe([replica.key])[replica.key]
    assert (ill.state, ill.crashes, ill.error) == (RuntimeState.LOADING, 2, "CUDA out of memory")
    assert ill.since is not None
    assert timedelta() < clock.now() - ill.since < timedelta(seconds=30)
    backend.drain([replica.key])
    assert states(backend, [replica]) == [RuntimeState.DRAINED]


def test_r8_a_model_that_never_loads_says_so_and_why(outside: type[SimulatedWorld], one: Deployment) -> None:
    outside.never_loads(one, "no weights at this path")
    backend, (replica,) = outside.backend(), rows(one, 1)
    backend.start([replica])
    outside.loads()
    seen = backend.observe([replica.key])[replica.key]
    assert (seen.state, seen.crashes, seen.error) == (RuntimeState.LOADING, 0, "no weights at this path")
    assert seen.since is not None


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


def test_simulated_requests_of_a_process_that_crashes_wait_again(one: Deployment) -> None:
    backend = SimulatedRuntimeBackend()
    backend.start(rows(one, 1))
    fleet.loaded()
    start = clock.now()
    fleet.workload(one, scale=1.0)
    at = 0
    while not SimulatedReplica.objects.filter(active__gt=0).exists():
        at += 5
        before = backend.sample([Target(one.key, 12)], start + timedelta(seconds=at))
    crash = start + timedelta(seconds=at + 2)
    began = crash - timedelta(seconds=1000)
    SimulatedReplica.objects.update(started_at=began, ready_at=began + timedelta(seconds=60), crash_every_s=1000)
    after = backend.sample([Target(one.key, 12)], start + timedelta(seconds=at + 5))
    assert int(after.active[0]) == 0
    assert int(after.queued[0]) >= int(before.active[0]) > 0
    assert int(after.finished[0]) == int(before.finished[0])
    again = backend.sample([Target(one.key, 12)], crash + timedelta(seconds=70))
    assert int(again.active[0]) > 0


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
        assert got.replica_active.sum() == active <= 24
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
