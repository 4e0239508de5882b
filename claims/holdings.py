"""A claim with its instances, as read under the lock of its offering: what it has, lacks and has too much of."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile

from claims.core import allocation
from claims.core.allocation import Held
from claims.core.conditions import ClaimFacts
from claims.core.states import LIVE_STATES, WANTED_STATES, InstanceState, Status
from claims.models import CapacityClaim, ClaimKind, Instance, Offering, Source, Work

# What the platform does to a machine that then serves nobody.
AWAY = frozenset({Work.DRAIN, Work.BAD})


@dataclass
class Holding:
    """A claim and all its instances, whatever their state."""

    claim: CapacityClaim
    instances: list[Instance]

    @property
    def counting(self) -> list[Instance]:
        """Those that fill the claim or will: not draining, lost, leaving, or drained by the platform."""
        return [one for one in self.places if one.work not in AWAY]

    @property
    def places(self) -> list[Instance]:
        """Those that fill the claim once the platform has done with them. A pool instance that it drains leaves the
        claim, a bad machine is replaced; a CUSTOMER machine that it drains keeps its place."""
        return [one for one in self.instances if one.lost_at is None and _keeps_place(one)]

    @property
    def allocated(self) -> int:
        return sum(one.state == InstanceState.READY for one in self.counting)

    @property
    def deleting(self) -> bool:
        return self.claim.status == Status.DELETING

    @property
    def effective(self) -> int:
        """What the claim is to have now (C8)."""
        waits = self.claim.reduction_at is not None
        return allocation.effective_count(target=self.claim.wanted, held=len(self.counting), reduction_waits=waits)

    @property
    def missing(self) -> int:
        return 0 if self.deleting else max(0, self.effective - len(self.counting))

    @property
    def to_request(self) -> int:
        """Machines to ask for: one that leaves or failed keeps its place until it is gone, a lost or bad one does not
        (C3)."""
        occupied = sum(one.lost_at is None and one.work != Work.BAD for one in self.instances)
        return 0 if self.deleting else max(0, self.effective - occupied)

    @property
    def unreleased(self) -> int:
        """What quota stays committed to until its release is confirmed (C3), as `selectors.UNRELEASED` counts it."""
        return sum(
            one.state in LIVE_STATES and one.lost_at is None and one.work != Work.BAD for one in self.instances
        )  # fmt: skip

    @property
    def surplus(self) -> int:
        return len(self.disposable) if self.deleting else max(0, len(self.places) - self.effective)

    @property
    def disposable(self) -> list[Instance]:
        """What can be given up: its places, or everything once it is being deleted."""
        if not self.deleting:
            return self.places
        return [one for one in self.instances if one.state in WANTED_STATES and one.lost_at is None]

    @property
    def lost(self) -> int:
        return sum(one.lost_at is not None for one in self.instances)

    @property
    def draining(self) -> list[Instance]:
        return [one for one in self.instances if one.state == InstanceState.DRAINING and one.lost_at is None]

    @property
    def drained(self) -> list[Instance]:
        return [one for one in self.draining if one.gpus_used == 0]

    @property
    def reclaimable(self) -> list[Instance]:
        """Given up, still draining: a raise takes these back before it asks for others (C10), most replicas first."""
        mine = [one for one in self.draining if not one.work and one.relieved_at is None]
        return sorted(mine, key=lambda one: (-one.replicas, one.claimed_at or one.created_at, one.key))

    def given_up(self, count: int) -> list[Instance]:
        """The `count` instances that the claim would give up first (C9)."""
        by_key = {one.key: one for one in self.disposable}
        return [by_key[one.key] for one in allocation.to_give_up(map(held, by_key.values()), count)]

    def facts(self, zone: str) -> ClaimFacts:
        claim = self.claim
        return ClaimFacts(
            kind=claim.kind, status=Status(claim.status), zone=zone, target=claim.wanted, effective=self.effective,
            allocated=self.allocated, left=len(self.instances), lost=self.lost,
            drained=sum(one.work in AWAY for one in self.instances), failures=claim.join_failures,
            draining=len(self.draining), reduction_at=claim.reduction_at,
        )  # fmt: skip


def _keeps_place(one: Instance) -> bool:
    if one.work not in AWAY:
        return one.state in WANTED_STATES
    in_cluster = one.state in (InstanceState.READY, InstanceState.DRAINING)
    return one.work == Work.DRAIN and one.source == Source.CUSTOMER and in_cluster


def held(instance: Instance) -> Held:
    since: datetime = instance.claimed_at or instance.created_at
    return Held(
        instance.key, InstanceState(instance.state), instance.replicas, since.timestamp(), instance.work in AWAY
    )


def holdings_of(offering: Offering, keys: Collection[int] | None = None) -> list[Holding]:
    """Claims of the offering (those with these keys, None: all) in order of creation (C4), with their instances: two queries."""
    claims = CapacityClaim.objects.filter(offering=offering).order_by("created_at", "key")
    instances = Instance.objects.filter(offering=offering, claim__isnull=False).order_by("key")
    if keys is not None:
        if not keys:
            return []
        claims, instances = claims.filter(key__in=keys), instances.filter(claim__in=keys)
    by_claim = {claim.key: Holding(claim, []) for claim in claims}
    for instance in instances:
        assert instance.claim_id is not None
        by_claim[instance.claim_id].instances.append(instance)
    return list(by_claim.values())


def awaited(holdings: Iterable[Holding], before: CapacityClaim | None = None) -> int:
    """Instances of the managed pool that these claims wait for; with `before`, those that are served before it (C4)."""
    first = takewhile(lambda one: before is None or one.claim.key != before.key, holdings)
    return sum(one.missing for one in first if one.claim.kind == ClaimKind.SERVERLESS)


def holding_of(claim: CapacityClaim) -> Holding:
    """The claim with its instances; one that is not stored yet has none."""
    return Holding(claim, list(claim.instances.order_by("key")) if claim.pk else [])
