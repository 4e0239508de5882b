"""Windows of min and max in the scaling loop: the bounds of a pass, and what they opened for ahead of time."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from claims.core.recurrence import parsed
from claims.core.windows import Window
from claims.models import InstanceType
from deployments.loop.columns import read_rows
from deployments.models import ScheduleWindow
from deployments.schedules.bounds import Scheduling, bounds_at

Array = npt.NDArray[np.int64]
_WINDOWS = """
    SELECT s.deployment_id, s.key, s.first, s.at, s.duration, s.recurrence, s.time_zone, s.until, s.min, s.max, s.opened_for
    FROM deployments_schedulewindow s JOIN deployments_deployment d ON d.key = s.deployment_id
    WHERE d.instance_type_id = %s ORDER BY s.deployment_id, s.key"""
# How long each deployment's own replicas took to start, of all that are still known: 90 % took no longer.
_TOOK = """
    SELECT r.deployment_id, percentile_disc(0.9) WITHIN GROUP (ORDER BY date_part('epoch', r.ready_at - r.created_at))
    FROM deployments_replica r WHERE r.deployment_id = ANY(%s) AND r.ready_at >= r.created_at GROUP BY r.deployment_id"""
TOOK_FOR = timedelta(minutes=1)  # start-ups are measured again after so long

# By instance type: when its deployments' start-ups were measured, and what came of it.
_took: dict[int, tuple[datetime, dict[int, timedelta]]] = {}


def scheduled(
    instance_type: InstanceType, columns: dict[str, Array], now: datetime
) -> tuple[Array, dict[int, datetime]]:
    """Sets `min` and `max` of the columns (`key` ascending) to those of windows that are open, and returns which bounds
    are scheduled, and by window (key) the beginning that it is newly open for. One query, and once a minute another where
    there are windows."""
    bits, opened = np.zeros(len(columns["key"]), np.int64), dict[int, datetime]()
    rows: dict[int, list[Scheduling]] = {}
    for deployment, key, first, at, duration, rule, zone, until, low, high, opened_for in read_rows(
        _WINDOWS, [instance_type.key]
    ):
        window = Window(first, at, duration, _parsed(rule), ZoneInfo(zone), 0, until)
        rows.setdefault(deployment, []).append(Scheduling(key, window, low, high, opened_for))
    startups = _startups(instance_type, list(rows), now)
    if rows:  # what is kept between passes stays as it is
        columns |= {name: columns[name].copy() for name in ("min", "max")}
    for deployment, windows in rows.items():
        row = int(np.searchsorted(columns["key"], deployment))
        if row == len(bits) or columns["key"][row] != deployment:
            continue
        found = bounds_at(windows, int(columns["min"][row]), int(columns["max"][row]), now, startups[deployment])
        columns["min"][row], columns["max"][row], bits[row] = found.min, found.max, found.scheduled
        opened |= _newly(windows, found.opened)
    return bits, opened


def _startups(instance_type: InstanceType, deployments: list[int], now: datetime) -> dict[int, timedelta]:
    """Of these deployments, as they were measured within the last minute; nothing of one that has never been ready."""
    at, known = _took.get(instance_type.key, (now, {}))
    if not timedelta(0) <= now - at < TOOK_FOR or not known.keys() >= set(deployments):
        measured = {deployment: timedelta(seconds=took) for deployment, took in read_rows(_TOOK, [deployments])}
        known = dict.fromkeys(deployments, timedelta(0)) | measured
        _took[instance_type.key] = now, known
    return known


def _newly(windows: list[Scheduling], opened: tuple[int, datetime] | None) -> dict[int, datetime]:
    known = {one.key: one.opened_for for one in windows}
    return {} if opened is None or known[opened[0]] == opened[1] else dict([opened])


def schedules_opened(opened: Mapping[int, datetime]) -> None:
    """Remember what windows are open for, so that they stay open though replicas start faster since."""
    for key, start in opened.items():
        ScheduleWindow.objects.filter(key=key).update(opened_for=start)


_parsed = lru_cache(maxsize=1000)(parsed)
