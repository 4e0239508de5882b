"""Celery tasks of notifications: wake up, ask the loop table, call the loop."""

from datetime import timedelta

from celery import shared_task

from console.loops.services import loop_pass
from console.notifications.delivering import LOOP, deliver_pass

EVERY_FEW_SECONDS = timedelta(seconds=5)


@shared_task(name="console.notifications.tasks.deliver")
def deliver() -> None:
    with loop_pass(name=LOOP, period=EVERY_FEW_SECONDS) as now:
        if now:
            deliver_pass(now=now)
