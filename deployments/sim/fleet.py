"""One deployment with its autoscaler in a closed loop: demand in, replicas and waits out.

The policy is whatever the caller passes, the live planner included. Replicas are started and drained as the
live loop does it, but a command takes effect at once and there is always room for another replica.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from deployments.sim.demand import Demand
from deployments.sim.queue import Counters, Line, QueueState
from deployments.sim.station import Station

P = TypeVar("P")
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Signal:
    """What the policy sees of the deployment at one sample; `counters` grow from the start of the run."""

    at_s: float
    queued: int
    active: int
    ready: int
    starting: int
    draining: int
    counters: Counters


PolicyStep = Callable[[P, Signal, float], tuple[P, int]]
"""(the policy's own state, signal, now in seconds) -> (the policy's own state, replicas wanted)"""


@dataclass(frozen=True)
class Setup:
    """How replicas behave and how often one looks.

    slots: requests a replica runs at once
    load_s: replica key -> seconds from start command to ready
    initial: replicas that are ready when the run begins
    sample_every_s: seconds between samples; the policy is asked at each
    """

    slots: int
    load_s: Callable[[int], float]
    initial: int = 1
    sample_every_s: float = 5.0

    def __post_init__(self) -> None:
        if self.slots < 1 or self.initial < 0 or not 0 < self.sample_every_s < math.inf:
            raise ValueError("A run needs slots >= 1, initial >= 0 and a positive time between samples.")


@dataclass(frozen=True)
class Life:
    """A replica from its start command to its end; None for what has not come.

    ended_s: when it was stopped while loading, or when the last request ends that it ran as draining began,
        which may lie ahead
    """

    key: int
    started_s: float
    ready_s: float
    draining_s: float | None = None
    ended_s: float | None = None

    @property
    def left_s(self) -> float | None:
        """When it was told to go: began to drain, or was stopped while it loaded."""
        return self.ended_s if self.draining_s is None else self.draining_s

    def seconds(self, start_s: float, end_s: float) -> float:
        """For how long it held its GPUs within [start_s, end_s)."""
        ended_s = end_s if self.ended_s is None else min(self.ended_s, end_s)
        return max(0.0, ended_s - max(self.started_s, start_s))


@dataclass(frozen=True, eq=False)
class Columns:
    """One value a sample; counts int64, times float64 in seconds, counters from the start of the run."""

    at_s: Floats
    queued: Ints
    active: Ints
    ready: Ints
    starting: Ints
    draining: Ints
    wanted: Ints
    arrived: Ints
    started: Ints
    finished: Ints
    service_seconds: Floats
    waited_le_1s: Ints
    waited_le_5s: Ints


@dataclass(frozen=True)
class Measures:
    """A run in a few numbers; None where no request was there to tell.

    requests: those that started, and those still queued at the end, which count with their wait so far
    share_le_1s, share_le_5s: share of them that waited at most that long
    replica_hours: from start command to end of drain; times the GPUs of a replica these are its GPU-hours
    changes: samples at which a replica was started, stopped or began to drain
    """

    requests: int
    share_le_1s: float | None
    share_le_5s: float | None
    wait_p50_s: float | None
    wait_p95_s: float | None
    wait_p99_s: float | None
    replica_hours: float
    changes: int
    changes_per_hour: float


@dataclass(frozen=True, eq=False)
class Run(Generic[P]):
    """What happened, and all it takes to go on from there.

    waits: float64 [n], seconds each request waited, in order of start
    lives: every replica there was, by key
    queue, policy: the state of the queue and of the policy at the end
    """

    start_s: float
    end_s: float
    columns: Columns
    waits: Floats
    lives: tuple[Life, ...]
    queue: QueueState
    policy: P

    def measures(self, from_s: float | None = None) -> Measures:
        """The measures over [from_s, end_s); `from_s` is the start of the run or a sampling time."""
        from_s = self.start_s if from_s is None else from_s
        waits = self._waits(from_s)
        hours = (self.end_s - from_s) / 3600
        changes = self._changes(from_s)
        return Measures(
            requests=len(waits),
            share_le_1s=_share(waits, 1),
            share_le_5s=_share(waits, 5),
            wait_p50_s=_quantile(waits, 0.5),
            wait_p95_s=_quantile(waits, 0.95),
            wait_p99_s=_quantile(waits, 0.99),
            replica_hours=sum(life.seconds(from_s, self.end_s) for life in self.lives) / 3600,
            changes=changes,
            changes_per_hour=changes / hours if hours else 0.0,
        )

    def _waits(self, from_s: float) -> Floats:
        """Waits of what started from `from_s` on, and those so far of what is queued at the end."""
        before = np.searchsorted(self.columns.at_s, from_s, side="right")
        started = int(self.columns.started[before - 1]) if before else 0
        queued = [self.queue.until_s - arrival for _, arrival, _ in self.queue.waiting]
        return np.concatenate([self.waits[started:], np.array(queued, dtype=np.float64)])

    def _changes(self, from_s: float) -> int:
        commands = {life.started_s for life in self.lives}
        commands |= {life.left_s for life in self.lives if life.left_s is not None}
        # Replicas that were there from the start were commanded by nobody.
        return sum(max(from_s, self.start_s) <= at and at != self.start_s for at in commands)


def run(demand: Demand, policy_step: PolicyStep[P], policy: P, setup: Setup, start_s: float, end_s: float) -> Run[P]:
    """Run the loop over [start_s, end_s), beginning with an empty queue.

    At each sampling time, `start_s + sample_every_s` first and `end_s` last, the policy is asked with the
    state it returned last (`policy` at first). What it wants above the replicas that are starting or ready is
    started; what is too many goes in this order: those still loading, least active, newest, highest key. A
    ready one drains: it takes no new request and ends with the last it runs. Raises ValueError when the
    policy wants fewer than 0.
    """
    fleet = _Fleet(setup, start_s)
    rows: list[tuple[Signal, int]] = []
    for now in _times(start_s, end_s, setup.sample_every_s):
        arrivals, services = demand.between(fleet.line.until_s, now)
        signal = fleet.advance(arrivals.tolist(), services.tolist(), now)
        policy, wanted = policy_step(policy, signal, now)
        fleet.resize(wanted, now)
        rows.append((signal, wanted))
    line = fleet.line
    return Run(start_s, end_s, _columns(rows), np.array(line.waits), fleet.history(), line.state(), policy)


def _times(start_s: float, end_s: float, every_s: float) -> Iterator[float]:
    if not start_s <= end_s < math.inf:
        raise ValueError(f"A run cannot go from {start_s} s to {end_s} s.")
    for step in range(1, math.ceil((end_s - start_s) / every_s) + 1):
        yield min(start_s + step * every_s, end_s)


class _Fleet:
    """The replicas of the run, past ones included."""

    def __init__(self, setup: Setup, start_s: float) -> None:
        self._setup = setup
        self._station = Station(setup.slots, start_s)
        self._serving: dict[int, Life] = {}
        self._draining: list[Life] = []
        self._ended: list[Life] = []
        for _ in range(setup.initial):
            self._start(start_s, start_s)

    @property
    def line(self) -> Line:
        return self._station.line

    def advance(self, arrivals: list[float], services: list[float], until: float) -> Signal:
        """Serve until then, and look."""
        self._station.advance(arrivals, services, until)
        ready = sum(life.ready_s <= until for life in self._serving.values())
        self._end(until)
        starting, draining, line = len(self._serving) - ready, len(self._draining), self.line
        return Signal(until, len(line.waiting), line.active, ready, starting, draining, line.counters())

    def resize(self, wanted: int, now: float) -> None:
        """Start or end replicas until `wanted` are starting or ready."""
        if wanted < 0:
            raise ValueError(f"The policy wants {wanted} replicas.")
        many = len(self._serving)
        for _ in range(wanted - many):
            self._start(now, now + self._setup.load_s(self._made))
        going = self._victims(now)[: many - wanted] if wanted < many else []
        # All of them look at what runs before any of them goes: what waits then starts elsewhere.
        self._draining += [self._ending(self._serving.pop(life.key), now) for life in going]
        if going:
            self._station.let_go({life.key for life in going})

    def history(self) -> tuple[Life, ...]:
        lives = [*self._ended, *self._draining, *self._serving.values()]
        return tuple(sorted(lives, key=lambda life: life.key))

    @property
    def _made(self) -> int:
        return len(self._ended) + len(self._draining) + len(self._serving)

    def _end(self, now: float) -> None:
        """Those that have ended before now drain no longer."""
        ended = [life for life in self._draining if life.ended_s is not None and life.ended_s < now]
        if ended:
            self._ended += ended
            self._draining = [life for life in self._draining if life not in ended]

    def _start(self, now: float, ready_s: float) -> None:
        life = Life(self._made, now, ready_s)
        self._serving[life.key] = life
        self._station.expect(life.key, ready_s)

    def _victims(self, now: float) -> list[Life]:
        """The order in which replicas go, that of R18: not ready, least active, newest, highest key."""

        def rank(life: Life) -> tuple[bool, int, float, int]:
            return life.ready_s <= now, self.line.active_on(life.key), -life.started_s, -life.key

        return sorted(self._serving.values(), key=rank)

    def _ending(self, life: Life, now: float) -> Life:
        """The replica as it ends, which is known at once: what it runs takes its time, and no more comes."""
        if life.ready_s > now:
            return replace(life, ended_s=now)
        return replace(life, draining_s=now, ended_s=max(self.line.ends_on(life.key), default=now))


def _columns(rows: Sequence[tuple[Signal, int]]) -> Columns:
    counters = {field.name for field in fields(Counters)}
    seconds = {"at_s", "service_seconds"}

    def column(name: str) -> NDArray[Any]:
        values = [getattr(signal.counters if name in counters else signal, name) for signal, _ in rows]
        return np.array(values, dtype=np.float64 if name in seconds else np.int64)

    wanted = np.array([wanted for _, wanted in rows], dtype=np.int64)
    names = [field.name for field in fields(Columns) if field.name != "wanted"]
    return Columns(wanted=wanted, **{name: column(name) for name in names})


def _share(waits: Floats, limit_s: float) -> float | None:
    return float(np.mean(waits <= limit_s)) if len(waits) else None


def _quantile(waits: Floats, at: float) -> float | None:
    return float(np.quantile(waits, at)) if len(waits) else None
