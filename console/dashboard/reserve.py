"""What each step of reserving capacity offers: zone, type, kind, count; only what is possible, and why the rest is not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from claims import pricing
from claims.core.quote import HOURS_A_MONTH, Rates, hourly
from claims.core.rules import MAX_COUNT
from claims.core.waits import Spread
from claims.joining import join_time
from claims.models import ClaimKind, Offering
from claims.selectors import PoolRow, QuotaRow, convertible_keys, offerings_claimable, pools, quotas_of
from claims.supply import Supply, supply_for_new
from console.common.words import counted
from console.organizations.models import Organization


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of claim in an offering; `why_not` is empty where it is possible."""

    value: str
    why_not: str


@dataclass(frozen=True, slots=True)
class Offer:
    """An offering as one may claim it."""

    offering: Offering
    pool: PoolRow
    quota: QuotaRow

    @property
    def kinds(self) -> list[Kind]:
        pool = self.pool.instances + self.pool.joining + self.offering.pool_size
        no_pool = "" if pool else "This zone has no managed pool of the type."
        if not self.quota.limit:
            no_quota = "You have no quota here; ask the platform's staff for it."
        else:
            no_quota = "" if self.quota.free else f"Your quota of {counted(self.quota.limit, 'instance')} is used up."
        return [Kind(ClaimKind.SERVERLESS.value, no_pool), Kind(ClaimKind.CUSTOMER.value, no_quota)]

    @property
    def possible(self) -> bool:
        return any(not kind.why_not for kind in self.kinds)

    @property
    def ahead(self) -> int:
        """Instances of the pool that are free for a new claim: those that wait already come first (C4)."""
        return max(0, self.pool.free - self.pool.pending_claims)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the choice comes to. Prices are those that it adds, None where one is missing or may not be seen. Of the
    instances, `free` come from the pool at once, `converted` are those that its own on-demand replicas fill (C4)."""

    free: int
    converted: int
    joining: Spread | None
    supply: Supply | None  # of what the pool does not have yet
    over_quota: bool
    rates: Rates | None
    per_hour: Decimal | None

    @property
    def at_once(self) -> int:
        return self.free + self.converted

    @property
    def per_month(self) -> Decimal | None:
        return None if self.per_hour is None else self.per_hour * HOURS_A_MONTH


@dataclass(frozen=True, slots=True)
class Steps:
    """The form as far as it has been filled in; what is not possible is not chosen."""

    zones: Sequence[str]
    zone: str | None
    offers: Sequence[Offer]
    offer: Offer | None
    kind: str
    count: int
    name: str


def steps(organization: Organization, asked: Mapping[str, str]) -> Steps:
    """Three queries, whatever is offered."""
    offerings = offerings_claimable()
    zones = sorted({one.zone.name for one in offerings})
    zone = asked.get("zone") if asked.get("zone") in zones else None
    pool, quota = {row.offering.key: row for row in pools()}, {row.offering.key: row for row in quotas_of(organization)}
    offers = [Offer(one, pool[one.key], quota.get(one.key) or QuotaRow(one, 0, 0, 0, 0))
              for one in offerings if one.zone.name == zone]  # fmt: skip
    offer = next((one for one in offers if one.offering.instance_type.name == asked.get("type")), None)
    kind = _kind(offer, asked.get("kind", ""))
    return Steps(zones, zone, offers, offer, kind, _count(asked.get("count", "")), asked.get("name", ""))


def _kind(offer: Offer | None, wanted: str) -> str:
    """The kind that was asked for, else the first that is possible."""
    if wanted in ClaimKind.values:
        return wanted
    possible = [one.value for one in offer.kinds if not one.why_not] if offer else []
    return possible[0] if possible else ClaimKind.SERVERLESS.value


def _count(text: str) -> int:
    """What was typed, as far as it is a number of instances; 1 where it is not."""
    return min(int(text), MAX_COUNT) if text.isascii() and text.isdigit() and len(text) < 12 else 1


def meaning(organization: Organization, chosen: Steps, now: datetime, *, money: bool) -> Meaning | None:
    """What the choice comes to; None before there is one."""
    if chosen.offer is None:
        return None
    offer, customer = chosen.offer, chosen.kind == ClaimKind.CUSTOMER
    free = 0 if customer else min(chosen.count, offer.ahead)
    converted = 0 if customer else _converted(organization, offer.offering, chosen.count - free)
    rates = pricing.rates_of(organization, offer.offering, chosen.kind, now) if money else None
    return Meaning(
        free=free,
        converted=converted,
        joining=join_time(offer.offering) if customer else None,
        supply=None if customer else _supply(offer.offering, chosen.count - free - converted, now),
        over_quota=customer and chosen.count > offer.quota.free,
        rates=rates,
        per_hour=_added(organization, offer.offering, chosen, rates) if rates else None,
    )


def _added(organization: Organization, offering: Offering, chosen: Steps, rates: Rates) -> Decimal:
    """USD an hour that the bill grows by: a customer claim finds the reserved quantity as others left it (B2)."""
    others = 0
    if chosen.kind == ClaimKind.CUSTOMER:
        others = pricing.others_asked(organization, offering, None)
    gpus = offering.instance_type.gpus
    return hourly(others + chosen.count, gpus, rates) - hourly(others, gpus, rates)


def _converted(organization: Organization, offering: Offering, missing: int) -> int:
    return len(convertible_keys(organization.pk, offering.key, missing)) if missing else 0


def _supply(offering: Offering, missing: int, now: datetime) -> Supply | None:
    return supply_for_new(offering, missing, now) if missing > 0 else None
