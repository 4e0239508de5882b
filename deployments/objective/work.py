"""The worker's part: take up one objective whose choice is due, replay, choose, store (W4).

Everything is read first, then replayed for minutes without a lock or a transaction, then stored if the lease still
holds: an objective that was set anew or cleared meanwhile has none, and what was chosen for the old one is dropped. Run
twice, late or side by side, each choice is made by one worker and stored once.
"""

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from console.common import clock
from console.common.ids import new_id
from console.common.leases import LeaseLost, unleased, what_failed
from console.common.notify import publish
from console.common.wake import wake_on_commit
from deployments.backtest.portfolio import Setting, preset
from deployments.backtest.recorded import NoDemandError
from deployments.core.objective import MOST, Choice, Chosen, Objective
from deployments.loop.failures import start_ups
from deployments.models import UNDER_WAY, Deployment, DeploymentObjective, HistoryRun, ObjectiveChoice, Unavailable
from deployments.objective.demand import Came, Demand, came, demand_of, hours_seen
from deployments.objective.replay import Found, Terms, advice_for, best_share, found_by, replayed_over
from deployments.objective.services import slots_of
from deployments.objective.shortage import hours_short

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=120)
LONGEST = timedelta(minutes=10)  # of one replay
SHORTEST_HOURS = 24  # that are replayed, however slow it is
KEPT = 400  # choices of a deployment
AGAIN = timedelta(minutes=1)  # history is being made afterwards
KNOWN = Objective().known + 1  # hours of demand before anything is chosen; the first is not chosen by


class TooSlow(Exception):
    """So many hours cannot be replayed in time."""

    def __init__(self, hours: int) -> None:
        super().__init__(f"only {hours} hours can be replayed in time")
        self.hours = hours


def choose_pass(*, now: datetime) -> bool:
    """Take up one objective and choose for it; False where none is due."""
    row = objective_lease(now=now)
    if row is None:
        return False
    try:
        _choose(row, now)
    except LeaseLost:
        log.info("the objective of deployment %s is no longer this worker's", row.pk)
    except Exception as error:
        _give_back(row, error)
        raise
    return True


def due_now(now: datetime) -> Q:
    return Q(due__isnull=False, due_at__lte=now) & unleased(now)


def objective_lease(*, now: datetime) -> DeploymentObjective | None:
    """Take up what has been due for longest and nobody works on; None where there is nothing."""
    with transaction.atomic():
        found = DeploymentObjective.objects.select_for_update(skip_locked=True, of=("self",), no_key=True)
        row = found.filter(due_now(now)).order_by("due_at", "pk").first()
        if row is None:
            return None
        row.lease, row.leased_until, row.attempts = new_id(), now + LEASE, row.attempts + 1
        row.save(update_fields=["lease", "leased_until", "attempts"])
    return row


def _choose(row: DeploymentObjective, now: datetime) -> None:
    deployment = Deployment.objects.select_related("autoscaling", "instance_type", "organization").get(pk=row.pk)
    seen = hours_seen(deployment, now)
    if seen < KNOWN or HistoryRun.objects.filter(deployments=deployment, state__in=UNDER_WAY).exists():
        _postpone(row, seen, now)
    else:
        _store(row, deployment, _made(row, deployment, now))


def _made(row: DeploymentObjective, deployment: Deployment, now: datetime) -> ObjectiveChoice:
    """What is chosen, as its row will be. Long."""
    begun, startup = time.monotonic(), start_ups([deployment.key]).get(deployment.key)
    if startup is None:
        return _without(row, deployment, Unavailable.STARTUPS, now)
    try:
        demand = demand_of(deployment, now)
    except NoDemandError as error:
        log.info("nothing to replay for deployment %s: %s", deployment.pk, error)
        return _without(row, deployment, Unavailable.COUNTERS, now)
    terms, real = _terms(row, deployment, startup), came(deployment, row.set_at, now)
    found, advice = _replayed(row, demand, terms, real)
    if real.share is not None and real.share < row.share:
        advice += [{"kind": "capacity", "hours": hours} for hours in [hours_short(deployment, now)] if hours]
    return _choice(row, found, terms, real, advice, timedelta(seconds=time.monotonic() - begun))


def _terms(row: DeploymentObjective, deployment: Deployment, startup: timedelta) -> Terms:
    policy = deployment.autoscaling
    high = high_of(row, policy.min, policy.max)
    return Terms(slots_of(policy), startup, policy.min, high, deployment.gpu_count)


def high_of(row: DeploymentObjective, low: int, high: int) -> int:
    """The highest size: max, or what the price ceiling pays for, but never less than min."""
    return high if row.ceiling is None else min(high, max(low, row.ceiling))


def gone_by(row: DeploymentObjective) -> Setting:
    return Setting(row.target, row.scale_down_delay.total_seconds(), row.floor_share, row.ahead)


def _replayed(row: DeploymentObjective, demand: Demand, terms: Terms, real: Came) -> tuple[Found, list[dict[str, Any]]]:
    """What was found, and advice where nothing meets the objective."""
    objective = Objective(share=row.share, known=KNOWN - 1)
    try:
        portfolio = replayed_over(demand, terms, _beat(row, demand.hours))
    except TooSlow as slow:
        demand = demand.last(slow.hours)
        portfolio = replayed_over(demand, terms, _beat(row, 0))
    found = found_by(portfolio, demand, terms, objective, gone_by(row), real.share)
    if found.chosen.why != Choice.NEAREST:
        return found, []
    return found, advice_for(demand, terms, objective, best_share(portfolio.replayed()), _beat(row, 0))


def _beat(row: DeploymentObjective, hours: int) -> Callable[[float], None]:
    """Holds the lease, and raises TooSlow once it is clear that so many hours take too long (0: however long)."""
    begun = time.monotonic()

    def beat(done: float) -> None:
        spent = time.monotonic() - begun
        fitting = int(hours * done * LONGEST.total_seconds() / max(spent, 1.0))
        if done > 0 and SHORTEST_HOURS <= fitting < hours * 0.9 and spent > LONGEST.total_seconds() / 10:
            raise TooSlow(fitting)
        now = clock.now()
        if not _mine(row).update(leased_until=now + LEASE):
            raise LeaseLost

    return beat


def _mine(row: DeploymentObjective) -> QuerySet[DeploymentObjective]:
    return DeploymentObjective.objects.filter(pk=row.pk, lease=row.lease)


def _postpone(row: DeploymentObjective, seen: float, now: datetime) -> None:
    """Too little has been seen: look again when enough will have been."""
    wait = max(AGAIN, min(timedelta(hours=1), timedelta(hours=KNOWN - seen)))
    _mine(row).update(due_at=now + wait, lease=None, leased_until=None, attempts=0)


def _without(row: DeploymentObjective, deployment: Deployment, lacks: Unavailable, now: datetime) -> ObjectiveChoice:
    """Nothing can be chosen by: the preset."""
    terms, objective = _terms(row, deployment, timedelta(0)), Objective(share=row.share)
    chosen = Chosen(Choice.PRESET, -1, min(MOST, objective.share + objective.safety))
    found = Found(chosen, preset(terms.slots, 0.0), 0, 0, 0, None, None)
    made = _choice(row, found, terms, came(deployment, row.set_at, now), [], timedelta(0))
    made.lacks, made.startup = lacks, None
    return made


def _choice(
    row: DeploymentObjective, found: Found, terms: Terms, real: Came, advice: list[dict[str, Any]], took: timedelta
) -> ObjectiveChoice:
    assert row.due is not None, "only what is due is worked on"
    chosen, setting = found.chosen, found.setting
    expected, before = found.expected or (None, None), found.before or (None, None)
    return ObjectiveChoice(
        deployment_id=row.pk, trigger=row.due, why=chosen.why, objective=row.share,
        target=setting.concurrency, scale_down_delay=timedelta(seconds=setting.scale_down_s),
        floor_share=setting.floor, floor=found.floor, ahead=setting.ahead, changed=setting != gone_by(row),
        goal=chosen.goal, share=None if chosen.share != chosen.share else chosen.share,
        expected_share=expected[0], expected_gpu_hours=expected[1], before_share=before[0], before_gpu_hours=before[1],
        reached=real.share, came_gpu_hours=real.gpu_hours, hours=found.hours, requests=found.requests,
        startup=terms.startup, took=took, slots=terms.slots, min=terms.low, max=terms.high, gpu_count=terms.gpu_count,
        advice=advice,
    )  # fmt: skip


def _store(row: DeploymentObjective, deployment: Deployment, made: ObjectiveChoice) -> None:
    """Keep the choice and go by it from now on, all of it or nothing. Raises LeaseLost."""
    with transaction.atomic():
        mine = _mine(row).select_for_update(no_key=True).first()
        if mine is None:
            raise LeaseLost
        made.at = clock.now()
        made.save()
        mine.target, mine.scale_down_delay = made.target, made.scale_down_delay
        mine.floor_share, mine.floor, mine.ahead, mine.choice = made.floor_share, made.floor, made.ahead, made
        mine.due = mine.due_at = mine.lease = mine.leased_until = None
        mine.attempts, mine.last_error = 0, ""
        mine.save()
        _forget(deployment)
        publish("deployments", [deployment.organization_id])
        publish("notes", [deployment.organization_id])
        wake_on_commit("deployments.tasks.scale", "control")


def _forget(deployment: Deployment) -> None:
    """Choices beyond those that are kept, the oldest."""
    newest = ObjectiveChoice.objects.filter(deployment=deployment).order_by("-id")
    if oldest := list(newest.values_list("id", flat=True)[KEPT : KEPT + 1]):
        newest.filter(id__lte=oldest[0]).delete()


def _give_back(row: DeploymentObjective, error: Exception) -> None:
    """It failed here: somebody tries again, later each time, up to an hour."""
    wait = min(timedelta(hours=1), timedelta(minutes=1) * 2 ** min(row.attempts, 6))
    _mine(row).update(last_error=what_failed(error), leased_until=clock.now() + wait)
