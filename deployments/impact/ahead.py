"""A shard that goes on from a snapshot, pass by pass. Rows are only ever added, so that row numbers hold; a replica that
has ended keeps its row with that state, which the planner ignores."""

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from claims.core.allocation import InUse, to_keep
from deployments.core.autoscaler_state import AutoscalerState
from deployments.core.history import forgotten_at_ms
from deployments.core.params import MILLI, Params, milliseconds
from deployments.core.plan import Plan
from deployments.core.planner import plan
from deployments.core.reasons import Reason
from deployments.core.snapshot import (
    CapacityClass,
    Instances,
    InstanceState,
    Parts,
    Replicas,
    Signals,
    Snapshot,
    Source,
)
from deployments.core.states import LIVE, ReplicaState
from deployments.impact.change import Change, Leaving, Move, Stop, Then, Waiting

NOBODY = 0
TICK_S = 5.0
LOADS_S = 120.0  # a model that nobody has seen loading
MOMENT_S = 0.001  # the planner counts milliseconds: so long after a deadline it is over, however it was rounded
MOST_PASSES = 200
Table = dict[str, npt.NDArray[np.generic]]


class Ahead:
    """What is and what comes; `moves`, `stops` and `emptied` fill as time passes."""

    def __init__(self, snapshot: Snapshot, now: float) -> None:
        self.now = now
        self.deployments = snapshot.deployments
        self.replica = {name: values.copy() for name, values in snapshot.replicas.items()}
        self.instance = {name: values.copy() for name, values in snapshot.instances.items()}
        self.parts = list(zip(*(values.tolist() for _, values in snapshot.parts.items()), strict=True))
        self.seen = snapshot
        self.began = now
        self.shrinks_at = np.inf
        self.closed = self.instance["held"].copy()  # the rest of `held` is kept for claims that wait
        self.leaving: dict[int, Leaving] = {}
        self.waiting: list[Waiting] = []
        self.shrinking: dict[int, int] = {}
        self.emptied: dict[int, float] = {}
        self.moves: list[Move] = []
        self.stops: list[Stop] = []
        self.gone: set[int] = set()
        self.started: dict[int, list[tuple[int, ...]]] = {}  # by key of the deployment: where more of it starts

    def begin(self, change: Change) -> None:
        """Mark what leaves and what is closed. What is empty leaves now, and claims take what is free."""
        self.leaving = {one.instance: one for one in change.leaving}
        self.waiting = [replace(one, missing=one.missing + one.more, more=0) for one in change.waiting]
        self.shrinking = dict(change.shrinking)
        for row, one in self.leaving.items():
            self.instance["state"][row] = InstanceState.DRAINING
            self.instance["drain_until"][row] = one.until
        self.closed[list(change.kept)] = False
        self.closed[list(change.closed)] = True
        for row in np.argsort(self.instance["key"], kind="stable").tolist():
            self._emptied(row)
        self._keep()

    def run(self, params: Params, until: float = np.inf) -> None:
        """Passes until nothing runs on what leaves and nothing changes any more, or until a time."""
        for _ in range(MOST_PASSES):
            busy = self._pass(params)
            following = self.now + TICK_S if busy else self._next_event()
            if following is None or following > until or (not busy and until == np.inf and self.complete):
                return
            self.now = following

    @property
    def complete(self) -> bool:
        """Whether nothing runs any more on what leaves."""
        return len(self.emptied) == len(self.leaving)

    def size(self) -> npt.NDArray[np.int64]:
        """Replicas that count, by row of the deployment; an old one and its replacement are one."""
        counts = np.isin(self.replica["state"], list(LIVE)) & (self.replica["replaces"] < 0)
        found: npt.NDArray[np.int64] = np.bincount(self.replica["deployment"][counts], minlength=len(self.deployments))
        return found

    def _next_event(self) -> float | None:
        """When the next model is loaded, or the next deadline or scale-down delay is over; None where nothing is
        awaited."""
        times = self._loaded_at()[self.replica["state"] == ReplicaState.STARTING].tolist()
        times += [one.until + MOMENT_S for row, one in self.leaving.items() if row not in self.emptied]
        times.append(self.shrinks_at)
        return min((at for at in times if self.now < at < np.inf), default=None)

    def _loaded_at(self) -> npt.NDArray[np.float64]:
        loads = np.nan_to_num(self.deployments.startup_s, nan=LOADS_S)[self.replica["deployment"]]
        found: npt.NDArray[np.float64] = np.nan_to_num(self.replica["started_at"], nan=self.now) + loads
        return found

    def _pass(self, params: Params) -> bool:
        """What the loop does in one pass; whether it did anything. The load stays what it is, so that a size changes only
        when its delay is over (R4) or is cut short for others (R12)."""
        self._time_passes()
        made = plan(self._snapshot(), params, self.now)
        self._start(made)
        for row, code in zip(made.stops.replica.tolist(), made.stops.code.tolist(), strict=True):
            self._stop(row, Reason(code))
        self.seen = replace(self.seen, state=made.state)
        delayed = made.damped.code == Reason.SHRINK_DELAYED
        self.shrinks_at = (forgotten_at_ms(made.state.memory)[delayed] / MILLI).min(initial=np.inf)
        return len(made.starts) + len(made.stops) > 0

    def _time_passes(self) -> None:
        """Models that have had their time are loaded, and replicas that were let go are gone."""
        loaded = (self.replica["state"] == ReplicaState.STARTING) & (self._loaded_at() <= self.now)
        self.replica["state"][loaded] = ReplicaState.READY
        for row in np.flatnonzero(self.replica["state"] == ReplicaState.DRAINING).tolist():
            self._release(row)
        self._keep()

    def _keep(self) -> None:
        """While a claim waits for an instance of the pool, the emptiest one takes no new replica (C4)."""
        table = self.instance
        in_use = (table["claim"] == NOBODY) & (table["source"] == Source.POOL) & (table["gpus_used"] > 0)
        in_use &= (table["state"] == InstanceState.READY) & ~self.closed
        kept = np.zeros_like(self.closed)
        for offering in {one.offering for one in self.waiting if one.missing > 0}:
            rows = np.flatnonzero(in_use & (table["offering"] == offering))
            columns = (table[name][rows].tolist() for name in ("key", "gpus_used", "held"))
            chosen = to_keep(InUse(*row) for row in zip(*columns, strict=True))
            kept |= table["key"] == (0 if chosen is None else chosen)
        table["held"] = self.closed | kept

    def _snapshot(self) -> Snapshot:
        parts = [part for part in self.parts if self.replica["state"][part[0]] != ReplicaState.STOPPED]
        columns = dict(zip(("replica", "instance", "gpus"), zip(*parts, strict=True), strict=True)) if parts else {}
        return replace(
            self.seen, deployments=self.deployments, replicas=Replicas.build(**self.replica),
            instances=Instances.build(**self.instance), parts=Parts.build(**columns) if parts else Parts.none(),
            signals=self._signals(), state=self._state(),
        )  # fmt: skip

    def _signals(self) -> Signals:
        """The samples as if they were of this moment. Moved by whole milliseconds, no rounding makes one of the future."""
        signals = self.seen.signals
        return replace(signals, at=signals.at + math.floor((self.now - self.began) * MILLI) / MILLI)

    def _state(self) -> AutoscalerState:
        """What the pass before this one left: one in which nothing happened is skipped, and is no pause of the loop."""
        if self.now == self.began:
            return self.seen.state
        return replace(self.seen.state, at_ms=milliseconds(self.now - TICK_S))

    def _start(self, made: Plan) -> None:
        starts, base = made.starts, len(self.replica["key"])
        first = np.flatnonzero(np.diff(starts.replica, prepend=-1) > 0)
        self._add(made, first)
        ends = [*first[1:].tolist(), len(starts)]
        for number, (begin, end) in enumerate(zip(first.tolist(), ends, strict=False)):
            places = list(zip(starts.instance[begin:end].tolist(), starts.gpus[begin:end].tolist(), strict=True))
            self._take(places, int(self.deployments.org[starts.deployment[begin]]))
            self.parts += [(base + number, *place) for place in places if len(places) > 1]
            to = tuple(self._instance_key(row) for row, _ in places)
            if starts.replaces[begin] >= 0:
                self._moves(int(starts.replaces[begin]), to, int(starts.capacity_class[begin]))
            else:
                key = int(self.deployments.key[starts.deployment[begin]])
                self.started.setdefault(key, []).append(to)

    def _add(self, made: Plan, first: npt.NDArray[np.int64]) -> None:
        """Rows for the replicas that start, with keys above all others, as new ones have."""
        starts, of = made.starts, self.deployments
        deployment, count = starts.deployment[first], len(first)
        new: Table = {
            "key": int(self.replica["key"].max(initial=0)) + 1 + np.arange(count), "deployment": deployment,
            "state": np.full(count, ReplicaState.STARTING), "capacity_class": starts.capacity_class[first],
            "instance": starts.instance[first], "gpus": of.gpu_count[deployment],
            "started_at": np.full(count, self.now), "active": np.zeros(count),
            "revision": of.revision[deployment], "replaces": starts.replaces[first],
        }  # fmt: skip
        self.replica = {
            name: np.concatenate([values, new[name].astype(values.dtype)]) for name, values in self.replica.items()
        }

    def _take(self, places: Iterable[tuple[int, int]], org: int) -> None:
        for row, gpus in places:
            self.instance["gpus_used"][row] += gpus
            self.instance["org"][row] = org

    def _moves(self, old: int, to: tuple[int, ...], capacity_class: int) -> None:
        key, deployment, gpus, source = self._named(old)
        self.moves.append(Move(key, deployment, gpus, source, to, CapacityClass(capacity_class), self.now))

    def _named(self, row: int) -> tuple[int, int, int, int]:
        """Keys of a replica, its deployment and its instance, and its GPUs."""
        replica = self.replica
        return (int(replica["key"][row]), int(self.deployments.key[replica["deployment"][row]]),
                int(replica["gpus"][row]), self._instance_key(int(replica["instance"][row])))  # fmt: skip

    def _instance_key(self, row: int) -> int:
        return int(self.instance["key"][row]) if row >= 0 else 0

    def _stop(self, row: int, reason: Reason) -> None:
        """Let a replica go. One whose replacement is ready has moved; any other stops, and its replacement goes on."""
        key, deployment, gpus, source = self._named(row)
        if reason == Reason.STOP_REPLACED:
            self.moves = [replace(one, at=self.now) if one.replica == key else one for one in self.moves]
        else:
            to = next((one.to for one in self.moves if one.replica == key), ())
            self.moves = [one for one in self.moves if one.replica != key]
            self.stops.append(Stop(key, deployment, gpus, source, self.now, reason, to))
        self.gone.add(key)
        self.replica["state"][row] = ReplicaState.DRAINING
        self.replica["replaces"][self.replica["replaces"] == row] = -1

    def _release(self, row: int) -> None:
        """Give back the GPUs of a replica that has ended."""
        self.replica["state"][row] = ReplicaState.STOPPED
        places = [(instance, gpus) for replica, instance, gpus in self.parts if replica == row]
        if not places and self.replica["instance"][row] >= 0:
            places = [(int(self.replica["instance"][row]), int(self.replica["gpus"][row]))]
        for instance, gpus in places:
            self.instance["gpus_used"][instance] -= gpus
            self._emptied(instance)

    def _emptied(self, row: int) -> None:
        """Where nothing runs: what leaves goes its way, and what is nobody's is anybody's."""
        table = self.instance
        if table["gpus_used"][row] > 0:
            return
        if row in self.leaving and row not in self.emptied:
            self.emptied[row] = self.now
            self._leaves(row, self.leaving[row].then)
        if table["claim"][row] == NOBODY:
            table["org"][row] = NOBODY
            if table["state"][row] == InstanceState.READY and table["source"][row] == Source.POOL:
                self._offered(row)

    def _leaves(self, row: int, then: Then) -> None:
        table = self.instance
        table["claim"][row] = NOBODY
        table["drain_until"][row] = np.nan
        table["state"][row] = InstanceState.READY if then != Then.GONE else InstanceState.OTHER
        self.closed[row] |= then == Then.STAYS

    def _offered(self, row: int) -> None:
        """A free pool instance goes to the first claim that waits for one, else out of a pool that shrinks."""
        table = self.instance
        if self.closed[row]:
            return
        offering = int(table["offering"][row])
        for place, one in enumerate(self.waiting):
            if one.offering == offering and one.missing > 0:
                table["claim"][row], table["org"][row] = one.claim, one.org
                self.waiting[place] = replace(one, missing=one.missing - 1)
                return
        if self.shrinking.get(offering, 0) > 0:
            self.shrinking[offering] -= 1
            table["state"][row] = InstanceState.OTHER
