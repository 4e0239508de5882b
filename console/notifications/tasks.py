"""Celery tasks of notifications: wake up, ask the loop table, call the loop."""

from datetime import timedelta
from threading import Lock

from celery import shared_task

from console.loops.services import loop_pass
from console.notifications.delivering import LOOP, deliver_pass

EVERY_FEW_SECONDS = timedelta(seconds=5)
# One pass a process: receivers that hang must not take the worker's threads from the loops beside it.
_here = Lock()


@shared_task(name="console.notifications.tasks.deliver")
def deliver() -> None:
    if not _here.acquire(blocking=False):
        return
    try:
        with loop_pass(name=LOOP, period=EVERY_FEW_SECONDS) as now:
            if now:
                deliver_pass(now=now)
    finally:
        _here.release()
