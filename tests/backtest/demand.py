"""A deployment and its recorded demand for tests: an hour is a row."""

from datetime import datetime, timedelta

import numpy as np

from deployments.loop.history import HOUR, floor
from deployments.loop.points import from_samples
from deployments.models import Deployment, SignalChunk
from tests import fleet, world
from tests.cast import Cast

SERVICE_S = 4.0


def deployment(cast: Cast) -> Deployment:
    """One that has what it needs to be replayed: room to grow, and a target."""
    of = world.offering()
    return fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, min=1, max=6, concurrency=4)


def recorded(one: Deployment, until: datetime, hours: int, per_window: int = 5) -> datetime:
    """Whole hours of `per_window` requests every 5 s before the hour that `until` is in; returns their end."""
    end = floor(until, HOUR)
    for back in range(hours, 0, -1):
        _hour(one, end - timedelta(hours=back), per_window)
    Deployment.objects.filter(pk=one.pk).update(created_at=end - timedelta(hours=hours + 1))
    return end


def _hour(one: Deployment, starts_at: datetime, per_window: int) -> None:
    at = starts_at.timestamp() - 4.5 + 5 * np.arange(721, dtype=np.float64)
    # More in its middle, so that sizes change.
    grown = per_window * (1 + 2 * ((np.arange(720) > 240) & (np.arange(720) < 480)))
    total = np.concatenate([[0], np.cumsum(grown)]).astype(np.float64)
    totals = np.stack([total, total, SERVICE_S * total, total, total], axis=1)
    points = from_samples(at, np.zeros((721, 4)), totals, 5)
    SignalChunk.objects.create(deployment=one, resolution=5, starts_at=starts_at, payload=points.to_bytes())
