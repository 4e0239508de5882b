"""The rows that changes of deployments wait for each other by, and what is known once they are held."""

import uuid
from collections.abc import Collection

from claims.core.states import Status
from console.common.errors import NotFound
from console.organizations.models import Organization
from deployments.models import Deployment


def deployment_lock(key: int) -> None:
    """The deployment's row, which is locked before its policy, objective, holds and windows."""
    list(Deployment.objects.select_for_update(no_key=True).filter(key=key).values_list("key"))


def deployment_locked(organization: Organization, id: uuid.UUID, *, deleting: bool = False) -> Deployment:
    """The deployment with its policy once nobody else can change them; NotFound too where it goes, unless `deleting`."""
    found = deployments_locked(organization, [id], deleting=deleting)
    if not found:
        raise NotFound("Deployment", id)
    return found[0]


def deployments_locked(
    organization: Organization, ids: Collection[uuid.UUID], *, deleting: bool = False
) -> list[Deployment]:
    """Those of them that are there, in the order of their keys. Two queries: what is joined to a row that is waited for
    is what it was before the wait, so the policy is read after it."""
    mine = Deployment.objects.filter(organization=organization, id__in=ids).order_by("key")
    keys = list(mine.select_for_update(no_key=True).values_list("key", flat=True))
    held = Deployment.objects.filter(key__in=keys).select_related("autoscaling", "instance_type", "organization")
    return [one for one in held.order_by("key") if deleting or one.status != Status.DELETING]
