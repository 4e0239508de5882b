"""What another target of a claim, or its deletion, would do: the fulfil loop's own questions, asked of a claim that had it."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from claims.core.states import WANTED_STATES, Status
from claims.holdings import Holding, awaited, holding_of, holdings_of
from claims.models import CapacityClaim, ClaimKind, Instance
from claims.selectors import convertible_keys, pool_live, unclaimed


@dataclass(frozen=True, slots=True)
class Growth:
    """The instances that a claim would get, by where they come from: given up and still draining, so that they are
    back at once (C10); `free` in the pool; `converted` in place (C4); `requested` as new machines at once, and `later`
    when what leaves is gone or the pool has more."""

    taken_back: int = 0
    free: int = 0
    converted: int = 0
    requested: int = 0
    later: int = 0

    @property
    def total(self) -> int:
        return self.at_once + self.requested + self.later

    @property
    def at_once(self) -> int:
        return self.taken_back + self.free + self.converted


def holding_if(claim: CapacityClaim, target: int, window: int | None = None) -> Holding:
    """The claim with its instances as it would be with this target (0: deleted) once that is in effect; `window`: and with
    so many of an open window (C12), None: as its windows are."""
    changed = copy.copy(claim)
    changed.target, changed.reduction_at = target, None
    changed.window_count = claim.window_count if window is None else window
    if not target:
        changed.status = Status.DELETING
    return Holding(changed, holding_of(claim).instances)


def would_give_up(claim: CapacityClaim, target: int, window: int | None = None) -> list[Instance]:
    """The instances that the claim would give up if its target became `target` (0: if it were deleted), in the order
    of C9; when that would happen says `reduction_time`. What the platform drains and would have come back after it
    goes too when the claim is deleted."""
    holding = holding_if(claim, target, window)
    kept = [one for one in holding.places if one.state not in WANTED_STATES] if holding.deleting else []
    return holding.given_up(holding.surplus) + kept


def would_get(claim: CapacityClaim, target: int, window: int | None = None) -> Growth:
    """Where the instances come from that the claim would get if its target became `target`."""
    holding = holding_if(claim, target, window)
    back = len(holding.reclaimable[: holding.missing])
    if claim.kind == ClaimKind.CUSTOMER:
        # What the platform drains keeps its place; what leaves keeps it until it is gone.
        wanted = max(0, holding.missing - back - (len(holding.places) - len(holding.counting)))
        requested = min(wanted, holding.to_request)
        return Growth(back, requested=requested, later=wanted - requested)
    wanted = holding.missing - back
    free = min(wanted, _pool_free(claim)) if wanted else 0
    converted = len(convertible_keys(claim.organization_id, claim.offering_id, wanted - free)) if wanted > free else 0
    return Growth(back, free, converted, later=wanted - free - converted)


@dataclass(frozen=True, slots=True)
class Freed:
    """What becomes of instances that a claim gives up, once nothing runs on them, in the order in which the pool serves
    (C4, C13): `own` and `others` are claims that wait, of the organization and of all others; `removed` leave a pool
    that shrinks; `pool` are free for whoever comes next. Machines of a CUSTOMER claim go away (`released`), and with
    them what they commit of the quota."""

    own: Sequence[tuple[CapacityClaim, int]] = ()
    others: int = 0
    removed: int = 0
    pool: int = 0
    released: int = 0

    @property
    def total(self) -> int:
        return sum(count for _, count in self.own) + self.others + self.removed + self.pool + self.released


def would_free(claim: CapacityClaim, going: Sequence[Instance]) -> Freed:
    """For whom the instances `going` of the claim become free."""
    if claim.kind == ClaimKind.CUSTOMER:
        return Freed(released=len(going))
    bad = sum(one.work != "" for one in going)
    left, own, others = len(going) - bad, [], 0
    for holding in holdings_of(claim.offering):
        if holding.claim.kind != ClaimKind.SERVERLESS or holding.claim.key == claim.key:
            continue
        taken = min(left, holding.missing)
        left -= taken
        if taken and holding.claim.organization_id == claim.organization_id:
            own.append((holding.claim, taken))
        else:
            others += taken
    removed = min(left, max(0, pool_live(claim.offering_id) - claim.offering.pool_wanted)) if left else 0
    return Freed(own, others, removed, left - removed, bad)


def _pool_free(claim: CapacityClaim) -> int:
    """Instances that the pool has free for it; claims that wait and are older come first (C4)."""
    free = unclaimed(claim.offering_id).filter(organization__isnull=True).count()
    return max(0, free - awaited(holdings_of(claim.offering), claim))


def no_longer_offered(claim: CapacityClaim, target: int) -> str:
    """Why the claim may not have `target` instances; empty where it may. What an offering no longer offers, a claim
    keeps, and does not get more of (C2, C13)."""
    offering = claim.offering
    if (offering.claimable and not offering.withdrawn_at) or target <= claim.target:
        return ""
    if target <= len(holding_of(claim).counting):
        return ""
    return f"{offering} is no longer offered; {claim.name} may keep what it has, or shrink."
