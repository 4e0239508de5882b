"""Windows of claims (C12) as they are stored, and what they make of a claim now."""

import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from claims.core import windows as rule
from claims.core.recurrence import parsed
from claims.core.windows import Level, Occurrence, Window
from claims.models import CapacityClaim, ClaimWindow
from console.common.errors import NotFound

CALENDAR = timedelta(days=14)


def window_of(row: ClaimWindow) -> Window:
    return Window(
        row.first, row.at, row.duration, parsed(row.recurrence), ZoneInfo(row.time_zone), row.count, row.until
    )


def windows_of(claim: CapacityClaim) -> list[ClaimWindow]:
    return list(claim.windows.order_by("at", "key"))


def window_get(claim: CapacityClaim, id: uuid.UUID) -> ClaimWindow:
    found = claim.windows.filter(id=id).first()
    if found is None:
        raise NotFound("ClaimWindow", id)
    return found


@dataclass(frozen=True, slots=True)
class Standing:
    """What its windows make of a claim at a time: the columns of `CapacityClaim`, and for which beginning each window
    (key) is open, which may be ahead."""

    count: int
    until: datetime | None
    peak: int
    opened: Mapping[int, datetime]


def standing(rows: Iterable[ClaimWindow], now: datetime, lead: timedelta) -> Standing:
    """`lead`: so much before its beginning a window opens."""
    opened: dict[int, Occurrence] = {}
    count, peak = 0, 0
    for row in rows:
        window = window_of(row)
        found = rule.open_at(window, now, lead, row.opened_for)
        if found:
            opened[row.key] = found
            count = max(count, row.count)
        if row.count > peak and rule.next_occurrence(window, now):
            peak = row.count
    largest = {row.key for row in rows if row.count == count}
    until = max((one.end for key, one in opened.items() if key in largest), default=None)
    return Standing(count, until, peak, {key: one.start for key, one in opened.items()})


@dataclass(frozen=True, slots=True)
class Upcoming:
    """A window with the occurrence that is under way or next; None: there is none any more."""

    row: ClaimWindow
    window: Window
    next: Occurrence | None

    def under_way(self, now: datetime) -> bool:
        return self.next is not None and self.next.start <= now


def upcoming(rows: Iterable[ClaimWindow], now: datetime) -> list[Upcoming]:
    """The windows, those first that are under way or come next, those last that are over."""
    found = [Upcoming(row, window, rule.next_occurrence(window, now)) for row, window in _read(rows)]
    return sorted(found, key=lambda one: (one.next is None, one.next or Occurrence(now, now), one.row.key))


def next_windows(claims: Collection[CapacityClaim], now: datetime) -> dict[int, Upcoming]:
    """By claim key, the window that is under way or next; claims without one are left out. One query."""
    rows: dict[int, list[ClaimWindow]] = {}
    for row in ClaimWindow.objects.filter(claim__in=claims).order_by("key"):
        rows.setdefault(row.claim_id, []).append(row)
    first = {key: upcoming(some, now)[0] for key, some in rows.items()}
    return {key: one for key, one in first.items() if one.next}


def _read(rows: Iterable[ClaimWindow]) -> list[tuple[ClaimWindow, Window]]:
    return [(row, window_of(row)) for row in rows]


def claim_promised(base: int, rows: Iterable[ClaimWindow], start: datetime, end: datetime) -> list[Level]:
    """What a claim of this base promises from `start` to `end`."""
    return rule.promised(base, [window for _, window in _read(rows)], start, end)
