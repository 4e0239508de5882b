"""Status and conditions of claims: written here alone, along the one table of steps, each change with an event of the
claim's history. What somebody asked for is in the audit trail already and is not told twice."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from claims.core import allocation
from claims.core.conditions import DEGRADED, READY, TRUE, UNDER_USED, Condition, claim_conditions, timestamp
from claims.core.states import Status, stepped
from claims.holdings import Holding
from claims.models import CapacityClaim, ClaimEvent
from console.notifications.models import Kind
from console.notifications.services import notify

STATUS, GONE = "Status", "GONE"
TROUBLES = {
    DEGRADED: (Kind.CLAIM_DEGRADED, "degraded"),
    UNDER_USED: (Kind.CLAIM_UNDER_USED, "under-used"),
}


def claim_move(claim: CapacityClaim, status: Status) -> None:
    """Let the claim go on to the status, for the caller to save; ImpossibleStep where its table has no such step."""
    claim.status = stepped(Status(claim.status), status).value


def claim_settle_status(
    *, holding: Holding, zone: str, by: str, now: datetime, may_be_ready: bool, was: str | None = None
) -> bool:
    """Bring status and conditions of a claim to what it holds; whether anything changed. `was`: its status before the
    caller moved it."""
    claim, conditions = holding.claim, holding.claim.conditions
    before, now = claim.status, _not_before(claim, now)
    if not holding.deleting and (may_be_ready or holding.allocated != holding.effective):
        wanted = allocation.next_status(
            Status(claim.status), allocated=holding.allocated, effective=holding.effective
        )  # fmt: skip
        claim_move(claim, wanted)
    claim.conditions = claim_conditions(holding.facts(zone), conditions, now)
    if (claim.status, claim.conditions) == (before, conditions):
        return False
    claim.updated_at = now
    claim.save(update_fields=["status", "conditions", "updated_at"])
    _enter(claim, was or before, conditions, by, now)
    return True


def conditions_set(*, claim: CapacityClaim, conditions: list[Condition], by: str, now: datetime) -> None:
    """Store other conditions of a claim, whose offering is locked; its status stays."""
    now = _not_before(claim, now)
    before, claim.conditions = claim.conditions, conditions
    claim.save(update_fields=["conditions"])
    _enter(claim, claim.status, before, by, now)


def claim_remove(*, claim: CapacityClaim, by: str, now: datetime) -> None:
    """The row of a claim that nothing is left of goes; its history stays."""
    _event(claim, STATUS, claim.status, GONE, "Released", "All its instances are released", by,
           _not_before(claim, now)).save()  # fmt: skip
    claim.delete()


def _not_before(claim: CapacityClaim, now: datetime) -> datetime:
    """A pass reads the time when it begins and may then wait for the lock: what it does comes after what it waited for."""
    return max(now, claim.updated_at)


def _enter(claim: CapacityClaim, was: str, conditions: Sequence[Condition], by: str, now: datetime) -> None:
    """Note what changed, and tell the organization of trouble. That a claim was made, and how it stood then, its creation
    tells."""
    if conditions:
        events = list(_changes(claim, was, conditions, by, now))
        ClaimEvent.objects.bulk_create(events)
        for one in events:
            if one.what in TROUBLES and one.after == TRUE:
                _notify(claim, one, now)


def _notify(claim: CapacityClaim, event: ClaimEvent, now: datetime) -> None:
    kind, said = TROUBLES[event.what]
    notify(
        organization=claim.organization, kind=kind, key=f"{kind}:{claim.id}:{timestamp(now)}",
        subject=f"{claim.name} is {said}", text=event.message, path=f"/claims/{claim.id}",
        data={"claim": str(claim.id), "name": claim.name, "reason": event.reason, "instanceCount": claim.target}, now=now,
    )  # fmt: skip


def _changes(
    claim: CapacityClaim, was: str, conditions: Sequence[Condition], by: str, now: datetime
) -> Iterator[ClaimEvent]:
    old, new = ({one["type"]: one for one in side} for side in (conditions, claim.conditions))
    ready = new[READY]
    if claim.status != was:
        yield _event(claim, STATUS, was, claim.status, ready["reason"], ready["message"], by, now)
    elif READY in old and old[READY]["reason"] != ready["reason"]:
        yield _event(claim, READY, old[READY]["status"], ready["status"], ready["reason"], ready["message"], by, now)
    for type_ in TROUBLES:
        before, after = (side[type_]["status"] if type_ in side else "" for side in (old, new))
        if before != after and TRUE in (before, after) and after:
            one = new[type_]
            yield _event(claim, type_, before, after, one["reason"], one["message"], by, now)


def _event(
    claim: CapacityClaim, what: str, before: str, after: str, reason: str, message: str, by: str, now: datetime
) -> ClaimEvent:
    return ClaimEvent(
        organization_id=claim.organization_id, claim_id=claim.id, claim_name=claim.name, at=now, actor=by, what=what,
        before=before, after=after, reason=reason, message=message,
    )  # fmt: skip
