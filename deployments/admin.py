"""What runs, for the platform: read-only, since changes are the organizations' own."""

from django.contrib import admin

from console.organizations.admin import ReadOnlyAdmin
from deployments import models


@admin.register(models.Deployment)
class DeploymentAdmin(ReadOnlyAdmin):
    list_display = ["name", "organization", "instance_type", "gpu_count", "status", "disabled", "updated_at"]
    list_filter = ["status", "organization", "instance_type", "disabled"]
    search_fields = ["name", "id", "model_name"]
    list_select_related = ["organization", "instance_type"]


@admin.register(models.Gateway)
class GatewayAdmin(ReadOnlyAdmin):
    list_display = ["name", "organization", "sent_zones", "status"]
    list_filter = ["organization", "status"]
    list_select_related = ["organization"]


@admin.register(models.Replica)
class ReplicaAdmin(ReadOnlyAdmin):
    list_display = [
        "key",
        "deployment",
        "instance_type",
        "state",
        "capacity_class",
        "gpus",
        "active",
        "created_at",
        "reason",
    ]
    list_filter = ["state", "capacity_class", "instance_type"]
    search_fields = ["deployment__name"]
    list_select_related = ["deployment", "instance_type"]


@admin.register(models.Decision)
class DecisionAdmin(ReadOnlyAdmin):
    list_display = ["id", "at", "deployment", "current", "wanted", "granted", "bound"]
    list_filter = ["bound"]
    search_fields = ["deployment__name"]
    list_select_related = ["deployment"]
