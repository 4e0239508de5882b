"""What a deployment costs: an hour at min, now and at max, and 1,000 requests of the last hour.

On demand a replica costs its GPUs at the on-demand price (B3). On claimed capacity it costs nothing more (B1): what is
shown there is its share of the claim, at the rate that the claim pays. Assumptions, which pages state: the dearest of the
allowed zones; CUSTOMER claims pay the reserved rate; as many replicas use claims as claims have room for, whatever else
might take it.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import F, Prefetch, Q, Sum
from django.db.models.functions import Coalesce

from claims import metering
from claims.core.rating import PriceMissing, Prices
from claims.core.states import InstanceState
from claims.metering import Terms
from claims.models import ClaimKind, Instance, InstanceType, Offering, PriceKind, Source, UsageKind
from deployments.core.states import HOLDING
from deployments.loop.passes import passes_sparse
from deployments.models import CapacityClass, Deployment, Replica, ReplicaPlacement
from deployments.zones import all_zones, common_zones

HOUR = timedelta(hours=1)
RESERVED = "CAPACITY_CLASS_RESERVED"


@dataclass(frozen=True, slots=True)
class Rates:
    """USD for a GPU-hour."""

    on_demand: Decimal
    reserved: Decimal | None  # no price set

    def of(self, kind: str) -> Decimal | None:
        """What a claim of this kind pays (B1, B2)."""
        return self.reserved if kind == ClaimKind.CUSTOMER else self.on_demand


@dataclass(frozen=True, slots=True)
class Size:
    """So many replicas, and what they cost an hour in USD: all on demand, or on claims as far as these have room."""

    replicas: int
    on_demand: Decimal
    covered: int  # replicas that claims have room for
    beyond: Decimal  # on demand, of the others
    share: Decimal | None  # of the claims, of the covered ones; None: no price set

    @property
    def with_claims(self) -> Decimal | None:
        return None if self.share is None else self.beyond + self.share


@dataclass(frozen=True, slots=True)
class LastHour:
    """What the last hour cost, in USD, and the requests that it served; None where the runtime does not count them.
    `share` is None where the rate of a claim is not known."""

    on_demand: Decimal
    share: Decimal | None
    finished: int | None

    @property
    def usd(self) -> Decimal | None:
        return None if self.share is None else self.on_demand + self.share

    @property
    def per_thousand(self) -> Decimal | None:
        return self.usd * 1000 / self.finished if self.finished and self.usd is not None else None


@dataclass(frozen=True, slots=True)
class Costs:
    rates: Rates
    at_min: Size
    now: Size
    at_max: Size
    last_hour: LastHour | None  # None where a part of it has no price

    @property
    def rows(self) -> list[tuple[str, Size]]:
        return [("At min", self.at_min), ("Now", self.now), ("At max", self.at_max)]


def costs_of(deployment: Deployment, replicas: Sequence[Replica], now: datetime) -> Costs | None:
    """None where the type has no price. `replicas` are those that hold GPUs."""
    zones, terms = zones_of(deployment), metering.terms_of(deployment.organization)
    rates = _rates(deployment.instance_type, zones, terms, now)
    if rates is None:
        return None
    customer, serverless = _covered(deployment, zones)
    policy, gpus = deployment.autoscaling, deployment.gpu_count

    def size(count: int) -> Size:
        reserved = min(count, customer)
        covered = min(count, customer + serverless)
        share = total([(gpus * reserved, rates.reserved), (gpus * (covered - reserved), rates.on_demand)])
        return Size(count, count * gpus * rates.on_demand, covered, (count - covered) * gpus * rates.on_demand, share)

    last = _last_hour(deployment, rates, zones, terms, now)
    return Costs(rates, size(policy.min), _now(replicas, rates), size(policy.max), last)


def replica_price(deployment: Deployment, now: datetime) -> Decimal | None:
    """USD an hour of one replica, all on demand; None where the type has no price."""
    terms = metering.terms_of(deployment.organization)
    rates = _rates(deployment.instance_type, zones_of(deployment), terms, now)
    return rates.on_demand * deployment.gpu_count if rates else None


def total(parts: Iterable[tuple[Decimal | int, Decimal | None]]) -> Decimal | None:
    """Amounts at their rates; None where one that counts has no rate."""
    counted = [(amount, rate) for amount, rate in parts if amount]
    if any(rate is None for _, rate in counted):
        return None
    return sum((amount * rate for amount, rate in counted if rate is not None), Decimal(0))


def zones_of(deployment: Deployment) -> set[str]:
    """Names of the zones that its gateways have in common (R16)."""
    return common_zones([one.sent_zones for one in deployment.gateways.all()], all_zones())


def rates_on(deployment: Deployment, instance_type: InstanceType, now: datetime) -> Rates | None:
    """What a GPU-hour on machines of that type costs the deployment's organization; None where no price is set."""
    return _rates(instance_type, zones_of(deployment), metering.terms_of(deployment.organization), now)


def _rates(instance_type: InstanceType, zones: set[str], terms: Terms, now: datetime) -> Rates | None:
    """Of the dearest allowed zone."""
    offerings = Offering.objects.filter(instance_type=instance_type, zone__name__in=zones)
    keys = list(offerings.values_list("key", flat=True))
    known = _prices(terms, keys, PriceKind.ON_DEMAND, now)
    return Rates(max(known), max(_prices(terms, keys, PriceKind.RESERVED, now), default=None)) if known else None


def _prices(terms: Terms, offerings: Sequence[int], rate: str, now: datetime) -> list[Decimal]:
    """Of those that have one."""
    table, found = Prices(terms.prices), []
    for key in offerings:
        with suppress(PriceMissing):
            found.append(table.at(key, rate, now))
    return found


def _covered(deployment: Deployment, zones: set[str]) -> tuple[int, int]:
    """Replicas that CUSTOMER and SERVERLESS claims have room for: GPUs that are free or this deployment's own."""
    classes = deployment.autoscaling.capacity_classes
    if classes and RESERVED not in classes:
        return 0, 0
    mine = Q(placements__replica__deployment=deployment)
    rows = (
        Instance.objects.filter(
            claim__organization=deployment.organization, offering__instance_type=deployment.instance_type,
            offering__zone__name__in=zones, state=InstanceState.READY, lost_at__isnull=True,
        )
        .annotate(room=F("gpus") - F("gpus_used") + Coalesce(Sum("placements__gpus", filter=mine), 0))
        .values_list("claim__kind", "gpus", "room", "offering_id")
    )  # fmt: skip
    found = {kind: _fit([row[1:] for row in rows if row[0] == kind], deployment.gpu_count) for kind in ClaimKind.values}
    return found[ClaimKind.CUSTOMER], found[ClaimKind.SERVERLESS]


def _fit(machines: Sequence[tuple[int, int, int]], gpu_count: int) -> int:
    """Replicas on machines (GPUs, room, offering): shared ones, or several whole ones of a zone (R16)."""
    shared = sum(room // gpu_count for _, room, _ in machines)
    whole: dict[tuple[int, int], int] = {}
    for gpus, room, offering in machines:
        if gpu_count > gpus and gpu_count % gpus == 0 and room == gpus:
            whole[offering, gpus] = whole.get((offering, gpus), 0) + 1
    return shared + sum(count // (gpu_count // gpus) for (_, gpus), count in whole.items())


def _now(replicas: Sequence[Replica], rates: Rates) -> Size:
    """What runs, where it runs. Draining replicas hold their GPUs and count."""
    pool = sum(one.gpus for one in replicas if one.capacity_class == CapacityClass.ON_DEMAND)
    claimed = [one for one in replicas if one.capacity_class == CapacityClass.RESERVED]
    share = total((one.gpus, _rate_on(one, rates)) for one in claimed)
    gpus = sum(one.gpus for one in replicas)
    return Size(len(replicas), gpus * rates.on_demand, len(claimed), pool * rates.on_demand, share)


def _rate_on(replica: Replica, rates: Rates) -> Decimal | None:
    """The rate of the claim that the replica is on."""
    kinds = {one.instance.source for one in replica.placements.all()}
    return rates.of(ClaimKind.CUSTOMER if kinds == {Source.CUSTOMER} else ClaimKind.SERVERLESS)


def _last_hour(deployment: Deployment, rates: Rates, zones: set[str], terms: Terms, now: datetime) -> LastHour | None:
    since, organization = now - HOUR, deployment.organization
    rows = list(metering.intervals_in(organization, since, now).filter(holder_id=deployment.id))
    try:
        on_demand = sum((one.usd for one in metering.rate_rows(organization, rows, since, now, terms)), Decimal(0))
    except PriceMissing:
        return None
    share = _share_since(deployment, rates, zones, since, now)
    return LastHour(on_demand, share, finished_since(deployment, since, now))


def _share_since(
    deployment: Deployment, rates: Rates, zones: set[str], since: datetime, now: datetime
) -> Decimal | None:
    """GPU-hours on claims at the rate of claims; None where one is not known."""
    there = Q(stopped_at__isnull=True) | Q(stopped_at__gt=since)
    found = Replica.objects.filter(there, deployment=deployment, capacity_class=CapacityClass.RESERVED)
    rows = list(found.prefetch_related(Prefetch("placements", ReplicaPlacement.objects.select_related("instance"))))
    ended = any(one.state not in HOLDING for one in rows)
    past = _rate_then(deployment, rates, zones, since, now) if ended else None
    parts: list[tuple[Decimal | int, Decimal | None]] = []
    for one in rows:
        until = one.stopped_at if one.state not in HOLDING and one.stopped_at else now
        hours = max(timedelta(0), min(until, now) - max(one.created_at, since)) / HOUR
        rate = _rate_on(one, rates) if one.state in HOLDING else past
        parts.append((one.gpus * Decimal(str(round(hours, 6))), rate))
    return total(parts)


def _rate_then(deployment: Deployment, rates: Rates, zones: set[str], since: datetime, now: datetime) -> Decimal | None:
    """The rate of replicas that ended, whose instance nobody keeps: that of the claims which the ledger has for the
    organization and type since then, where all are of one kind. None: not known."""
    tenures = metering.intervals_in(deployment.organization, since, now).filter(
        kind=UsageKind.CLAIM, offering__instance_type=deployment.instance_type,
        offering__zone__name__in=zones,
    )  # fmt: skip
    kinds = set(tenures.order_by().values_list("claim_kind", flat=True).distinct())
    return rates.of(kinds.pop()) if len(kinds) == 1 else None


def finished_since(deployment: Deployment, since: datetime, now: datetime) -> int | None:
    """Requests that ended in this time, from the runtime's counters; one that fell began anew."""
    total, before, known = 0, None, False
    shard = deployment.instance_type_id
    for _, block in passes_sparse([shard], since, now, step_s=300)[shard]:
        place = int(block.key.searchsorted(deployment.key))
        there = place < len(block.key) and block.key[place] == deployment.key
        counter = int(block.finished[place]) if there else -1
        if counter < 0:
            continue
        if before is not None:
            total += counter - before if counter >= before else counter
            known = True
        before = counter
    return total if known else None
