"""Recurring windows of a claim (C12): when they are open, and whether two of them overlap.

A window begins at a wall time of its time zone on the days of its recurrence and lasts exactly its duration: eight hours
are eight hours on every day, as the exact durations of RFC 5545 (section 3.3.6). So the beginning keeps its place on the clock
when the clocks change, and the end of one that spans the change moves by it. A wall time that a day has twice is the
first of the two, one that a day does not have is read with the offset from before the clocks went forward, which is as
much later as they were set (fold=0 of PEP 495). Where a zone leaves a whole day out, its occurrence falls on the next
one's and is one.

No search goes further than two years (overlaps) or four (the next occurrence).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

from claims.core.recurrence import Recurrence

DAY = timedelta(days=1)
LOOKED_AHEAD = timedelta(days=2 * 366)
NEXT_WITHIN = timedelta(days=4 * 366)
SHORTEST, LONGEST = timedelta(minutes=1), timedelta(days=31)


@dataclass(frozen=True, slots=True)
class Window:
    """`count` instances from `at` (wall time) for `duration`, on the days of `recurrence` from `first` to `until`, both
    included (None: for good)."""

    first: date
    at: time
    duration: timedelta
    recurrence: Recurrence
    zone: ZoneInfo
    count: int
    until: date | None = None


@dataclass(frozen=True, slots=True, order=True)
class Occurrence:
    """[start, end), UTC."""

    start: datetime
    end: datetime


ZONE_NAMES = frozenset(available_timezones()) - {"Factory", "localtime"}


def zone_names() -> frozenset[str]:
    """Time zones of the IANA database that somebody may name."""
    return ZONE_NAMES


def instant(day: date, at: time, zone: ZoneInfo) -> datetime:
    """When it is `at` on the day in the zone; see above for a time that it has twice or not at all."""
    return datetime.combine(day, at, zone).astimezone(UTC)


def occurrences(window: Window, start: datetime, end: datetime) -> Iterator[Occurrence]:
    """Those that overlap [start, end), in order."""
    since = (start - window.duration).astimezone(window.zone).date() - DAY
    until = end.astimezone(window.zone).date() + DAY
    last = None
    for day in _dates(window, since, until):
        begin = instant(day, window.at, window.zone)
        if begin != last and begin < end and begin + window.duration > start:
            yield Occurrence(begin, begin + window.duration)
        last = begin


def next_occurrence(window: Window, now: datetime) -> Occurrence | None:
    """The one that is under way, else the next; None: there is none for four years."""
    since = max(now, instant(window.first, window.at, window.zone))
    return next(occurrences(window, since, since + NEXT_WITHIN), None)


def open_at(window: Window, now: datetime, lead: timedelta, opened_for: datetime | None) -> Occurrence | None:
    """The occurrence that the window is open for; None: it is closed.

    It opens `lead` before its start. One that it opened for already (`opened_for`: its start) stays open although the
    lead has become shorter since; not one more than a day ahead, as a clock that was set back would have it.
    """
    kept = opened_for if opened_for and opened_for <= now + DAY else None
    ahead = max(now + lead, kept or now)
    found = None
    for one in occurrences(window, now, ahead + timedelta.resolution):
        if one.start - lead <= now or one.start == kept:
            found = one
    return found


def repeats_after(window: Window) -> timedelta | None:
    """The shortest time from one beginning to the next, on the clock; None: it does not come twice in two years."""
    days = list(_dates(window, window.first, window.first + LOOKED_AHEAD))
    return min((later - day for day, later in pairwise(days)), default=None)


def overlap(one: Window, other: Window, now: datetime) -> datetime | None:
    """When the two first overlap in the two years from now, or from when both are in force: a wall time where they share
    a time zone, else UTC. None: they do not.

    Within a zone the clock decides, so that a window that ends on it when the next one begins does so on every day.
    """
    since = max(now, *(instant(each.first, each.at, each.zone) - each.duration for each in (one, other)))
    if one.zone.key == other.zone.key:
        clock = since.astimezone(one.zone).replace(tzinfo=None)
        return _meet(_on_the_clock(one, clock), _on_the_clock(other, clock))
    until = since + LOOKED_AHEAD
    return _meet(occurrences(one, since, until), occurrences(other, since, until))


def largest(windows: Iterable[Window], now: datetime) -> int:
    """The largest count of those that are not over for good; 0: there is none."""
    return max((one.count for one in windows if next_occurrence(one, now)), default=0)


def _dates(window: Window, since: date, until: date) -> Iterator[date]:
    last = until if window.until is None else min(until, window.until)
    return window.recurrence.dates(window.first, since, last)


def _on_the_clock(window: Window, since: datetime) -> list[Occurrence]:
    """Occurrences that end after `since`, as wall times that days without a change of clocks would have."""
    days = _dates(window, (since - window.duration).date() - DAY, (since + LOOKED_AHEAD).date())
    spans = (Occurrence(begin, begin + window.duration) for begin in (datetime.combine(day, window.at) for day in days))
    return [one for one in spans if one.end > since]


def _meet(ones: Iterable[Occurrence], others: Iterable[Occurrence]) -> datetime | None:
    """The first time that lies in an occurrence of either."""
    left, right = list(ones), list(others)
    i = j = 0
    while i < len(left) and j < len(right):
        start, end = max(left[i].start, right[j].start), min(left[i].end, right[j].end)
        if start < end:
            return start
        if left[i].end <= right[j].end:
            i += 1
        else:
            j += 1
    return None


@dataclass(frozen=True, slots=True)
class Level:
    """So many instances from `at` on."""

    at: datetime
    count: int


def promised(
    base: int, windows: Sequence[Window], start: datetime, end: datetime, ahead: timedelta = timedelta()
) -> list[Level]:
    """What a claim promises in [start, end): its base, or the count of an open window where that is more. One level at
    `start`, then one for each change. What is provisioned ahead of a window is not promised; with `ahead` it counts, so
    long before the window begins."""
    spans = [
        (Occurrence(one.start - ahead, one.end), window.count)
        for window in windows
        for one in occurrences(window, start, end + ahead)
    ]
    edges = {start, *(at for span, _ in spans for at in (span.start, span.end) if start < at < end)}
    found: list[Level] = []
    for at in sorted(edges):
        count = max((n for span, n in spans if span.start <= at < span.end), default=0)
        if not found or max(base, count) != found[-1].count:
            found.append(Level(at, max(base, count)))
    return found


def summed(lines: Iterable[Sequence[Level]]) -> list[Level]:
    """What several claims promise together; each line as `promised` gives it, from one start."""
    steps: dict[datetime, int] = {}
    for line in lines:
        before = 0
        for level in line:
            steps[level.at] = steps.get(level.at, 0) + level.count - before
            before = level.count
    found: list[Level] = []
    count = 0
    for at in sorted(steps):
        count += steps[at]
        if not found or count != found[-1].count:
            found.append(Level(at, count))
    return found
