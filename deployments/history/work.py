"""The work on a history: hours are simulated side by side, then kept one by one, newest first (W4).

Killed anywhere, the lease runs out and whoever takes it up goes on with the newest hour that is not kept.
"""

import logging
from datetime import datetime

from console.common import clock
from console.common.leases import LeaseLost
from deployments.history.hours import batches, hours_before
from deployments.history.make import make, most_hours
from deployments.history.services import (
    history_beat,
    history_give_back,
    history_hour_store,
    history_lease,
)
from deployments.models import HistoryRun

log = logging.getLogger(__name__)


def history_pass(*, now: datetime) -> bool:
    """Take up one history and work until it is made, cancelled or somebody else's; False where there is none."""
    run = history_lease(now=now)
    if run is None:
        return False
    try:
        _work(run)
    except LeaseLost:
        log.info("the history %s is no longer this worker's", run.pk)
    except Exception as error:
        history_give_back(run=run, error=error, now=clock.now())
        raise
    return True


def _work(run: HistoryRun) -> None:
    whole = run.ends_at.timestamp() - run.starts_at.timestamp()
    todo = hours_before(run.made_from.timestamp(), run.starts_at.timestamp())
    for hours in batches(todo, most_hours(run.world)):
        done, share = run.progress, sum(hour.end - hour.start for hour in hours) / whole

        def beat(part: float, done: float = done, share: float = share) -> None:
            history_beat(run=run, progress=done + part * share, now=clock.now())

        for made in make(run.world, hours, beat):
            progress = (run.ends_at.timestamp() - made.hour.start) / whole
            history_hour_store(run=run, made=made, progress=progress, now=clock.now())
