"""Wake-ups of loops. They are only that: a message that is lost costs a period, never work (W4)."""

import logging
import time
from functools import partial

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

log = logging.getLogger(__name__)

# A loop that was woken up begins no second pass within most of its period: what a process sends it so soon after another
# message only costs.
AGAIN_AFTER_S = 1.0
_sent: dict[str, float] = {}


def wake_on_commit(task: str, queue: str) -> None:
    """Send the task once the transaction has committed, unless this process did so a moment ago; a broker that is away
    fails nothing."""
    transaction.on_commit(partial(_send, task, queue))


def _send(task: str, queue: str) -> None:
    now = time.monotonic()
    if now - _sent.get(task, -AGAIN_AFTER_S) < AGAIN_AFTER_S:
        return
    _sent[task] = now
    try:
        current_app.send_task(task, queue=queue, expires=10, retry=False, ignore_result=True)
    except (OperationalError, OSError) as error:
        log.warning("%s was not woken up (%s); its next beat does it", task, type(error).__name__)
