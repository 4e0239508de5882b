"""Writes of the deployments half, one module a noun."""

from deployments.services.deployments import (
    autoscaling_update,
    deployment_create,
    deployment_delete,
    deployment_set_disabled,
    deployment_update,
)
from deployments.services.gateways import gateway_create, gateway_delete, gateway_update

__all__ = [
    "autoscaling_update",
    "deployment_create",
    "deployment_delete",
    "deployment_set_disabled",
    "deployment_update",
    "gateway_create",
    "gateway_delete",
    "gateway_update",
]
