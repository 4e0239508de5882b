"""Requests as a function of absolute simulated time.

Demand keeps no state: which requests arrive in a second follows from the seed and the second alone. So a
restart, a late pass or another machine sees the same requests, and `between(a, c)` is exactly `between(a, b)`
followed by `between(b, c)`. The objects only remember the pieces they made last, to be fast; keep one for
repeated use.
"""

import math
from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deployments.sim.streams import Purpose, stream
from deployments.sim.trace import RateTrace, RequestTrace

Floats = NDArray[np.float64]
Requests = tuple[Floats, Floats]

FIRST_TOKEN_S = 0.2
PER_TOKEN_S = 0.025

SERVICE_MEAN_S = 8.0
SERVICE_SIGMA = 0.8
SERVICE_CAP = 15.0  # times the mean

BLOCK_S = 60
_KEPT_PIECES = 2


class Demand(Protocol):
    """The requests that reach a deployment."""

    def between(self, start_s: float, end_s: float) -> Requests:
        """Requests that arrive in [start_s, end_s): arrival times (sorted) and service times in seconds."""


class RequestDemand:
    """A recorded trace laid end to end forever, in several copies.

    trace: the requests that are repeated, each cycle anew
    copies: how many of them at once; a fraction keeps that share of one more copy's requests, picked at
        random
    jitter_s: each request moves by up to this much either way, within its cycle (shorter than the trace)
    seed: other seeds give other jitter, lengths and picks
    phase_s: how far into the trace second 0 is

    Output lengths are drawn with replacement from those of the trace. Service time is 0.2 s and 25 ms for
    each generated token. Raises ValueError for negative or infinite `copies` or a jitter that does not fit.
    """

    def __init__(
        self,
        trace: RequestTrace,
        copies: float = 1.0,
        *,
        jitter_s: float = 2.0,
        seed: int = 0,
        phase_s: float = 0.0,
    ) -> None:
        if not 0 <= copies < math.inf:
            raise ValueError(f"The number of copies must be finite and not negative, not {copies}.")
        if not 0 <= jitter_s < trace.span_s:
            raise ValueError(f"The jitter must lie in [0, {trace.span_s}) s, not be {jitter_s}.")
        self._trace = trace
        self._copies = copies
        self._jitter_s = jitter_s
        self._seed = seed
        self._phase_s = phase_s
        self._cycles = _Pieces(self._make_cycle)

    def between(self, start_s: float, end_s: float) -> Requests:
        """Requests that arrive in [start_s, end_s): arrival times (sorted) and service times in seconds."""
        first, last = self._cycle_of(start_s), self._cycle_of(end_s)
        stop = last if self._cycle_start(last) == end_s else last + 1
        return _cut(map(self._cycles.get, range(first, stop)), start_s, end_s)

    def _cycle_start(self, cycle: int) -> float:
        return cycle * self._trace.span_s - self._phase_s

    def _cycle_of(self, at_s: float) -> int:
        cycle = math.floor((at_s + self._phase_s) / self._trace.span_s)
        # The division may round across the edge of a cycle, and edges are where `_cycle_start` says.
        while self._cycle_start(cycle) > at_s:
            cycle -= 1
        while self._cycle_start(cycle + 1) <= at_s:
            cycle += 1
        return cycle

    def _make_cycle(self, cycle: int) -> Requests:
        copies = range(math.ceil(self._copies))
        offsets, services = _joined([self._make_copy(cycle, copy) for copy in copies])
        order = np.argsort(offsets, kind="stable")
        start, end = self._cycle_start(cycle), self._cycle_start(cycle + 1)
        return _inside(start + offsets[order], start, end), services[order]

    def _make_copy(self, cycle: int, copy: int) -> Requests:
        trace, rng = self._trace, stream(self._seed, Purpose.REQUESTS, cycle, copy)
        count = len(trace.offsets_s)
        moved = trace.offsets_s + rng.uniform(-self._jitter_s, self._jitter_s, count)
        tokens = trace.output_tokens[rng.integers(0, count, count)]
        kept = rng.random(count) < self._copies - copy
        # What moves past an end of the cycle comes in at the other, as if the neighbour cycle had sent it.
        services: Floats = FIRST_TOKEN_S + PER_TOKEN_S * tokens[kept].astype(np.float64)
        return np.mod(moved[kept], trace.span_s), services


class RateDemand:
    """Requests drawn second by second at the rate and burstiness of a trace, repeated forever.

    rates: the windows; between their middles rate and CV are interpolated, the last window being next to the
        first
    scale: factor on the rate; the CV stays
    seed: other seeds give other counts, times and lengths
    phase_s: how far into the trace second 0 is

    The count of a second is negative binomial with the variance CV^2 x mean, which is what inter-arrival
    times of that CV give over many arrivals; Poisson where CV <= 1. Times are uniform within the second.
    Service times are those of `service_times`. Raises ValueError for a negative or infinite `scale`.
    """

    def __init__(
        self,
        rates: RateTrace,
        scale: float = 1.0,
        *,
        seed: int = 0,
        phase_s: float = 0.0,
        mean_service_s: float = SERVICE_MEAN_S,
    ) -> None:
        if not 0 <= scale < math.inf:
            raise ValueError(f"The scale must be finite and not negative, not {scale}.")
        self._rates = rates
        self._scale = scale
        self._seed = seed
        self._phase_s = phase_s
        self._mean_service_s = mean_service_s
        self._blocks = _Pieces(self._make_block)

    def between(self, start_s: float, end_s: float) -> Requests:
        """Requests that arrive in [start_s, end_s): arrival times (sorted) and service times in seconds."""
        blocks = range(math.floor(start_s / BLOCK_S), math.ceil(end_s / BLOCK_S))
        return _cut(map(self._blocks.get, blocks), start_s, end_s)

    def _make_block(self, block: int) -> Requests:
        rng = stream(self._seed, Purpose.RATES, block)
        start = block * BLOCK_S
        seconds = np.arange(start, start + BLOCK_S, dtype=np.float64)
        counts = self._draw_counts(rng, seconds + 0.5)
        arrivals = np.repeat(seconds, counts)
        arrivals += rng.random(len(arrivals))
        arrivals.sort()
        services = service_times(rng, len(arrivals), self._mean_service_s)
        return _inside(arrivals, start, start + BLOCK_S), services

    def _draw_counts(self, rng: np.random.Generator, at_s: Floats) -> NDArray[np.int64]:
        """A negative binomial is a Poisson with a gamma mean, of shape mean / (D - 1) and scale D - 1."""
        mean = self._scale * self._at(self._rates.requests_per_s, at_s)
        excess = np.maximum(self._at(self._rates.burstiness_cv, at_s) ** 2 - 1, 0)
        bursty = excess > 0
        mean[bursty] = rng.gamma(mean[bursty] / excess[bursty], excess[bursty])
        return rng.poisson(mean)

    def _at(self, values: Floats, at_s: Floats) -> Floats:
        """`values` of the windows interpolated between their middles."""
        window = (at_s + self._phase_s) / self._rates.window_s - 0.5
        low = np.floor(window)
        left = low.astype(np.int64) % len(values)
        right = (left + 1) % len(values)
        return values[left] + (window - low) * (values[right] - values[left])


def service_times(rng: np.random.Generator, count: int, mean_s: float = SERVICE_MEAN_S) -> Floats:
    """Seconds that requests run: lognormal with that mean and sigma 0.8, none longer than 15 times the mean."""
    # The mean of a lognormal is exp(mu + sigma^2 / 2).
    services = rng.lognormal(math.log(mean_s) - SERVICE_SIGMA**2 / 2, SERVICE_SIGMA, count)
    return np.minimum(services, SERVICE_CAP * mean_s)


class RecordedDemand:
    """Requests that are known one by one, `later_s` seconds later than they were; before and after them there are none.

    arrivals: float64 [n], seconds, sorted
    services: float64 [n], seconds of service each needs
    """

    def __init__(self, arrivals: Floats, services: Floats, later_s: float = 0.0) -> None:
        if arrivals.shape != services.shape:
            raise ValueError("Each arrival needs one service time.")
        self._arrivals = arrivals
        self._services = services
        self._later_s = later_s

    def between(self, start_s: float, end_s: float) -> Requests:
        """Requests that arrive in [start_s, end_s): arrival times (sorted) and service times in seconds."""
        low, high = np.searchsorted(self._arrivals, (start_s - self._later_s, end_s - self._later_s))
        moved = self._arrivals[low:high] + self._later_s
        return _inside(moved, start_s, end_s), self._services[low:high]


class _Pieces:
    """The pieces of time made last; a slice of a few seconds is mostly within one."""

    def __init__(self, make: Callable[[int], Requests]) -> None:
        self._make = make
        self._kept: dict[int, Requests] = {}

    def get(self, index: int) -> Requests:
        piece = self._kept.get(index)
        if piece is None:
            piece = self._make(index)
            for column in piece:
                column.setflags(write=False)
            if len(self._kept) >= _KEPT_PIECES:
                del self._kept[next(iter(self._kept))]
            self._kept[index] = piece
        return piece


def _inside(times: Floats, start: float, end: float) -> Floats:
    """`times` kept in [start, end), which rounding may leave by a hair; pieces of time must not overlap."""
    return np.clip(times, start, np.nextafter(end, -math.inf))


def _cut(pieces: Iterable[Requests], start_s: float, end_s: float) -> Requests:
    """The requests of consecutive pieces of time that arrive in [start_s, end_s); read-only."""
    cuts = []
    for arrivals, services in pieces:
        low, high = np.searchsorted(arrivals, (start_s, end_s))
        cuts.append((arrivals[low:high], services[low:high]))
    if len(cuts) == 1:
        return cuts[0]
    return _joined(cuts)


def _joined(parts: list[Requests]) -> Requests:
    if not parts:
        return np.empty(0), np.empty(0)
    arrivals, services = zip(*parts, strict=True)
    return np.concatenate(arrivals), np.concatenate(services)
