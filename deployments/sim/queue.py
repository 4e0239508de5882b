"""One first-come-first-served queue in front of the replicas of a deployment, exact to the request.

What happens at one instant happens in this order: replicas begin and cease to take requests; requests end,
by id; requests arrive. Whenever a slot is free and a request waits, the request with the lowest id starts, on
the replica with most free slots, ties by lowest key. Ids count arrivals from 0.

`advance(state, ..., until)` covers [state.until_s, until): what happens at `until` itself belongs to the next
slice. So the result does not depend on where time is cut.

Service times do not depend on how busy a replica is, up to its slots.
"""

import math
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from deployments.core.waits import BUCKETS, EDGES_S

Floats = NDArray[np.float64]

# Plain tuples: they are made once per request, and are what a run spends its time on.
Waiting = tuple[int, float, float]
"""id, arrival, service time"""
Running = tuple[float, int, int, float, float]
"""end, id, replica key, arrival, service time"""

CLOSED = -(1 << 40)  # slots of a replica that takes no request: far below what any can run


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
    waits: the started requests by how long they had waited (`deployments.core.waits`), without zeros at the end
    """

    until_s: float
    waiting: tuple[Waiting, ...] = ()
    running: tuple[Running, ...] = ()
    counters: Counters = Counters()
    waits: tuple[int, ...] = ()


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
    wait_counts: those of all that have started, as the state keeps them
    """

    at_s: float
    queued: int
    active: int
    active_by_replica: Mapping[int, int]
    counters: Counters
    waits: Floats
    wait_counts: tuple[int, ...] = ()


class Line:
    """A queue in structures that change in place, for whoever advances it many times; `advance` is one slice of it.

    It holds what `QueueState` holds, and `waits`: how long each request waited that first started, in order of start.
    """

    def __init__(self, state: QueueState) -> None:
        counters = state.counters
        self.until_s = state.until_s
        self.waiting = deque(state.waiting)
        self.arrived, self.started, self.finished = counters.arrived, counters.started, counters.finished
        self.service_seconds = counters.service_seconds
        self.waited_le_1s, self.waited_le_5s = counters.waited_le_1s, counters.waited_le_5s
        self.waits: list[float] = []
        self._ran = counters.started  # requests of a lower id started before
        # Replicas by place, in the order of their keys: those that take requests and those that still run some.
        self._keys: list[int] = []
        self._places: dict[int, int] = {}
        self._taking: list[int] = []  # slots, of one that takes no more CLOSED
        self._free = [0]  # of those slots; the last is nobody's, so that there is always a largest
        self._running: list[Running] = []  # a heap, with the place of the replica instead of its key
        self._arrange({}, list(state.running))

    @property
    def active(self) -> int:
        """Requests that run."""
        return len(self._running)

    def kill_all_but(self, keys: Container[int]) -> None:
        """Other replicas are gone: what they ran waits again, in its old place. To be followed by `open`."""
        running = self._requests()
        killed = [request for request in running if request[2] not in keys]
        if killed:
            again = [(id_, arrival, service) for _, id_, _, arrival, service in killed]
            self.waiting = deque(sorted([*self.waiting, *again]))
            self._ran = self.started
            self._arrange({}, [request for request in running if request[2] in keys])

    def provide(self, slots: Mapping[int, int]) -> None:
        """From now on the replicas of these keys take so many requests at once, and no other takes any."""
        self._arrange(slots, self._requests())
        while self.waiting and max(self._free) > 0:
            self._start(self.waiting.popleft(), self.until_s)

    def serve(self, arrivals: Sequence[float], services: Sequence[float], until: float) -> None:
        """Let requests arrive, sorted and in [until_s, until), and end before `until`."""
        running, waiting, free = self._running, self.waiting, self._free
        finished, seconds, waited = self.finished, self.service_seconds, self.waits.append
        id_, at_once = self.arrived, 0
        ends = running[0][0] if running else math.inf
        # The last arrival is none: with it ends all that ends before `until`.
        for arrival, service in zip((*arrivals, math.nextafter(until, -math.inf)), (*services, -1.0), strict=True):
            while ends <= arrival:
                now, _, place, _, served = heappop(running)
                finished += 1
                seconds += served
                free[place] += 1
                if waiting and max(free) > 0:
                    self._start(waiting.popleft(), now)
                ends = running[0][0] if running else math.inf
            most = max(free)
            if service < 0:
                break
            if most > 0:  # and so nothing waits
                place = free.index(most)
                free[place] = most - 1
                end = arrival + service
                heappush(running, (end, id_, place, arrival, service))
                if end < ends:
                    ends = end
                waited(0.0)
                at_once += 1
            else:
                waiting.append((id_, arrival, service))
            id_ += 1
        self.arrived, self.finished, self.service_seconds, self.until_s = id_, finished, seconds, until
        self.started += at_once
        self.waited_le_1s += at_once
        self.waited_le_5s += at_once

    def active_on(self, key: int) -> int:
        """Requests that a replica runs."""
        place = self._places.get(key)
        return 0 if place is None else self._taking[place] - self._free[place]

    def ends_on(self, key: int) -> list[float]:
        """When the requests end that a replica runs."""
        place = self._places.get(key)
        return [end for end, _, at, _, _ in self._running if at == place]

    def take_waits(self) -> list[float]:
        """The waits so far, which are forgotten here."""
        waits, self.waits = self.waits, []
        return waits

    def state(self) -> QueueState:
        return QueueState(self.until_s, tuple(self.waiting), tuple(sorted(self._requests())), self.counters())

    def counters(self) -> Counters:
        return Counters(self.arrived, self.started, self.finished, self.service_seconds, self.waited_le_1s,
                        self.waited_le_5s)  # fmt: skip

    def _start(self, request: Waiting, now: float) -> None:
        """A request that waited starts on the replica with most free slots, ties by lowest key."""
        id_, arrival, service = request
        most = max(self._free)
        place = self._free.index(most)
        self._free[place] = most - 1
        heappush(self._running, (now + service, id_, place, arrival, service))
        # First starts go in the order of ids, so what had started when replicas were last killed has a lower id.
        if id_ >= self._ran:
            wait = now - arrival
            self.started += 1
            self.waits.append(wait)
            self.waited_le_1s += wait <= 1
            self.waited_le_5s += wait <= 5

    def _requests(self) -> list[Running]:
        """What runs, with the keys of the replicas; a heap."""
        keys = self._keys
        return [(end, id_, keys[place], arrival, service) for end, id_, place, arrival, service in self._running]

    def _arrange(self, slots: Mapping[int, int], running: list[Running]) -> None:
        """Give every replica its place; those not in `slots` run what they run and take nothing."""
        busy = Counter(key for _, _, key, _, _ in running)
        self._keys = sorted(slots.keys() | busy.keys())
        places = self._places = {key: place for place, key in enumerate(self._keys)}
        self._taking = [slots.get(key, CLOSED) for key in self._keys]
        self._free = [taking - busy[key] for key, taking in zip(self._keys, self._taking, strict=True)] + [0]
        # No two have the same id, so that another replica changes nothing in the order of the heap.
        self._running = [(end, id_, places[key], arrival, service) for end, id_, key, arrival, service in running]
        heapify(self._running)


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
    line = Line(state)
    line.kill_all_but({replica.key for replica in replicas})
    for start, end in pairwise(_changes(replicas, state.until_s, until)):
        line.provide({replica.key: replica.slots for replica in replicas if replica.accepts_at(start)})
        first, last = np.searchsorted(arrivals, (start, end))
        line.serve(arrivals[first:last].tolist(), services[first:last].tolist(), end)
    line.until_s = float(until)
    active = {replica.key: line.active_on(replica.key) for replica in replicas}
    counts = _with_counts(state.waits, line.waits)
    sample = Sample(line.until_s, len(line.waiting), line.active, active, line.counters(), np.array(line.waits), counts)
    return replace(line.state(), waits=counts), sample


def _with_counts(before: tuple[int, ...], waits: Sequence[float]) -> tuple[int, ...]:
    """As `core.waits.counted` does, for few."""
    counts = [*before, *[0] * (BUCKETS - len(before))]
    for wait in waits:
        counts[bisect_left(EDGES_S, wait)] += 1
    while counts and not counts[-1]:
        counts.pop()
    return tuple(counts)


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
