"""Closing of statements: on the third day after the month's end, once the meter has rated all of it (B6)."""

import logging
from datetime import date, datetime, timedelta

from django.db import transaction
from django.db.models import Exists, Max, Min, OuterRef

from claims import metering
from claims.bills import Month
from claims.models import MeterCursor, RatedSlice, Statement, StatementLine, StatementStatus, UsageInterval
from claims.statements.lines import Draft, drafts, month_at, total
from console.notifications.models import Kind
from console.notifications.services import notify
from console.organizations.actors import system
from console.organizations.models import Organization
from console.organizations.services import audit_record

CLOSES_AFTER = timedelta(days=2)  # so at midnight UTC of the third day of the next month
METER = "meter"

log = logging.getLogger(__name__)


def closes_at(month: Month) -> datetime:
    return month.end + CLOSES_AFTER


def statements_pass(*, now: datetime) -> int:
    """Close what is due, each organization's oldest month first; returns how many were closed."""
    used = Organization.objects.filter(Exists(UsageInterval.objects.filter(organization=OuterRef("key"))))
    return sum(statements_close(organization=organization, now=now) for organization in used.order_by("key"))


def statements_close(*, organization: Organization, now: datetime) -> int:
    """Close the organization's months that are due and rated. Again, or twice at once, changes nothing."""
    closed = 0
    for month in unclosed(organization, now):
        if not statement_close(organization=organization, month=month, now=now):
            break
        closed += 1
    return closed


def unclosed(organization: Organization, now: datetime) -> list[Month]:
    """Months that are due and not closed, oldest first: every one from the first use on, empty ones as well, so that
    what is rated late always finds a next statement."""
    closed = Statement.objects.filter(organization=organization, status=StatementStatus.CLOSED)
    last = closed.aggregate(at=Max("month"))["at"]
    first = UsageInterval.objects.filter(organization=organization).aggregate(at=Min("started_at"))["at"]
    if last is None and first is None:
        return []
    month = month_after(last) if last is not None else Month(metering.month_of(first))
    found = []
    while closes_at(month) <= now:
        found.append(month)
        month = Month(month.end)
    return found


def month_after(day: date) -> Month:
    return Month(month_at(day).end)


def statement_close(*, organization: Organization, month: Month, now: datetime) -> bool:
    """Fix the month's lines and total; False where it is too early, not rated, or closed already.

    The meter's cursor is locked: nothing is rated meanwhile, so every slice is either billed here or later than this.
    """
    if now < closes_at(month):
        return False
    with transaction.atomic():
        cursor = MeterCursor.objects.select_for_update(no_key=True).filter(organization=organization).first()
        if cursor is None or cursor.rated_until < month.end:
            return False
        statement, _ = Statement.objects.get_or_create(organization=organization, month=month.start.date())
        if statement.status == StatementStatus.CLOSED:
            return False
        found = drafts(organization, month)
        StatementLine.objects.bulk_create([_line(statement, one) for one in found], batch_size=1000)
        _close(statement, found, now)
    log.info("closed the statement of %s for %s", organization, month.name)
    return True


def _close(statement: Statement, found: list[Draft], now: datetime) -> None:
    last = RatedSlice.objects.filter(organization=statement.organization_id).aggregate(id=Max("id"))["id"]
    statement.status, statement.closed_at = StatementStatus.CLOSED, now
    statement.total, statement.slices_until = total(found), last or 0
    statement.save(update_fields=["status", "closed_at", "total", "slices_until"])
    audit_record(
        actor=system(METER), action="statement.close", obj_type="Statement", obj_id=str(statement.pk),
        obj_name=f"{statement.month:%Y-%m}", organization=statement.organization,
        after={"month": f"{statement.month:%Y-%m}", "lines": len(found)},
    )  # fmt: skip
    _tell(statement, now)


def _tell(statement: Statement, now: datetime) -> None:
    month = f"{statement.month:%Y-%m}"
    notify(
        organization=statement.organization, kind=Kind.STATEMENT_CLOSED, key=f"statement:{month}", now=now,
        subject=f"The statement of {month} is closed", path=f"/billing/statements/{month}",
        text=f"It comes to ${statement.total:,.2f}; what is corrected later is on the next one.",
        data={"month": month, "total": f"{statement.total:.2f}", "currency": "USD"},
    )  # fmt: skip


def _line(statement: Statement, draft: Draft) -> StatementLine:
    key = draft.key
    return StatementLine(
        statement=statement, kind=key.kind, holder_id=key.holder_id, holder_name=key.holder_name,
        offering_id=key.offering, description=draft.description, rate=key.rate,
        usd_per_gpu_hour=key.usd_per_gpu_hour, gpu_seconds=draft.gpu_seconds, amount=draft.amount,
        correction_of=draft.correction_of,
    )  # fmt: skip
