"""One demand and many settings side by side: each lane is the same deployment, sized by a policy of its own.

What the lanes share is done once: with nobody waiting, every lane has the same requests in flight (those that arrived
and have not run their time yet). A lane keeps only how it differs from that, which is what waited. So a tick in which
no lane runs short costs a few operations for all of them, and one in which some do costs as many more as requests wait.

Time goes in steps of half a second, and a request arrives, starts and ends at the beginning of a step. In a step these
happen in order: replicas become ready, requests end, those that wait start first come first served, those that arrive
start or wait. So what waited n steps waited n - 1 to n + 1 of them, n in the middle, and of those that waited as many as
a limit has half are taken to be within it. A replica that is let go while it loads is gone; a ready one takes no new request and goes when the last
ends that it runs: its share of what runs, taken evenly over ages.

Differs from `deployments.sim.fleet`, which is exact to the request, by the width of a step in a wait
(tests/sim/test_grid.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

S = TypeVar("S")
Floats = NDArray[np.float64]
Int64s = NDArray[np.int64]
Int32s = NDArray[np.int32]

STEP_S = 0.5
HOUR_S = 3600.0
LONGEST_WAIT_S = 3600.0  # waits above count as this
LE_1S, LE_5S = round(1 / STEP_S), round(5 / STEP_S)


@dataclass(frozen=True, eq=False)
class Load:
    """Requests in steps.

    arrived: int64 [T + 1], how many arrived before each step
    at: int32 [n], step in which each arrives, sorted
    steps: int32 [n], steps each runs, at least 1
    """

    arrived: Int64s
    at: Int32s
    steps: Int32s

    @classmethod
    def of(cls, arrivals: Floats, services: Floats, span_s: float) -> "Load":
        """arrivals: float64 [n], seconds, sorted, in [0, span_s); services: float64 [n], seconds each runs."""
        count = int(np.ceil(span_s / STEP_S))
        at = np.minimum((arrivals / STEP_S).astype(np.int32), count - 1)
        steps = np.maximum(np.rint(services / STEP_S), 1).astype(np.int32)
        arrived = np.zeros(count + 1, np.int64)
        np.cumsum(np.bincount(at, minlength=count), out=arrived[1:])
        return cls(arrived, at, steps)

    @property
    def span(self) -> int:
        """Steps that it is long."""
        return len(self.arrived) - 1

    @cached_property
    def ends(self) -> Int64s:
        """int64 [T], how many end in each step if nobody ever waits."""
        ends = np.bincount(self.at + self.steps, minlength=self.span)
        return ends[: self.span]

    @cached_property
    def in_flight(self) -> Int64s:
        """int64 [T], how many run after each step if nobody ever waits."""
        return self.arrived[1:] - np.cumsum(self.ends)

    @cached_property
    def worked(self) -> Int64s:
        """int64 [n + 1], steps that the requests before each run in all."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.steps, dtype=np.int64)])

    @cached_property
    def longest(self) -> int:
        """Steps of the longest request."""
        return int(self.steps.max(initial=1))


@dataclass(frozen=True, slots=True)
class Setup:
    """What a replica is and how often one looks.

    slots: requests it runs at once
    cold_start_s: from start command to ready, rounded up to a step
    sample_s: time between samples, at each of which the policy is asked; a whole number of steps
    """

    slots: int
    cold_start_s: float
    sample_s: float = 5.0

    @property
    def tick(self) -> int:
        """Steps between samples."""
        return round(self.sample_s / STEP_S)

    @property
    def cold(self) -> int:
        """Steps from start command to ready."""
        return int(np.ceil(self.cold_start_s / STEP_S - 1e-9))


@dataclass(frozen=True, eq=False)
class Seen:
    """What a policy sees of every lane at one sample (int64[L]); `service_s`: the mean time that the requests of the last
    minute run, NaN where there were none."""

    at_s: float
    queued: Int64s
    active: Int64s
    ready: Int64s
    starting: Int64s
    service_s: float = np.nan


PolicyStep = Callable[[S, Seen], tuple[S, Int64s]]
"""(the policy's own state, what is seen) -> (the policy's own state, replicas wanted in each lane)"""


@dataclass(frozen=True, eq=False)
class GridRun:
    """What came of it, per lane; of every hour by the first index.

    arrived: int64 [hours, L], requests that arrived in the hour
    late_1s, late_5s: float64 [hours, L], requests that started in it after a longer wait
    replica_s: float64 [hours, L], from start command to end of drain, which counts in the hour in which it begins
    changes: int64 [hours, L], samples at which replicas were started or let go
    waits: int64 [L, W], requests by the steps that they waited, those queued at the end included; of those that arrived in
        scored hours
    """

    arrived: Int64s
    late_1s: Floats
    late_5s: Floats
    replica_s: Floats
    changes: Int64s
    waits: Int64s
    from_hour: int

    @property
    def requests(self) -> Int64s:
        """int64 [L]"""
        count: Int64s = self.waits.sum(axis=1)
        return count

    @property
    def share_le_1s(self) -> Floats:
        """float64 [L], share of requests that waited at most 1 s; NaN where there was none."""
        return self._share(LE_1S)

    @property
    def share_le_5s(self) -> Floats:
        """float64 [L], as `share_le_1s`."""
        return self._share(LE_5S)

    def wait_s(self, quantile: float) -> Floats:
        """float64 [L], wait that this share of requests did not exceed."""
        below = np.cumsum(self.waits, axis=1)
        steps: Int64s = (below < quantile * below[:, -1:]).sum(axis=1)
        wait_s: Floats = STEP_S * steps.astype(np.float64)
        return wait_s

    @property
    def replica_hours(self) -> Floats:
        """float64 [L], scored hours alone; times the GPUs of a replica these are GPU-hours."""
        seconds: Floats = self.replica_s[self.from_hour :].sum(axis=0)
        return seconds / HOUR_S

    @property
    def changes_per_hour(self) -> Floats:
        """float64 [L]"""
        mean: Floats = self.changes[self.from_hour :].mean(axis=0)
        return mean

    def _share(self, most: int) -> Floats:
        with np.errstate(invalid="ignore"):
            share: Floats = (self.waits[:, :most].sum(axis=1) + self.waits[:, most] / 2) / self.requests
            return share


def run(
    load: Load,
    step: PolicyStep[S],
    state: S,
    setup: Setup,
    begun: Int64s,
    low: Int64s,
    high: Int64s,
    from_hour: int = 0,
) -> GridRun:
    """All of the load under the policies. `begun`: replicas ready at the start; `low`, `high`: min and max of each lane;
    the hours before `from_hour` are run and not scored."""
    grid = Grid(load, setup, begun, from_hour)
    while not grid.over:
        state, wanted = step(state, grid.advance())
        grid.resize(np.clip(wanted, low, high))
    return grid.result()


class Grid:
    """The lanes as they go on; changes in place."""

    def __init__(self, load: Load, setup: Setup, begun: Int64s, from_hour: int = 0) -> None:
        lanes = len(begun)
        self.load, self.setup, self.lanes = load, setup, lanes
        self._now = 0  # step
        self._horizon = load.longest + setup.tick + 2  # steps ahead that anything now running can end
        self._ready = begun.astype(np.int64)
        self._cold, self._late = divmod(setup.cold, setup.tick)
        self._loading = np.zeros((self._cold + 2, lanes), np.int64)  # by tick of start
        self._starting = np.zeros(lanes, np.int64)
        # More in flight than if nobody had waited; how ends differ from those, by step; what waits and from which on.
        self._more = np.zeros(lanes, np.int64)
        self._moved = np.zeros((self._horizon, lanes), np.int32)
        self._differs_until = 0  # step from which on none ends otherwise
        self._queued = np.zeros(lanes, np.int64)
        self._first = np.zeros(lanes, np.int64)  # id of the first that waits, where any does
        # Requests on replicas that drain, and when they end.
        self._draining = np.zeros(lanes, np.int64)
        self._drained = np.zeros((self._horizon, lanes), np.int32)
        hours = max(1, int(np.ceil(load.span * STEP_S / HOUR_S)))
        self._late_1s, self._late_5s = np.zeros((hours, lanes)), np.zeros((hours, lanes))
        self._began = np.zeros((hours, lanes), np.int64)
        self._replica_steps = np.zeros((hours, lanes))
        self._changes = np.zeros((hours, lanes), np.int64)
        self._waits = np.zeros((lanes, round(LONGEST_WAIT_S / STEP_S) + 1), np.int64)
        self._from_hour, self._from_step = from_hour, round(from_hour * HOUR_S / STEP_S)

    @property
    def now(self) -> int:
        """Steps that are over."""
        return self._now

    @property
    def over(self) -> bool:
        return self._now >= self.load.span

    @property
    def hour(self) -> int:
        """Number of the hour that the last step was in."""
        return int(max(self._now - 1, 0) * STEP_S // HOUR_S)

    def advance(self) -> Seen:
        """Go on to the next sample; the last may come early."""
        start, end = self._now, min(self._now + self.setup.tick, self.load.span)
        self._now = end
        self._replica_steps[self.hour] += (self._ready + self._starting) * (end - start)
        room = self._room(start, end)
        flight = self.load.in_flight[start:end, None] + self._more
        differ = self._differs_until > start
        if differ:
            rows = np.arange(start, end) % self._horizon
            flight = flight - np.cumsum(self._moved[rows], axis=0)
        short = (self._queued > 0) | (flight > room).any(axis=0)
        arrived = self.load.arrived
        self._began[self.hour] += arrived[end] - arrived[start]
        if differ or short.any():
            self._go(start, end, room, flight, short)
        active = self.load.in_flight[end - 1] + self._more - self._queued
        return Seen(
            end * STEP_S, self._queued.copy(), active, self._ready.copy(), self._starting.copy(), self._service_s()
        )

    def resize(self, wanted: Int64s) -> None:
        """Start or let go replicas until so many are starting or ready in each lane."""
        missing = wanted - self._ready - self._starting
        if not missing.any():
            return
        up = np.maximum(missing, 0)
        self._loading[self._tick() % len(self._loading)] += up
        self._starting += up
        for lane in np.flatnonzero(missing < 0).tolist():
            self._let_go(lane, -int(missing[lane]))
        self._changes[self.hour] += missing != 0

    def result(self) -> GridRun:
        """What came of it so far."""
        waits = self._waits.copy()
        for lane in np.flatnonzero(self._queued).tolist():
            first = self._first[lane]
            at = self.load.at[first : first + self._queued[lane]]
            waited = self._now - at[at >= self._from_step]
            np.add.at(waits[lane], np.minimum(waited, waits.shape[1] - 1), 1)
        began = self._began.copy()
        waits[:, 0] = began[self._from_hour :].sum(axis=0) - waits[:, 1:].sum(axis=1)
        return GridRun(began, self._late_1s.copy(), self._late_5s.copy(), self._replica_steps * STEP_S,
                       self._changes.copy(), waits, self._from_hour)  # fmt: skip

    def _service_s(self) -> float:
        load, before = self.load, max(0, self._now - round(60 / STEP_S))
        first, last = int(load.arrived[before]), int(load.arrived[self._now])
        return STEP_S * float(load.worked[last] - load.worked[first]) / (last - first) if last > first else np.nan

    def _tick(self) -> int:
        return -(-self._now // self.setup.tick)

    def _room(self, start: int, end: int) -> Int64s:
        """Requests that may run in each step [steps, L]: the slots, and what still runs on replicas that drain."""
        slots, count = self.setup.slots, end - start
        coming = self._loading[(start // self.setup.tick - self._cold) % len(self._loading)]
        room = np.broadcast_to(self._ready * slots, (count, self.lanes))
        if coming.any():
            room = room + coming * slots * (np.arange(count) >= self._late)[:, None]
            if self._late < count:
                self._ready += coming
                self._starting -= coming
            coming[:] = 0
        if self._draining.any():
            rows = np.arange(start, end) % self._horizon
            room = room + self._draining - np.cumsum(self._drained[rows], axis=0)
            self._draining -= self._drained[rows].sum(axis=0)
            self._drained[rows] = 0
        return room

    def _go(self, start: int, end: int, room: Int64s, flight: Int64s, short: NDArray[np.bool_]) -> None:
        """Step by step for the lanes that run short; for the others what ends otherwise than in `in_flight`."""
        rows = np.arange(start, end) % self._horizon
        fine = ~short
        self._more[fine] = flight[-1, fine] - self.load.in_flight[end - 1]
        lanes = np.flatnonzero(short)
        queued, first, more = self._queued[lanes], self._first[lanes], self._more[lanes]
        for row, step in enumerate(range(start, end) if len(lanes) else ()):
            more -= self._moved[rows[row], lanes]
            self._start_in(step, lanes, room[row, lanes], queued, first, more)
        self._moved[rows] = 0
        self._queued[lanes], self._first[lanes], self._more[lanes] = queued, first, more

    def _start_in(self, step: int, lanes: Int64s, room: Int64s, queued: Int64s, first: Int64s, more: Int64s) -> None:
        arrived = self.load.arrived
        new, last = int(arrived[step]), int(arrived[step + 1])
        first[queued == 0] = new
        running = self.load.in_flight[step] + more - queued - (last - new)
        waiting = queued + (last - new)
        go = np.clip(room - running, 0, waiting)
        # Of those that go: who waited. Of those that stay: who has just come.
        late = np.minimum(go, queued)
        if late.any():
            self._begin(step, lanes, first, late)
        first += go
        stay = last - np.maximum(first, new)
        if stay.any():
            self._keep(step, lanes, last - stay, stay)
        queued[:] = waiting - go

    def _begin(self, step: int, lanes: Int64s, first: Int64s, count: Int64s) -> None:
        """Requests that waited start: they end so much later."""
        lane, request = _spread(lanes, first, count)
        steps, waited = self.load.steps[request], step - self.load.at[request]
        self._move(step + steps, lane, 1)
        hour = int(step * STEP_S // HOUR_S)
        for late, most in ((self._late_1s, LE_1S), (self._late_5s, LE_5S)):
            halves = (waited >= most).astype(np.float64) + (waited > most)
            late[hour] += np.bincount(lane, halves, self.lanes) / 2
        scored, longest = self.load.at[request] >= self._from_step, self._waits.shape[1] - 1
        places = lane * (longest + 1) + np.minimum(waited, longest)
        np.add.at(self._waits.reshape(-1), places[scored], 1)

    def _keep(self, step: int, lanes: Int64s, first: Int64s, count: Int64s) -> None:
        """Requests that have just come wait: they do not end when they would have."""
        lane, request = _spread(lanes, first, count)
        self._move(step + self.load.steps[request], lane, -1)

    def _move(self, ends: Int32s, lane: Int64s, count: int) -> None:
        """So many more end in these steps than if nobody waited."""
        # Of one dimension, adding in place is several times as fast.
        np.add.at(self._moved.reshape(-1), ends % self._horizon * self.lanes + lane, count)
        self._differs_until = max(self._differs_until, int(ends.max()) + 1)

    def _let_go(self, lane: int, count: int) -> None:
        """First those that load, newest first; then ready ones."""
        ticks = len(self._loading)
        for back in range(self._cold + 1 if self._starting[lane] else 0):
            at = (self._tick() - back) % ticks
            gone = min(count, int(self._loading[at, lane]))
            self._loading[at, lane] -= gone
            self._starting[lane] -= gone
            count -= gone
        if count:
            self._drain(lane, count)

    def _drain(self, lane: int, count: int) -> None:
        load, now = self.load, self._now
        left = int(self._ready[lane]) - count
        active = int(load.in_flight[now - 1] + self._more[lane] - self._queued[lane] - self._draining[lane])
        on_them = max(active * count // max(left + count, 1), active - left * self.setup.slots)
        self._ready[lane] = left
        if on_them <= 0:
            return
        recent = slice(int(load.arrived[max(0, now - load.longest)]), int(load.arrived[now]))
        ends = load.at[recent] + load.steps[recent]
        ends = ends[ends >= now]
        if not len(ends):
            return
        taken = ends[np.linspace(0, len(ends) - 1, min(on_them, len(ends))).astype(np.int64)]
        np.add.at(self._drained[:, lane], taken % self._horizon, 1)
        self._draining[lane] += len(taken)
        last = sum(int(taken[replica::count].max(initial=now)) - now for replica in range(count))
        self._replica_steps[self.hour, lane] += min(last, (load.span - now) * count)


def _spread(lanes: Int64s, first: Int64s, count: Int64s) -> tuple[Int64s, Int64s]:
    """Every request of [first, first + count) of each lane, and its lane."""
    before = np.cumsum(count) - count
    request = np.arange(int(count.sum())) + np.repeat(first - before, count)
    return np.repeat(lanes, count), request
