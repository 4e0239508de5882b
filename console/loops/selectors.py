from datetime import datetime, timedelta

from console.loops.models import Loop

LATE_AFTER_PERIODS = 3
GRACE = timedelta(seconds=10)


def loops_late(*, now: datetime) -> list[Loop]:
    """Loops whose last complete pass ended more than three periods (and ten seconds) ago."""
    return [loop for loop in Loop.objects.all() if is_late(loop, now)]


def is_late(loop: Loop, now: datetime) -> bool:
    last = loop.ended_at or loop.started_at
    return last is not None and now - last > LATE_AFTER_PERIODS * loop.period + GRACE
