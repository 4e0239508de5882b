"""Windows of min and max as they are stored, and when they come."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from claims.core.recurrence import parsed
from claims.core.windows import Occurrence, Window, next_occurrence
from console.common.errors import NotFound
from deployments.models import Deployment, ScheduleWindow


def window_of(row: ScheduleWindow) -> Window:
    return Window(row.first, row.at, row.duration, parsed(row.recurrence), ZoneInfo(row.time_zone), 1, row.until)


def schedules_of(deployment: Deployment) -> list[ScheduleWindow]:
    return list(ScheduleWindow.objects.filter(deployment=deployment).order_by("at", "key"))


def schedule_get(deployment: Deployment, id: uuid.UUID) -> ScheduleWindow:
    found = ScheduleWindow.objects.filter(deployment=deployment, id=id).first()
    if found is None:
        raise NotFound("ScheduleWindow", id)
    return found


@dataclass(frozen=True, slots=True)
class Coming:
    """A window and its occurrence under way, else its next; None: it is over for good."""

    row: ScheduleWindow
    next: Occurrence | None
    open: bool

    @property
    def words(self) -> str:
        """When it is: "08:00 to 18:00, every week on Mon, Tue, Europe/Berlin"."""
        window = window_of(self.row)
        end = (datetime.combine(window.first, window.at) + window.duration).time()
        until = f", until {window.until}" if window.until else ""
        return f"{window.at:%H:%M} to {end:%H:%M}, {window.recurrence.words(window.first)}{until}, {window.zone.key}"


def coming(rows: Iterable[ScheduleWindow], now: datetime) -> list[Coming]:
    """Those first that are open or come next."""
    found = [(row, next_occurrence(window_of(row), now)) for row in rows]
    ordered = sorted(found, key=lambda one: (one[1] is None, one[1].start.timestamp() if one[1] else 0.0, one[0].key))
    return [Coming(row, one, one is not None and one.start <= now) for row, one in ordered]
