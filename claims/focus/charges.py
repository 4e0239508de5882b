"""What an export is made of: rated slices added up by hour, holder and price, with the statement that bills them.

Only rated hours are exported: they never change, so an export of the same hours says the same tomorrow, but for late
corrections, which are charges of their own (B5, B6).
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from django.db.models import Case, DateField, Max, Q, QuerySet, Sum, Value, When
from django.db.models.functions import TruncHour

from claims import metering
from claims.bills import Month
from claims.core.rating import HOUR, ON_DEMAND, PriceMissing, Prices
from claims.labels import labels_of_all
from claims.models import (
    ClaimUse,
    MeterCursor,
    Offering,
    RatedSlice,
    Statement,
    StatementLine,
    StatementStatus,
    UsageKind,
)
from claims.statements.closing import month_after
from claims.statements.lines import billed_slices, describe_use, month_at
from console.organizations.models import Organization

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Key:
    """What tells a charge from others of the export."""

    hour: datetime
    kind: str
    holder_id: uuid.UUID
    holder_name: str
    claim_kind: str
    offering: int
    rate: str
    usd_per_gpu_hour: Decimal
    list_usd_per_gpu_hour: Decimal
    billed_in: date


@dataclass(frozen=True, slots=True)
class Charge:
    """GPU-seconds of a holder in an hour at one price, and their exact cost. `statement` is None until it is closed;
    `labels` are those that the holder has now, or had last."""

    key: Key
    offering: Offering
    statement: uuid.UUID | None
    gpu_seconds: int
    usd: Decimal
    unused: bool
    labels: Mapping[str, str]

    @property
    def billed_in(self) -> Month:
        return month_at(self.key.billed_in)

    @property
    def is_correction(self) -> bool:
        return self.key.hour < self.billed_in.start

    @property
    def description(self) -> str:
        one = self.key
        return describe_use(one.kind, one.claim_kind, one.holder_name, self.offering, one.rate)


class Export:
    """One organization's export, read from one state of the ledger: slices that come later are not in it."""

    def __init__(self, organization: Organization) -> None:
        self.organization = organization
        closed = Statement.objects.filter(organization=organization, status=StatementStatus.CLOSED)
        self.closed: dict[date, Statement] = {row.month: row for row in closed.order_by("month")}
        cursor = MeterCursor.objects.filter(organization=organization).first()
        self.rated_until = cursor.rated_until if cursor else None
        self.problem = cursor.problem if cursor else ""
        self._slices = RatedSlice.objects.filter(organization=organization)
        self._last = self._slices.aggregate(id=Max("id"))["id"] or 0
        self._offerings = {one.key: one for one in Offering.objects.select_related("zone", "instance_type")}
        self._prices = Prices(metering.price_points())
        self._labels = labels_of_all(organization)

    def between(self, start: datetime, end: datetime) -> Iterator[Charge]:
        """Charges of the hours in [start, end), whichever statement bills them, in order of time; a query a day."""
        end = min(end, self.rated_until) if self.rated_until else start
        while start < end:
            until = min(metering.day_of(start) + DAY, end)
            found = self._slices.filter(started_at__gte=start, started_at__lt=until)
            yield from self._charges(found, self._billed_in(metering.month_of(start).date()))
            start = until

    def billed(self, month: Month) -> Iterator[Charge]:
        """Charges that the month's statement bills, or is going to: its hours, and corrections of earlier months."""
        statement = self.closed.get(month.start.date())
        found = billed_slices(self.organization, month, statement.slices_until if statement else None)
        in_it = Value(month.start.date(), output_field=DateField())
        yield from self._charges(found.filter(started_at__lt=month.start), in_it)
        day = month.start
        while day < month.end:
            yield from self._charges(found.filter(started_at__gte=day, started_at__lt=day + DAY), in_it)
            day += DAY

    def _billed_in(self, month: date) -> Case | Value:
        """The month whose statement bills a slice of `month`: its own, unless it was rated after that was closed."""
        if month not in self.closed:
            return Value(month, output_field=DateField())
        open_month = month_after(max(self.closed)).start.date()
        later = StatementLine.objects.filter(correction_of=month, statement__organization=self.organization)
        months = {month, *later.order_by().values_list("statement__month", flat=True)}
        known = [When(id__lte=self.closed[one].slices_until, then=Value(one)) for one in sorted(months)]
        return Case(*known, default=Value(open_month), output_field=DateField())

    def _charges(self, slices: QuerySet[RatedSlice], billed_in: Case | Value) -> Iterator[Charge]:
        named = slices.filter(id__lte=self._last).order_by().annotate(
            hour=TruncHour("started_at", tzinfo=UTC), billed_in=billed_in
        )  # fmt: skip
        rows = named.values_list(
            "hour", "interval__kind", "interval__holder_id", "interval__holder_name", "interval__claim_kind",
            "interval__offering_id", "rate", "usd_per_gpu_hour", "started_at", "billed_in",
        ).annotate(s=Sum("gpu_seconds"), u=Sum("usd"))  # fmt: skip
        sums: dict[Key, tuple[int, Decimal]] = {}
        for hour, kind, holder, name, claim_kind, offering, rate, usd, started, month, seconds, cost in rows:
            shown = self._list_price(offering, started, usd)
            key = Key(hour, kind, holder, name, claim_kind, offering, rate, usd, shown, month)
            before = sums.get(key, (0, Decimal(0)))
            sums[key] = (before[0] + seconds, before[1] + cost)
        unused = unused_hours(list(sums))
        for key in sorted(sums, key=_order):
            statement = self.closed.get(key.billed_in)
            yield Charge(key, self._offerings[key.offering], statement.pk if statement else None, *sums[key],
                         (key.holder_id, key.hour) in unused,
                         self._labels.get((key.kind, key.holder_id), {}))  # fmt: skip

    def _list_price(self, offering: int, at: datetime, usd: Decimal) -> Decimal:
        """What anybody pays: the on-demand price; where there is none, what was paid."""
        try:
            return self._prices.at(offering, ON_DEMAND, at)
        except PriceMissing:
            return usd


def unused_hours(keys: Sequence[Key]) -> set[tuple[uuid.UUID, datetime]]:
    """(claim, hour) of those in which no replica was seen on any of the claim's instances."""
    claims = {key.holder_id for key in keys if key.kind == UsageKind.CLAIM}
    if not claims:
        return set()
    hours = [key.hour for key in keys]
    looked = Q(claim__id__in=claims, hour__gte=min(hours), hour__lt=max(hours) + HOUR, gpus_used=0)
    return set(ClaimUse.objects.filter(looked).values_list("claim__id", "hour"))


def _order(key: Key) -> tuple[object, ...]:
    return (key.hour, key.kind, key.holder_name, str(key.holder_id), key.offering, key.rate, key.usd_per_gpu_hour,
            key.list_usd_per_gpu_hour, key.billed_in)  # fmt: skip


Line = tuple[str, uuid.UUID, str, int, str, Decimal, date | None]


def sums_by_line(charges: Iterator[Charge]) -> Mapping[Line, Decimal]:
    """Exact USD by what tells the lines of a statement apart: what B7 compares."""
    sums: dict[Line, Decimal] = {}
    for one in charges:
        key = one.key
        used_in = key.hour.date().replace(day=1)
        line: Line = (key.kind, key.holder_id, key.holder_name, key.offering, key.rate, key.usd_per_gpu_hour,
                used_in if one.is_correction else None)  # fmt: skip
        sums[line] = sums.get(line, Decimal(0)) + one.usd
    return sums
