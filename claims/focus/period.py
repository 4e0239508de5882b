"""Which hours an export is asked for."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from claims import metering
from claims.bills import Month
from claims.core.rating import HOUR
from claims.focus.charges import Charge, Export
from claims.models import MeterCursor, RatedSlice
from claims.statements.selectors import month_named
from console.common.errors import FailedPrecondition, InvalidArgument
from console.organizations.models import Organization

LAST_DAY, THIS_MONTH = "last-24-hours", "month-to-date"
LONGEST = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class Coverage:
    """Up to when an export has the hours of a month (None: it has no row of it yet), and when the next whole hour is in it."""

    until: datetime | None
    next_at: datetime


def coverage(organization: Organization, month: Month, now: datetime) -> Coverage:
    """Two queries."""
    cursor = MeterCursor.objects.filter(organization=organization).first()
    rated = RatedSlice.objects.filter(
        organization=organization, started_at__gte=month.start, started_at__lt=month.end
    ).exists()
    next_at = metering.hour_of(now - metering.SETTLED_AFTER) + HOUR + metering.SETTLED_AFTER
    return Coverage(min(cursor.rated_until, month.end) if cursor and rated else None, next_at)


def named(export: Export, period: str, now: datetime) -> Iterator[Charge]:
    """`last-24-hours`, `month-to-date`, or a month such as 2026-11: then what its statement bills."""
    if period == LAST_DAY:
        end = export.rated_until or metering.hour_of(now)
        return export.between(end - timedelta(hours=24), end)
    if period == THIS_MONTH:
        return export.between(metering.month_of(now), now)
    try:
        month = month_named(export.organization, period, now)
    except InvalidArgument as refusal:
        if period[:1].isdigit():
            raise InvalidArgument.of("period", refusal.violations[0].description) from refusal
        raise InvalidArgument.of("period", f"must be {LAST_DAY}, {THIS_MONTH} or a month such as 2026-11") from refusal
    refuse_unrated(export, min(month.end, now))
    return export.billed(month)


def between(export: Export, start: datetime, end: datetime, now: datetime) -> Iterator[Charge]:
    for name, at in (("start", start), ("end", end)):
        if at != metering.hour_of(at):
            raise InvalidArgument.of(name, "must be a whole hour: charges are")
    if start >= end:
        raise InvalidArgument.of("start", "must lie before end")
    if start > now:
        raise InvalidArgument.of("start", "lies in the future: nothing was used yet")
    if end - start > LONGEST:
        raise InvalidArgument.of("end", f"must be at most {LONGEST.days} days after start")
    refuse_unrated(export, min(end, now))
    return export.between(start, end)


def refuse_unrated(export: Export, end: datetime) -> None:
    """Where something has no price its hours are not in the export, so there is none."""
    if export.problem and export.rated_until and export.rated_until < end:
        raise FailedPrecondition("PRICE_MISSING", "", export.problem)
