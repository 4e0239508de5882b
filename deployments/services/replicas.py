"""Replicas by hand. The scaling loop starts, moves and ends them; an operator may ask for one to be started anew."""

import uuid

from django.db import transaction

from claims.core.states import Status
from console.common.errors import FailedPrecondition, NotFound
from console.common.notify import publish
from console.common.wake import wake_on_commit
from console.organizations.actors import Actor
from console.organizations.services import audit_record
from deployments.core.states import LIVE, ReplicaState
from deployments.models import Deployment, Replica
from deployments.selectors import deployment_get

RESTART = 0  # a revision older than every other: the planner renews it, replacement first (R10)


def replica_restart(*, actor: Actor, deployment_id: uuid.UUID, replica_key: int) -> Replica:
    """Have a replica that is starting or ready replaced by a new one; asking again changes nothing.

    Refuses with PermissionDenied, NotFound, FailedPrecondition (it is ending or has ended).
    """
    actor.require_write()
    deployment = deployment_get(actor.require_organization(), deployment_id)
    with transaction.atomic():
        replica = _locked(deployment, replica_key)
        if replica.revision == RESTART:
            return replica
        before, replica.revision = replica.revision, RESTART
        replica.save(update_fields=["revision"])
        audit_record(actor=actor, action="replica.restart", obj_type="Deployment", obj_id=str(deployment.id),
                     obj_name=deployment.name, before={"replica": replica.key, "revision": before},
                     after={"replica": replica.key}, organization=deployment.organization)  # fmt: skip
        publish("deployments", [deployment.organization_id])
        wake_on_commit("deployments.tasks.scale", "control")
    return replica


def _locked(deployment: Deployment, key: int) -> Replica:
    """The replica alone: its deployment's row is locked after it, never before, by those who end replicas."""
    if deployment.status == Status.DELETING:
        raise NotFound("Deployment", deployment.id)
    found = Replica.objects.select_for_update(no_key=True).filter(deployment=deployment, key=key).first()
    if found is None:
        raise NotFound("Replica", key)
    if found.state not in LIVE:
        state = ReplicaState(found.state).name
        raise FailedPrecondition(
            "REPLICA_ENDING", f"replicas/{key}",
            f"Replica {key} is {state}; only one that is STARTING or READY can be started anew.",
        )  # fmt: skip
    return found
