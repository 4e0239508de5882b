"""Backends that hang, and answers that come after everything was given up: passes end in time, nothing is lost."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from claims import provisioning
from claims.backends.base import BackendError, NodeBackend, NodeState
from claims.models import Instance, UsageInterval
from claims.services import claim_delete
from console.common import clock
from console.common.outside import MOST_OVERDUE, Bounded
from deployments.backends import base as runtimes
from deployments.backends.base import RuntimeBackend, RuntimeState, Samples, Target
from deployments.core.states import ReplicaState
from deployments.loop.actuate import actuate_pass
from deployments.loop.tick import shard_tick
from deployments.models import Replica
from deployments.services import deployment_delete
from tests import fleet, world
from tests.cast import Cast
from tests.claims.test_provisioning import Machines

pytestmark = pytest.mark.django_db

LIMIT_S, LONG_S = 0.1, 20.0
HOUR = timedelta(hours=1)


class Hanging:
    """A backend whose calls of one name wait until they are let go, and are done then."""

    def __init__(self, backend: object, name: str = "") -> None:
        self.backend, self.name, self.let_go = backend, name, threading.Event()
        self.done = threading.Semaphore(0)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self.backend, name)
        return self._later(call) if name == self.name else cast(Callable[..., Any], call)

    def _later(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def later(*given: Any) -> Any:
            assert self.let_go.wait(LONG_S)
            try:
                return call(*given)
            finally:
                self.done.release()

        return later

    def end(self) -> None:
        self.let_go.set()


@pytest.fixture
def hanging() -> Iterator[list[Hanging]]:
    made: list[Hanging] = []
    yield made
    for one in made:
        one.end()


def seconds(run: Callable[[], object]) -> float:
    began = time.monotonic()
    run()
    return time.monotonic() - began


# --- machines --------------------------------------------------------------------------------------
def customer_claim(cast_: Cast, count: int) -> Any:
    of = world.offering()
    world.quota(cast_.organization, of, limit=count)
    return world.claim(cast_.admin.actor, of, count, "CUSTOMER")


@pytest.mark.parametrize("name", ["join", "observe", "nodes"])
def test_w4_a_node_backend_that_hangs_keeps_a_pass_only_for_a_few_time_limits(
    cast: Cast, hanging: list[Hanging], name: str
) -> None:
    customer_claim(cast, 12)
    machines = Machines()
    hanging.append(Hanging(machines, name))
    bounded = cast_nodes(Bounded(hanging[0], BackendError, LIMIT_S))
    took = seconds(lambda: provisioning.provision_pass(now=clock.now(), backend=bounded))
    assert took < LONG_S / 2
    hanging[0].end()
    hanging[0].name = ""
    for _ in range(3):
        provisioning.provision_pass(now=clock.now() + HOUR, backend=machines)
        machines.all_become(NodeState.READY)
    assert set(Instance.objects.values_list("state", flat=True)) == {"READY"}
    assert UsageInterval.objects.filter(ended_at__isnull=True).count() == len(machines.states) == 12


def cast_nodes(backend: object) -> NodeBackend:
    return cast(NodeBackend, backend)


def test_a_pass_over_machines_asks_no_more_once_a_few_calls_hang(cast: Cast, hanging: list[Hanging]) -> None:
    customer_claim(cast, 12)
    hanging.append(Hanging(Machines(), "join"))
    bounded = cast_nodes(Bounded(hanging[0], BackendError, LIMIT_S))
    provisioning.provision_pass(now=clock.now(), backend=bounded)
    said = list(Instance.objects.values_list("last_error", flat=True))
    assert sum("was not answered within" in one for one in said) == MOST_OVERDUE
    assert sum("was not asked for" in one for one in said) == 12 - MOST_OVERDUE


def test_a_backend_that_is_slow_does_not_keep_the_pass_longer_than_its_lease(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(Machines):
        def join(self, key: int) -> datetime | None:
            time.sleep(LIMIT_S)
            return super().join(key)

    customer_claim(cast, 40)
    monkeypatch.setattr(provisioning, "LEASE", timedelta(seconds=5 * LIMIT_S))
    now, machines = clock.now(), Slow()
    provisioning.provision_pass(now=now, backend=machines)
    first = len(machines.states)
    assert 1 <= first <= 6
    provisioning.provision_pass(now=now + HOUR, backend=machines)
    assert len(machines.states) > first, "the next pass goes on with the others"


def test_b4_a_join_that_is_answered_after_release_leaves_no_machine_and_no_bill(
    cast: Cast, hanging: list[Hanging]
) -> None:
    claim = customer_claim(cast, 1)
    machines = Machines()
    hanging.append(Hanging(machines, "join"))
    bounded = cast_nodes(Bounded(hanging[0], BackendError, LIMIT_S))
    provisioning.provision_pass(now=clock.now(), backend=bounded)
    claim_delete(actor=cast.admin.actor, claim_id=claim.id)
    provisioning.provision_pass(now=clock.now() + HOUR, backend=bounded)
    assert list(Instance.objects.values_list("state", flat=True)) == ["RELEASED"]
    hanging[0].end()  # only now the backend does what it was asked for
    assert hanging[0].done.acquire(timeout=LONG_S)
    assert machines.states
    machines.all_become(NodeState.READY)
    provisioning.provision_pass(now=clock.now() + HOUR, backend=machines)
    assert machines.states == {}
    assert not UsageInterval.objects.exists()


# --- the runtime -----------------------------------------------------------------------------------
class Runtime:
    """A runtime in memory: what it was told to start is ready at once."""

    def __init__(self) -> None:
        self.running: set[int] = set()
        self.draining: set[int] = set()

    def start(self, replicas: Sequence[Replica]) -> Mapping[int, datetime | None]:
        self.running |= {one.key for one in replicas}
        return {}

    def drain(self, keys: Sequence[int]) -> None:
        self.draining |= set(keys)

    def stop(self, keys: Sequence[int]) -> None:
        self.running -= set(keys)

    def observe(self, keys: Sequence[int]) -> Mapping[int, runtimes.Observation]:
        return {key: runtimes.Observation(RuntimeState.DRAINED if key in self.draining else RuntimeState.READY)
                for key in keys if key in self.running}  # fmt: skip

    def sample(self, targets: Sequence[Target], now: datetime) -> Samples:
        raise runtimes.BackendError("it has no numbers")

    def replicas(self) -> Sequence[int]:
        return sorted(self.running)


def bounded_runtime(hanging: Hanging) -> RuntimeBackend:
    return cast(RuntimeBackend, Bounded(hanging, runtimes.BackendError, LIMIT_S))


@pytest.mark.parametrize("name", ["start", "observe", "replicas", "sample"])
def test_w4_a_runtime_that_hangs_keeps_a_pass_only_for_a_few_time_limits(
    cast: Cast, hanging: list[Hanging], name: str
) -> None:
    of = world.offering()
    world.pool(of, 2)
    fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, min=3)
    runtime = Runtime()
    hanging.append(Hanging(runtime, name))
    bounded = bounded_runtime(hanging[0])
    assert seconds(lambda: shard_tick(of.instance_type, clock.now(), backend=bounded)) < LONG_S / 2
    for number in range(3):
        now = clock.now() + number * HOUR / 60
        assert seconds(lambda at=now: actuate_pass(now=at, backend=bounded)) < LONG_S / 2  # type: ignore[misc]
    hanging[0].end()
    for _ in range(2):
        actuate_pass(now=clock.now() + HOUR / 6, backend=runtime)
    assert list(Replica.objects.values_list("state", flat=True)) == [ReplicaState.READY] * 3
    assert runtime.running == set(Replica.objects.values_list("key", flat=True))


def test_b4_a_start_that_is_answered_after_release_leaves_no_replica_and_no_bill(
    cast: Cast, hanging: list[Hanging]
) -> None:
    of = world.offering()
    world.pool(of, 1)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, min=1)
    runtime = Runtime()
    hanging.append(Hanging(runtime, "start"))
    bounded = bounded_runtime(hanging[0])
    now = clock.now()
    shard_tick(of.instance_type, now, backend=runtime)
    actuate_pass(now=now, backend=bounded)
    deployment_delete(actor=cast.admin.actor, deployment_id=one.id)
    shard_tick(of.instance_type, clock.now(), backend=runtime)
    actuate_pass(now=clock.now() + HOUR, backend=bounded)
    assert list(Replica.objects.values_list("state", flat=True)) == [ReplicaState.STOPPED]
    billed = list(UsageInterval.objects.values_list("started_at", "ended_at"))
    assert all(end is not None for _, end in billed)
    hanging[0].end()
    assert hanging[0].done.acquire(timeout=LONG_S)
    assert runtime.running
    actuate_pass(now=clock.now() + HOUR, backend=runtime)
    assert runtime.running == set()
    assert list(UsageInterval.objects.values_list("started_at", "ended_at")) == billed
