"""What a bill is made of: months, amounts beside what they are for, and the intervals of the ledger behind a number.

Amounts come from `metering`; here they are put together for pages. All are exact until a page rounds them.
"""

import uuid
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeVar

from django.db.models import F, Min, Q, QuerySet, Sum

from claims import metering
from claims.core import rating
from claims.labels import Holder
from claims.ledger import whole_second
from claims.metering import UsageRow
from claims.models import ClaimKind, MeterCursor, Offering, RatedSlice, UsageInterval, UsageKind
from console.organizations.models import Organization

MOST_MONTHS, HOUR_S = 240, 3600
Key = TypeVar("Key", bound=Hashable)

# All of a kind in one line, where the lines are those of the other.
REST_OF = {UsageKind.REPLICA: "on demand, no claim", UsageKind.CLAIM: "claims, whoever runs on them"}


@dataclass(frozen=True, slots=True)
class Month:
    """[start, end) in UTC; `end` of the present month lies ahead."""

    start: datetime

    @property
    def end(self) -> datetime:
        return metering.month_of(self.start + timedelta(days=32))

    @property
    def name(self) -> str:
        return f"{self.start:%Y-%m}"


def months(organization: Organization, now: datetime) -> list[Month]:
    """The months in which something was used, or could have been since; the present one first."""
    first = UsageInterval.objects.filter(organization=organization).aggregate(at=Min("started_at"))["at"]
    found = [Month(metering.month_of(now))]
    while first is not None and found[-1].start > first and len(found) < MOST_MONTHS:
        found.append(Month(metering.month_of(found[-1].start - timedelta(days=1))))
    return found


@dataclass(frozen=True, slots=True)
class Amount:
    """GPU-seconds and USD, apart by rate."""

    reserved_seconds: int = 0
    on_demand_seconds: int = 0
    reserved: Decimal = Decimal(0)
    on_demand: Decimal = Decimal(0)

    @property
    def gpu_seconds(self) -> int:
        return self.reserved_seconds + self.on_demand_seconds

    @property
    def total(self) -> Decimal:
        return self.reserved + self.on_demand

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(
            self.reserved_seconds + other.reserved_seconds, self.on_demand_seconds + other.on_demand_seconds,
            self.reserved + other.reserved, self.on_demand + other.on_demand,
        )  # fmt: skip

    def plus(self, rate: str, gpu_seconds: int, usd: Decimal) -> "Amount":
        if rate == rating.RESERVED:
            return Amount(self.reserved_seconds + gpu_seconds, self.on_demand_seconds, self.reserved + usd,
                          self.on_demand)  # fmt: skip
        return Amount(self.reserved_seconds, self.on_demand_seconds + gpu_seconds, self.reserved, self.on_demand + usd)


def amount(rows: Iterable[UsageRow]) -> Amount:
    return amounts(rows, lambda row: None).get(None, Amount())


def amounts(rows: Iterable[UsageRow], key: Callable[[UsageRow], Key]) -> dict[Key, Amount]:
    found: dict[Key, Amount] = {}
    for row in rows:
        found[key(row)] = found.get(key(row), Amount()).plus(row.rate, row.gpu_seconds, row.usd)
    return found


def claim_amounts(organization: Organization, id: uuid.UUID, now: datetime) -> list[tuple[Month, Amount]]:
    """What a claim, there or gone, has cost in each month, the latest first. Raises PriceMissing."""
    first = UsageInterval.objects.filter(organization=organization, kind=UsageKind.CLAIM, holder_id=id).aggregate(
        at=Min("started_at")
    )["at"]
    rows = metering.usage(organization, first, now, now) if first else []
    mine = [row for row in rows if (row.kind, row.holder_id) == (UsageKind.CLAIM, id)]
    return sorted(
        amounts(mine, lambda row: Month(metering.month_of(row.day))).items(), key=lambda one: one[0].start, reverse=True
    )


@dataclass(frozen=True, slots=True)
class UnusedReserved:
    """Reserved quantity of an offering that nothing used, up to now: shown, never charged (B2). No price: no USD."""

    offering: Offering
    instance_seconds: int
    usd: Decimal | None


def unused_reserved(organization: Organization, start: datetime, end: datetime, now: datetime) -> list[UnusedReserved]:
    """By zone and type; four queries."""
    until = min(whole_second(end), whole_second(now))
    rows = metering.intervals_in(organization, start, until).filter(claim_kind=ClaimKind.CUSTOMER)
    intervals = [
        rating.Interval(row.id, row.offering_id, row.gpus, row.claim_kind, row.started_at, row.ended_at) for row in rows
    ]
    offerings = {one.key: one for one in Offering.objects.select_related("zone", "instance_type")}
    found = rating.unused_reserved(
        intervals, metering.quota_points(organization), metering.price_points(),
        {key: one.instance_type.gpus for key, one in offerings.items()}, start, until,
    )  # fmt: skip
    rows_of = [UnusedReserved(offerings[one.offering], one.instance_seconds, one.usd) for one in found]
    return sorted(rows_of, key=lambda one: (one.offering.zone.name, one.offering.instance_type.name))


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which part of the usage: all of it where nothing is named. `held`: what is held now alone. `among` and `beside`:
    of these holders, and of others than these."""

    kind: UsageKind | None = None
    holder: uuid.UUID | None = None
    zone: str = ""
    instance_type: str = ""
    held: bool = False
    among: frozenset[Holder] | None = None
    beside: frozenset[Holder] = frozenset()


def narrowed(rows: Iterable[UsageRow], chosen: Chosen, offerings: Mapping[int, Offering]) -> list[UsageRow]:
    return [
        row
        for row in rows
        if (chosen.kind is None or row.kind == chosen.kind)
        and (chosen.holder is None or row.holder_id == chosen.holder)
        and (not chosen.zone or offerings[row.offering_key].zone.name == chosen.zone)
        and (not chosen.instance_type or offerings[row.offering_key].instance_type.name == chosen.instance_type)
        and (chosen.among is None or (row.kind, row.holder_id) in chosen.among)
        and (row.kind, row.holder_id) not in chosen.beside
    ]


def intervals(organization: Organization, chosen: Chosen, start: datetime, end: datetime) -> QuerySet[UsageInterval]:
    """The ledger's intervals that a number is the sum of, newest first."""
    found = metering.intervals_in(organization, start, end).exclude(ended_at=F("started_at"))
    if chosen.kind is not None:
        found = found.filter(kind=chosen.kind)
    if chosen.holder is not None:
        found = found.filter(holder_id=chosen.holder)
    if chosen.zone:
        found = found.filter(offering__zone__name=chosen.zone)
    if chosen.instance_type:
        found = found.filter(offering__instance_type__name=chosen.instance_type)
    if chosen.held:
        found = found.filter(ended_at__isnull=True)
    if chosen.among is not None:
        found = found.filter(_of(chosen.among))
    if chosen.beside:
        found = found.exclude(_of(chosen.beside))
    return found.select_related("offering__zone", "offering__instance_type", "instance").order_by("-started_at", "-id")


def _of(holders: Collection[Holder]) -> Q:
    found = Q(pk__in=[])
    for kind in UsageKind:
        found |= Q(kind=kind, holder_id__in=[id for of, id in holders if of == kind])
    return found


def interval_amounts(
    organization: Organization, ids: Collection[int], start: datetime, end: datetime, now: datetime
) -> dict[int, Amount]:
    """What each of these intervals costs in [start, end), whole hours: rated slices where there are, the rest live.

    Raises PriceMissing.
    """
    end = min(whole_second(end), whole_second(now))
    cursor = MeterCursor.objects.filter(organization=organization).first()
    rated_until = max(start, min(metering.hour_of(end), cursor.rated_until)) if cursor else start
    found: dict[int, Amount] = {}
    stored = RatedSlice.objects.filter(interval__in=ids, started_at__gte=start, started_at__lt=rated_until)
    sums = stored.values_list("interval_id", "rate").annotate(s=Sum("gpu_seconds"), u=Sum("usd")).order_by()
    pieces = [*sums]
    if rated_until < end:
        live = metering.rated(organization, rated_until, end)
        pieces += [(one.interval, one.rate, one.gpu_seconds, one.usd) for one in live if one.interval in ids]
    for id, rate, seconds, usd in pieces:
        found[id] = found.get(id, Amount()).plus(rate, seconds, usd)
    return found


def hour_amounts(organization: Organization, now: datetime) -> dict[int, Amount]:
    """What an hour costs of each interval that is held now, at the rate and price of this moment. Raises PriceMissing."""
    at = whole_second(now)
    return {
        one.interval: Amount().plus(one.rate, one.gpu_seconds * HOUR_S, one.usd_per_gpu_hour * one.gpu_seconds)
        for one in metering.rated(organization, at, at + metering.SECOND)
    }
