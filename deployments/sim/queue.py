"""One first-come-first-served queue in front of the replicas of a deployment, exact to the request.

What happens at one instant happens in this order: replicas begin and cease to take requests; requests end,
by id; requests arrive. Whenever a slot is free and a request waits, the request with the lowest id starts, on
the replica with most free slots, ties by lowest key. Ids count arrivals from 0.

`advance(state, ..., until)` covers [state.until_s, until): what happens at `until` itself belongs to the next
slice. So the result does not depend on where time is cut.

Service times do not depend on how busy a replica is, up to its slots.
"""

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from deployments.sim.slots import FreeSlots

Floats = NDArray[np.float64]

# Plain tuples: they are made once per request, and are what a run spends its time on.
Waiting = tuple[int, float, float]
"""id, arrival, service time"""
Running = tuple[float, int, int, float, float]
"""end, id, replica key, arrival, service time"""

_NOTHING: Waiting = (-1, math.inf, 0.0)


@dataclass(frozen=True)
class Counters:
    """What happened to requests since the state was new. They only grow, and
    `arrived = queued + active + finished` at all times.

    started: requests that began service at least once
    service_seconds: service times of the finished ones
    waited_le_1s, waited_le_5s: of the started ones, those whose wait from arrival to their first start was at
        most that long. A wait counts when service starts, not before: what still queues is in none of the
        two. A request that loses its replica counts no second time.
    """

    arrived: int = 0
    started: int = 0
    finished: int = 0
    service_seconds: float = 0.0
    waited_le_1s: int = 0
    waited_le_5s: int = 0


@dataclass(frozen=True)
class QueueState:
    """The queue just before `until_s`.

    waiting: ordered by id
    running: ordered by end, then id, which is also a heap
    """

    until_s: float
    waiting: tuple[Waiting, ...] = ()
    running: tuple[Running, ...] = ()
    counters: Counters = Counters()


@dataclass(frozen=True)
class Replica:
    """A replica that takes up to `slots` requests at once in [ready_from_s, accepts_until_s).

    From `accepts_until_s` on (None: no such time) it drains: it finishes what it runs and takes nothing new.
    """

    key: int
    slots: int
    ready_from_s: float
    accepts_until_s: float | None = None

    def __post_init__(self) -> None:
        if self.slots < 1:
            raise ValueError(f"Replica {self.key} needs at least one slot, not {self.slots}.")

    def accepts_at(self, at_s: float) -> bool:
        return self.ready_from_s <= at_s and (self.accepts_until_s is None or at_s < self.accepts_until_s)


@dataclass(frozen=True, eq=False)
class Sample:
    """What a deployment shows at the end of a slice.

    queued, active: requests that wait and that run
    active_by_replica: running requests of each replica given to `advance`, zeros included
    waits: float64 [n], waits in seconds of the requests that first started in the slice, in order of start
    """

    at_s: float
    queued: int
    active: int
    active_by_replica: Mapping[int, int]
    counters: Counters
    waits: Floats


def advance(
    state: QueueState, arrivals: Floats, services: Floats, replicas: Sequence[Replica], until: float
) -> tuple[QueueState, Sample]:
    """The queue at `until`, and what it shows there.

    arrivals: float64 [n], seconds, sorted, all in [state.until_s, until)
    services: float64 [n], seconds of service each needs, not negative
    replicas: those that exist in the slice, in any order. One that is gone while requests run on it was
        killed at `state.until_s`: its requests wait again, in their old place (they came before all that
        never started), and start from the beginning; the work done on them is lost.

    Raises ValueError for input that breaks these rules.
    """
    _check(state, arrivals, services, replicas, until)
    work = _Work(state, {replica.key for replica in replicas})
    work.expect(arrivals, services)
    for start, end in pairwise(_changes(replicas, state.until_s, until)):
        work.open_replicas([replica for replica in replicas if replica.accepts_at(start)], start)
        work.serve(end)
    after = work.state(until)
    return after, _sample(after, replicas, work.waits)


def _check(state: QueueState, arrivals: Floats, services: Floats, replicas: Sequence[Replica], until: float) -> None:
    if not state.until_s <= until < math.inf:
        raise ValueError(f"The queue is at {state.until_s} s and cannot advance to {until} s.")
    if arrivals.shape != services.shape or arrivals.ndim != 1:
        raise ValueError("Each arrival needs one service time.")
    if len({replica.key for replica in replicas}) < len(replicas):
        raise ValueError("Two replicas have the same key.")
    if len(arrivals) == 0:
        return
    if not (state.until_s <= arrivals[0] and arrivals[-1] < until and np.all(np.diff(arrivals) >= 0)):
        raise ValueError(f"Arrivals must be sorted and lie in [{state.until_s}, {until}).")
    if not (np.all(services >= 0) and np.all(np.isfinite(services))):
        raise ValueError("Service times must be finite and not negative.")


def _changes(replicas: Sequence[Replica], start: float, end: float) -> list[float]:
    """`start`, the times strictly between at which a replica begins or ceases to take requests, `end`."""
    times = {start, end}
    for replica in replicas:
        times.add(replica.ready_from_s)
        if replica.accepts_until_s is not None:
            times.add(replica.accepts_until_s)
    return sorted(time for time in times if start <= time <= end)


class _Work:
    """The state being advanced: what `QueueState` holds, in structures that change in place."""

    def __init__(self, state: QueueState, alive: set[int]) -> None:
        self.running = [request for request in state.running if request[2] in alive]
        self.waiting = deque(_again(state.waiting, [run for run in state.running if run[2] not in alive]))
        self.coming: Iterator[Waiting] = iter(())
        self.next = _NOTHING
        self.before = state.counters
        self.arrived = state.counters.arrived
        self.finished = state.counters.finished
        self.service_seconds = state.counters.service_seconds
        self.waits: list[float] = []
        self.slots = FreeSlots({})

    def expect(self, arrivals: Floats, services: Floats) -> None:
        """Take in the requests of the slice."""
        ids = range(self.arrived, self.arrived + len(arrivals))
        self.coming = zip(ids, arrivals.tolist(), services.tolist(), strict=True)
        self.next = next(self.coming, _NOTHING)

    def open_replicas(self, accepting: Sequence[Replica], now: float) -> None:
        """From `now` on these replicas and no others take requests."""
        free = {replica.key: replica.slots for replica in accepting}
        for _, _, key, _, _ in self.running:
            if key in free:
                free[key] -= 1
        self.slots = FreeSlots(free)
        while self.waiting and self.slots.most:
            self._start(self.waiting.popleft(), now)

    def serve(self, until: float) -> None:
        """Let requests end and arrive before `until`; the replicas that take requests stay the same."""
        running, waiting, slots, request = self.running, self.waiting, self.slots, self.next
        while True:
            if running and running[0][0] <= request[1]:
                if running[0][0] >= until:
                    break
                self._end_first()
                continue
            if request[1] >= until:
                break
            self.arrived += 1
            if slots.most:  # and so nothing waits
                self._start(request, request[1])
            else:
                waiting.append(request)
            request = next(self.coming, _NOTHING)
        self.next = request

    def _end_first(self) -> None:
        now, _, key, _, service = heappop(self.running)
        self.finished += 1
        self.service_seconds += service
        self.slots.release(key)
        if self.waiting and self.slots.most:
            self._start(self.waiting.popleft(), now)

    def _start(self, request: Waiting, now: float) -> None:
        id_, arrival, service = request
        heappush(self.running, (now + service, id_, self.slots.take(), arrival, service))
        # First starts go in the order of ids, so a request that already ran has an id below the next one's.
        if id_ == self.before.started + len(self.waits):
            self.waits.append(now - arrival)

    def state(self, until: float) -> QueueState:
        waits = np.array(self.waits)
        counters = Counters(
            arrived=self.arrived,
            started=self.before.started + len(waits),
            finished=self.finished,
            service_seconds=self.service_seconds,
            waited_le_1s=self.before.waited_le_1s + int(np.count_nonzero(waits <= 1)),
            waited_le_5s=self.before.waited_le_5s + int(np.count_nonzero(waits <= 5)),
        )
        return QueueState(float(until), tuple(self.waiting), tuple(sorted(self.running)), counters)


def _again(waiting: Sequence[Waiting], killed: Sequence[Running]) -> Sequence[Waiting]:
    """What waits once the killed requests are back in their places."""
    if not killed:
        return waiting
    return sorted([*waiting, *((id_, arrival, service) for _, id_, _, arrival, service in killed)])


def _sample(state: QueueState, replicas: Sequence[Replica], waits: list[float]) -> Sample:
    active = {replica.key: 0 for replica in replicas}
    for _, _, key, _, _ in state.running:
        active[key] += 1
    queued, running = len(state.waiting), len(state.running)
    return Sample(state.until_s, queued, running, active, state.counters, np.array(waits))
