"""What runs, for the platform: read-only, since changes are the organizations' own."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from console.organizations.admin import OrganizationFilter, ReadOnlyAdmin
from deployments import models
from deployments.core.plan import Bound


@admin.register(models.Deployment)
class DeploymentAdmin(ReadOnlyAdmin):
    list_display = ["name", "organization", "instance_type", "gpu_count", "status", "disabled", "updated_at"]
    list_filter = ["status", OrganizationFilter, "instance_type", "disabled"]
    search_fields = ["name", "id", "model_name", "organization__slug"]
    list_select_related = ["organization", "instance_type"]


@admin.register(models.Gateway)
class GatewayAdmin(ReadOnlyAdmin):
    list_display = ["name", "organization", "sent_zones", "status"]
    list_filter = [OrganizationFilter, "status"]
    search_fields = ["name", "id", "organization__slug"]
    list_select_related = ["organization"]


@admin.register(models.Replica)
class ReplicaAdmin(ReadOnlyAdmin):
    list_display = [
        "key",
        "deployment",
        "organization",
        "instances",
        "state",
        "capacity_class",
        "gpus",
        "created_at",
        "reason",
    ]
    list_filter = ["state", "capacity_class", "instance_type"]
    search_fields = ["deployment__name", "deployment__organization__slug", "placements__instance__name"]
    list_select_related = ["deployment__organization", "instance_type"]
    ordering = ["-key"]

    def organization(self, replica: models.Replica) -> str:
        return replica.deployment.organization.slug

    def get_queryset(self, request: HttpRequest) -> QuerySet[models.Replica]:
        found: QuerySet[models.Replica] = super().get_queryset(request)
        return found.prefetch_related("placements__instance")

    @admin.display(description="on")
    def instances(self, replica: models.Replica) -> str:
        return ", ".join(one.instance.name for one in replica.placements.all()) or "-"


class BoundFilter(admin.SimpleListFilter):
    """What decided; known without a look at all decisions."""

    title, parameter_name = "what decided", "bound"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, str]]:
        return [(one.name, one.name.lower()) for one in Bound]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(bound=self.value()) if self.value() else queryset


@admin.register(models.Decision)
class DecisionAdmin(ReadOnlyAdmin):
    list_display = ["id", "at", "deployment", "organization", "current", "wanted", "granted", "bound"]
    list_filter = [BoundFilter]
    search_fields = ["deployment__name", "deployment__organization__slug"]
    list_select_related = ["deployment__organization"]

    def organization(self, decision: models.Decision) -> str:
        return decision.deployment.organization.slug
