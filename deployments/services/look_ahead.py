"""Look-ahead of a deployment that is set by hand: Headroom's own setting, beside the vendor's spec."""

import uuid

from django.db import transaction

from console.common.notify import publish
from console.organizations.actors import Actor
from console.organizations.services import audit_record
from deployments.locks import deployment_locked
from deployments.models import AutoscalingPolicy, Deployment


def look_ahead_set(*, actor: Actor, deployment_id: uuid.UUID, look_ahead: bool) -> Deployment:
    """Whether replicas are kept for what is expected, from the next pass on. The same again changes nothing."""
    actor.require_write()
    organization = actor.require_organization()
    with transaction.atomic():
        row = deployment_locked(organization, deployment_id)
        changed = AutoscalingPolicy.objects.filter(deployment=row).exclude(look_ahead=look_ahead)
        if not changed.update(look_ahead=look_ahead):
            return row
        audit_record(actor=actor, action="deployment.lookahead", obj_type="Deployment", obj_id=str(row.id),
                     obj_name=row.name, before={"lookAhead": not look_ahead}, after={"lookAhead": look_ahead},
                     organization=organization)  # fmt: skip
        publish("notes", [organization.key])
    return row
