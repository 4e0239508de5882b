"""What an operator says about the model's need of GPU memory: Headroom's own setting, beside the vendor's spec."""

import uuid

from django.db import transaction

from console.common.errors import InvalidArgument
from console.common.notify import publish
from console.organizations.actors import Actor
from console.organizations.services import audit_record
from deployments.locks import deployment_locked
from deployments.models import Deployment

MOST_GIB = 100_000


def model_memory_set(*, actor: Actor, deployment_id: uuid.UUID, gib: int | None) -> Deployment:
    """GiB of GPU memory that one replica's weights need; None leaves it to the estimate. Replicas stay as they are."""
    actor.require_write()
    organization = actor.require_organization()
    if gib is not None and not 1 <= gib <= MOST_GIB:
        raise InvalidArgument.of("model_memory_gib", f"must be from 1 to {MOST_GIB} GiB; it is {gib}")
    with transaction.atomic():
        row = deployment_locked(organization, deployment_id)
        if row.model_memory_gib == gib:
            return row
        before, row.model_memory_gib = row.model_memory_gib, gib
        row.save(update_fields=["model_memory_gib"])
        audit_record(actor=actor, action="deployment.memory", obj_type="Deployment", obj_id=str(row.id),
                     obj_name=row.name, before={"modelMemoryGib": before}, after={"modelMemoryGib": gib},
                     organization=organization)  # fmt: skip
        publish("notes", [organization.key])
    return row
