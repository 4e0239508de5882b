"""Statements as they are read: closed ones as they were fixed, open ones as they stand now."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from claims import bills, metering
from claims.bills import Month
from claims.models import Statement, StatementLine, StatementStatus
from claims.statements.closing import closes_at
from claims.statements.lines import drafts
from console.common.errors import InvalidArgument, NotFound
from console.common.money import plain, to_cents
from console.organizations.models import Organization

MONTH = re.compile(r"(\d{4})-(\d{2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Line:
    """`gpu_seconds` at `usd_per_gpu_hour`, in whole cents: `amount`."""

    kind: str
    holder_id: str
    holder_name: str
    zone: str
    instance_type: str
    description: str
    rate: str
    usd_per_gpu_hour: Decimal
    gpu_seconds: int
    amount: Decimal
    correction_of: date | None

    @property
    def price(self) -> str:
        """All its decimals, two at least."""
        text = plain(self.usd_per_gpu_hour)
        return text if len(text.partition(".")[2]) > 2 else f"{self.usd_per_gpu_hour:.2f}"


@dataclass(frozen=True, slots=True)
class Summary:
    """A month's statement. `stored` is None while it is open; its total is then what has been used so far."""

    month: Month
    stored: Statement | None
    total: Decimal

    @property
    def status(self) -> str:
        return StatementStatus.CLOSED if self.stored else StatementStatus.OPEN

    @property
    def closes_at(self) -> datetime:
        return closes_at(self.month)


def statements_of(organization: Organization, now: datetime) -> list[Summary]:
    """Newest month first. Raises PriceMissing. Open months, of which there are at most a few, take queries each."""
    stored = closed_by_month(organization)
    found = []
    for month in bills.months(organization, now):
        one = stored.get(month.start.date())
        found.append(Summary(month, one, one.total or Decimal(0) if one else so_far(organization, month, now)))
    return found


def closed_by_month(organization: Organization) -> dict[date, Statement]:
    rows = Statement.objects.filter(organization=organization, status=StatementStatus.CLOSED)
    return {row.month: row for row in rows}


def so_far(organization: Organization, month: Month, now: datetime) -> Decimal:
    """USD used in the month up to now, to the cent."""
    return to_cents(metering.total(metering.usage(organization, month.start, month.end, now, by_holder=False)))


def month_named(organization: Organization, name: str, now: datetime) -> Month:
    """The month written `2026-11`. InvalidArgument where it is in the future, NotFound before the first use."""
    found = MONTH.fullmatch(name)
    if found is None or not 1 <= int(found[2]) <= 12 or int(found[1]) < 1:
        raise InvalidArgument.of("month", f"must be a month such as 2026-11; it is {name[:20]!r}")
    month = Month(datetime(int(found[1]), int(found[2]), 1, tzinfo=UTC))
    if month.start > now:
        raise InvalidArgument.of("month", f"{name} lies in the future; its statement begins on {month.name}-01, UTC")
    if month not in bills.months(organization, now):
        raise NotFound("Statement", name)
    return month


def statement_of(organization: Organization, month: Month, now: datetime) -> tuple[Summary, list[Line]]:
    """One statement with its lines. Raises PriceMissing while it is open."""
    one = closed_by_month(organization).get(month.start.date())
    lines = stored_lines(one) if one else open_lines(organization, month, now)
    return Summary(month, one, sum((line.amount for line in lines), Decimal("0.00"))), lines


def stored_lines(statement: Statement) -> list[Line]:
    rows = StatementLine.objects.filter(statement=statement).select_related("offering__zone", "offering__instance_type")
    return [
        Line(row.kind, str(row.holder_id), row.holder_name, row.offering.zone.name, row.offering.instance_type.name,
             row.description, row.rate, row.usd_per_gpu_hour, row.gpu_seconds, row.amount, row.correction_of)
        for row in rows.order_by("id")
    ]  # fmt: skip


def open_lines(organization: Organization, month: Month, now: datetime) -> list[Line]:
    return [
        Line(one.key.kind, str(one.key.holder_id), one.key.holder_name, one.offering.zone.name,
             one.offering.instance_type.name, one.description, one.key.rate, one.key.usd_per_gpu_hour, one.gpu_seconds,
             one.amount, one.correction_of)
        for one in drafts(organization, month, now)
    ]  # fmt: skip
