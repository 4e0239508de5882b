"""The fulfil loop: brings every claim one step nearer to what it asks for.

Level-triggered: each pass compares rows with rows, so a lost message or a killed worker delays it and loses nothing.
Safe to run twice, late and at the same time: everything happens under the lock of the offering.
"""

from collections.abc import Iterable
from datetime import datetime

from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from claims import locks
from claims.core import allocation
from claims.core.states import LIVE_STATES, InstanceState
from claims.holdings import Holding, awaited, holding_of, holdings_of
from claims.looks import claims_due, looked_at, looks
from claims.models import CapacityClaim, ClaimKind, Instance, Offering, Source
from claims.selectors import convertible_keys, waiting_claims
from claims.services import edges, life
from claims.services import instances as hands
from console.common.notify import publish

LOOP = "fulfil loop"


def fulfil_pass(*, now: datetime) -> int:
    """Settle every offering that has or wants anything; returns how many claims changed."""
    changed = 0
    claims = CapacityClaim.objects.filter(offering=OuterRef("key"))
    instances = Instance.objects.filter(offering=OuterRef("key"), state__in=LIVE_STATES)
    used = Offering.objects.filter(Exists(claims) | Exists(instances) | Q(pool_size__gt=0))
    for offering in used.select_related("zone", "instance_type").order_by("key"):
        with transaction.atomic():
            organizations = offering_settle(offering=offering, now=now, finish=True)
            publish("claims", organizations)
        changed += len(organizations)
    return changed


def offering_settle(*, offering: Offering, now: datetime, finish: bool) -> list[int]:
    """One step for all claims and the pool of an offering, in the caller's transaction; takes the offering's lock.

    Read are only the claims that there may be something to do for: found before the lock is taken, those that wait for the
    pool under it, since their order counts (C4). What becomes due in between is for the next pass.

    `finish` lets statuses become READY and emptied claims go; a request leaves that to the loop, since a creation
    answers CREATING always (C5). Returns the keys of the organizations whose claims changed.
    """
    due = claims_due(offering, now)
    locks.offerings_lock([offering.key])
    offering.refresh_from_db(fields=["pool_size", "withdrawn_at", "join_failures"])
    seen = looks({*due, *waiting_claims(offering.key).values_list("key", flat=True)})
    holdings = holdings_of(offering, seen)
    hands.pool_drained(offering=offering)
    # A window that ends and a reduction that is due are one change (C12).
    touched = edges.windows_turn(offering=offering, holdings=holdings, now=now)
    touched |= _reduce_what_is_due(holdings, now) | _take_back(holdings) | _release(holdings, now)
    # An order that is kept: claims by creation first, then the shrinking of the pool, then growth on demand (C4, C13).
    touched |= _fill_from_pool(offering, holdings, now) | _request(offering, holdings, now)
    current = holdings_of(offering, seen) if touched else holdings
    lacking = awaited(current)
    hands.pool_reconcile(offering=offering, awaited=lacking, now=now)
    hands.keep(offering=offering, claims_wait=lacking > 0)
    if finish:
        touched |= {one.claim.organization_id for one in current if _finish(one, offering, now)}
        looked_at(seen)
    return sorted(touched)


def claim_step(*, claim: CapacityClaim, now: datetime, new: bool = False) -> Holding:
    """The first step of a claim that was just made (`new`) or changed, in the caller's transaction; takes the offering's
    lock. Returns what the claim has then.

    Others are left to the loop, unless they wait for the same pool, or this claim does: then the order of creation
    decides (C4), and everybody takes a step.
    """
    locks.offerings_lock([claim.offering_id])
    holding = Holding(claim, []) if new else holding_of(claim)
    if claim.window_peak or (claim.kind == ClaimKind.SERVERLESS and _concerns_others(holding)):
        offering_settle(offering=claim.offering, now=now, finish=False)
        claim.refresh_from_db(fields=edges.COLUMNS)
        return holding_of(claim)
    changed = _take_back([holding]) | _release([holding], now)
    if claim.kind == ClaimKind.CUSTOMER:
        _request(claim.offering, [holding], now)
    else:
        _fill_from_pool(claim.offering, [holding], now)
    return holding_of(claim) if changed else holding


def _concerns_others(holding: Holding) -> bool:
    """Whether somebody else waits for the pool of the claim, or there is not enough in it for this one."""
    claim, missing = holding.claim, holding.missing
    if Instance.objects.filter(offering=claim.offering_id, kept=True).exists():
        return True
    if missing and len(hands.free_pool_keys(claim.offering_id, missing)) < missing:
        return True
    return missing > 0 and waiting_claims(claim.offering_id).exclude(key=claim.key).exists()


def _waits(holding: Holding) -> bool:
    """Whether the claim waits for instances of the managed pool."""
    return holding.claim.kind == ClaimKind.SERVERLESS and holding.missing > 0


def _reduce_what_is_due(holdings: Iterable[Holding], now: datetime) -> set[int]:
    """Scheduled reductions whose time has come take effect; one that would give up nothing any more is forgotten (C7)."""
    touched = set()
    for holding in holdings:
        claim = holding.claim
        if claim.reduction_at is None:
            continue
        moot = len(holding.counting) <= claim.wanted
        if moot or claim.reduction_at <= now:
            claim.reduction_at, claim.reduced_at = None, claim.reduced_at if moot else now
            claim.save(update_fields=["reduction_at", "reduced_at"])
            touched.add(claim.organization_id)
    return touched


def _take_back(holdings: Iterable[Holding]) -> set[int]:
    """Claims that lack instances take back what they gave up and still drain, before they ask for others (C10)."""
    touched = set()
    for holding in holdings:
        back = holding.reclaimable[: holding.missing]
        if back:
            hands.undrain(keys=[one.key for one in back])
            for one in back:
                one.state, one.drain_until = InstanceState.READY, None
            touched.add(holding.claim.organization_id)
    return touched


def _release(holdings: Iterable[Holding], now: datetime) -> set[int]:
    """Give up what is too much (C7, C9, C11), and let go of what has drained (C10)."""
    touched = set()
    for holding in holdings:
        surplus, drained = holding.given_up(holding.surplus), holding.drained
        resting = [] if holding.deleting else [one for one in drained if one in holding.places]
        if surplus or drained:
            hands.give_up(instances=surplus, now=now)
            hands.undrain(keys=[one.key for one in resting])
            hands.let_go(instances=[one for one in drained if one not in resting], now=now)
            touched.add(holding.claim.organization_id)
    return touched


def _fill_from_pool(offering: Offering, holdings: Iterable[Holding], now: datetime) -> set[int]:
    """Pool instances go to waiting claims in order of creation, partial fills kept: free ones first, then, in place,
    those that hold only the claimant's own on-demand replicas (C4)."""
    waiting = {holding.claim.key: holding for holding in holdings if _waits(holding)}
    if not waiting:
        return set()
    missing = {key: holding.missing for key, holding in waiting.items()}
    free = hands.free_pool_keys(offering.key, sum(missing.values()))
    pairs = allocation.share_out(free, list(missing.items()))
    touched = set()
    for key, holding in waiting.items():
        got = [instance for instance, claim in pairs if claim == key]
        if len(got) < missing[key]:
            got += convertible_keys(holding.claim.organization_id, offering.key, missing[key] - len(got))
        if got:
            holding.instances += hands.give_to_claim(claim=holding.claim, keys=got, now=now)
            touched.add(holding.claim.organization_id)
    return touched


def _request(offering: Offering, holdings: Iterable[Holding], now: datetime) -> set[int]:
    """CUSTOMER claims get machines of their own, asked for by the provision loop (C1)."""
    touched = set()
    for holding in holdings:
        if holding.claim.kind == ClaimKind.CUSTOMER and holding.to_request:
            count = min(holding.to_request, hands.LARGEST_STEP)
            holding.instances += hands.new_instances(
                offering=offering, source=Source.CUSTOMER, count=count, now=now, claim=holding.claim
            )  # fmt: skip
            touched.add(holding.claim.organization_id)
    return touched


def claim_describe(*, holding: Holding, by: str, now: datetime, was: str | None = None) -> None:
    """Say at once how a claim that was just changed stands, `was` its status before that; that it is ready is for the loop
    to say, except where nothing but the time of a reduction is awaited (C7)."""
    claim = holding.claim
    life.claim_settle_status(
        holding=holding, zone=claim.offering.zone.name, by=by, now=now, may_be_ready=claim.reduction_at is not None,
        was=was,
    )  # fmt: skip


def _finish(holding: Holding, offering: Offering, now: datetime) -> bool:
    """Write status and conditions, or remove a claim with nothing left; whether anything changed."""
    if holding.deleting and not holding.instances:
        life.claim_remove(claim=holding.claim, by=LOOP, now=now)
        return True
    return life.claim_settle_status(holding=holding, zone=offering.zone.name, by=LOOP, now=now, may_be_ready=True)
