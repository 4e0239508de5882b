"""Shadow: the sizes of a deployment are decided and shown, and nothing is acted on."""

import uuid

from django.db import transaction

from console.common.notify import publish
from console.organizations.actors import Actor
from console.organizations.services import audit_record
from deployments.locks import deployment_locked
from deployments.models import Deployment


def shadow_set(*, actor: Actor, deployment_id: uuid.UUID, shadow: bool) -> Deployment:
    """Put a deployment into shadow, where it keeps the replicas it has, or act on what is decided for it from the next
    pass on. The same again changes nothing."""
    actor.require_write()
    organization = actor.require_organization()
    with transaction.atomic():
        row = deployment_locked(organization, deployment_id)
        if row.shadow == shadow:
            return row
        row.shadow = shadow
        row.save(update_fields=["shadow"])
        audit_record(actor=actor, action="deployment.shadow", obj_type="Deployment", obj_id=str(row.id),
                     obj_name=row.name, before={"shadow": not shadow}, after={"shadow": shadow},
                     organization=organization)  # fmt: skip
        publish("notes", [organization.key])
    return row
