"""A shard with its autoscaler in a closed loop: demand in; samples, plans and waits out.

Many deployments of several organizations share pools and claims, and the live planner decides for all of them at
once. A pass is that of the live loop: sample, snapshot, plan, apply. What differs from the live loop: a command takes
effect at once instead of within a pass of the actuate loop, and nothing fails.

- A replica that starts holds its GPUs at once, and takes requests once its model is loaded.
- A replica that is let go takes no request any more. It is gone, and its GPUs are free for the next pass, with the
  first pass at which it runs nothing; one that still loads runs nothing.
- A pool instance that nothing runs on any more serves nobody (R17). Claims stand still.

Nothing here draws a random number: requests and loading times are the world's, and the same world gives the same run.
"""

import math
from bisect import insort
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deployments.core.autoscaler_state import AutoscalerState
from deployments.core.params import Params
from deployments.core.plan import Plan
from deployments.core.planner import plan
from deployments.core.snapshot import Deployments, Instances, Offerings, Signals, Snapshot, history_s
from deployments.sim.demand import Demand
from deployments.sim.holdings import NOBODY, Held, Holdings
from deployments.sim.station import Station, arrivals_by_pass

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SEEN = ("queued", "active", "finished", "service_seconds")  # of a sample, by the planner


@dataclass(frozen=True, slots=True)
class World:
    """What is simulated, before anything runs. A deployment is named by its row; there are D.

    deployments: their settings; `service_s` is measured while it runs, and so is `startup_s` where it is NaN
    slots: int64 [D], requests that a replica runs at once
    instances: those of a claim have its organization, those of the pool serve nobody, and nothing uses any
    demands: D of them, in the seconds of the run
    loads: D of them: number of a replica in the order of its deployment's starts -> seconds from start to ready

    Raises ValueError for what is no such world.
    """

    deployments: Deployments
    slots: Ints
    instances: Instances
    offerings: Offerings
    demands: Sequence[Demand]
    loads: Sequence[Callable[[int], float]]

    def __post_init__(self) -> None:
        if not len(self.deployments) == len(self.slots) == len(self.demands) == len(self.loads):
            raise ValueError("Each deployment needs its slots, its demand and its loading times.")
        if np.any(self.instances.gpus_used) or np.any((self.instances.claim == 0) & (self.instances.org != NOBODY)):
            raise ValueError("A run begins with instances that nothing uses.")


@dataclass(frozen=True, slots=True)
class Sample:
    """What the deployments show at a pass: int64 [D], seconds float64 [D]. Counters grow from the start of the run."""

    queued: Ints
    active: Ints
    arrived: Ints
    finished: Ints
    service_seconds: Floats
    waited_le_1s: Ints
    waited_le_5s: Ints


@dataclass(frozen=True, slots=True)
class Step:
    """A pass: what was seen, what was decided and from what. `plan.ready` and `plan.starting` count replicas before it.

    waits: for each deployment, how long the requests waited that first started since the pass before
    """

    at_s: float
    sample: Sample
    snapshot: Snapshot
    plan: Plan
    waits: list[list[float]]


def run(
    world: World,
    params: Params,
    start_s: float,
    end_s: float,
    *,
    epoch_s: float = 0.0,
    initial: Sequence[int] | None = None,
) -> Iterator[Step]:
    """The passes `params.sample_s` apart in (start_s, end_s], one after the other.

    The run begins with empty queues and, as far as the planner finds room for them, `initial` replicas of each
    deployment that are ready. Seconds are those of the demands; the planner is told `epoch_s` more. Raises ValueError
    for times that cannot be.
    """
    if not start_s <= end_s < np.inf:
        raise ValueError(f"A run cannot go from {start_s} s to {end_s} s.")
    shard = _Shard(world, params, start_s, epoch_s)
    if initial is not None:
        shard.begin_with(initial, start_s)
    coming = arrivals_by_pass(world.demands, start_s, params.sample_s)
    for number in range(1, int((end_s - start_s) / params.sample_s) + 1):
        yield shard.step(start_s + number * params.sample_s, next(coming))


class _Shard:
    """The state of a run."""

    def __init__(self, world: World, params: Params, start_s: float, epoch_s: float) -> None:
        self.world, self.params, self.epoch_s = world, params, epoch_s
        self.stations = [Station(slots, start_s) for slots in world.slots.tolist()]
        self.holdings = Holdings(world.deployments, world.instances, world.loads, epoch_s)
        self.window = _Window(history_s(world.deployments, params), params.sample_s, len(world.slots))
        self.startups = _StartUps(world.deployments.startup_s)
        self.state = AutoscalerState.empty()

    def begin_with(self, initial: Sequence[int], now: float) -> None:
        """The planner says where they go: it is asked for these sizes, and remembers nothing of it."""
        pinned = replace(self.world.deployments, pin=np.array(initial, np.int32))
        made = plan(self._snapshot(pinned, Signals.none(len(pinned)), now), self.params, self.epoch_s + now)
        self._start(made, now, loaded=True)

    def step(self, now: float, requests: Sequence[tuple[list[float], list[float]]]) -> Step:
        for station, (arrivals, services) in zip(self.stations, requests, strict=True):
            station.advance(arrivals, services, now)
        sample = self._sample()
        signals, service_s = self.window.add(self.epoch_s + now, sample)
        deployments = replace(self.world.deployments, service_s=service_s, startup_s=self.startups.at(now))
        snapshot = self._snapshot(deployments, signals, now)
        made = plan(snapshot, self.params, self.epoch_s + now)
        self.state = made.state
        self.startups.expect(self._start(made, now))
        self._let_go(made)
        self.holdings.release(self._active_on)
        return Step(now, sample, snapshot, made, [station.line.take_waits() for station in self.stations])

    def _snapshot(self, deployments: Deployments, signals: Signals, now: float) -> Snapshot:
        replicas, instances, parts = self.holdings.tables(now, self._active_on)
        return Snapshot(deployments, signals, replicas, instances, self.world.offerings, self.state, parts)

    def _active_on(self, deployment: int, key: int) -> int:
        return self.stations[deployment].line.active_on(key)

    def _start(self, made: Plan, now: float, *, loaded: bool = False) -> list[Held]:
        started = self.holdings.start(made, now, loaded=loaded)
        for one in started:
            self.stations[one.deployment].expect(one.key, one.ready_s)
        return started

    def _let_go(self, made: Plan) -> None:
        going: dict[int, set[int]] = {}
        for one in self.holdings.let_go(made):
            going.setdefault(one.deployment, set()).add(one.key)
        for deployment, keys in going.items():
            self.stations[deployment].let_go(keys)

    def _sample(self) -> Sample:
        lines = [station.line for station in self.stations]
        return Sample(
            queued=np.array([len(line.waiting) for line in lines]),
            active=np.array([line.active for line in lines]),
            arrived=np.array([line.arrived for line in lines]),
            finished=np.array([line.finished for line in lines]),
            service_seconds=np.array([line.service_seconds for line in lines]),
            waited_le_1s=np.array([line.waited_le_1s for line in lines]),
            waited_le_5s=np.array([line.waited_le_5s for line in lines]),
        )


class _StartUps:
    """The 90th percentile of what replicas took until a pass saw them ready, as the live loop measures it."""

    def __init__(self, given: Floats) -> None:
        self._now = given
        self._measured = np.isnan(given).tolist()
        self._taken: list[list[float]] = [[] for _ in self._measured]
        self._loading: list[Held] = []

    def expect(self, started: Sequence[Held]) -> None:
        self._loading += [one for one in started if self._measured[one.deployment]]

    def at(self, now: float) -> Floats:
        ready = [one for one in self._loading if one.ready_s <= now and not one.leaving]
        if ready:
            self._now = self._now.copy()
            self._loading = [one for one in self._loading if one.ready_s > now and not one.leaving]
        for one in ready:
            taken = self._taken[one.deployment]
            insort(taken, now - one.started_s)
            self._now[one.deployment] = taken[-(-9 * len(taken) // 10) - 1]
        return self._now


class _Window:
    """The samples of the last `seconds`, as the live loop reads them from its blocks."""

    def __init__(self, seconds: float, every_s: float, deployments: int) -> None:
        self._kept = max(1, math.ceil(seconds / every_s))
        self._at = np.zeros(0)
        self._seen = np.zeros((len(SEEN), 0, deployments))

    def add(self, at: float, sample: Sample) -> tuple[Signals, Floats]:
        """The samples with this one, and the mean time that a request ran meanwhile (NaN where none ended)."""
        newest = np.array([getattr(sample, name) for name in SEEN], np.float64)
        self._at = np.append(self._at, at)[-self._kept :]
        self._seen = np.concatenate([self._seen, newest[:, None]], axis=1)[:, -self._kept :]
        queued, active, finished, seconds = self._seen
        ended = finished[-1] - finished[0]
        spent = seconds[-1] - seconds[0]
        service_s = np.divide(spent, ended, out=np.full(len(ended), np.nan), where=ended > 0)
        return Signals(self._at, queued.astype(np.int64), active.astype(np.int64)), service_s
