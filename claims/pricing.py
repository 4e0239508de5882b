"""Reads about money that a page or a preview shows beside a claim: what it costs an hour, and until a time."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal

from claims import metering
from claims.core import quote, rating
from claims.core.quote import Rates
from claims.core.states import Status
from claims.ledger import whole_second
from claims.models import CapacityClaim, ClaimKind, Offering, PriceKind, UsageInterval, UsageKind
from claims.selectors import prices_at, quota_of
from console.organizations.models import Organization


def rates_of(organization: Organization, offering: Offering, kind: str, now: datetime) -> Rates | None:
    """What claims of this kind cost the organization; None where a price is missing."""
    prices = prices_at(now)
    on_demand = prices.get((offering.key, PriceKind.ON_DEMAND))
    reserved = prices.get((offering.key, PriceKind.RESERVED))
    if on_demand is None:
        return None
    if kind == ClaimKind.SERVERLESS:
        return Rates(on_demand, on_demand)
    quota = quota_of(organization, offering)
    within = quote.reserved_room(reserved=quota.reserved, other_usage=quota.other_usage)
    if reserved is None:
        return None if within else Rates(on_demand, on_demand)
    return Rates(on_demand, reserved, within)


def others_asked(organization: Organization, offering: Offering, claim: CapacityClaim | None) -> int:
    """Instances that the organization's other CUSTOMER claims of the offering want now: they share the reserved quantity."""
    claims = CapacityClaim.objects.filter(organization=organization, offering=offering, kind=ClaimKind.CUSTOMER)
    if claim is not None:
        claims = claims.exclude(key=claim.key)
    return sum(one.wanted for one in claims.exclude(status=Status.DELETING))


def spent_this_month(claim: CapacityClaim, now: datetime) -> Decimal | None:
    """USD that the claim has cost since the first of the month, UTC; None where a price is missing."""
    try:
        rows = metering.month_to_date(claim.organization, now)
    except rating.PriceMissing:
        return None
    return metering.total(row for row in rows if row.holder_id == claim.id)


def claim_hourly(claim: CapacityClaim, now: datetime) -> Decimal | None:
    """USD an hour that the claim is billed right now, used or not; None where a price is missing."""
    at = whole_second(now)
    intervals = _open_intervals(claim, at)
    try:
        slices = metering.rate_rows(claim.organization, list(intervals.values()), at, at + timedelta(seconds=1))
    except rating.PriceMissing:
        return None
    mine = (one for one in slices if intervals[one.interval].holder_id == claim.id)
    return sum((one.usd_per_gpu_hour * one.gpu_seconds for one in mine), Decimal(0))


def cost_until(claim: CapacityClaim, until: Mapping[int, datetime], now: datetime) -> Decimal | None:
    """USD that instances of the claim (keys) cost from now to their times; None where a price is missing.

    An instance that is not billed costs nothing.
    """
    at = whole_second(now)
    intervals = _open_intervals(claim, at)
    total = Decimal(0)
    try:
        for end in sorted({whole_second(one) for one in until.values()}):
            chosen = {key for key, one in until.items() if whole_second(one) == end}
            total += _cost_of(claim, intervals, chosen, at, end)
    except rating.PriceMissing:
        return None
    return total


def _cost_of(
    claim: CapacityClaim,
    intervals: Mapping[int, UsageInterval],
    instances: Iterable[int],
    start: datetime,
    end: datetime,
) -> Decimal:
    if end <= start:
        return Decimal(0)
    slices = metering.rate_rows(claim.organization, list(intervals.values()), start, end)
    chosen = set(instances)
    return sum((one.usd for one in slices if intervals[one.interval].instance_id in chosen), Decimal(0))


def _open_intervals(claim: CapacityClaim, at: datetime) -> dict[int, UsageInterval]:
    """What the organization's claims hold of the offering: the reserved quantity goes by all of them (B2)."""
    found = UsageInterval.objects.filter(
        organization=claim.organization, offering=claim.offering, kind=UsageKind.CLAIM, ended_at__isnull=True,
        started_at__lte=at,
    )  # fmt: skip
    return {row.id: row for row in found}
