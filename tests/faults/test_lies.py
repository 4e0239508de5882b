"""Backends that lie: what they say about what nobody asked, in states, times and numbers that cannot be."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from claims import provisioning
from claims.backends.base import NodeState
from claims.backends.base import Observation as NodeObservation
from claims.backends.simulated import SimulatedNodeBackend
from claims.models import CapacityClaim, Instance, SimulatedNode, UsageInterval
from claims.services import claim_delete
from console.common import clock
from deployments.backends.base import Observation, RuntimeState, Samples, Target
from deployments.backends.simulated import SimulatedRuntimeBackend
from deployments.core.states import ReplicaState
from deployments.loop.actuate import actuate_pass
from deployments.loop.blocks import Block
from deployments.loop.tick import shard_tick
from deployments.models import Replica, SignalBlock, SimulatedReplica
from deployments.services import deployment_delete
from tests import fleet, world
from tests.cast import Cast

pytestmark = pytest.mark.django_db

NAIVE, LONG_AGO = datetime(2026, 1, 1), datetime(2000, 1, 1, tzinfo=UTC)  # noqa: DTZ001 - what a careless backend says
LATEST = datetime.max.replace(tzinfo=UTC)


class Nodes(SimulatedNodeBackend):
    """The simulated machines, with some answers changed."""

    def __init__(self, **lies: Callable[[Any], Any]) -> None:
        self.lies = lies

    def _told(self, name: str, truth: Any) -> Any:
        return self.lies.get(name, lambda known: known)(truth)

    def join(self, key: int) -> Any:
        return self._told("join", super().join(key))

    def observe(self, keys: Sequence[int]) -> Any:
        return self._told("observe", super().observe(keys))

    def leave(self, key: int) -> Any:
        return self._told("leave", super().leave(key))

    def nodes(self) -> Any:
        return self._told("nodes", super().nodes())


def claimed(cast: Cast, lying: Nodes) -> None:
    """Two machines of a claim, with a backend that lies all the time."""
    of = world.offering()
    world.quota(cast.organization, of, limit=2)
    world.claim(cast.admin.actor, of, 2, "CUSTOMER")
    for _ in range(4):
        provisioning.provision_pass(now=clock.now(), backend=lying)
        world.nodes_arrive()
    provisioning.provision_pass(now=clock.now(), backend=lying)


HARMLESS_NODES = {
    "a time without a zone": Nodes(join=lambda at: NAIVE),
    "a time long ago": Nodes(join=lambda at: LONG_AGO),
    "a time that cannot be stored": Nodes(join=lambda at: LATEST),
    "text for a time": Nodes(join=lambda at: "soon"),
    "machines nobody asked about": Nodes(observe=lambda known: {**known, 10**12: NodeObservation(NodeState.READY)}),
    "the same machine twice": Nodes(nodes=lambda keys: [*keys, *keys]),
    "keys as text": Nodes(nodes=lambda keys: [str(key) for key in keys]),
    "keys that are none": Nodes(nodes=lambda keys: ["a", None]),
    "no list at all": Nodes(nodes=lambda keys: None),
    "times without a zone on looking": Nodes(
        observe=lambda known: {key: replace(one, expected_at=NAIVE) for key, one in known.items()}
    ),
}  # fmt: skip


@pytest.mark.parametrize("lie", HARMLESS_NODES)
def test_c1_machines_join_and_are_billed_whatever_else_the_backend_says(cast: Cast, lie: str) -> None:
    claimed(cast, HARMLESS_NODES[lie])
    assert list(Instance.objects.values_list("state", flat=True)) == ["READY"] * 2
    assert UsageInterval.objects.filter(ended_at__isnull=True).count() == 2
    assert not Instance.objects.filter(key=10**12).exists()


@pytest.mark.parametrize("word", ["BROKEN", "", None, 7])
def test_a_state_that_nobody_knows_is_waited_out(cast: Cast, word: Any) -> None:
    lying = Nodes(observe=lambda known: {key: replace(one, state=word) for key, one in known.items()})
    claimed(cast, lying)
    assert list(Instance.objects.values_list("state", flat=True)) == ["JOINING"] * 2
    provisioning.provision_pass(now=clock.now(), backend=Nodes())
    assert list(Instance.objects.values_list("state", flat=True)) == ["READY"] * 2
    provisioning.provision_pass(now=clock.now(), backend=lying)
    assert list(Instance.objects.values_list("state", flat=True)) == ["READY"] * 2, "nor is it lost for that"


def test_b4_ready_before_it_was_asked_for_bills_nothing(cast: Cast) -> None:
    """The backend says READY about machines that are wanted, yet whose `join` it refused."""
    lying = Nodes(join=refuse, observe=lambda known: dict.fromkeys(range(1000), NodeObservation(NodeState.READY)))
    claimed(cast, lying)
    assert set(Instance.objects.values_list("state", flat=True)) == {"REQUESTED"}
    assert not UsageInterval.objects.exists()


def refuse(answer: Any) -> Any:
    raise RuntimeError("out of machines \0 \ud800")


def test_b4_gone_said_of_a_machine_that_is_still_there_leaks_nothing(cast: Cast) -> None:
    """`leave` answers that the machine is gone, and it is not: it is a stray then, and asked to leave again."""

    class Stays(Nodes):
        stubborn = True

        def leave(self, key: int) -> bool:
            return True if self.stubborn else super().leave(key)

    lying = Stays()
    claimed(cast, lying)
    claim = CapacityClaim.objects.get()
    claim_delete(actor=cast.admin.actor, claim_id=claim.id)
    provisioning.provision_pass(now=clock.now(), backend=lying)
    assert list(Instance.objects.values_list("state", flat=True)) == ["RELEASED"] * 2
    billed = list(UsageInterval.objects.values_list("started_at", "ended_at"))
    assert SimulatedNode.objects.count() == 2
    lying.stubborn = False
    for _ in range(2):
        provisioning.provision_pass(now=clock.now(), backend=lying)
        world.nodes_arrive()
    assert not SimulatedNode.objects.exists()
    assert list(UsageInterval.objects.values_list("started_at", "ended_at")) == billed


# --- the runtime -----------------------------------------------------------------------------------
class Runtime(SimulatedRuntimeBackend):
    """The simulated runtime, with some answers changed."""

    def __init__(self, **lies: Callable[[Any], Any]) -> None:
        self.lies = lies

    def _told(self, name: str, truth: Any) -> Any:
        return self.lies.get(name, lambda known: known)(truth)

    def start(self, replicas: Sequence[Replica]) -> Any:
        return self._told("start", super().start(replicas))

    def observe(self, keys: Sequence[int]) -> Any:
        return self._told("observe", super().observe(keys))

    def replicas(self) -> Any:
        return self._told("replicas", super().replicas())

    def sample(self, targets: Sequence[Target], now: datetime) -> Any:
        return self._told("sample", super().sample(targets, now))


def seen(**changes: Any) -> Callable[[Mapping[int, Observation]], Mapping[int, Observation]]:
    return lambda known: {key: replace(one, **changes) for key, one in known.items()}


HARMLESS_RUNTIMES = {
    "a time without a zone": Runtime(start=lambda known: dict.fromkeys(known, NAIVE)),
    "a time long ago": Runtime(start=lambda known: dict.fromkeys(known, LONG_AGO)),
    "a time that cannot be stored": Runtime(start=lambda known: dict.fromkeys(known, LATEST)),
    "nothing about what was started": Runtime(start=lambda known: {}),
    "replicas nobody asked about": Runtime(observe=lambda known: {**known, 10**12: Observation(RuntimeState.FAILED)}),
    "times without a zone on looking": Runtime(observe=seen(since=NAIVE, expected_at=NAIVE)),
    "errors that cannot be stored": Runtime(observe=seen(error="nul\0 and half \ud800 a pair")),
    "fewer crashes than none": Runtime(observe=seen(crashes=-5)),
    "requests that cannot be": Runtime(observe=seen(active=10**30)),
    "the same replica twice": Runtime(replicas=lambda keys: [*keys, *keys]),
    "keys that are none": Runtime(replicas=lambda keys: ["a"]),
    "no list at all": Runtime(replicas=lambda keys: None),
    "no samples at all": Runtime(sample=lambda samples: None),
}  # fmt: skip


def served(cast: Cast, lying: Runtime) -> Any:
    of = world.offering()
    world.pool(of, 1)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, min=2)
    for _ in range(3):
        shard_tick(of.instance_type, clock.now(), backend=lying)
        actuate_pass(now=clock.now(), backend=lying)
        fleet.loaded()
    return one


@pytest.mark.parametrize("lie", HARMLESS_RUNTIMES)
def test_replicas_become_ready_whatever_else_the_runtime_says(cast: Cast, lie: str) -> None:
    one = served(cast, HARMLESS_RUNTIMES[lie])
    assert list(Replica.objects.values_list("state", flat=True)) == [ReplicaState.READY] * 2
    assert fleet.reread(one).status == "STATUS_READY"


@pytest.mark.parametrize("word", ["BROKEN", "", None, 7])
def test_a_state_of_a_replica_that_nobody_knows_ends_nothing(cast: Cast, word: Any) -> None:
    served(cast, Runtime())
    lying = Runtime(observe=seen(state=word))
    actuate_pass(now=clock.now() + timedelta(hours=1), backend=lying)
    assert list(Replica.objects.values_list("state", flat=True)) == [ReplicaState.READY] * 2


def test_b4_ready_said_of_a_replica_that_is_given_up_changes_nothing(cast: Cast) -> None:
    one = served(cast, Runtime())
    deployment_delete(actor=cast.admin.actor, deployment_id=one.id)
    lying = Runtime(observe=lambda known: dict.fromkeys([*known, *Replica.objects.values_list("key", flat=True)],
                                                        Observation(RuntimeState.READY, active=1)))  # fmt: skip
    now = clock.now()
    shard_tick(one.instance_type, now, backend=lying)
    for minutes in (0, 5, 11):
        actuate_pass(now=now + timedelta(minutes=minutes), backend=lying)
    assert list(Replica.objects.values_list("state", flat=True)) == [ReplicaState.STOPPED] * 2
    assert not UsageInterval.objects.filter(ended_at__isnull=True).exists()
    assert not SimulatedReplica.objects.exists()


def samples(**columns: Any) -> Callable[[Samples], Samples]:
    return lambda truth: replace(truth, **columns)


@pytest.mark.parametrize(("lie", "queued", "arrived"), [
    (samples(queued=np.array([-7])), -2, 0),
    (samples(queued=np.array([2**32 + 3])), -2, 0),
    (samples(queued=np.array([np.inf])), -2, 0),
    (samples(queued=np.array([np.nan])), -1, 0),
    (samples(queued=[5]), 5, 0),
    (samples(arrived=np.array([-3])), 0, -1),
    (samples(arrived=np.array([1e300])), 0, -1),
    (samples(replica=np.array([1, 10**12, -2, 2]), replica_active=np.array([-4, 1, 1, 1e30])), 0, 0),
    (samples(replica=[10**30], replica_active=[1]), 0, 0),
    (samples(service_seconds=np.array([-1.0])), 0, 0),
])  # fmt: skip
def test_r5_samples_that_cannot_be_are_kept_as_such_and_hold_the_size(
    cast: Cast, lie: Callable[[Samples], Samples], queued: int, arrived: int
) -> None:
    one = served(cast, Runtime())
    assert shard_tick(one.instance_type, clock.now(), backend=Runtime(sample=lie)).sampled
    block = Block.from_bytes(SignalBlock.objects.order_by("-at")[0].payload)
    assert (block.queued.tolist(), block.arrived.tolist()) == ([queued], [arrived])
    assert Replica.objects.filter(state=ReplicaState.READY).count() == 2


@pytest.mark.parametrize("lie", [
    samples(queued=np.array([1, 2])), samples(active=np.array([])), samples(queued=np.array(["many"])),
    samples(finished=None), samples(replica_active=None),
    samples(replica=["a"], replica_active=[1]), samples(replica=[1, 2], replica_active=[1]),
])  # fmt: skip
def test_r5_samples_that_do_not_fit_are_no_samples(cast: Cast, lie: Callable[[Samples], Samples]) -> None:
    one = served(cast, Runtime())
    assert not shard_tick(one.instance_type, clock.now(), backend=Runtime(sample=lie)).sampled
    assert Replica.objects.filter(state=ReplicaState.READY).count() == 2
