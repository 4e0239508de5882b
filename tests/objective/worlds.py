"""Recorded demand without the hours that recording it would take: the rows are those that sampling and the roll-up write."""

from datetime import datetime, timedelta

import numpy as np

from console.common import clock
from deployments.loop.history import HOUR, floor
from deployments.loop.points import from_samples
from deployments.models import Deployment, Replica, SignalChunk


def recorded(
    one: Deployment, hours: int, per_s: float = 2.0, *, ran_s: float = 4.0, in_time: float = 1.0, seed: int = 1,
    until: datetime | None = None,
) -> datetime:  # fmt: skip
    """So many whole hours of requests up to the hour that has begun, and of which share waited at most a second; answers
    their end."""
    end = floor(until or clock.now(), HOUR)
    rng = np.random.default_rng(seed)
    for back in range(hours, 0, -1):
        starts_at = end - timedelta(hours=back)
        at = starts_at.timestamp() + np.arange(-5.0, 3600.0, 5.0)
        arrived = np.concatenate([[0], rng.poisson(5 * per_s, 720)]).cumsum()
        busy = np.full(len(at), per_s * ran_s)
        gauges = np.stack([np.zeros(len(at)), busy, np.full(len(at), 2.0), np.zeros(len(at))], axis=1)
        totals = np.stack([arrived, arrived, ran_s * arrived, in_time * arrived, arrived], axis=1).astype(np.float64)
        points = from_samples(at, gauges, totals, 5)
        SignalChunk.objects.create(deployment=one, resolution=5, starts_at=starts_at, payload=points.to_bytes())
    begun = end - timedelta(hours=hours)
    if one.created_at > begun:
        Deployment.objects.filter(key=one.key).update(created_at=begun)
    return end


def started(one: Deployment, took_s: float, times: int = 1) -> None:
    """Replicas that took so long to load, and have ended since."""
    for _ in range(times):
        ready = clock.now() - timedelta(minutes=5)
        Replica.objects.create(
            deployment=one, instance_type=one.instance_type, revision=1, capacity_class=2, state=4, gpus=1,
            loading_at=ready - timedelta(seconds=took_s), ready_at=ready, stopped_at=clock.now(),
        )  # fmt: skip
