"""Notes on the charts of a deployment, such as "1.4 out"."""

import uuid
from datetime import datetime

from django.db import transaction

from claims.core.conditions import timestamp
from console.common import clock
from console.common.errors import InvalidArgument, NotFound, PermissionDenied
from console.common.notify import publish
from console.organizations.actors import Actor
from console.organizations.services import audit_record
from deployments.models import Annotation
from deployments.selectors import deployment_get

LONGEST_TEXT = 200


def annotation_create(*, actor: Actor, deployment_id: uuid.UUID, text: str, at: datetime | None = None) -> Annotation:
    """Note what happened at a time (None: now) that is over."""
    actor.require_write()
    organization = actor.require_organization()
    if not 1 <= len(text.strip()) <= LONGEST_TEXT:
        raise InvalidArgument.of("text", f"must have 1 to {LONGEST_TEXT} characters")
    with transaction.atomic():
        now, deployment = clock.now(), deployment_get(organization, deployment_id)
        if at is not None and at > now:
            raise InvalidArgument.of("at", f"must not lie in the future; it is {now:%Y-%m-%d %H:%M:%S} UTC")
        note = Annotation.objects.create(deployment=deployment, at=at or now, text=text.strip(), user=actor.user)
        audit_record(actor=actor, action="note.create", obj_type="Annotation", obj_id=str(note.id),
                     obj_name=deployment.name, after={"text": note.text, "at": timestamp(note.at)},
                     organization=organization)  # fmt: skip
        publish("notes", [organization.key])
    return note


def annotation_delete(*, actor: Actor, annotation_id: uuid.UUID) -> None:
    """Take a note away: whoever wrote it, and admins."""
    organization = actor.require_organization()
    with transaction.atomic():
        found = Annotation.objects.select_for_update(of=("self",)).select_related("deployment")
        note = found.filter(id=annotation_id, deployment__organization=organization).first()
        if note is None:
            raise NotFound("Annotation", annotation_id)
        wrote = actor.user is not None and note.user_id == actor.user.pk
        if not (wrote or actor.can_write):
            raise PermissionDenied(f"Only who wrote a note and admins delete it; {actor.name} did not.")
        audit_record(actor=actor, action="note.delete", obj_type="Annotation", obj_id=str(note.id),
                     obj_name=note.deployment.name, before={"text": note.text, "at": timestamp(note.at)},
                     organization=organization)  # fmt: skip
        note.delete()
        publish("notes", [organization.key])
