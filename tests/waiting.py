"""Two at the same time, one of whom has to wait for the other."""

import threading
import time
from collections.abc import Callable
from typing import Any

from django.db import connection, transaction

from console.common.errors import FailedPrecondition, InvalidArgument

WITHIN_S = 30
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # else a transaction sees what it saw first
        cursor.execute(WAITING)
        row = cursor.fetchone()
    return bool(row and row[0])


def meanwhile(first: Callable[[], object], then: Callable[[], Any]) -> Any:
    """What `then` returns or refuses, which is asked for before `first` is committed and waits for it."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(then())
        except (FailedPrecondition, InvalidArgument) as refusal:
            found.append(refusal)
        finally:
            connection.close()

    thread, until = threading.Thread(target=run), time.monotonic() + WITHIN_S
    with transaction.atomic():
        first()
        thread.start()
        while not waits():
            assert time.monotonic() < until, "nobody waits"
            time.sleep(0.02)
    thread.join(WITHIN_S)
    return found[0]
