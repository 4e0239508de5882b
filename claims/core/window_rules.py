"""What a window must be like, whatever the state of the system (C12)."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from claims.core.recurrence import Recurrence, parsed
from claims.core.rules import MAX_COUNT
from claims.core.windows import LONGEST, SHORTEST, Window, next_occurrence, repeats_after, zone_names
from console.common.errors import FieldViolation

MINUTE = timedelta(minutes=1)
FIRST_YEAR, LAST_YEAR = 2000, 2100


@dataclass(frozen=True, slots=True)
class WindowAsked:
    """A window as it was asked for; `start` is a wall time of the time zone."""

    start: datetime
    duration: timedelta
    recurrence: str
    time_zone: str
    instance_count: int
    until: date | None = None


def checked(asked: WindowAsked, now: datetime) -> tuple[Window | None, list[FieldViolation]]:
    """The window that is meant, or every violation in order of the fields."""
    found = _start(asked) + _duration(asked.duration)
    rule, wrong = _recurrence(asked.recurrence)
    found += wrong + _zone(asked.time_zone) + _count(asked.instance_count) + _until(asked)
    if found or rule is None:
        return None, found
    window = Window(
        asked.start.date(), asked.start.time(), asked.duration, rule, ZoneInfo(asked.time_zone), asked.instance_count,
        asked.until,
    )  # fmt: skip
    found = _repeats(window, now)
    return (None, found) if found else (window, [])


def _start(asked: WindowAsked) -> list[FieldViolation]:
    if asked.start.tzinfo is not None:
        return [FieldViolation("start", "must be a wall time without an offset; the time zone has a field of its own")]
    if not FIRST_YEAR <= asked.start.year <= LAST_YEAR:
        return [FieldViolation("start", f"must lie in the years {FIRST_YEAR} to {LAST_YEAR}")]
    if asked.start.second or asked.start.microsecond:
        return [FieldViolation("start", "must be a whole minute")]
    return []


def _duration(duration: timedelta) -> list[FieldViolation]:
    if not SHORTEST <= duration <= LONGEST or duration % MINUTE:
        return [FieldViolation("duration", f"must be whole minutes, from 1 to {LONGEST // MINUTE} (31 days)")]
    return []


def _recurrence(text: str) -> tuple[Recurrence | None, list[FieldViolation]]:
    try:
        return parsed(text), []
    except ValueError as error:
        return None, [FieldViolation("recurrence", str(error))]


def _zone(name: str) -> list[FieldViolation]:
    if name in zone_names():
        return []
    return [FieldViolation("time_zone", f"{name[:64]!r} is no time zone of the IANA database, such as Europe/Berlin")]


def _count(count: int) -> list[FieldViolation]:
    if 1 <= count <= MAX_COUNT:
        return []
    return [FieldViolation("instance_count", f"must be from 1 to {MAX_COUNT}; it is {count}")]


def _until(asked: WindowAsked) -> list[FieldViolation]:
    if asked.until is None or asked.start.date() <= asked.until < date(LAST_YEAR + 1, 1, 1):
        return []
    return [FieldViolation("until", f"must be a day from the first, {asked.start.date()}, to the year {LAST_YEAR}")]


def _repeats(window: Window, now: datetime) -> list[FieldViolation]:
    """It comes at all, and not again before it has ended."""
    gap = repeats_after(window)
    if gap is not None and window.duration > gap:
        text = f"lasts {_hours(window.duration)} and begins again after {_hours(gap)}; it must end before"
        return [FieldViolation("duration", text)]
    if next_occurrence(window, datetime(FIRST_YEAR - 1, 1, 1, tzinfo=UTC)) is None:
        return [FieldViolation("recurrence", "there is no such day in the four years from its start")]
    if next_occurrence(window, now) is None:
        return [FieldViolation("until", "all its occurrences are over")]
    return []


def _hours(span: timedelta) -> str:
    minutes = span // MINUTE
    return f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"
