"""Several deployments changed at once: all of them, or none."""

import uuid
from collections.abc import Mapping, Sequence

from django.db import transaction

from console.common import clock
from console.common.errors import FailedPrecondition, InvalidArgument, NotFound
from console.common.notify import publish
from console.common.wake import wake_on_commit
from console.organizations.actors import Actor
from console.organizations.models import Organization
from console.organizations.services import audit_record
from deployments.core.policy import MAX_PRIORITY
from deployments.locks import deployments_locked
from deployments.models import AutoscalingPolicy, Deployment
from deployments.services.deployments import deployment_set_disabled


def priorities_set(
    *, actor: Actor, deployment_ids: Sequence[uuid.UUID], priority: int, seen: Mapping[uuid.UUID, int] | None = None
) -> list[Deployment]:
    """Give these deployments one priority; returns those that changed. 0 is what an unset one acts as (R1).

    `seen` are the priorities that the editor saw: another one in their place is a FailedPrecondition.
    """
    actor.require_write()
    organization = actor.require_organization()
    if not 0 <= priority <= MAX_PRIORITY:
        text = f"value must be greater than or equal to 0 and less than or equal to {MAX_PRIORITY}"
        raise InvalidArgument.of("autoscaling.priority", text)
    with transaction.atomic():
        rows = _locked(organization, deployment_ids)
        for one in rows:
            _require_seen(one, (seen or {}).get(one.id))
        changed = [one for one in rows if (one.autoscaling.priority or 0) != priority]
        now = clock.now()
        AutoscalingPolicy.objects.filter(deployment__in=changed).update(priority=priority or None)
        Deployment.objects.filter(key__in=[one.key for one in changed]).update(updated_at=now)
        for one in changed:
            audit_record(actor=actor, action="deployment.autoscaling", obj_type="Deployment", obj_id=str(one.id),
                         obj_name=one.name, before={"priority": one.autoscaling.priority},
                         after={"priority": priority or None}, organization=organization)  # fmt: skip
        publish("deployments", [organization.key])
        wake_on_commit("deployments.tasks.scale", "control")
    return changed


def deployments_switch(*, actor: Actor, deployment_ids: Sequence[uuid.UUID], disabled: bool) -> list[Deployment]:
    """Disable or enable them all."""
    actor.require_write()
    with transaction.atomic():
        rows = _locked(actor.require_organization(), deployment_ids)
        return [
            deployment_set_disabled(actor=actor, deployment_id=one.id, disabled=disabled)
            for one in rows
            if one.disabled != disabled
        ]


def _locked(organization: Organization, ids: Sequence[uuid.UUID]) -> list[Deployment]:
    """The deployments, held in the order of their keys; NotFound when one is not there, or goes."""
    if not ids:
        raise InvalidArgument.of("deployment_ids", "value must contain at least 1 item(s)")
    rows = deployments_locked(organization, ids)
    missing = set(ids) - {one.id for one in rows}
    if missing:
        raise NotFound("Deployment", min(missing))
    return rows


def _require_seen(one: Deployment, seen: int | None) -> None:
    priority = one.autoscaling.priority or 0
    if seen is not None and seen != priority:
        raise FailedPrecondition(
            "CHANGED_MEANWHILE", f"deployments/{one.id}",
            f"The priority of {one.name} was {seen} when you looked and is {priority} now; look again, then save.",
        )  # fmt: skip
