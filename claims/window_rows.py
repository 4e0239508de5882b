"""Recurring windows as rows keep them, those of claims (C12) and of deployments alike."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar
from zoneinfo import ZoneInfo

from claims.core.recurrence import parsed
from claims.core.windows import Occurrence, Window, next_occurrence, overlap
from claims.models.recurring import RecurringWindow
from console.common.errors import FailedPrecondition, NotFound

Row = TypeVar("Row", bound=RecurringWindow)


def window_of(row: RecurringWindow, count: int = 1) -> Window:
    """`count`: instances, which only windows of claims have; when it comes does not depend on it."""
    return Window(row.first, row.at, row.duration, parsed(row.recurrence), ZoneInfo(row.time_zone), count, row.until)


def columns_of(window: Window) -> dict[str, Any]:
    """What a row keeps of when a window comes."""
    return {
        "first": window.first, "at": window.at, "duration": window.duration, "recurrence": str(window.recurrence),
        "time_zone": window.zone.key, "until": window.until,
    }  # fmt: skip


def described(row: RecurringWindow, **own: Any) -> dict[str, Any]:
    """A window as the audit trail and the API show it; `own`: what it is beside when."""
    return {
        "start": f"{row.first.isoformat()}T{row.at:%H:%M}",
        "durationMinutes": row.duration // timedelta(minutes=1),
        "recurrence": row.recurrence,
        "timeZone": row.time_zone,
        **own,
        "until": row.until.isoformat() if row.until else None,
    }


@dataclass(frozen=True, slots=True)
class Upcoming(Generic[Row]):
    """A window with the occurrence that is under way or next; None: there is none any more."""

    row: Row
    next: Occurrence | None

    def under_way(self, now: datetime) -> bool:
        return self.next is not None and self.next.start <= now


def upcoming(rows: Iterable[Row], now: datetime) -> list[Upcoming[Row]]:
    """The windows, those first that are under way or come next, those last that are over."""
    found = [Upcoming(row, next_occurrence(window_of(row), now)) for row in rows]
    return sorted(found, key=lambda one: (one.next is None, one.next or Occurrence(now, now), one.row.key))


def among(rows: Iterable[Row], id: uuid.UUID, kind: str) -> Row:
    found = next((one for one in rows if one.id == id), None)
    if found is None:
        raise NotFound(kind, id)
    return found


def require_alone(window: Window, others: Iterable[RecurringWindow], now: datetime, code: str) -> None:
    """Refuse a window that overlaps one of the others."""
    for other in others:
        at = overlap(window, window_of(other), now)
        if at:
            text = f"It would overlap the window {other} at {at:%Y-%m-%d %H:%M}{'' if at.tzinfo is None else ' UTC'}."
            raise FailedPrecondition(code, str(other.id), text)
