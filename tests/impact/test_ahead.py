"""The planner run ahead leaves out the passes in which nothing happens: a slow reference that makes them all agrees."""

import random
from typing import Any

import pytest

from deployments.core.params import Params
from deployments.core.reasons import Reason
from deployments.core.snapshot import CapacityClass, Snapshot
from deployments.impact.ahead import TICK_S, Ahead
from deployments.impact.change import Change, Leaving, Then
from tests.core import fleet
from tests.core.fleet import NOW
from tests.search import SEARCHING

GPUS, SHARDS = 8, 60 if SEARCHING else 30


class EveryPass(Ahead):
    """One pass after the other, five seconds apart."""

    def _next_event(self) -> float | None:
        return self.now + TICK_S


def crowded(choose: random.Random) -> Snapshot:
    """One organization: the first deployment has its replica on the claimed machine, and a high priority; one to three
    others have more replicas than their load asks for, on machines that they fill or nearly fill."""
    free = [GPUS] * choose.randint(1, 2)
    rows: list[dict[str, Any]] = [{"gpu_count": choose.choice([2, 4]), "priority": choose.randint(2, 4)}]
    replicas = [{"instance": 0, "gpus": rows[0]["gpu_count"], "capacity_class": CapacityClass.RESERVED}]
    for number in range(1, choose.randint(2, 4)):
        gpus = choose.choice([1, 2, 2, 4])
        rows.append({"gpu_count": gpus, "priority": choose.randint(0, 3)})
        for _ in range(choose.randint(1, 6)):
            place = next((row for row, left in enumerate(free) if left >= gpus), None)
            if place is not None:
                free[place] -= gpus
                replicas.append({"deployment": number, "instance": place + 1, "gpus": gpus})
    for row in rows:
        row |= {"concurrency": 1, "min": choose.randint(1, 2), "max": 9, "startup_s": float(choose.choice([5, 30, 60])),
                "scale_down_s": float(choose.choice([75, 150, 300]))}  # fmt: skip
    load = [1.0, *(float(choose.randint(0, 3)) for _ in rows[1:])]
    pool = [{"org": 1 if left < GPUS else 0, "gpus_used": GPUS - left} for left in free]
    machines = fleet.instances({"org": 1, "claim": 7, "gpus_used": rows[0]["gpu_count"]}, *pool)
    return fleet.shard(fleet.deployments(*rows), fleet.steady(load), fleet.replicas(*replicas), machines,
                       fleet.offerings(GPUS))  # fmt: skip


def done(ahead: Ahead) -> tuple[object, ...]:
    moves = sorted((one.replica, one.to) for one in ahead.moves)
    return moves, sorted((one.replica, one.reason, one.to) for one in ahead.stops), ahead.size().tolist()


@pytest.mark.thorough
def test_r4_r12_r13_what_is_skipped_is_what_nothing_happens_in() -> None:
    """Deadlines and delays end on the beat of five seconds, so that both see it in the same pass."""
    reasons = set()
    for seed in range(SHARDS):
        choose = random.Random(seed)
        shard, until = crowded(choose), NOW + choose.choice([60, 200, 400])
        then = choose.choice([Then.GONE, Then.POOL])
        ends = []
        for kind in (Ahead, EveryPass):
            ahead = kind(shard, NOW)
            ahead.begin(Change(leaving=[Leaving(0, then, until)]))
            ahead.run(Params(), until=until + 30)
            ends.append(done(ahead))
        assert ends[0] == ends[1], seed
        reasons |= {one.reason for one in ahead.stops}
    assert reasons >= {Reason.STOP_ON_DEMAND, Reason.STOP_YIELDED, Reason.STOP_RECLAIMED, Reason.STOP_NO_ROOM}
