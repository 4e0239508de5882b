"""Reads of objectives."""

from console.common.errors import NotFound
from deployments.models import Deployment, DeploymentObjective, ObjectiveChoice


def objective_of(deployment: Deployment) -> DeploymentObjective | None:
    """None where the deployment is sized by settings set by hand. One query."""
    return DeploymentObjective.objects.select_related("choice").filter(deployment=deployment).first()


def objective_get(deployment: Deployment) -> DeploymentObjective:
    found = objective_of(deployment)
    if found is None:
        raise NotFound("Objective", deployment.id)
    return found


def choices_of(deployment: Deployment, limit: int, before: int | None = None) -> list[ObjectiveChoice]:
    """The newest first; those older than the choice `before`. One query."""
    found = ObjectiveChoice.objects.filter(deployment=deployment)
    if before is not None:
        found = found.filter(id__lt=before)
    return list(found.order_by("-id")[:limit])
