"""A pass begins by moving its row: whoever moves it owns the pass, so any number of beats is safe (W4)."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.db.models import F, Q
from django.db.models.functions import Greatest, Now

from console.common import clock
from console.loops.models import Loop

log = logging.getLogger(__name__)

# A beat may come a little early; only a start well inside the period is a double.
EARLIEST_SHARE = 0.8


def loop_start(*, name: str, period: timedelta, now: datetime) -> bool:
    """Claim the pass `name` for the caller; False when another one started within 0.8 of the period."""
    Loop.objects.get_or_create(name=name, defaults={"period": period})
    due = Q(started_at__isnull=True) | Q(started_at__lte=now - EARLIEST_SHARE * period)
    return bool(Loop.objects.filter(due, name=name).update(started_at=now, period=period))


def loop_end(*, name: str, started_at: datetime, now: datetime, error: str = "") -> None:
    fields = {"seconds": (now - started_at).total_seconds(), "last_error": error[:2000]}
    if error:
        Loop.objects.filter(name=name).update(failures=F("failures") + 1, **fields)
    else:
        Loop.objects.filter(name=name).update(passes=F("passes") + 1, ended_at=Greatest(Now(), now), **fields)


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
