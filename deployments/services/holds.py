"""Holds: an operator freezes scaling of a deployment, of an organization or of the fleet, or pins a deployment to a size
(R19). One that has expired is over by itself; nothing sweeps."""

import uuid
from datetime import datetime
from typing import Any

from django.db import transaction

from claims.core.conditions import timestamp
from claims.locks import creation_lock
from console.common import clock
from console.common.errors import FailedPrecondition, FieldViolation, InvalidArgument, NotFound, PermissionDenied
from console.common.notify import publish
from console.common.wake import wake_on_commit
from console.organizations.actors import Actor
from console.organizations.models import Organization
from console.organizations.services import audit_record
from deployments.locks import deployment_locked
from deployments.models import Deployment, Hold, HoldKind
from deployments.selectors import in_force

LONGEST_REASON = 200


def hold_create(
    *,
    actor: Actor,
    kind: str,
    reason: str,
    deployment_id: uuid.UUID | None = None,
    fleet: bool = False,
    size: int | None = None,
    expires_at: datetime | None = None,
) -> Hold:
    """Freeze the deployment, the actor's organization (no deployment named) or the fleet; or pin the deployment.

    Without `expires_at` it lasts until somebody ends it. Refuses with InvalidArgument (the request), PermissionDenied,
    NotFound, FailedPrecondition (a size outside min and max; one of the same kind is in force already).
    """
    _require_right(actor, fleet)
    _require_form(kind, reason, deployment_id, fleet, size)
    with transaction.atomic():
        organization = None if fleet else actor.require_organization()
        # Before the time is read: one that waited here for another must see it.
        creation_lock(f"hold {kind} {deployment_id or (organization.id if organization else 'fleet')}")
        now = clock.now()
        if expires_at is not None and expires_at <= now:
            raise InvalidArgument.of("expires_at", f"must lie in the future; it is {now:%Y-%m-%d %H:%M:%S} UTC")
        deployment = _deployment(organization, deployment_id, size) if organization and deployment_id else None
        _require_none(organization, deployment, kind, now)
        hold = Hold.objects.create(
            organization=organization, deployment=deployment, kind=kind, size=size, reason=reason.strip(),
            created_by=actor.name[:150], created_at=now, expires_at=expires_at,
        )  # fmt: skip
        _record(actor, hold, "freeze" if kind == HoldKind.FREEZE else "pin", after=_described(hold))
        _tell(organization)
    return hold


def hold_end(*, actor: Actor, hold_id: uuid.UUID) -> Hold:
    """Let scaling go on. One that is over already stays as it is."""
    with transaction.atomic():
        hold = hold_get(actor, hold_id, lock=True)
        _require_right(actor, fleet=hold.organization_id is None)
        now = clock.now()
        if hold.ended_at is not None or (hold.expires_at is not None and hold.expires_at <= now):
            return hold
        hold.ended_at, hold.ended_by = now, actor.name[:150]
        hold.save(update_fields=["ended_at", "ended_by"])
        _record(actor, hold, "release", before=_described(hold))
        _tell(hold.organization)
    return hold


def hold_get(actor: Actor, hold_id: uuid.UUID, *, lock: bool = False) -> Hold:
    """A hold of the actor's organization or of the fleet; NotFound for another organization's."""
    found = Hold.objects.select_related("deployment", "organization")
    if lock:
        found = found.select_for_update(of=("self",), no_key=True)
    hold = found.filter(id=hold_id).first()
    mine = actor.organization.key if actor.organization else None
    if hold is None or (hold.organization_id is not None and hold.organization_id != mine):
        raise NotFound("Hold", hold_id)
    return hold


def _require_right(actor: Actor, fleet: bool) -> None:
    if fleet and not actor.is_platform:
        raise PermissionDenied(f"Only platform staff holds the whole fleet; {actor.name} is none.")
    actor.require_write()


def _require_form(kind: str, reason: str, deployment_id: uuid.UUID | None, fleet: bool, size: int | None) -> None:
    found = []
    if kind not in HoldKind.values:
        found.append(FieldViolation("kind", f"must be one of {', '.join(HoldKind.values)}; it is {kind!r}"))
    if not 1 <= len(reason.strip()) <= LONGEST_REASON:
        found.append(FieldViolation("reason", f"must have 1 to {LONGEST_REASON} characters: others read why"))
    if fleet and deployment_id is not None:
        found.append(FieldViolation("fleet", "names the whole fleet; leave the deployment out"))
    if kind == HoldKind.PIN and (deployment_id is None or size is None):
        name = "deployment_id" if deployment_id is None else "size"
        found.append(FieldViolation(name, "value is required: a pin is the size of one deployment"))
    if kind == HoldKind.FREEZE and size is not None:
        found.append(FieldViolation("size", "belongs to a pin; a freeze keeps the size there is"))
    if found:
        raise InvalidArgument(found)


def _deployment(organization: Organization, deployment_id: uuid.UUID, size: int | None) -> Deployment:
    """The deployment, its row held so that min and max stay what the pin was checked against."""
    deployment = deployment_locked(organization, deployment_id)
    policy = deployment.autoscaling
    if size is not None and not policy.min <= size <= policy.max:
        raise FailedPrecondition(
            "PIN_OUTSIDE_BOUNDS", f"deployments/{deployment.id}",
            f"a size of {size} lies outside {policy.min} to {policy.max}, the min and max of {deployment.name}; "
            "change these first.",
        )  # fmt: skip
    return deployment


def _require_none(organization: Organization | None, deployment: Deployment | None, kind: str, now: datetime) -> None:
    """One of a kind at a time: two pins would have no answer, and a second freeze would outlast the first unseen."""
    same = in_force(Hold.objects.filter(organization=organization, deployment=deployment, kind=kind), now).first()
    if same is not None:
        until = f"until {same.expires_at:%Y-%m-%d %H:%M} UTC" if same.expires_at else "until it is ended"
        what = f"pinned to {same.size}" if kind == HoldKind.PIN else "frozen"
        raise FailedPrecondition(
            "HELD_ALREADY", f"holds/{same.id}",
            f"{deployment or organization or 'The fleet'} is {what} {until} by {same.created_by} ({same.reason}); "
            "end that first.",
        )  # fmt: skip


def _described(hold: Hold) -> dict[str, Any]:
    return {"hold": str(hold.id), "kind": hold.kind, "size": hold.size, "reason": hold.reason,
            "expiresAt": timestamp(hold.expires_at) if hold.expires_at else None}  # fmt: skip


def _record(
    actor: Actor, hold: Hold, verb: str, before: dict[str, Any] | None = None, after: dict[str, Any] | None = None
) -> None:
    """Under the name of what is held, so that it stands among the changes of that."""
    if hold.deployment is not None:
        kind, id, name = "Deployment", str(hold.deployment.id), hold.deployment.name
    elif hold.organization is not None:
        kind, id, name = "Organization", hold.organization.id, hold.organization.name
    else:
        kind, id, name = "Fleet", "fleet", "fleet"
    audit_record(actor=actor, action=f"{kind.lower()}.{verb}", obj_type=kind, obj_id=id, obj_name=name, before=before,
                 after=after, organization=hold.organization)  # fmt: skip


def _tell(organization: Organization | None) -> None:
    every = Organization.objects.values_list("key", flat=True)
    publish("deployments", [organization.key] if organization else every)
    publish("notes", [organization.key] if organization else every)
    wake_on_commit("deployments.tasks.scale", "control")
