"""Windows of min and max as they are stored, and when they come."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from claims.core.windows import Occurrence
from claims.window_rows import upcoming, window_of
from console.common.errors import NotFound
from deployments.models import Deployment, ScheduleWindow


def schedules_of(deployment: Deployment) -> list[ScheduleWindow]:
    return list(ScheduleWindow.objects.filter(deployment=deployment).order_by("at", "key"))


def schedule_get(deployment: Deployment, id: uuid.UUID) -> ScheduleWindow:
    found = ScheduleWindow.objects.filter(deployment=deployment, id=id).first()
    if found is None:
        raise NotFound("ScheduleWindow", id)
    return found


def words_of(row: ScheduleWindow) -> str:
    """When it is: "08:00 to 18:00, every week on Mon, Tue, Europe/Berlin"."""
    window = window_of(row)
    end = (datetime.combine(window.first, window.at) + window.duration).time()
    until = f", until {window.until}" if window.until else ""
    return f"{window.at:%H:%M} to {end:%H:%M}, {window.recurrence.words(window.first)}{until}, {window.zone.key}"


@dataclass(frozen=True, slots=True)
class Coming:
    """A window and its occurrence under way, else its next; None: it is over for good."""

    row: ScheduleWindow
    next: Occurrence | None
    open: bool

    @property
    def words(self) -> str:
        return words_of(self.row)


def coming(rows: Iterable[ScheduleWindow], now: datetime) -> list[Coming]:
    """Those first that are open or come next."""
    return [Coming(one.row, one.next, one.under_way(now)) for one in upcoming(rows, now)]
