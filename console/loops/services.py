"""A pass begins by moving its row: whoever moves it owns the pass, so any number of beats is safe (W4)."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from console.common import clock

log = logging.getLogger(__name__)

# A beat may come a little early; only a start well inside the period is a double.
EARLIEST_SHARE = 0.8

_START = """
    INSERT INTO loops_loop AS l (name, period, started_at, passes, failures, last_error, seconds)
    VALUES (%(name)s, %(period)s, %(now)s, 0, 0, '', 0)
    ON CONFLICT (name) DO UPDATE SET started_at = excluded.started_at, period = excluded.period
    WHERE l.started_at IS NULL OR l.started_at <= %(due)s"""
_ENDED = """
    UPDATE loops_loop SET passes = passes + 1, seconds = %s, last_error = '',
           ended_at = greatest(statement_timestamp(), %s) WHERE name = %s"""
_FAILED = "UPDATE loops_loop SET failures = failures + 1, seconds = %s, last_error = %s WHERE name = %s"


def loop_start(*, name: str, period: timedelta, now: datetime) -> bool:
    """Claim the pass `name` for the caller; False when another one started within 0.8 of the period."""
    given: dict[str, Any] = {"name": name, "period": period, "now": now, "due": now - EARLIEST_SHARE * period}
    with connection.cursor() as cursor:
        cursor.execute(_START, given)
        return bool(cursor.rowcount)


def loop_end(*, name: str, started_at: datetime, now: datetime, error: str = "") -> None:
    seconds = (now - started_at).total_seconds()
    with connection.cursor() as cursor:
        if error:
            cursor.execute(_FAILED, [seconds, error[:2000], name])
        else:
            cursor.execute(_ENDED, [seconds, now, name])


@contextmanager
def loop_pass(*, name: str, period: timedelta) -> Iterator[datetime | None]:
    """`with loop_pass(...) as now:` yields the pass's time, or None when it is not due; records how it ended."""
    now = clock.now()
    if not loop_start(name=name, period=period, now=now):
        yield None
        return
    try:
        yield now
    except Exception as error:
        loop_end(name=name, started_at=now, now=clock.now(), error=f"{type(error).__name__}: {error}")
        raise
    loop_end(name=name, started_at=now, now=clock.now())
