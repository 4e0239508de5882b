"""A shard that does what it is told: replicas start, serve, drain and go, instances come free. Pure, pass by pass."""

from collections import defaultdict
from dataclasses import dataclass, field, replace

import numpy as np

from deployments.core.plan import Plan
from deployments.core.snapshot import InstanceState, Parts, Replicas, Signals, Snapshot
from tests.core.fleet import DRAINING, NOW, READY, STARTING, decide

PASS_S = 25.0  # below the age at which a signal is stale, so that the loop does not count as paused


@dataclass
class World:
    """`loading` and `draining` are how many passes a replica takes for either."""

    shard: Snapshot
    loading: int = 2
    draining: int = 1
    now: float = NOW
    since: dict[int, int] = field(default_factory=lambda: defaultdict(int))  # replica key -> passes in its state

    def step(self) -> Plan:
        """Plan, act, and let a pass go by."""
        answer = decide(self.shard, self.now)
        self._act(answer)
        self.now += PASS_S
        self._pass()
        self.shard = replace(self.shard, state=answer.state, signals=self._signals())
        return answer

    def _signals(self) -> Signals:
        old = self.shard.signals
        return Signals(old.at + PASS_S, old.queued, old.active)

    def _act(self, answer: Plan) -> None:
        shard, have = self.shard, self.shard.replicas
        state = have.state.copy()
        state[answer.stops.replica] = DRAINING
        for key in have.key[answer.stops.replica].tolist():
            self.since[key] = 0
        starts, fleet = answer.starts, shard.deployments
        first = np.diff(starts.replica, prepend=-1) > 0
        fresh, count = starts.take(first), len(have)
        owners = fresh.deployment
        new = Replicas.build(
            key=int(have.key.max(initial=0)) + 1 + np.arange(len(fresh)),
            deployment=owners,
            state=np.full(len(fresh), STARTING),
            capacity_class=fresh.capacity_class,
            instance=fresh.instance,
            gpus=fleet.gpu_count[owners],
            started_at=np.full(len(fresh), self.now),
            revision=fleet.revision[owners],
            replaces=fresh.replaces,
        )
        old = replace(have, state=state)
        both = Replicas(**{name: np.concatenate([values, getattr(new, name)]) for name, values in old.items()})
        spread = np.isin(starts.replica, np.flatnonzero(np.bincount(starts.replica) > 1)) if len(starts) else first
        parts = shard.parts
        more = Parts.build(
            replica=np.concatenate([parts.replica, count + starts.replica[spread]]),
            instance=np.concatenate([parts.instance, starts.instance[spread]]),
            gpus=np.concatenate([parts.gpus, starts.gpus[spread]]),
        )
        self.shard = replace(shard, replicas=both, parts=more)
        self._release(answer)

    def _pass(self) -> None:
        have = self.shard.replicas
        state = have.state.copy()
        for row, key in enumerate(have.key.tolist()):
            self.since[key] += 1
            if state[row] == STARTING and self.since[key] >= self.loading:
                state[row], self.since[key] = READY, 0
        over = (state == DRAINING) & np.array([self.since[key] > self.draining for key in have.key.tolist()], bool)
        self.shard = replace(self.shard, replicas=replace(have, state=state))
        self._drop(over)

    def _drop(self, over: np.ndarray) -> None:
        """Rows that have gone; others point to where those they mean are now."""
        shard = self.shard
        new = np.where(over, -1, np.cumsum(~over) - 1)
        have = shard.replicas
        replaces = np.where(have.replaces >= 0, new[have.replaces], -1).astype(np.int32)
        kept = replace(have, replaces=replaces).take(~over)
        stay = ~over[shard.parts.replica]
        parts = shard.parts.take(stay)
        self.shard = replace(shard, replicas=kept, parts=replace(parts, replica=new[parts.replica].astype(np.int32)))
        self._release(None)

    def _release(self, answer: Plan | None) -> None:
        """GPUs in use are those that replicas hold; an empty instance serves nobody, a drained one is given up."""
        shard, machines = self.shard, self.shard.instances
        have, parts = shard.replicas, shard.parts
        spread = np.zeros(len(have), bool)
        spread[parts.replica] = True
        alone = ~spread & (have.instance >= 0)
        used = np.zeros(len(machines), np.int64)
        np.add.at(used, have.instance[alone], have.gpus[alone])
        np.add.at(used, parts.instance, parts.gpus)
        org = machines.org.copy()
        if answer is not None:
            org[answer.starts.instance] = shard.deployments.org[answer.starts.deployment]
        org[(used == 0) & (machines.claim == 0)] = 0
        gone = (machines.state == InstanceState.DRAINING) & (used == 0)
        state = np.where(gone, InstanceState.OTHER, machines.state).astype(np.int8)
        assert (used <= machines.gpus).all()
        self.shard = replace(shard, instances=replace(machines, gpus_used=used.astype(np.int32), org=org, state=state))
