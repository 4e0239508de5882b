"""Labels of a deployment, by the rules that claims have (`claims.services.labels`)."""

import uuid
from collections.abc import Mapping

from django.db import transaction

from claims.models import UsageKind
from claims.services.labels import labels_put, labels_require
from console.common.notify import publish
from console.organizations.actors import Actor
from deployments.locks import deployment_locked


def deployment_labels_set(
    *, actor: Actor, deployment_id: uuid.UUID, labels: Mapping[str, str], seen: Mapping[str, str] | None = None
) -> None:
    """Give a deployment these labels instead of those it has; the same again changes nothing, and no replica moves. `seen`
    are those that the editor saw.

    Refuses with PermissionDenied, InvalidArgument, NotFound (it is being deleted, too), FailedPrecondition (somebody else
    has changed what was seen).
    """
    labels_require(actor, labels)
    organization = actor.require_organization()
    with transaction.atomic():
        deployment = deployment_locked(organization, deployment_id)
        if labels_put(
            organization, UsageKind.REPLICA, deployment.id, labels, actor=actor, name=deployment.name, seen=seen
        ):
            publish("notes", [organization.key])
