"""Writes of the deployments half, one module a noun."""

from deployments.services.annotations import annotation_create, annotation_delete
from deployments.services.bulk import deployments_switch, priorities_set
from deployments.services.deployments import (
    autoscaling_update,
    deployment_create,
    deployment_delete,
    deployment_set_disabled,
    deployment_update,
)
from deployments.services.gateways import gateway_create, gateway_delete, gateway_update
from deployments.services.holds import hold_create, hold_end
from deployments.services.labels import deployment_labels_set
from deployments.services.look_ahead import look_ahead_set
from deployments.services.memory import model_memory_set
from deployments.services.replicas import replica_restart
from deployments.services.shadow import shadow_set

__all__ = [
    "annotation_create",
    "annotation_delete",
    "autoscaling_update",
    "deployment_create",
    "deployment_delete",
    "deployment_labels_set",
    "deployment_set_disabled",
    "deployment_update",
    "deployments_switch",
    "gateway_create",
    "gateway_delete",
    "gateway_update",
    "hold_create",
    "hold_end",
    "look_ahead_set",
    "model_memory_set",
    "priorities_set",
    "replica_restart",
    "shadow_set",
]
