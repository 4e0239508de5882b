"""Capacity claims begin. Others wait for the quota's row while one is made: so there are few messages, and all but the last
come before the row is held."""

import hashlib
import json
import uuid
from datetime import datetime, timedelta
from typing import Any, NoReturn

from django.db import IntegrityError, transaction

from claims import locks
from claims.core import rules
from claims.core.conditions import claim_conditions
from claims.core.rules import ClaimResources
from claims.holdings import Holding
from claims.models import CapacityClaim, ClaimKind, Instance, Offering, Source
from claims.selectors import claim_get, counted, offering_claimable, offering_read, offerings_claimable
from claims.services import fulfilment
from claims.services import instances as hands
from claims.services.quota import quota_check
from console.common.errors import AlreadyExists, InvalidArgument
from console.common.ids import new_id
from console.common.notify import announcement
from console.common.rows import rows_insert
from console.common.together import Statement, run_together
from console.common.wake import wake_on_commit
from console.organizations.actors import Actor
from console.organizations.models import Organization
from console.organizations.services import audit_event

# A creation that is sent again because its answer was lost comes within this time (API.md, rule 5).
REPEAT_WITHIN = timedelta(seconds=30)
_BEGIN = "SELECT clock_timestamp(), nextval('claims_capacityclaim_key_seq')"
_SAME_ID = "SELECT id FROM claims_capacityclaim WHERE id = %s"
_TWIN = """
    SELECT id FROM claims_capacityclaim
    WHERE organization_id = %s AND name = %s AND created_at > clock_timestamp() - %s
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
    _require_valid(name, resources)
    with transaction.atomic():
        seen = [] if distinct and id is None else _seen(actor, organization, name, resources, id)
        [(now, key)], claimable, *found = run_together([(_BEGIN, []), offering_claimable(*_names(resources)), *seen])
        offering = offering_read(claimable) or _refuse_offering(resources)
        earlier = found[-1] if found else []
        if earlier and id is not None:
            raise AlreadyExists("CapacityClaim", id)
        if earlier:
            return claim_get(organization, earlier[0][0])
        claim = _claim(actor, organization, offering, name, resources, key, id or new_id(), now)
        holding = Holding(claim, _machines(claim, now))
        _store(actor, holding, resources)
        if claim.kind == ClaimKind.CUSTOMER:
            quota_check(
                organization=organization, offering=offering, claim_key=claim.key, promised=claim.target, new=True
            )  # fmt: skip
        else:
            holding = fulfilment.claim_step(claim=claim, now=now, new=True)
            fulfilment.claim_describe(holding=holding, by=actor.name, now=now)
        return counted(claim, holding.instances)


def offering_wanted(name: str, resources: ClaimResources) -> Offering:
    """The offering a valid request names; InvalidArgument on the field that names none (C2)."""
    _require_valid(name, resources)
    [found] = run_together([offering_claimable(*_names(resources))])
    return offering_read(found) or _refuse_offering(resources)


def _require_valid(name: str, resources: ClaimResources) -> None:
    violations = rules.validate_create(name, resources)
    if violations:
        raise InvalidArgument(violations)


def _names(resources: ClaimResources) -> tuple[str, str]:
    """Zone and instance type as they are catalogued."""
    return resources.zones[0].upper(), resources.instance_id.lower()


def _refuse_offering(resources: ClaimResources) -> NoReturn:
    zone, _ = _names(resources)
    there = ", ".join(sorted(one.instance_type.name for one in offerings_claimable() if one.zone.name == zone))
    if not there:
        raise InvalidArgument.of("resources.zones[0]", f"there is nothing to claim in {resources.zones[0]!r}")
    text = f"{resources.instance_id!r} cannot be claimed in {zone}; what can be: {there}"
    raise InvalidArgument.of("resources.instance_id", text)


def _described(resources: ClaimResources) -> dict[str, Any]:
    return {"instance_id": resources.instance_id, "instance_count": resources.instance_count,
            "capacity_type": resources.capacity_type, "zones": list(resources.zones)}  # fmt: skip


def _seen(
    actor: Actor, organization: Organization, name: str, resources: ClaimResources, id: uuid.UUID | None
) -> list[Statement]:
    """What finds the claim that an earlier, same request made, or that has the id."""
    if id is not None:
        return [(_SAME_ID, [id])]
    caller = {"organization": organization.key, "token": str(actor.token.id) if actor.token else actor.name}
    fingerprint = json.dumps([caller, name, _described(resources)], sort_keys=True)
    given = [organization.key, name, REPEAT_WITHIN, actor.token and actor.token.pk, actor.user and actor.user.pk,
             resources.instance_count, resources.capacity_type, resources.instance_id, resources.zones[0]]  # fmt: skip
    return [locks.creation_locked("claim " + hashlib.sha256(fingerprint.encode()).hexdigest()), (_TWIN, given)]


def _claim(
    actor: Actor,
    organization: Organization,
    offering: Offering,
    name: str,
    resources: ClaimResources,
    key: int,
    id: uuid.UUID,
    now: datetime,
) -> CapacityClaim:
    return CapacityClaim(
        key=key,
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


def _machines(claim: CapacityClaim, now: datetime) -> list[Instance]:
    """What a CUSTOMER claim asks for at once. Nobody sees claim and machines before they are committed: so no lock of the
    offering is needed to make them (W1)."""
    if claim.kind != ClaimKind.CUSTOMER:
        return []
    count = min(claim.target, hands.LARGEST_STEP)
    return hands.machines(offering=claim.offering, source=Source.CUSTOMER, count=count, now=now, claim=claim)


def _store(actor: Actor, holding: Holding, resources: ClaimResources) -> None:
    """The claim as it begins, and what is told of it; a refusal undoes that."""
    claim = holding.claim
    if claim.kind == ClaimKind.CUSTOMER:  # of another its first step says how it stands
        claim.conditions = claim_conditions(holding.facts(claim.offering.zone.name), [], claim.created_at)
    event = audit_event(
        actor=actor, action="claim.create", obj_type="CapacityClaim", obj_id=str(claim.id), obj_name=claim.name,
        after=_described(resources), organization=claim.organization,
    )  # fmt: skip
    told = announcement("claims", [claim.organization_id])
    try:
        rows_insert([event], [claim], holding.instances, also=[told])
    except IntegrityError as error:
        raise AlreadyExists("CapacityClaim", claim.id) from error
    wake_on_commit("claims.tasks.fulfil", "control")
