"""With demand that does not change, planning and acting come to rest: no start and stop for ever, and what R10, C10,
R13 and R15 promise is then so."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deployments.core.plan import Bound, Plan
from deployments.core.snapshot import CapacityClass, InstanceState, Snapshot
from tests.core.closed_loop import World
from tests.core.fleet import READY
from tests.core.random_shards import Odds, random_shard
from tests.core.reference_room import could_place, helpful_sets
from tests.core.reference_units import instances_of, units_of
from tests.search import examples

PASSES, QUIET = 60, 8


def static(seed: int) -> Snapshot:
    """A shard whose delays are over within the run; nothing backs off or is avoided for ever."""
    shard = random_shard(seed, Odds(moves=0.3, odd=0.05))
    fleet = shard.deployments
    calm = replace(
        fleet,
        scale_down_s=np.full(len(fleet), 100.0),
        backoff=np.zeros_like(fleet.backoff),
        avoid=np.full_like(fleet.avoid, -1),
    )
    return replace(shard, deployments=calm)


@examples(12)
@given(st.integers(0, 2**32))
def test_everything_settles_with_moves_reclaims_and_drains(seed: int) -> None:
    world = World(static(seed), loading=1 + seed % 3, draining=seed // 3 % 3)
    for passes in range(PASSES):
        answer = world.step()
        if passes >= PASSES - QUIET:
            assert len(answer.starts) + len(answer.stops) == 0
    check_at_rest(world.shard, answer, world.now)


def check_at_rest(shard: Snapshot, answer: Plan, now: float) -> None:
    fleet, replicas, machines = shard.deployments, shard.replicas, shard.instances
    assert (replicas.state[~fleet.shadow[replicas.deployment]] == READY).all()
    for d, units in units_of(shard, now).of.items():
        if fleet.shadow[d]:
            continue
        assert all(unit.partner is None for unit in units)
        for unit in units:
            for i in instances_of(shard, unit.row):
                # C10: nothing is left on what has a deadline.
                assert machines.state[i] != InstanceState.DRAINING or np.isnan(machines.drain_until[i])
        older = sum(int(replicas.revision[unit.row]) < int(fleet.revision[d]) for unit in units)
        # R10: only where neither room nor the minimum allows it there is an older revision.
        assert not older or answer.granted.moves_short[d] or answer.granted.value[d] < fleet.min[d]
        if answer.granted.value[d] < min(int(fleet.min[d]), int(answer.wanted.value[d])):
            assert not could_place(shard, d) or answer.granted.bound[d] == Bound.PRIORITY
            assert not helpful_sets(shard, answer, d)  # R13
        on_demand = any(replicas.capacity_class[unit.row] == CapacityClass.ON_DEMAND for unit in units)
        prefers = tuple(fleet.class_order[d]) in ((1, 2), (0, 0))
        if on_demand and prefers and fleet.enabled[d]:
            reserved = replace(shard, deployments=replace(fleet, class_order=np.full_like(fleet.class_order, (1, 0))))
            # R15: claim GPUs stay free only where the min of another waits for them.
            assert not could_place(reserved, d) or (answer.granted.value < fleet.min).any()
