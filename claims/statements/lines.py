"""The lines of a statement, from rated slices: sums of one holder's use of an offering at one price (B6, B7)."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from django.db.models import Q, QuerySet, Sum
from django.db.models.functions import TruncMonth

from claims import metering
from claims.bills import Month
from claims.core.rating import ON_DEMAND
from claims.models import MeterCursor, Offering, RatedSlice, Statement, StatementStatus, UsageInterval, UsageKind
from console.common.money import SECONDS_PER_HOUR, to_cents
from console.organizations.models import Organization

HELD = ("kind", "holder_id", "holder_name", "offering_id", "claim_kind")


@dataclass(frozen=True, slots=True)
class Key:
    """What tells a line from others. `month` is the first of the month in which it was used."""

    kind: str
    holder_id: uuid.UUID
    holder_name: str
    offering: int
    claim_kind: str
    rate: str
    usd_per_gpu_hour: Decimal
    month: date


@dataclass(frozen=True, slots=True)
class Draft:
    """A line before it is stored."""

    key: Key
    offering: Offering
    description: str
    gpu_seconds: int
    correction_of: date | None

    @property
    def amount(self) -> Decimal:
        """From the seconds, not from the slices: these have 12 places, which could tip half a cent."""
        return to_cents(self.gpu_seconds * self.key.usd_per_gpu_hour / SECONDS_PER_HOUR)


def month_at(day: date) -> Month:
    return Month(datetime(day.year, day.month, 1, tzinfo=UTC))


def billed_until(organization: Organization, month: Month) -> int:
    """The last slice that an earlier statement has billed; 0 before the first."""
    closed = Statement.objects.filter(organization=organization, status=StatementStatus.CLOSED)
    last = closed.filter(month__lt=month.start.date()).order_by("-month").values_list("slices_until", flat=True).first()
    return last or 0


def billed_slices(organization: Organization, month: Month, until: int | None = None) -> QuerySet[RatedSlice]:
    """The slices that the month's statement bills: its own, and those of earlier months that no statement has.

    `until`: the last slice that there was when it was closed; None while it is open.
    """
    late = Q(started_at__lt=month.start, id__gt=billed_until(organization, month))
    found = RatedSlice.objects.filter(Q(started_at__gte=month.start) | late, organization=organization)
    found = found.filter(started_at__lt=month.end)
    return found if until is None else found.filter(id__lte=until)


def drafts(organization: Organization, month: Month, now: datetime | None = None) -> list[Draft]:
    """The lines of a month that is not closed, in order of their names; with `now`, live use up to it as well.

    Raises PriceMissing.
    """
    sums = rated_sums(billed_slices(organization, month))
    if now is not None:
        _add_live(sums, organization, month, now)
    offerings = Offering.objects.select_related("zone", "instance_type").in_bulk({key.offering for key in sums})
    found = [_draft(key, seconds, offerings[key.offering], month) for key, seconds in sums.items()]
    return sorted(found, key=_order)


def rated_sums(slices: QuerySet[RatedSlice]) -> dict[Key, int]:
    held = [f"interval__{name}" for name in HELD]
    named = slices.order_by().annotate(in_month=TruncMonth("started_at", tzinfo=UTC))
    rows = named.values_list(*held, "rate", "usd_per_gpu_hour", "in_month").annotate(s=Sum("gpu_seconds"))
    return {Key(*row[:7], row[7].date()): row[8] for row in rows}  # type: ignore[call-arg]


def _add_live(sums: dict[Key, int], organization: Organization, month: Month, now: datetime) -> None:
    """Add what has been used since the meter's last hour, as far as it is of the month."""
    cursor = MeterCursor.objects.filter(organization=organization).first()
    start = max(month.start, cursor.rated_until) if cursor else month.start
    end = min(month.end, now.replace(microsecond=0))
    if start >= end:
        return
    rows = {row.id: row for row in metering.intervals_in(organization, start, end)}
    for one in metering.rate_rows(organization, list(rows.values()), start, end):
        key = _key_of(rows[one.interval], one.rate, one.usd_per_gpu_hour, month)
        sums[key] = sums.get(key, 0) + one.gpu_seconds


def _key_of(row: UsageInterval, rate: str, usd: Decimal, month: Month) -> Key:
    return Key(row.kind, row.holder_id, row.holder_name, row.offering_id, row.claim_kind, rate, usd, month.start.date())


def _draft(key: Key, seconds: int, offering: Offering, month: Month) -> Draft:
    correction = key.month if key.month < month.start.date() else None
    return Draft(key, offering, describe(key, offering, correction), seconds, correction)


def describe(key: Key, offering: Offering, correction: date | None) -> str:
    text = describe_use(key.kind, key.claim_kind, key.holder_name, offering, key.rate)
    return text if correction is None else f"Correction of {correction:%Y-%m}: {text}"


def describe_use(kind: str, claim_kind: str, holder: str, offering: Offering, rate: str) -> str:
    what = f"{claim_kind} claim" if kind == UsageKind.CLAIM else "Deployment"
    return f"{what} {holder}: {offering} {'on demand' if rate == ON_DEMAND else 'at the reserved rate'}"


def _order(draft: Draft) -> tuple[object, ...]:
    key = draft.key
    return (draft.correction_of is not None, key.month, key.kind, key.holder_name, str(key.holder_id), key.offering,
            key.rate, key.usd_per_gpu_hour)  # fmt: skip


def total(found: Iterable[Draft]) -> Decimal:
    """Sum of the rounded lines: what the statement says below them."""
    return sum((one.amount for one in found), Decimal("0.00"))
