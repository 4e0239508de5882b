"""Beat as a thread of the control worker: one process less, and no orphan when the worker is killed.

Any number of beats is safe (W4): each message only wakes a loop up, and a pass begins by moving its row.
"""

import os
from typing import Any

from celery.beat import EmbeddedService
from celery.signals import worker_ready, worker_shutdown

WANTED = "HEADROOM_BEAT"
_running: list[Any] = []


@worker_ready.connect
def start(sender: Any, **kwargs: Any) -> None:
    if os.environ.get(WANTED) == "1" and not _running:
        # The entries are all intervals of seconds to minutes, so there is nothing to keep over a restart.
        service: Any = EmbeddedService(sender.app, thread=True, scheduler_cls="celery.beat:Scheduler")
        service.start()
        _running.append(service)
        for entry in sender.app.conf.beat_schedule.values():  # a first pass now, not after a period
            sender.app.send_task(entry["task"], **entry["options"])


@worker_shutdown.connect
def stop(**kwargs: Any) -> None:
    while _running:
        _running.pop().stop()
