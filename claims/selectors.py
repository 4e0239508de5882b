"""Reads of the capacity half, for pages and APIs. The number of queries never depends on the number of rows."""

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db.models import Count, F, IntegerField, Min, Q, QuerySet, Sum
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce, Greatest

from claims.core import allocation
from claims.core import quota as rule
from claims.core.reductions import takes_effect
from claims.core.states import HELD_STATES, LIVE_STATES, PENDING_STATES, WANTED_STATES, InstanceState, Status
from claims.holdings import AWAY, holding_of
from claims.models import (
    CapacityClaim,
    ClaimKind,
    Instance,
    InstanceType,
    Offering,
    Price,
    PriceKind,
    Quota,
    Source,
    UsageInterval,
    UsageKind,
    Work,
    Zone,
)
from console.common.errors import NotFound
from console.common.rows import columns, row_read
from console.common.together import Statement
from console.organizations.models import Organization

COUNTING = Q(instances__state__in=WANTED_STATES, instances__lost_at__isnull=True) & ~Q(instances__work__in=AWAY)
IN_CLUSTER = COUNTING & Q(instances__state=InstanceState.READY)
# What it holds in the cluster, with what leaves it: where its replicas may run.
HERE = Q(instances__state__in=HELD_STATES, instances__lost_at__isnull=True)
# The same of the claim at hand, and all that is live. As text: the ORM takes longer to put it together than PostgreSQL to
# answer, and every read of a claim asks it.
_COUNTS = RawSQL(
    """(SELECT ARRAY[count(*) FILTER (WHERE counts AND state = %s), count(*) FILTER (WHERE counts),
                     count(*) FILTER (WHERE state = ANY(%s))]
        FROM (SELECT state, state = ANY(%s) AND lost_at IS NULL AND work <> ALL(%s) AS counts
              FROM claims_instance WHERE claim_id = claims_capacityclaim.key) i)""",
    (InstanceState.READY, sorted(LIVE_STATES), sorted(WANTED_STATES), sorted(AWAY)),
    ArrayField(IntegerField()),
)
# What quota stays committed to until its release is confirmed (C3); a lost machine is gone already (C6), and one that
# the platform found bad is its own to take away.
UNRELEASED = Q(instances__state__in=LIVE_STATES, instances__lost_at__isnull=True) & ~Q(instances__work=Work.BAD)

# `CapacityClaim.wanted` and `.promised` in the database (C12).
WANTED, PROMISED = Greatest("target", "window_count"), Greatest("target", "window_peak")

# Written out, since every creation of a claim asks it.
_CLAIMABLE = """
    SELECT {columns} FROM claims_offering o JOIN claims_zone z ON z.key = o.zone_id
      JOIN claims_instancetype t ON t.key = o.instance_type_id
    WHERE z.name = %s AND t.name = %s AND o.claimable AND o.withdrawn_at IS NULL"""

# What counts against the size of a pool: a lost or bad machine is replaced.
POOL_LIVE = Q(
    instances__source=Source.POOL, instances__state__in=HELD_STATES | PENDING_STATES, instances__lost_at__isnull=True
) & ~Q(instances__work=Work.BAD)


def claims_of(organization: Organization) -> QuerySet[CapacityClaim]:
    """The organization's claims, each with `allocated`, `counting`, `held`, `here` (in the cluster, what leaves it
    included), the GPUs in use there as `gpus_used`, and `next_expected_at`."""
    return (
        CapacityClaim.objects.filter(organization=organization)
        .select_related("offering__zone", "offering__instance_type", "organization")
        .annotate(
            allocated=Count("instances", filter=IN_CLUSTER),
            held=Count("instances", filter=Q(instances__state__in=LIVE_STATES)),
            counting=Count("instances", filter=COUNTING),
            here=Count("instances", filter=HERE),
            gpus_used=Coalesce(Sum("instances__gpus_used", filter=HERE), 0),
            next_expected_at=Min("instances__expected_at", filter=Q(instances__state=InstanceState.JOINING)),
        )
    )


def claims_shown(
    organization: Organization, *, id: uuid.UUID | None = None, after: datetime | None = None
) -> list[CapacityClaim]:
    """The organization's claims (of this id; updated after then) for the vendor's API: of what `claims_of` has only
    `allocated`, `counting` and `held`. Lists there have no pages, and clients ask for one again and again."""
    found = CapacityClaim.objects.filter(organization=organization).annotate(counts=_COUNTS)
    if id is not None:
        found = found.filter(id=id).order_by()
    if after is not None:
        found = found.filter(updated_at__gt=after)
    claims: list[CapacityClaim] = list(found)
    for claim in claims:
        claim.organization = organization
        claim.allocated, claim.counting, claim.held = claim.counts  # type: ignore[attr-defined]
    return claims


def claim_shown(organization: Organization, id: uuid.UUID) -> CapacityClaim:
    """One of `claims_shown`; NotFound also for another organization's."""
    claims = claims_shown(organization, id=id)
    if not claims:
        raise NotFound("CapacityClaim", id)
    return claims[0]


def counted(claim: CapacityClaim, instances: Collection[Instance]) -> CapacityClaim:
    """The claim with the counts of `claims_of`, taken from all its instances as they were read."""
    counting = [one for one in instances if one.lost_at is None and one.work not in AWAY and one.state in WANTED_STATES]
    here = [one for one in instances if one.lost_at is None and one.state in HELD_STATES]
    due = [one.expected_at for one in instances if one.state == InstanceState.JOINING and one.expected_at]
    claim.allocated = sum(one.state == InstanceState.READY for one in counting)  # type: ignore[attr-defined]
    claim.counting = len(counting)  # type: ignore[attr-defined]
    claim.held = sum(one.state in LIVE_STATES for one in instances)  # type: ignore[attr-defined]
    claim.here = len(here)  # type: ignore[attr-defined]
    claim.gpus_used = sum(one.gpus_used for one in here)  # type: ignore[attr-defined]
    claim.next_expected_at = min(due, default=None)  # type: ignore[attr-defined]
    return claim


def claim_get(organization: Organization, id: uuid.UUID) -> CapacityClaim:
    """One claim with its counts; NotFound also for another organization's."""
    claim = claims_of(organization).filter(id=id).first()
    if claim is None:
        raise NotFound("CapacityClaim", id)
    return claim


def claim_numbers(claim: CapacityClaim) -> tuple[int, int]:
    """(allocated, pending) of a claim read by `claims_of`; together the effective count (C8)."""
    allocated: int = claim.allocated  # type: ignore[attr-defined]
    held: int = claim.held  # type: ignore[attr-defined]
    if claim.status == Status.DELETING:
        return held, 0
    return allocated, max(0, claim_effective(claim) - allocated)


def with_counting(claims: QuerySet[CapacityClaim]) -> QuerySet[CapacityClaim]:
    """The claims, each with `counting`: its instances that fill it or will."""
    return claims.annotate(counting=Count("instances", filter=COUNTING))


def claim_effective(claim: CapacityClaim) -> int:
    """Instances that a claim read by `claims_of` or `with_counting` is to have now (C8, C12), reductions that wait
    included."""
    counting: int = claim.counting  # type: ignore[attr-defined]
    return allocation.effective_count(
        target=claim.wanted, held=counting, reduction_waits=claim.reduction_at is not None
    )


@dataclass(frozen=True, slots=True)
class PendingChange:
    """So many instances from then on."""

    instance_count: int
    effective_at: datetime


def pending_changes(claim: CapacityClaim) -> list[PendingChange]:
    """What is decided and waits for its time (C7); empty where nothing does."""
    return [] if claim.reduction_at is None else [PendingChange(claim.wanted, claim.reduction_at)]


def reduction_time(claim: CapacityClaim, target: int, now: datetime, window: int | None = None) -> datetime | None:
    """When a change to `target` would take instances away (C7); None: at once, or it takes none away. `window`: and to so
    many of an open window, None: as its windows are (C12)."""
    if claim.kind != ClaimKind.SERVERLESS or target < 1:
        return None
    at = takes_effect(
        held=len(holding_of(claim).counting), target=max(target, claim.window_count if window is None else window),
        scheduled=claim.reduction_at, last=claim.reduced_at, interval=settings.REDUCTION_INTERVAL, now=now,
    )  # fmt: skip
    return None if at is None or at <= now else at


def instances_of(claim: CapacityClaim) -> QuerySet[Instance]:
    return claim.instances.select_related("offering__zone", "offering__instance_type").order_by("key")


@dataclass(frozen=True, slots=True)
class QuotaRow:
    offering: Offering
    limit: int
    reserved: int
    other_usage: int
    committed: int

    @property
    def zone(self) -> str:
        return self.offering.zone.name

    @property
    def instance_type(self) -> str:
        return self.offering.instance_type.name

    @property
    def free(self) -> int:
        return rule.free(limit=self.limit, other_usage=self.other_usage, committed=self.committed)

    @property
    def used(self) -> int:
        return self.committed + self.other_usage

    @property
    def over(self) -> int:
        """Instances beyond the limit, where it was lowered below what is in use (C13)."""
        return max(0, self.used - self.limit)

    @property
    def used_share(self) -> float:
        return self.used / self.limit if self.limit else 0.0


def quotas_of(organization: Organization) -> list[QuotaRow]:
    """Every quota of the organization with what is committed of it."""
    committed = committed_by_offering(organization)
    rows = Quota.objects.filter(organization=organization).select_related("offering__zone", "offering__instance_type")
    return [
        QuotaRow(row.offering, row.limit, row.reserved, row.other_usage, committed.get(row.offering_id, 0))
        for row in rows.order_by("offering__zone__name", "offering__instance_type__name")
    ]


def committed_by_offering(organization: Organization) -> dict[int, int]:
    """Instances committed by CUSTOMER claims, by offering key (C3)."""
    found = committed(CapacityClaim.objects.filter(organization=organization))
    return {offering: instances for (_, offering), instances in found.items()}


def committed(claims: QuerySet[CapacityClaim]) -> dict[tuple[int, int], int]:
    """Instances that the CUSTOMER claims among these commit, by keys of organization and offering (C3): one query."""
    counted = claims.filter(kind=ClaimKind.CUSTOMER).annotate(n=Count("instances", filter=UNRELEASED), most=PROMISED)
    found: dict[tuple[int, int], list[rule.Commitment]] = {}
    for *place, promised, unreleased in counted.values_list("organization_id", "offering_id", "most", "n"):
        found.setdefault((place[0], place[1]), []).append(rule.Commitment(promised, unreleased))
    return {place: rule.committed(rows) for place, rows in found.items()}


def quota_of(organization: Organization, offering: Offering) -> QuotaRow:
    """The organization's quota of one offering; limit 0 where there is no row (C3)."""
    found = next((row for row in quotas_of(organization) if row.offering.key == offering.key), None)
    return found or QuotaRow(offering, 0, 0, 0, committed_by_offering(organization).get(offering.key, 0))


@dataclass(frozen=True, slots=True)
class PoolRow:
    """The managed pool of one offering, in instances; `gpus_free` in GPUs that no replica uses, claims left out, and
    what drains, is lost or worked on, which is in `instances` all the same."""

    offering: Offering
    instances: int
    free: int
    claimed: int
    on_demand: int
    joining: int
    pending_claims: int
    gpus_free: int

    @property
    def zone(self) -> str:
        return self.offering.zone.name

    @property
    def instance_type(self) -> str:
        return self.offering.instance_type.name

    @property
    def gpus_per_instance(self) -> int:
        return self.offering.instance_type.gpus


def pools() -> list[PoolRow]:
    """Every offering's pool, in order of zone and type: three queries."""
    here = Q(instances__source=Source.POOL, instances__state__in=HELD_STATES)
    unclaimed = here & Q(instances__claim__isnull=True)
    whole = unclaimed & Q(instances__state=InstanceState.READY, instances__work="")
    rows = Offering.objects.select_related("zone", "instance_type").annotate(
        n=Count("instances", filter=here),
        n_free=Count("instances", filter=whole & Q(instances__gpus_used=0)),
        n_claimed=Count("instances", filter=here & Q(instances__claim__isnull=False)),
        n_on_demand=Count("instances", filter=unclaimed & Q(instances__gpus_used__gt=0)),
        n_joining=Count("instances", filter=Q(instances__source=Source.POOL)
                        & Q(instances__state__in=[InstanceState.REQUESTED, InstanceState.JOINING])),
        n_gpus_free=Coalesce(Sum(F("instances__gpus") - F("instances__gpus_used"), filter=whole), 0),
    )  # fmt: skip
    waiting = pending_claims()
    return [
        PoolRow(row, row.n, row.n_free, row.n_claimed, row.n_on_demand, row.n_joining, waiting.get(row.key, 0),
                row.n_gpus_free)
        for row in rows.order_by("zone__name", "instance_type__name")
    ]  # fmt: skip


def unclaimed(offering_key: int) -> QuerySet[Instance]:
    """Instances of the managed pool that are in the cluster, in no claim, and whole."""
    return Instance.objects.filter(
        offering_id=offering_key, source=Source.POOL, state=InstanceState.READY, claim__isnull=True, work=""
    )


def convertible_keys(organization_id: int, offering_key: int, most: int) -> list[int]:
    """Pool instances that hold only the organization's on-demand replicas, in the order in which a claim of it converts
    them in place (C4); at most so many."""
    own = unclaimed(offering_key).filter(organization_id=organization_id, gpus_used__gt=0)
    mine = [allocation.InUse(*row) for row in own.order_by("key").values_list("key", "gpus_used")]
    if not mine:
        return []
    spans = UsageInterval.objects.filter(
        kind=UsageKind.REPLICA, ended_at__isnull=True, offering_id=offering_key, organization_id=organization_id
    ).values_list("resource_key", "instance_id")
    return allocation.to_convert(mine, spans.order_by("resource_key", "instance_id"), most)


def pending_claims() -> dict[int, int]:
    """Instances that SERVERLESS claims wait for, by offering key."""
    claims = CapacityClaim.objects.filter(kind=ClaimKind.SERVERLESS).exclude(status=Status.DELETING)
    counted = claims.annotate(n=Count("instances", filter=IN_CLUSTER), wants=WANTED)
    found: dict[int, int] = {}
    for offering, wanted, allocated in counted.values_list("offering_id", "wants", "n"):
        found[offering] = found.get(offering, 0) + max(0, wanted - allocated)
    return found


def offerings_spoken_for(keys: Collection[int]) -> set[int]:
    """Those of the offerings whose free pool instances go to a waiting claim (C4), or away since the pool is to be
    smaller (C13): nothing grows there on demand."""
    if not keys:
        return set()
    waiting = waiting_claims(*keys)
    pools = Offering.objects.filter(key__in=keys).annotate(n=Count("instances", filter=POOL_LIVE))
    too_large = {one.key for one in pools if one.n > one.pool_wanted}
    return too_large | set(waiting.values_list("offering_id", flat=True))


def waiting_claims(*offering_keys: int) -> QuerySet[CapacityClaim]:
    """SERVERLESS claims of these offerings that wait for instances of the pool."""
    claims = CapacityClaim.objects.filter(offering__in=offering_keys, kind=ClaimKind.SERVERLESS)
    return claims.exclude(status=Status.DELETING).annotate(n=Count("instances", filter=COUNTING)).filter(n__lt=WANTED)


def pool_live(offering_key: int) -> int:
    """Instances that the offering's pool has or is getting, as `pool_wanted` counts them (C13)."""
    live: int = Offering.objects.filter(key=offering_key).aggregate(n=Count("instances", filter=POOL_LIVE))["n"]
    return live


def offering_claimable(zone: str, instance_type: str) -> Statement:
    """What answers the offering of these catalogued names where it can be claimed, for `offering_read`."""
    return _CLAIMABLE.format(columns=columns(o=Offering, z=Zone, t=InstanceType)), [zone, instance_type]


def offering_read(rows: Sequence[Sequence[Any]]) -> Offering | None:
    """The offering with its zone and type, where there is one."""
    if not rows:
        return None
    found: Offering
    found, found.zone, found.instance_type = row_read(rows[0], Offering, Zone, InstanceType)
    return found


def offerings_claimable() -> list[Offering]:
    return list(
        Offering.objects.filter(claimable=True, withdrawn_at__isnull=True)
        .select_related("zone", "instance_type")
        .order_by("zone__name", "instance_type__name")
    )


def prices_at(now: datetime) -> dict[tuple[int, str], Decimal]:
    """USD for a GPU-hour by (offering key, kind): the zone's own price, else the type's general one."""
    prices = Price.objects.filter(valid__contains=now).values_list(
        "instance_type_id", "zone_id", "kind", "usd_per_gpu_hour"
    )
    by_key: dict[tuple[int, int | None, str], Decimal] = {
        (type_key, zone_key, kind): usd for type_key, zone_key, kind, usd in prices
    }
    found = {}
    for key, type_key, zone_key in Offering.objects.values_list("key", "instance_type_id", "zone_id"):
        for kind in PriceKind.values:
            usd = by_key.get((type_key, zone_key, kind), by_key.get((type_key, None, kind)))
            if usd is not None:
                found[key, kind] = usd
    return found


@dataclass(frozen=True, slots=True)
class ClaimPoint:
    at: datetime
    allocated: int


def allocation_history(claim_ids: Sequence[uuid.UUID], since: datetime, until: datetime) -> list[ClaimPoint]:
    """Instances allocated to these claims over time, exactly: one point for each change, and one at either end."""
    intervals = UsageInterval.objects.filter(
        Q(ended_at__isnull=True) | Q(ended_at__gt=since), kind=UsageKind.CLAIM, holder_id__in=list(claim_ids),
        started_at__lt=until,
    )  # fmt: skip
    return levels(intervals.values_list("started_at", "ended_at"), since, until)


def levels(held: Iterable[tuple[datetime, datetime | None]], since: datetime, until: datetime) -> list[ClaimPoint]:
    """How many of these intervals hold at a time: one point for each change inside, and one at either end."""
    steps: dict[datetime, int] = {since: 0, until: 0}
    for started_at, ended_at in held:
        begin = max(started_at, since)
        steps[begin] = steps.get(begin, 0) + 1
        if ended_at is not None and ended_at < until:
            steps[ended_at] = steps.get(ended_at, 0) - 1
    points, level = [], 0
    for at in sorted(steps):
        level += steps[at]
        points.append(ClaimPoint(at, level))
    return points
