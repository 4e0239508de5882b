"""Beat as a thread of the control worker: one process less, and no orphan when the worker is killed.

Any number of beats is safe (W4): each message only wakes a loop up, and a pass begins by moving its row.
"""

from typing import Any

from celery.beat import EmbeddedService
from celery.signals import worker_ready, worker_shutdown

_running: list[Any] = []


def start(sender: Any, **kwargs: Any) -> None:
    if not _running:
        # The entries are all intervals of seconds to minutes, so there is nothing to keep over a restart.
        service: Any = EmbeddedService(sender.app, thread=True, scheduler_cls="celery.beat:Scheduler")
        service.start()
        _running.append(service)
        for entry in sender.app.conf.beat_schedule.values():  # a first pass now, not after a period
            sender.app.send_task(entry["task"], **entry["options"])


def stop(**kwargs: Any) -> None:
    while _running:
        _running.pop().stop()


def with_worker() -> None:
    """From now on a worker of this process starts the beat and takes it down."""
    worker_ready.connect(start)
    worker_shutdown.connect(stop)
