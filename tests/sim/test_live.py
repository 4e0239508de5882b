"""The simulator is the live loop: the same samples and decisions, pass by pass, as on the real database.

The clock stands still during a pass, so that commands of the live loop take effect at the pass as those of the simulator
do, and the simulator's replicas load for as long as the runtime drew for the live ones.
"""

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from django.conf import settings

from claims.models import InstanceType
from console.common import clock
from deployments.backends import simulated as runtime
from deployments.core.snapshot import Snapshot
from deployments.loop.actuate import actuate_pass
from deployments.loop.blocks import Block
from deployments.loop.sampling import targets_of
from deployments.loop.snapshot import read_shard
from deployments.loop.tick import PARAMS, shard_tick
from deployments.models import Decision, SignalBlock, SimulatedWorkload
from deployments.sim.demand import RecordedDemand
from deployments.sim.shard import Step, World, run
from deployments.sim.startup import load_seconds
from tests import fleet, world
from tests.cast import Cast

pytestmark = pytest.mark.django_db

PASSES, EVERY_S = 60, 5
COLUMNS = ("queued", "active", "arrived", "finished", "service_seconds", "waited_le_1s", "waited_le_5s")


@pytest.fixture
def shard(cast: Cast) -> InstanceType:
    """Two organizations that compete for a pool which is too small for them."""
    of = world.offering("RNO2A", "gd-1xgh200")
    world.pool(of, 9)
    for actor, name, scale, trace in (
        (cast.admin.actor, "steady", 1.2, "azure_llm_2023_conv"),
        (cast.admin.actor, "bursty", 5.0, "azure_llm_2023_code"),
        (cast.outsider.actor, "other", 1.0, "azure_llm_2023_conv"),
    ):
        one = fleet.deployment(actor, fleet.gateway(actor, name=f"for-{name}"), of, name=name, max=6)
        fleet.workload(one, scale, trace)
    return of.instance_type


@dataclass
class Live:
    """The live loop, with what the runtime drew: by deployment, in the order of starts."""

    start: datetime
    now: datetime
    loads: defaultdict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    ready_s: defaultdict[int, list[float]] = field(default_factory=lambda: defaultdict(list))

    def draw(self, seed: int, key: int) -> float:
        seconds = load_seconds(seed, key)
        self.loads[seed].append(round(seconds / settings.SIM_SPEED, 6))
        self.ready_s[seed].append((self.now - self.start).total_seconds() + self.loads[seed][-1])
        return seconds

    def run(self, shard: InstanceType) -> None:
        for number in range(1, PASSES + 1):
            self.now = self.start + timedelta(seconds=EVERY_S * number)
            actuate_pass(now=self.now)
            shard_tick(shard, self.now)
            actuate_pass(now=self.now)

    def world(self, before: Snapshot, slots: list[int]) -> World:
        keys = before.deployments.key.tolist()
        return World(
            deployments=replace(before.deployments, service_s=np.full(len(keys), np.nan)),
            slots=np.array(slots),
            instances=before.instances,
            offerings=before.offerings,
            demands=[self.demand(key) for key in keys],
            loads=[self.loads[key].__getitem__ for key in keys],
        )

    def demand(self, key: int) -> RecordedDemand:
        """Requests begin to come with the pass at which a replica first answers."""
        one = SimulatedWorkload.objects.get(deployment_key=key)
        first = EVERY_S * -(-min(self.ready_s[key]) // EVERY_S)
        demand = runtime.demand_of(one.trace, one.scale, one.seed, one.phase_s)
        return RecordedDemand(*demand.between(first, PASSES * EVERY_S))


def test_the_simulator_is_the_live_loop(shard: InstanceType, monkeypatch: pytest.MonkeyPatch) -> None:
    start = clock.now().replace(microsecond=0)
    live = Live(start, start)
    monkeypatch.setattr(clock, "now", lambda: live.now)
    monkeypatch.setattr(runtime, "load_seconds", live.draw)
    SimulatedWorkload.objects.update(origin=start)
    before, slots = read_shard(shard, PARAMS, start).snapshot, [target.slots for target in targets_of(shard)]
    live.run(shard)
    of = live.world(before, slots)
    steps = list(run(of, PARAMS, 0.0, PASSES * EVERY_S, epoch_s=start.timestamp()))
    for sampled, step in zip(samples_of(shard), steps, strict=True):
        assert sampled == told(step), step.at_s
    decided = [one for step in steps for one in decisions_in(step)]
    assert decisions() == decided
    assert len(decided) > len(slots), "sizes followed the load"
    assert any((step.plan.granted.value < step.plan.wanted.value).any() for step in steps), "they did compete"


def samples_of(shard: InstanceType) -> list[Any]:
    payloads = SignalBlock.objects.filter(instance_type=shard).order_by("at").values_list("payload", flat=True)
    names = (*COLUMNS, "ready", "starting")
    return [[getattr(Block.from_bytes(payload), name).tolist() for name in names] for payload in payloads]


def told(step: Step) -> list[Any]:
    columns = [getattr(step.sample, name).tolist() for name in COLUMNS]
    return [*columns, step.plan.ready.tolist(), step.plan.starting.tolist()]


def decisions() -> list[Any]:
    rows = Decision.objects.order_by("at", "deployment")
    return [(one.deployment_id, one.current, one.wanted, one.granted, one.record["granted_code"]) for one in rows]


def decisions_in(step: Step) -> list[Any]:
    made = step.plan
    columns = (made.key, made.current, made.wanted.value, made.granted.value, made.granted.code)
    return [tuple(int(column[row]) for column in columns) for row in np.flatnonzero(made.changed)]
