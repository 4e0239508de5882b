"""Windows of claims (C12) as they are stored, and what they make of a claim now."""

import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from claims import window_rows
from claims.core import windows as rule
from claims.core.windows import Level, Occurrence, Window
from claims.models import CapacityClaim, ClaimWindow
from claims.window_rows import Upcoming, upcoming
from console.common.errors import NotFound

CALENDAR = timedelta(days=14)


def window_of(row: ClaimWindow) -> Window:
    return window_rows.window_of(row, row.count)


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


def next_windows(claims: Collection[CapacityClaim], now: datetime) -> dict[int, Upcoming[ClaimWindow]]:
    """By claim key, the window that is under way or next; claims without one are left out. One query."""
    rows: dict[int, list[ClaimWindow]] = {}
    for row in ClaimWindow.objects.filter(claim__in=claims).order_by("key"):
        rows.setdefault(row.claim_id, []).append(row)
    first = {key: upcoming(some, now)[0] for key, some in rows.items()}
    return {key: one for key, one in first.items() if one.next}


def claim_promised(
    base: int, rows: Iterable[ClaimWindow], start: datetime, end: datetime, ahead: timedelta = timedelta()
) -> list[Level]:
    """What a claim of this base promises from `start` to `end`; with `ahead`, also so long before its windows begin."""
    return rule.promised(base, [window_of(row) for row in rows], start, end, ahead)
