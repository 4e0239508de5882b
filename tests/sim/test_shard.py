"""The closed loop of a shard: what is conserved, and that it is the loop of one deployment, many times over."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.core.params import Params
from deployments.core.snapshot import Deployments, Instances, Offerings
from deployments.core.states import ReplicaState
from deployments.sim import fleet
from deployments.sim.demand import Demand, RateDemand, RequestDemand
from deployments.sim.shard import Step, World, run
from deployments.sim.startup import load_seconds
from deployments.sim.trace import RateTrace
from deployments.traces import load_requests
from tests.search import examples
from tests.sim.test_fleet import Fixed
from tests.sim.whole_plan import NOTHING, by_plan

PARAMS = Params()
EPOCH = 1_700_000_000.0


def wave(scale: float, seed: int, cv: float = 2.0) -> Demand:
    """Requests whose rate swings by a factor of six within twelve minutes."""
    rates = RateTrace(60.0, np.array([1.0, 1, 2, 4, 6, 6, 5, 3, 2, 1, 1, 1]), np.full(12, cv))
    return RateDemand(rates, scale, seed=seed, phase_s=seed * 97.0)


def loads(seed: int, speed: float = 10.0) -> Callable[[int], float]:
    return lambda number: load_seconds(seed, number) / speed


def world(demands: Sequence[Demand], machines: Sequence[tuple[int, int]], gpus: int = 8, **columns: Any) -> World:
    """`machines`: organization and claim of each instance, zeros for the free pool; all in one zone."""
    n = len(demands)
    given = {"min": [1] * n, "max": [20] * n, "org": [1] * n, "startup_s": [25.0] * n, "ahead": [0.0] * n, **columns}
    deployments = Deployments.build(key=range(1, n + 1), created_at=np.arange(n, dtype=float), **given)
    return World(
        deployments=deployments,
        slots=-(-10 * deployments.concurrency.astype(np.int64) // 7),
        instances=Instances.build(
            key=range(1, len(machines) + 1), offering=[0] * len(machines), gpus=[gpus] * len(machines),
            org=[org for org, _ in machines], claim=[claim for _, claim in machines],
        ),
        offerings=Offerings(np.array([1]), ("HERE",), np.array([gpus], np.int32)),
        demands=demands,
        loads=[loads(seed) for seed in range(n)],
    )  # fmt: skip


def scarce() -> World:
    """Two organizations, a claim each and a pool that is too small for both."""
    return world(
        [wave(1.2, 1), wave(0.8, 2), wave(1.5, 3), wave(0.7, 4, cv=4.0), wave(1.0, 5)],
        [(1, 7), (2, 8), (0, 0), (0, 0), (0, 0), (0, 0)], gpus=4,
        org=[1, 1, 2, 2, 2], gpu_count=[1, 2, 1, 4, 1], priority=[5, 9, 0, 3, 3],
        class_order=[(1, 2), (2, 0), (1, 2), (1, 2), (2, 0)],
    )  # fmt: skip


def steps(of: World, minutes: float = 15.0, **more: Any) -> list[Step]:
    return list(run(of, PARAMS, 0.0, 60.0 * minutes, epoch_s=EPOCH, **more))


def test_no_request_is_lost_or_made_up() -> None:
    of = scarce()
    for step in steps(of):
        sample = step.sample
        assert np.array_equal(sample.arrived, sample.queued + sample.active + sample.finished)
    assert sample.arrived.tolist() == [len(demand.between(0.0, step.at_s)[0]) for demand in of.demands]
    assert min(sample.finished) > 300, "the run is worth looking at"


def test_no_gpu_is_promised_twice_and_no_instance_serves_two_organizations() -> None:
    """Held against the replicas one by one: what the planner saw is what they hold (R17, W2)."""
    of, short = scarce(), 0
    org_of = of.deployments.org
    for step in steps(of):
        replicas, instances = step.snapshot.replicas, step.snapshot.instances
        used = np.bincount(replicas.instance, replicas.gpus, minlength=len(instances)).astype(int)
        assert used.tolist() == instances.gpus_used.tolist()
        assert np.all(used <= instances.gpus)
        assert np.array_equal(instances.org[replicas.instance], org_of[replicas.deployment])
        idle = (used == 0) & (instances.claim == 0)
        assert not instances.org[idle].any(), "an idle pool instance serves nobody"
        reserved = replicas.capacity_class == 1
        assert np.array_equal(reserved, instances.claim[replicas.instance] > 0)
        assert np.all(step.plan.ready + step.plan.starting <= of.deployments.max)
        short += int((step.plan.granted.value < step.plan.wanted.value).sum())
    assert short > 100, "they did compete"


def test_a_replica_on_several_instances_holds_them_all() -> None:
    of = world([Fixed(*[(at / 2, 9.0) for at in range(1200)])], [(0, 0)] * 6, gpus=4, gpu_count=[8])
    seen = steps(of, 10.0)
    used = [int(step.snapshot.instances.gpus_used.sum()) for step in seen]
    live = [int(step.plan.ready[0] + step.plan.starting[0]) for step in seen]
    assert used == [8 * count for count in live]
    assert max(live) == 3, "as many as there are pairs of instances"


def test_the_same_world_gives_the_same_run_and_another_seed_another() -> None:
    def told(of: World) -> list[Any]:
        return [(step.sample.queued.tolist(), step.plan.granted.value.tolist(), step.waits) for step in steps(of, 8.0)]

    assert told(scarce()) == told(scarce())
    other = scarce()
    assert told(replace(other, demands=[wave(1.2, 11), *other.demands[1:]])) != told(scarce())
    assert told(replace(other, loads=[loads(99)] * 5)) != told(scarce())


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(2))
def test_one_deployment_with_room_for_all_is_the_loop_of_fleet(seed: int) -> None:
    """Two simulators of the same thing: the planner told by counts alone, and by a whole shard."""
    demand = RequestDemand(load_requests("azure_llm_2023_code"), 2.5, seed=seed)
    of = world([demand], [(0, 0)] * 10, concurrency=[6])
    setup = fleet.Setup(int(of.slots[0]), of.loads[0], initial=2)
    single = fleet.run(demand, by_plan(of.deployments, PARAMS, EPOCH), NOTHING, setup, 0.0, 1800.0)
    many = list(run(of, PARAMS, 0.0, 1800.0, epoch_s=EPOCH, initial=[2]))
    columns = single.columns
    for name in ("queued", "active", "arrived", "finished", "service_seconds", "waited_le_1s", "waited_le_5s"):
        assert getattr(columns, name).tolist() == [getattr(step.sample, name)[0] for step in many], name
    assert columns.ready.tolist() == [step.plan.ready[0] for step in many]
    assert columns.starting.tolist() == [step.plan.starting[0] for step in many]
    assert columns.wanted.tolist() == [step.plan.granted.value[0] for step in many]
    assert single.waits.tolist() == [wait for step in many for wait in step.waits[0]]
    assert 4 < len(single.lives) < 200


def test_a_run_begins_with_as_many_ready_replicas_as_are_asked_for_and_find_room() -> None:
    of = scarce()
    first = next(run(of, PARAMS, 100.0, 105.0, initial=[3, 1, 2, 1, 1]))
    assert first.plan.ready.tolist() == [3, 1, 2, 1, 1]
    assert first.plan.starting.tolist() == [0] * 5
    crowded = next(run(of, PARAMS, 100.0, 105.0, initial=[20] * 5))
    used = crowded.snapshot.instances.gpus_used
    assert used.sum() == 24, "every GPU there is"
    assert crowded.plan.ready.sum() < 100


def test_start_up_times_are_measured_where_they_are_not_given() -> None:
    of = world([wave(2.0, 1)], [(0, 0)] * 5, startup_s=[np.nan])
    of = replace(of, loads=[lambda number: [11.0, 23.0, 7.5][number % 3]])
    told = [float(step.snapshot.deployments.startup_s[0]) for step in steps(of, 15.0)]
    assert np.isnan(told[:3]).all()
    first = told.index(15.0)
    assert np.isnan(told[:first]).all(), "the first took 11 s, as passes five seconds apart see it"
    assert set(told[first:]) == {15.0, 25.0}
    assert told[-1] == 25.0, "the 90th percentile"


def test_what_is_let_go_finishes_what_it_runs_and_holds_its_gpus_meanwhile() -> None:
    """Long and short requests mixed: when the short ones are over, replicas are let go that still run long ones."""
    demand = Fixed(*[(1.0 + place / 100, 900.0 if place % 3 == 0 else 60.0) for place in range(30)])
    of = world([demand], [(0, 0)] * 2, max=[4])
    seen = steps(of, 22.0, initial=[4])
    states = [step.snapshot.replicas.state.tolist() for step in seen]
    assert states[0] == [ReplicaState.READY] * 4
    held = [int(step.snapshot.instances.gpus_used.sum()) for step in seen]
    assert held == [len(row) for row in states], "one GPU each, until it is gone"
    leaving = [step for step in seen if (step.snapshot.replicas.state == ReplicaState.DRAINING).any()]
    assert len(leaving) > 50
    for step in leaving[:-1]:
        assert step.snapshot.replicas.active[step.snapshot.replicas.state == ReplicaState.DRAINING].min() > 0
    assert states[-1] == [ReplicaState.READY]
    assert seen[-1].sample.finished[0] == 30


@examples(12)
@given(st.data())
def test_any_small_world_conserves_requests_and_gpus(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 4))
    machines = data.draw(st.lists(st.sampled_from([(0, 0), (0, 0), (1, 5), (2, 6)]), max_size=4))
    of = world(
        [wave(data.draw(st.floats(0, 2)), seed) for seed in range(count)], machines, gpus=4,
        org=data.draw(st.lists(st.integers(1, 2), min_size=count, max_size=count)),
        gpu_count=data.draw(st.lists(st.sampled_from([1, 2, 4, 8]), min_size=count, max_size=count)),
        min=data.draw(st.lists(st.integers(1, 3), min_size=count, max_size=count)),
        max=[6] * count,
    )  # fmt: skip
    for step in steps(of, 4.0):
        sample, replicas, instances = step.sample, step.snapshot.replicas, step.snapshot.instances
        assert np.array_equal(sample.arrived, sample.queued + sample.active + sample.finished)
        assert int(replicas.gpus.sum()) == int(instances.gpus_used.sum())
        assert np.all((instances.gpus_used >= 0) & (instances.gpus_used <= instances.gpus))
        assert int(replicas.active.sum()) == int(sample.active.sum())


def test_worlds_that_cannot_be_are_refused() -> None:
    of = scarce()
    with pytest.raises(ValueError, match="its demand"):
        replace(of, demands=of.demands[1:])
    with pytest.raises(ValueError, match="nothing uses"):
        replace(of, instances=replace(of.instances, gpus_used=np.ones(6, np.int32)))
    with pytest.raises(ValueError, match="cannot go from"):
        next(run(of, PARAMS, 5.0, 0.0))
