"""The queue of a deployment in front of replicas that come and go, and the requests that reach it."""

from bisect import bisect_left, insort
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise

import numpy as np

from deployments.sim.demand import Demand
from deployments.sim.queue import Line, QueueState

# Passes for which requests are fetched at once.
AHEAD = 12

Arrivals = list[float]
Services = list[float]


class Station:
    """Replicas take requests from when they are loaded until they are let go; then they finish what they run."""

    def __init__(self, slots: int, start_s: float) -> None:
        self.line = Line(QueueState(start_s))
        self._slots = slots
        self._accepting: dict[int, int] = {}  # key -> slots
        self._loading: list[tuple[float, int]] = []  # when it is ready, key; in order

    def expect(self, key: int, ready_s: float) -> None:
        """A replica that takes requests from `ready_s` on, which does not lie in the past."""
        insort(self._loading, (ready_s, key))

    def let_go(self, keys: Collection[int]) -> None:
        """From now on these take no request."""
        self._loading = [entry for entry in self._loading if entry[1] not in keys]
        staying = {key: slots for key, slots in self._accepting.items() if key not in keys}
        if len(staying) < len(self._accepting):
            self._accepting = staying
            self.line.provide(staying)

    def advance(self, arrivals: Arrivals, services: Services, until: float) -> None:
        """Serve until then; the requests are those that arrive meanwhile."""
        while self._loading and self._loading[0][0] < until:
            ready_s = self._loading[0][0]
            if ready_s > self.line.until_s:
                first = bisect_left(arrivals, ready_s)
                self.line.serve(arrivals[:first], services[:first], ready_s)
                arrivals, services = arrivals[first:], services[first:]
            # Those that are ready at one instant share what waits.
            while self._loading and self._loading[0][0] == ready_s:
                self._accepting[self._loading.pop(0)[1]] = self._slots
            self.line.provide(self._accepting)
        self.line.serve(arrivals, services, until)


def arrivals_by_pass(
    demands: Sequence[Demand], start_s: float, every_s: float
) -> Iterator[list[tuple[Arrivals, Services]]]:
    """For each pass, endlessly, the requests of each demand since the pass before; the first ends `every_s` after
    `start_s`."""
    number = 0
    while True:
        edges = [start_s + (number + pass_) * every_s for pass_ in range(AHEAD + 1)]
        yield from zip(*(_cut(demand, edges) for demand in demands), strict=True)
        number += AHEAD


def _cut(demand: Demand, edges: list[float]) -> list[tuple[Arrivals, Services]]:
    arrivals, services = demand.between(edges[0], edges[-1])
    cuts = np.searchsorted(arrivals, edges).tolist()
    seconds, needs = arrivals.tolist(), services.tolist()
    return [(seconds[low:high], needs[low:high]) for low, high in pairwise(cuts)]
