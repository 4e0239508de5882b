"""What is looked at every minute, cheaply: is another choice due, and what do floor and ceiling come to now.

The share that was reached over the last hour is the difference of two sampling passes; nothing is replayed here.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from django.db.models import F

from deployments.backtest.portfolio import BUSIEST, PRESET_FLOOR_EVERY_S, preset, rows
from deployments.backtest.recorded import MINUTE
from deployments.core.objective import Choice
from deployments.loop.blocks import Block
from deployments.loop.failures import start_ups
from deployments.loop.history import series
from deployments.loop.passes import Pass, passes_sparse
from deployments.models import DeploymentObjective, Trigger
from deployments.objective import work
from deployments.objective.demand import DAY, ENOUGH_REQUESTS, HOUR, busiest_of, hours_seen
from deployments.objective.services import ceiling_in_replicas, slots_of
from deployments.objective.work import due_now, gone_by, high_of

LOOKED_AT = 500  # objectives of one pass, those first that were not looked at for longest
MUCH = 0.25  # change of the start-up time for which it is chosen anew
SETTLED = timedelta(minutes=10)  # after a choice, before start-ups count
MOST_SENT = 4  # messages a pass; what is left is sent by the next


def look_pass(*, now: datetime) -> int:
    """Look at objectives; returns how many have work due, so that as many workers can be woken."""
    found = DeploymentObjective.objects.select_related("deployment__autoscaling", "deployment__instance_type", "choice")
    looked = list(found.order_by(F("looked_at").asc(nulls_first=True), "pk")[:LOOKED_AT])
    reached = _reached(looked, now)
    startups = start_ups(row.pk for row in looked) if looked else {}
    for row in looked:
        _look(row, reached.get(row.pk, (None, 0)), startups.get(row.pk), now)
    return DeploymentObjective.objects.filter(due_now(now)).count()


def _look(row: DeploymentObjective, came: tuple[float | None, int], startup: timedelta | None, now: datetime) -> None:
    """Note what was seen, and that a choice is due; conditional, since an operator may change it meanwhile."""
    row.reached, row.started = came
    if row.price_ceiling is not None:  # one whose price is gone stays what it was
        row.ceiling = ceiling_in_replicas(row.deployment, row.price_ceiling, now) or row.ceiling
    seen: dict[str, Any] = {"reached": row.reached, "started": row.started, "ceiling": row.ceiling, "looked_at": now}
    seen |= _floor(row, startup, now)
    same = DeploymentObjective.objects.filter(pk=row.pk, set_at=row.set_at, choice=row.choice)
    same.update(**seen)
    trigger = due_for(row, startup, now)
    if trigger is not None:
        same.filter(due__isnull=True).update(due=trigger, due_at=now, attempts=0)


def due_for(row: DeploymentObjective, startup: timedelta | None, now: datetime) -> Trigger | None:
    """Why it is to be chosen anew; None where it is not."""
    choice, policy = row.choice, row.deployment.autoscaling
    if choice is None:
        return Trigger.SET
    bounds = (slots_of(policy), policy.min, high_of(row, policy.min, policy.max))
    if bounds != (choice.slots, choice.min, choice.max):
        return Trigger.POLICY
    if now - choice.at >= SETTLED and changed_much(choice.startup, startup):
        return Trigger.STARTUP
    if now - choice.at >= HOUR and row.reached is not None and row.reached < row.share:
        return Trigger.SHORT
    if now - choice.at >= HOUR and choice.why == Choice.PRESET and hours_seen(row.deployment, now) >= work.KNOWN:
        return Trigger.ENOUGH
    return Trigger.DAILY if now - choice.at >= DAY else None


def changed_much(before: timedelta | None, now: timedelta | None) -> bool:
    if now is None:
        return False
    return not before or abs(now / before - 1) >= MUCH


def _floor(row: DeploymentObjective, startup: timedelta | None, now: datetime) -> dict[str, Any]:
    """The floor where it is to be reckoned anew: that of a choice every hour, as its replay has it, that of the preset more
    often, and as a share that goes by the start-up time."""
    every, share = HOUR, row.floor_share
    if row.choice is None or row.choice.why == Choice.PRESET:
        seconds = startup.total_seconds() if startup else 0.0
        every, share = timedelta(seconds=PRESET_FLOOR_EVERY_S), preset(row.target, seconds).floor
    if share == row.floor_share and (not share or (row.looked_at and _turn(row.looked_at, every) == _turn(now, every))):
        return {}
    row.floor_share = share
    return {"floor_share": share, "floor": _floor_now(row, now) if share else 0}


def _turn(at: datetime, every: timedelta) -> int:
    return int(at.timestamp() // every.total_seconds())


def _floor_now(row: DeploymentObjective, now: datetime) -> int:
    """What the setting's floor comes to with the last day's load."""
    policy = row.deployment.autoscaling
    day = series(row.deployment, now - DAY, now, MINUTE)
    busiest = busiest_of(day, slots_of(policy), BUSIEST)
    high = high_of(row, policy.min, policy.max)
    return int(rows([gone_by(row)], policy.min, high, busiest, 0.0).min[0])


def _reached(looked: Iterable[DeploymentObjective], now: datetime) -> dict[int, tuple[float | None, int]]:
    """By key, the share of the last hour's requests that waited no longer, and how many they were; None where they were
    too few, or are not counted."""
    types = sorted({row.deployment.instance_type_id for row in looked})
    passes = passes_sparse(types, now - HOUR, now, step_s=int(HOUR.total_seconds())) if types else {}
    keys = np.array(sorted(row.pk for row in looked), np.int64)
    found: dict[int, tuple[float | None, int]] = {}
    for of_type in passes.values():
        found |= _between(of_type, keys)
    return found


def _between(passes: list[Pass], keys: "np.ndarray[Any, np.dtype[np.int64]]") -> dict[int, tuple[float | None, int]]:
    if len(passes) < 2:
        return {}
    (_, first), (_, last) = passes[0], passes[-1]
    (old, there), (new, here) = first.rows_of(keys), last.rows_of(keys)
    found: dict[int, tuple[float | None, int]] = {}
    for key, a, b, known in zip(keys.tolist(), old.tolist(), new.tolist(), (there & here).tolist(), strict=True):
        if known:
            found[key] = _share(_counted(first, a), _counted(last, b))
    return found


def _counted(seen: Block, row: int) -> list[int]:
    return [int(getattr(seen, name)[row]) for name in ("arrived", "queued", "waited_le_1s")]


def _share(before: list[int], after: list[int]) -> tuple[float | None, int]:
    """From counters: arrived, queued, waited at most a second. One that fell began anew."""
    started, in_time = (after[0] - after[1]) - (before[0] - before[1]), after[2] - before[2]
    if min(*before, *after, started, in_time) < 0:
        return None, 0
    return (min(1.0, in_time / started) if started >= ENOUGH_REQUESTS else None), started
