"""Celery tasks of the deployments half: wake up, ask the loop table, call the loop."""

from datetime import timedelta

from celery import shared_task

from claims.models import InstanceType
from console.common import clock
from console.loops.services import loop_pass
from deployments.backtests.work import backtest_pass
from deployments.history.work import history_pass
from deployments.loop import actuate as actuation
from deployments.loop import rollup
from deployments.loop.tick import shard_tick, shards
from deployments.notices import shortage_notices_pass
from deployments.objective.looks import MOST_SENT, look_pass
from deployments.objective.work import choose_pass
from deployments.services.gateways import gateways_settle

EVERY_FEW_SECONDS, EVERY_MINUTE = timedelta(seconds=5), timedelta(seconds=60)


@shared_task(name="deployments.tasks.scale")
def scale() -> None:
    """One message a shard, so that shards run side by side on as many workers as there are (W3)."""
    gateways_settle()
    for shard in shards():
        scale_shard.apply_async((shard.key,), queue="control", expires=10)


@shared_task(name="deployments.tasks.scale_shard")
def scale_shard(key: int) -> None:
    shard = InstanceType.objects.get(key=key)
    with loop_pass(name=f"scale:{shard.name}", period=EVERY_FEW_SECONDS) as now:
        if now:
            shard_tick(shard, now)


@shared_task(name="deployments.tasks.actuate")
def actuate() -> None:
    with loop_pass(name="actuate", period=EVERY_FEW_SECONDS) as now:
        if now:
            actuation.actuate_pass(now=now)


@shared_task(name="deployments.tasks.roll_up")
def roll_up() -> None:
    with loop_pass(name="roll-up", period=EVERY_MINUTE) as now:
        if now:
            rollup.roll_up(now)


@shared_task(name="deployments.tasks.history")
def history() -> None:
    """Long: hours of simulation. The work is a row with a lease, so it has no place in the loop table."""
    history_pass(now=clock.now())


@shared_task(name="deployments.tasks.backtests")
def backtests() -> None:
    """Long, as `history` is. One at a time: another message comes after it, behind what waits meanwhile."""
    if backtest_pass(now=clock.now()):
        backtests.apply_async(queue="bulk", expires=10)


@shared_task(name="deployments.tasks.shortage_notices")
def shortage_notices() -> None:
    with loop_pass(name="shortage-notices", period=EVERY_MINUTE) as now:
        if now:
            shortage_notices_pass(now=now)


@shared_task(name="deployments.tasks.objectives")
def objectives() -> None:
    """Looks whose choice is due, which is quick; the work is woken one objective a message."""
    with loop_pass(name="objectives", period=EVERY_MINUTE) as now:
        if now:
            for _ in range(min(look_pass(now=now), MOST_SENT)):
                objective_choose.apply_async(queue="bulk", expires=60)


@shared_task(name="deployments.tasks.objective_choose")
def objective_choose() -> None:
    """Long: a replay. The work is a row with a lease, so it has no place in the loop table."""
    choose_pass(now=clock.now())
