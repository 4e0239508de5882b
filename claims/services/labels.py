"""Labels: given to a claim here; to a deployment in `deployments.services.labels`, by the same rules."""

import uuid
from collections.abc import Callable, Mapping

from django.db import transaction

from claims import locks
from claims.core.states import Status
from claims.labels import labels_get
from claims.models import CapacityClaim, Labels, UsageKind
from console.common.errors import FailedPrecondition, InvalidArgument, NotFound
from console.common.labels import validate_labels
from console.common.notify import publish
from console.organizations.actors import Actor
from console.organizations.models import Organization
from console.organizations.services import audit_record


def claim_labels_set(
    *, actor: Actor, claim_id: uuid.UUID, labels: Mapping[str, str], seen: Mapping[str, str] | None = None
) -> None:
    """Give a claim these labels instead of those it has; the same again changes nothing. `seen` are those that the editor
    saw.

    Refuses with PermissionDenied, InvalidArgument, NotFound (it is being deleted, too), FailedPrecondition (somebody else
    has changed what was seen).
    """
    labels_require(actor, labels)
    organization = actor.require_organization()
    with transaction.atomic():
        claim = claim_held(organization, claim_id)
        if labels_put(organization, UsageKind.CLAIM, claim.id, labels, actor=actor, name=claim.name, seen=seen):
            publish("claims", [organization.key])


def claim_labelled(*, actor: Actor, labels: Mapping[str, str], make: Callable[[], CapacityClaim]) -> CapacityClaim:
    """The claim that `make` creates, with these labels, or neither."""
    labels_require(actor, labels)
    with transaction.atomic():
        claim = make()
        claim_labels_set(actor=actor, claim_id=claim.id, labels=labels)
    return claim


def claim_held(organization: Organization, id: uuid.UUID) -> CapacityClaim:
    """The claim once nobody else can label it."""
    claim = locks.claim_lock(organization, id)
    if claim is None or claim.status == Status.DELETING:
        raise NotFound("CapacityClaim", id)
    return claim


def labels_require(actor: Actor, labels: Mapping[str, str]) -> None:
    """That the actor may give labels, and these."""
    actor.require_write()
    violations = validate_labels(labels)
    if violations:
        raise InvalidArgument(violations)


def labels_put(
    organization: Organization,
    kind: UsageKind,
    id: uuid.UUID,
    labels: Mapping[str, str],
    *,
    actor: Actor,
    name: str,
    seen: Mapping[str, str] | None,
) -> bool:
    """Store labels of a claim or a deployment whose row is held; False where it has these already."""
    before, after = labels_get(organization, kind, id), dict(labels)
    if before == after:
        return False
    if seen is not None and seen != before:
        text = f"The labels of {name} were changed meanwhile; look at them again, then save."
        raise FailedPrecondition("CHANGED_MEANWHILE", str(id), text)
    Labels.objects.update_or_create(organization=organization, kind=kind, holder_id=id, defaults={"labels": after})
    action, type_ = OF[kind]
    audit_record(actor=actor, action=action, obj_type=type_, obj_id=str(id), obj_name=name,
                 before={"labels": before}, after={"labels": after}, organization=organization)  # fmt: skip
    return True


OF = {UsageKind.CLAIM: ("claim.labels", "CapacityClaim"), UsageKind.REPLICA: ("deployment.labels", "Deployment")}
