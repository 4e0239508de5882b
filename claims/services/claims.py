"""Capacity claims: resized, deleted. Nothing waits in here; the fulfil and provision loops do the rest."""

import uuid
from datetime import datetime
from typing import Any

from django.db import transaction

from claims import locks
from claims.core import rules
from claims.core.conditions import timestamp
from claims.core.rules import ClaimResources
from claims.core.states import Status
from claims.foreseen import no_longer_offered
from claims.holdings import holding_of
from claims.models import CapacityClaim, ClaimKind
from claims.selectors import claim_get, counted
from claims.services import fulfilment, life
from claims.services import instances as hands
from claims.services.quota import quota_check
from console.common import clock
from console.common.errors import FailedPrecondition, InvalidArgument, NotFound
from console.common.notify import publish
from console.common.wake import wake_on_commit
from console.organizations.actors import Actor
from console.organizations.models import Organization
from console.organizations.services import audit_record


def claim_resize(*, actor: Actor, claim_id: uuid.UUID, resources: ClaimResources) -> CapacityClaim:
    """Change how many instances a claim has; everything else is fixed (C2). Repeating it changes nothing."""
    actor.require_write()
    organization = actor.require_organization()
    violations = rules.validate_resources(resources)
    if violations:
        raise InvalidArgument(violations)
    with transaction.atomic():
        claim = claim_locked(organization, claim_id)
        violations = rules.validate_unchanged(resources_of(claim), resources)
        if violations:
            raise InvalidArgument(violations)
        if claim.status == Status.DELETING:
            raise NotFound("CapacityClaim", claim_id)
        if resources.instance_count == claim.target:
            return claim_get(organization, claim_id)
        _require_offered(claim, resources.instance_count)
        if claim.kind == ClaimKind.CUSTOMER:
            quota_check(
                organization=organization, offering=claim.offering, claim_key=claim.key,
                promised=max(resources.instance_count, claim.window_peak),
            )  # fmt: skip
        return _retarget(actor, claim, resources.instance_count, "claim.resize", clock.now())


def claim_withdraw(*, actor: Actor, claim_id: uuid.UUID) -> CapacityClaim:
    """Keep what is held instead of reducing it when the time comes (C7): the target becomes what is held.

    Refuses with FailedPrecondition where no reduction waits.
    """
    actor.require_write()
    organization = actor.require_organization()
    with transaction.atomic():
        claim = claim_locked(organization, claim_id)
        if claim.status == Status.DELETING:
            raise NotFound("CapacityClaim", claim_id)
        held = len(holding_of(claim).counting)
        if claim.reduction_at is None or held <= claim.wanted:
            raise FailedPrecondition("NO_REDUCTION", str(claim.id), f"No reduction of {claim.name} waits for its time.")
        return _retarget(actor, claim, held, "claim.withdraw", clock.now())


def claim_delete(*, actor: Actor, claim_id: uuid.UUID) -> CapacityClaim:
    """Give everything back (C11). While it is DELETING the same call answers with the object again."""
    actor.require_write()
    organization = actor.require_organization()
    with transaction.atomic():
        claim = claim_locked(organization, claim_id)
        if claim.status == Status.DELETING:
            return claim_get(organization, claim_id)
        now = clock.now()
        was = claim.status
        life.claim_move(claim, Status.DELETING)
        claim.reduction_at, claim.updated_at = None, now
        claim.save(update_fields=["status", "reduction_at", "updated_at"])
        audit_record(actor=actor, action="claim.delete", obj_type="CapacityClaim", obj_id=str(claim.id),
                     obj_name=claim.name, before={"instanceCount": claim.target}, organization=organization)  # fmt: skip
        return claim_settle(actor=actor, claim=claim, now=now, was=was)


def _require_offered(claim: CapacityClaim, target: int) -> None:
    text = no_longer_offered(claim, target)
    if text:
        raise FailedPrecondition("OFFERING_WITHDRAWN", str(claim.offering), text)


def _retarget(actor: Actor, claim: CapacityClaim, target: int, action: str, now: datetime) -> CapacityClaim:
    """Give the locked claim another target, now or when its interval has passed (C7), and take the first step."""
    before, claim.target = _counted(claim), target
    waits = hands.reduction_wait(claim=claim, held=len(holding_of(claim).counting), now=now)
    was = claim.status
    if claim.status != Status.CREATING and not waits:
        life.claim_move(claim, Status.UPDATING)
    claim.updated_at = now
    claim.save(update_fields=["target", "reduction_at", "reduced_at", "status", "updated_at"])
    audit_record(actor=actor, action=action, obj_type="CapacityClaim", obj_id=str(claim.id), obj_name=claim.name,
                 before=before, after=_counted(claim), organization=claim.organization)  # fmt: skip
    return claim_settle(actor=actor, claim=claim, now=now, was=was)


def _counted(claim: CapacityClaim) -> dict[str, Any]:
    """Target, and the time of a reduction that waits, as the audit trail shows them."""
    at = claim.reduction_at
    return {"instanceCount": claim.target, **({"effectiveAt": timestamp(at)} if at else {})}


def claim_settle(*, actor: Actor, claim: CapacityClaim, now: datetime, was: str | None = None) -> CapacityClaim:
    """The first step of a change, in its own transaction; the loop takes the others. `was`: its status before. Returns
    the claim with what it has then."""
    holding = fulfilment.claim_step(claim=claim, now=now)
    fulfilment.claim_describe(holding=holding, by=actor.name, now=now, was=was)
    publish("claims", [claim.organization_id])
    wake_on_commit("claims.tasks.fulfil", "control")
    return counted(claim, holding.instances)


def resources_of(claim: CapacityClaim) -> ClaimResources:
    return ClaimResources(claim.sent_instance_id, claim.target, claim.sent_capacity_type, (claim.sent_zone,))


def claim_locked(organization: Organization, claim_id: uuid.UUID) -> CapacityClaim:
    """The claim as it is once nobody else can change it: quota, offering and row held, in that order."""
    found = CapacityClaim.objects.filter(organization=organization, id=claim_id)
    found = found.select_related("offering__zone", "offering__instance_type", "organization")
    claim = found.first()
    if claim is None:
        raise NotFound("CapacityClaim", claim_id)
    if claim.kind == ClaimKind.CUSTOMER:
        locks.quota_lock(organization, claim.offering)
    locks.offerings_lock([claim.offering_id])
    claim = found.first()
    if claim is None:
        raise NotFound("CapacityClaim", claim_id)
    return claim
