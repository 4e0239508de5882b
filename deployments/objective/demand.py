"""The demand that settings are replayed over: the deployment's own, of the last week, as it was recorded.

Of the last two days requests are known per 5 s, of the days before per minute (`deployments.backtest.recorded` says what is
drawn between). Bounded: of a busy deployment the newest hours that fit.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
from django.db.models import Min

from deployments.backtest.recorded import FINEST, MINUTE, NoDemandError, Recorded, recorded
from deployments.core.objective import LOOKED_BACK
from deployments.loop.history import LEVELS, series
from deployments.loop.points import COUNTERS, GAUGES, Points
from deployments.models import Deployment, SignalChunk
from deployments.sim.grid import Load

Floats = npt.NDArray[np.float64]

HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(hours=LOOKED_BACK)
HOUR_S = 3600
MOST_REQUESTS = 1_000_000  # replayed: some 100 MB
ENOUGH_REQUESTS = 100  # that a share of requests is taken from


@dataclass(frozen=True, eq=False)
class Demand:
    """Whole hours of requests up to now.

    arrivals: float64 [n], seconds after its beginning, sorted
    services: float64 [n], seconds that each runs
    """

    hours: int
    arrivals: Floats
    services: Floats

    @property
    def load(self) -> Load:
        return Load.of(self.arrivals, self.services, float(self.hours * HOUR_S))

    def last(self, hours: int) -> "Demand":
        """The newest so many hours."""
        if hours >= self.hours:
            return self
        later = float((self.hours - hours) * HOUR_S)
        kept = self.arrivals >= later
        return Demand(hours, self.arrivals[kept] - later, self.services[kept])


@dataclass(frozen=True, slots=True)
class Came:
    """What really came under the objective in the last day: the share of requests that waited no longer, and GPU-hours a
    day; None where too little is known of it."""

    share: float | None
    gpu_hours: float | None


def hours_seen(deployment: Deployment, now: datetime) -> float:
    """Hours of signals that are recorded of it, of the last week; those of an open hour count too."""
    chunks = SignalChunk.objects.filter(deployment=deployment, resolution__in=(FINEST, MINUTE))
    first = chunks.filter(starts_at__gte=now - WEEK - DAY).aggregate(first=Min("starts_at"))["first"]
    begun = min(first or deployment.created_at, deployment.created_at)
    return (now - max(begun, now - WEEK)) / HOUR


def demand_of(deployment: Deployment, now: datetime) -> Demand:
    """Raises NoDemandError where the runtime does not count requests, or none came."""
    start = _fits(series(deployment, now - WEEK, now, MINUTE), now)
    fine_from = max(start, now - LEVELS[FINEST].kept + HOUR)
    parts = [_part(deployment, fine_from, now, FINEST)]
    if start < fine_from:
        older = _part(deployment, start, fine_from, MINUTE)
        parts = [older, *parts]
    return _joined([one for one in parts if one is not None])


def _fits(points: Points, now: datetime) -> datetime:
    """Since when there are no more requests than can be replayed."""
    arrived = np.nan_to_num(points.counters[::-1, COUNTERS.index("arrived")])
    fitting = int(np.searchsorted(np.cumsum(arrived), MOST_REQUESTS, side="right"))
    if fitting >= len(points):
        return now - WEEK
    return datetime.fromtimestamp(float(points.at[len(points) - fitting]), UTC)


def _part(deployment: Deployment, start: datetime, end: datetime, step: int) -> Recorded | None:
    try:
        return recorded(series(deployment, start - HOUR, end, step), start, end, step, deployment.key)
    except NoDemandError:
        if step == FINEST:
            raise
        return None


def _joined(parts: list[Recorded]) -> Demand:
    end = parts[-1].end.timestamp()
    hours = int((end - parts[0].start.timestamp()) // HOUR_S)
    start = end - hours * HOUR_S
    arrivals = np.concatenate([one.arrivals + (one.start.timestamp() - start) for one in parts])
    services = np.concatenate([one.services for one in parts])
    kept = (arrivals >= 0) & (arrivals < hours * HOUR_S)
    order = np.argsort(arrivals[kept], kind="stable")
    return Demand(hours, arrivals[kept][order], services[kept][order])


def came(deployment: Deployment, since: datetime, now: datetime) -> Came:
    """Of the last day, as far as it lies after `since`."""
    start = max(since, now - DAY)
    points = series(deployment, start, now, MINUTE)
    hours = len(points) * MINUTE / HOUR_S
    if hours < 1:
        return Came(None, None)
    arrived, in_time = (float(points.counters[:, COUNTERS.index(name)].sum()) for name in ("arrived", "waited_le_1s"))
    known = arrived >= ENOUGH_REQUESTS and np.isfinite(in_time)
    replicas = sum(float(np.nanmean(points.gauges[:, GAUGES.index(name), 1])) for name in ("ready", "starting"))
    return Came(min(1.0, in_time / arrived) if known else None, replicas * deployment.gpu_count * 24)


def busiest_of(points: Points, slots: int, quantile: float) -> int:
    """Replicas that the busiest of these points needed, all of their slots in use."""
    flight = points.gauges[:, :2, 1].sum(axis=1)
    flight = flight[np.isfinite(flight)]
    return int(np.ceil(np.quantile(flight, quantile) / slots)) if len(flight) else 0
