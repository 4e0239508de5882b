"""Capacity claims: created, resized, deleted. Nothing waits in here; the fulfil and provision loops do the rest."""

import hashlib
import json
import uuid
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, connection, transaction

from claims import locks
from claims.core import rules
from claims.core.conditions import claim_conditions, timestamp
from claims.core.rules import ClaimResources
from claims.core.states import Status
from claims.foreseen import no_longer_offered
from claims.holdings import Holding, holding_of
from claims.models import CapacityClaim, ClaimKind, Offering
from claims.selectors import claim_get, counted, offering_claimable, offerings_claimable
from claims.services import fulfilment, life
from claims.services import instances as hands
from claims.services.quota import quota_check
from console.common import clock
from console.common.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from console.common.ids import new_id
from console.common.notify import publish
from console.common.rows import rows_insert
from console.common.wake import wake_on_commit
from console.organizations.actors import Actor
from console.organizations.models import Organization
from console.organizations.services import audit_record

# A creation that is sent again because its answer was lost comes within this time (API.md, rule 5).
REPEAT_WITHIN = timedelta(seconds=30)
_TWIN = """
    SELECT id FROM claims_capacityclaim
    WHERE organization_id = %s AND name = %s AND created_at > %s
      AND created_by_token_id IS NOT DISTINCT FROM %s AND created_by_user_id IS NOT DISTINCT FROM %s
      AND target = %s AND sent_capacity_type = %s AND sent_instance_id = %s AND sent_zone = %s
      AND status <> 'STATUS_DELETING'
    ORDER BY created_at, key LIMIT 1"""


def claim_create(
    *,
    actor: Actor,
    organization: Organization,
    name: str,
    resources: ClaimResources,
    id: uuid.UUID | None = None,
    distinct: bool = False,
) -> CapacityClaim:
    """Set capacity aside; answers CREATING, always (C5).

    Refuses with InvalidArgument (the request), FailedPrecondition (quota), AlreadyExists (the id). Sent again
    within 30 seconds without an id it answers with the first claim, unless it is `distinct`: the caller keeps repeats
    apart itself, with an `Idempotency-Key`.
    """
    actor.require_write()
    offering = offering_wanted(name, resources)
    with transaction.atomic():
        now = clock.now()
        chosen = id or new_id()
        earlier = None if distinct and id is None else _earlier(actor, organization, name, resources, id, now)
        if earlier is not None:
            return earlier
        # All that can be done before the quota's row is held, for which others wait; a refusal undoes it.
        _tell(organization)
        audit_record(actor=actor, action="claim.create", obj_type="CapacityClaim", obj_id=str(chosen),
                     obj_name=name, after=_described(resources), organization=organization)  # fmt: skip
        claim = _insert(actor, organization, offering, name, resources, chosen, now)
        if claim.kind == ClaimKind.CUSTOMER:
            quota_check(
                organization=organization, offering=offering, claim_key=claim.key, promised=claim.target, new=True
            )  # fmt: skip
        return claim_settle(actor=actor, claim=claim, now=now, new=True)


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


def claim_settle(
    *, actor: Actor, claim: CapacityClaim, now: datetime, was: str | None = None, new: bool = False
) -> CapacityClaim:
    """The first step of a change, in its own transaction; the loop takes the others. `was`: its status before. Returns
    the claim with what it has then."""
    holding = fulfilment.claim_step(claim=claim, now=now, new=new)
    fulfilment.claim_describe(holding=holding, by=actor.name, now=now, was=was)
    if not new:
        _tell(claim.organization)
    return counted(claim, holding.instances)


def offering_wanted(name: str, resources: ClaimResources) -> Offering:
    """The offering a valid request names; InvalidArgument on the field that names none (C2)."""
    violations = rules.validate_create(name, resources)
    if violations:
        raise InvalidArgument(violations)
    zone = resources.zones[0].upper()
    found = offering_claimable(zone, resources.instance_id.lower())
    if found is not None:
        return found
    there = ", ".join(sorted(one.instance_type.name for one in offerings_claimable() if one.zone.name == zone))
    if not there:
        raise InvalidArgument.of("resources.zones[0]", f"there is nothing to claim in {resources.zones[0]!r}")
    text = f"{resources.instance_id!r} cannot be claimed in {zone}; what can be: {there}"
    raise InvalidArgument.of("resources.instance_id", text)


def resources_of(claim: CapacityClaim) -> ClaimResources:
    return ClaimResources(claim.sent_instance_id, claim.target, claim.sent_capacity_type, (claim.sent_zone,))


def _described(resources: ClaimResources) -> dict[str, Any]:
    return {**asdict(resources), "zones": list(resources.zones)}


def _earlier(
    actor: Actor,
    organization: Organization,
    name: str,
    resources: ClaimResources,
    id: uuid.UUID | None,
    now: datetime,
) -> CapacityClaim | None:
    """The claim that an earlier, same request made; None when this one is new."""
    if id is not None:
        if CapacityClaim.objects.filter(id=id).exists():
            raise AlreadyExists("CapacityClaim", id)
        return None
    caller = {"organization": organization.key, "token": str(actor.token.id) if actor.token else actor.name}
    fingerprint = json.dumps([caller, name, _described(resources)], sort_keys=True)
    locks.creation_lock("claim " + hashlib.sha256(fingerprint.encode()).hexdigest())
    return _twin(actor, organization, name, resources, now)


def _twin(
    actor: Actor, organization: Organization, name: str, resources: ClaimResources, now: datetime
) -> CapacityClaim | None:
    given: list[Any] = [organization.key, name, now - REPEAT_WITHIN, actor.token and actor.token.pk, actor.user and actor.user.pk,
             resources.instance_count, resources.capacity_type, resources.instance_id, resources.zones[0]]  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(_TWIN, given)
        found = cursor.fetchone()
    return claim_get(organization, found[0]) if found else None


def _insert(
    actor: Actor,
    organization: Organization,
    offering: Offering,
    name: str,
    resources: ClaimResources,
    id: uuid.UUID,
    now: datetime,
) -> CapacityClaim:
    claim = CapacityClaim(
        id=id,
        organization=organization,
        offering=offering,
        name=name,
        kind=resources.kind,
        target=resources.instance_count,
        sent_capacity_type=resources.capacity_type,
        sent_instance_id=resources.instance_id,
        sent_zone=resources.zones[0],
        created_at=now,
        updated_at=now,
        created_by_user=actor.user,
        created_by_token=actor.token,
    )
    if claim.kind == ClaimKind.CUSTOMER:  # its first step changes nothing about them
        claim.conditions = claim_conditions(Holding(claim, []).facts(offering.zone.name), [], now)
    try:
        rows_insert([claim])
    except IntegrityError as error:
        raise AlreadyExists("CapacityClaim", id) from error
    return claim


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


def _tell(organization: Organization) -> None:
    publish("claims", [organization.key])
    wake_on_commit("claims.tasks.fulfil", "control")
