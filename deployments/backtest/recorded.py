"""What a deployment was asked for, from its recorded signals: requests one by one, as far as they can be told.

Counters tell how many requests arrived in every 5 s, of older times in every minute with the sum of squares of the counts
per 5 s, and for how long requests ran in all. The rest is drawn, by the seed and the hour alone: moments evenly within
5 s; the counts of a minute's twelve such windows so that they scatter as the recorded squares say; service times
lognormal around the recorded mean of their ten minutes. So totals are those recorded, and waits shorter than the
resolution are not known.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from deployments.backtest.traces import Traffic, traffic_of
from deployments.loop.history import LEVELS, series
from deployments.loop.points import COUNTERS, Points
from deployments.models import Deployment
from deployments.sim.demand import SERVICE_MEAN_S, service_times
from deployments.sim.grid import Load
from deployments.sim.streams import Purpose, stream

Floats = NDArray[np.float64]
Int64s = NDArray[np.int64]

FINEST, MINUTE = 5, 60
HOUR_S, SERVICE_WINDOW_S = 3600, 600
LEAD = timedelta(hours=1)  # looked at before the range: so the first point of it is known to follow a pause
ENOUGH = 20  # requests that a mean service time is taken from
MOST_REQUESTS = 20_000_000
ALMOST_EVEN, ALMOST_ONE = 1e6, 1e-3  # of a Dirichlet's shape: hardly any scatter, and nearly all in one window


class NoDemandError(ValueError):
    """Nothing can be told of a range, and why."""


@dataclass(frozen=True, eq=False)
class Recorded:
    """Requests over [start, end), which is what there is records of within the range that was asked for.

    resolution_s: 5, or 60 for what is older than two days
    arrivals: float64 [n], seconds after `start`, sorted
    services: float64 [n], seconds that each runs
    paused_s: seconds of it in which nobody looked; what came meanwhile is spread over them evenly
    missing_s: seconds of it in which requests were not counted; none come in them
    """

    start: datetime
    end: datetime
    resolution_s: int
    arrivals: Floats
    services: Floats
    paused_s: float
    missing_s: float

    @property
    def span_s(self) -> float:
        return (self.end - self.start).total_seconds()

    @property
    def traffic(self) -> Traffic:
        return traffic_of(self.arrivals, self.services, self.span_s)

    @property
    def load(self) -> Load:
        return Load.of(self.arrivals, self.services, self.span_s)


def recorded_demand(
    deployment: Deployment, start: datetime, end: datetime, now: datetime, *, seed: int = 0
) -> Recorded:
    """What is recorded of [start, end). Raises NoDemandError where that is nothing, or more than can be replayed."""
    start, end = _kept(start, end, now)
    step = FINEST if start >= now - LEVELS[FINEST].kept else MINUTE
    return recorded(series(deployment, start - LEAD, end, step), start, end, step, seed)


def recorded_at_all(deployment: Deployment, start: datetime, end: datetime, now: datetime) -> None:
    """Raises NoDemandError where nothing is recorded of the time, from few points."""
    start, end = _kept(start, end, now)
    _check(series(deployment, start, end, MINUTE))


def _kept(start: datetime, end: datetime, now: datetime) -> tuple[datetime, datetime]:
    start, end = max(start, now - LEVELS[MINUTE].kept), min(end, now)
    if start >= end:
        raise NoDemandError("Nothing is recorded of a time to come, nor of one more than 60 days ago.")
    return start, end


def _check(points: Points) -> None:
    arrived = points.counters[:, 0]
    if not np.isfinite(arrived).any():
        text = (
            "Its requests were not counted by its runtime." if len(points) else "No signals are recorded of that time."
        )
        raise NoDemandError(text)
    if not np.nansum(arrived):
        raise NoDemandError("No request is recorded of that time.")
    if np.nansum(arrived) > MOST_REQUESTS:
        raise NoDemandError(f"More than {MOST_REQUESTS:,} requests are recorded of that time: choose a shorter one.")


def recorded(points: Points, start: datetime, end: datetime, step: int, seed: int) -> Recorded:
    """As `recorded_demand`, from points of `step` seconds, those of some time before the range included."""
    low, high = start.timestamp(), end.timestamp()
    inside = points.between(low, high)
    _check(inside)
    counted = np.isfinite(inside.counters[:, 0])
    begins, ends = _covered(points, step)
    first = max(low, float(begins[np.searchsorted(points.at, low)]))
    last = min(high, float(inside.at[-1] + step))
    arrivals, services = _drawn(points, begins, ends, step, seed)
    kept = (arrivals >= first) & (arrivals < last)
    paused = inside.at - np.maximum(begins[np.isin(points.at, inside.at)], first)
    return Recorded(
        datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(last, UTC), step, arrivals[kept] - first, services[kept],
        float(paused.clip(min=0).sum()), float(step * (~counted).sum()),
    )  # fmt: skip


def _covered(points: Points, step: int) -> tuple[Int64s, Int64s]:
    """From when to when the counts of each point were added: since the end of the one before."""
    ends = points.at + step
    return np.concatenate([points.at[:1], np.minimum(ends[:-1], points.at[1:])]), ends


def _drawn(points: Points, begins: Int64s, ends: Int64s, step: int, seed: int) -> tuple[Floats, Floats]:
    """Arrivals as unix seconds, sorted, and what each runs; hour by hour, so that other ranges have the same ones."""
    hours = points.at // HOUR_S
    means = _service_means(points)
    arrivals, services = [np.empty(0)], [np.empty(0)]
    for hour in np.unique(hours).tolist():
        mine = np.flatnonzero(hours == hour)
        rng = stream(seed, Purpose.RECORDED, hour)
        at, of = _moments(rng, points, mine, begins, ends, step)
        arrivals.append(at)
        services.append(service_times(rng, len(at), 1.0) * means[of])
    at, seconds = np.concatenate(arrivals), np.concatenate(services)
    order = np.argsort(at, kind="stable")
    return at[order], seconds[order]


def _moments(
    rng: np.random.Generator, points: Points, rows: Int64s, begins: Int64s, ends: Int64s, step: int
) -> tuple[Floats, Int64s]:
    """Arrivals of some points, and which point each is of."""
    count, squares = (
        np.nan_to_num(points.counters[rows, COUNTERS.index(name)]) for name in ("arrived", "arrived_squares")
    )
    count = np.rint(count).astype(np.int64)
    cells = np.zeros((len(rows), step // FINEST), np.int64)
    width = (ends - begins)[rows].astype(np.float64)
    even = (width > step) | (step == FINEST)  # after a pause nothing says when
    cells[even, 0] = count[even]
    uneven = np.flatnonzero(~even)
    cells[uneven] = _windows(rng, count[uneven], squares[uneven], step // FINEST)
    row, window = np.nonzero(cells)
    each = cells[row, window]
    row, window = np.repeat(row, each), np.repeat(window, each)
    long = np.where(even, width, float(FINEST))[row]
    return begins[rows][row] + FINEST * window + long * rng.random(len(row)), rows[row]


def _windows(rng: np.random.Generator, count: Int64s, squares: Floats, windows: int) -> Int64s:
    """Each count over so many windows, int64 [n, windows]: evenly, or scattered so much that the sum of their squares
    is expected to be that recorded (a Dirichlet-multinomial)."""
    even = count / windows
    # How much more the squares scatter than those of an even flow do; 1 is that of chance alone.
    excess = (squares - count * even) / np.maximum(count * (1 - 1 / windows), 1e-9)
    shape = np.where(excess > 1, (count - excess) / np.maximum(excess - 1, 1e-9), ALMOST_EVEN)
    weights = rng.gamma(np.clip(shape / windows, ALMOST_ONE, ALMOST_EVEN)[:, None], size=(len(count), windows))
    nothing = np.flatnonzero(weights.sum(axis=1) <= 0)  # too small for a number: all in one of them
    weights[nothing, rng.integers(0, windows, len(nothing))] = 1.0
    return rng.multinomial(count, weights / weights.sum(axis=1, keepdims=True))


def _service_means(points: Points) -> Floats:
    """Mean seconds that a request of each point runs: that of its ten minutes, of all where few ended in those."""
    finished, seconds = (
        np.nan_to_num(points.counters[:, COUNTERS.index(name)]) for name in ("finished", "service_seconds")
    )
    span = (points.at - points.at[:1]) // SERVICE_WINDOW_S
    ended, ran = np.bincount(span, finished), np.bincount(span, seconds)
    overall = ran.sum() / ended.sum() if ran.sum() > 0 and ended.sum() > 0 else SERVICE_MEAN_S
    means = np.divide(ran, ended, out=np.full(len(ended), overall), where=(ended >= ENOUGH) & (ran > 0))
    own: Floats = means[span]
    return own
