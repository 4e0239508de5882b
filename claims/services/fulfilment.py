"""The fulfil loop: brings every claim one step nearer to what it asks for.

Level-triggered: each pass compares rows with rows, so a lost message or a killed worker delays it and loses nothing.
Safe to run twice, late and at the same time: everything happens under the lock of the offering.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from claims import locks
from claims.core import allocation
from claims.core.allocation import Held
from claims.core.conditions import claim_conditions, merged
from claims.core.states import PENDING_STATES, InstanceState, Status
from claims.models import CapacityClaim, ClaimKind, Instance, Offering, Source
from claims.services import instances as hands
from console.common.notify import publish

WANTED_STATES = PENDING_STATES | {InstanceState.READY}


@dataclass
class Holding:
    """A claim and all its instances, whatever their state, as read under the lock."""

    claim: CapacityClaim
    instances: list[Instance]

    @property
    def counting(self) -> list[Instance]:
        """Those that fill the claim or will: not draining, lost or leaving."""
        return [one for one in self.instances if one.state in WANTED_STATES and one.lost_at is None]

    @property
    def allocated(self) -> int:
        return sum(one.state == InstanceState.READY for one in self.counting)

    @property
    def deleting(self) -> bool:
        return self.claim.status == Status.DELETING

    @property
    def missing(self) -> int:
        return 0 if self.deleting else max(0, self.claim.target - len(self.counting))

    @property
    def to_request(self) -> int:
        """Machines to ask for: one that leaves or failed keeps its place until it is gone, a lost one does not (C3)."""
        occupied = sum(one.lost_at is None for one in self.instances)
        return 0 if self.deleting else max(0, self.claim.target - occupied)

    @property
    def surplus(self) -> int:
        return len(self.counting) if self.deleting else max(0, len(self.counting) - self.claim.target)

    @property
    def lost(self) -> int:
        return sum(one.lost_at is not None or one.state == InstanceState.FAILED for one in self.instances)


def fulfil_pass(*, now: datetime) -> int:
    """Settle every offering; returns how many claims changed."""
    changed = 0
    for offering in Offering.objects.select_related("zone", "instance_type").order_by("key"):
        with transaction.atomic():
            organizations = offering_settle(offering=offering, now=now, finish=True)
            publish("claims", organizations)
        changed += len(organizations)
    return changed


def offering_settle(*, offering: Offering, now: datetime, finish: bool) -> list[int]:
    """One step for all claims and the pool of an offering, in the caller's transaction; takes the offering's lock.

    `finish` lets statuses become READY and emptied claims go; a request leaves that to the loop, since a creation
    answers CREATING always (C5). Returns the keys of the organizations whose claims changed.
    """
    locks.offerings_lock([offering.key])
    offering.refresh_from_db(fields=["pool_size"])
    holdings = _holdings(offering)
    touched = _release(holdings, now) | _fill_from_pool(offering, holdings, now) | _request(offering, holdings, now)
    hands.pool_reconcile(offering=offering, now=now)
    if finish:
        current = _holdings(offering) if touched else holdings
        touched |= {one.claim.organization_id for one in current if _finish(one, offering, now)}
    return sorted(touched)


def _holdings(offering: Offering) -> list[Holding]:
    """Claims of the offering in order of creation (C4), with their instances: two queries."""
    claims = CapacityClaim.objects.filter(offering=offering).order_by("created_at", "key")
    by_claim = {claim.key: Holding(claim, []) for claim in claims}
    held = Instance.objects.filter(offering=offering, claim__isnull=False).order_by("key")
    for instance in held:
        assert instance.claim_id is not None
        by_claim[instance.claim_id].instances.append(instance)
    return list(by_claim.values())


def _release(holdings: Iterable[Holding], now: datetime) -> set[int]:
    """Give up what is too much (C7, C9, C11), and let go of what has drained (C10)."""
    touched = set()
    for holding in holdings:
        surplus = _chosen(holding)
        drained = [one for one in holding.instances if one.state == InstanceState.DRAINING and one.gpus_used == 0
                   and one.lost_at is None]  # fmt: skip
        if surplus or drained:
            hands.give_up(instances=surplus, now=now)
            hands.let_go(instances=drained, now=now)
            touched.add(holding.claim.organization_id)
    return touched


def _chosen(holding: Holding) -> list[Instance]:
    by_key = {one.key: one for one in holding.counting}
    held = [
        Held(one.key, InstanceState(one.state), one.gpus_used, (one.claimed_at or one.created_at).timestamp())
        for one in by_key.values()
    ]
    return [by_key[one.key] for one in allocation.to_give_up(held, holding.surplus)]


def _fill_from_pool(offering: Offering, holdings: Iterable[Holding], now: datetime) -> set[int]:
    """Free pool instances go to waiting claims in order of creation, partial fills kept (C4)."""
    waiting = {h.claim.key: h for h in holdings if h.claim.kind == ClaimKind.SERVERLESS and h.missing}
    if not waiting:
        return set()
    missing = [(key, holding.missing) for key, holding in waiting.items()]
    free = hands.free_pool_keys(offering.key, sum(count for _, count in missing))
    pairs = allocation.share_out(free, missing)
    touched = set()
    for key, holding in waiting.items():
        got = [instance for instance, claim in pairs if claim == key]
        if got:
            hands.give_to_claim(claim=holding.claim, keys=got, now=now)
            touched.add(holding.claim.organization_id)
    return touched


def _request(offering: Offering, holdings: Iterable[Holding], now: datetime) -> set[int]:
    """CUSTOMER claims get machines of their own, asked for by the provision loop (C1)."""
    touched = set()
    for holding in holdings:
        if holding.claim.kind == ClaimKind.CUSTOMER and holding.to_request:
            count = min(holding.to_request, hands.LARGEST_STEP)
            hands.new_instances(offering=offering, source=Source.CUSTOMER, count=count, now=now, claim=holding.claim)
            touched.add(holding.claim.organization_id)
    return touched


def _finish(holding: Holding, offering: Offering, now: datetime) -> bool:
    """Write status and conditions, or remove a claim with nothing left; whether anything changed."""
    claim = holding.claim
    if holding.deleting and not holding.instances:
        claim.delete()
        return True
    effective = holding.allocated if holding.deleting else claim.target
    status = Status(claim.status) if holding.deleting else allocation.next_status(
        Status(claim.status), allocated=holding.allocated, effective=effective
    )  # fmt: skip
    conditions = merged(claim.conditions, claim_conditions(
        kind=claim.kind, allocated=len(holding.instances) if holding.deleting else holding.allocated,
        effective=effective, deleting=holding.deleting, lost=holding.lost, zone=offering.zone.name, now=now,
    ))  # fmt: skip
    if status == claim.status and conditions == claim.conditions:
        return False
    claim.status, claim.conditions, claim.updated_at = status, conditions, now
    claim.save(update_fields=["status", "conditions", "updated_at"])
    return True
