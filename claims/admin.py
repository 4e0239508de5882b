"""The platform's tooling for capacity and money. What changes something does it through the services."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, F, IntegerField, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce, Greatest
from django.http import HttpRequest

from claims import models, services
from claims.core.states import LIVE_STATES
from console.common.errors import Refusal
from console.organizations.admin import ReadOnlyAdmin, platform_actor


class ThroughServiceAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Saves through a service; a refusal is shown on the form and changes nothing."""

    def save_through(self, request: HttpRequest, obj: Any, form: forms.ModelForm[Any]) -> None:
        """Each admin names its service here."""
        raise AssertionError(f"{type(self).__name__} saves nothing")

    def save_model(self, request: HttpRequest, obj: Any, form: forms.ModelForm[Any], change: bool) -> None:
        try:
            self.save_through(request, obj, form)
        except Refusal as refusal:
            self.message_user(request, refusal.message, messages.ERROR)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> None:  # type: ignore[override]
        """The audit trail is written by the service, with before and after."""

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> None:  # type: ignore[override]
        """As above."""


@admin.register(models.Quota)
class QuotaAdmin(ThroughServiceAdmin):
    list_display = ["organization", "zone", "instance_type", "limit", "reserved", "other_usage", "committed", "free"]
    list_filter = ["organization", "offering__zone", "offering__instance_type"]
    search_fields = ["organization__slug", "organization__id", "offering__instance_type__name"]
    list_select_related = ["organization", "offering__zone", "offering__instance_type"]
    fields = ["organization", "offering", "limit", "reserved", "other_usage"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["organization", "offering"] if obj else []

    def get_queryset(self, request: HttpRequest) -> QuerySet[models.Quota]:
        """With what CUSTOMER claims commit (C3), in the same query."""
        live = (
            models.Instance.objects.filter(claim=OuterRef("key"), state__in=LIVE_STATES, lost_at__isnull=True)
            .order_by()
            .values("claim")
            .annotate(n=Count("key"))
            .values("n")
        )
        claims = models.CapacityClaim.objects.filter(
            organization=OuterRef("organization"), offering=OuterRef("offering"), kind=models.ClaimKind.CUSTOMER
        ).annotate(held=Greatest(F("target"), Coalesce(Subquery(live, output_field=IntegerField()), 0)))
        total = claims.order_by().values("offering").annotate(n=Sum("held")).values("n")
        found: QuerySet[models.Quota] = super().get_queryset(request)
        return found.annotate(n_committed=Coalesce(Subquery(total), 0))

    @admin.display(ordering="offering__zone__name")
    def zone(self, quota: models.Quota) -> str:
        return quota.offering.zone.name

    @admin.display(ordering="offering__instance_type__name")
    def instance_type(self, quota: models.Quota) -> str:
        return quota.offering.instance_type.name

    @admin.display(ordering="n_committed")
    def committed(self, quota: models.Quota) -> int:
        return int(quota.n_committed)  # type: ignore[attr-defined]

    def free(self, quota: models.Quota) -> int:
        return max(0, quota.limit - quota.other_usage - self.committed(quota))

    def save_through(self, request: HttpRequest, obj: models.Quota, form: forms.ModelForm[Any]) -> None:
        stored = services.quota_set(
            actor=platform_actor(request), organization=obj.organization, offering=obj.offering, limit=obj.limit,
            reserved=obj.reserved, other_usage=obj.other_usage,
        )  # fmt: skip
        obj.pk = stored.pk


@admin.register(models.Offering)
class OfferingAdmin(ThroughServiceAdmin):
    list_display = ["zone", "instance_type", "claimable", "pool_size", "standing"]
    list_filter = ["zone", "instance_type", "claimable"]
    list_select_related = ["zone", "instance_type"]
    fields = ["zone", "instance_type", "pool_size", "claimable"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["zone", "instance_type"] if obj else []

    def get_queryset(self, request: HttpRequest) -> QuerySet[models.Offering]:
        pool = models.Instance.objects.filter(
            offering=OuterRef("key"), source=models.Source.POOL, state__in=["READY", "DRAINING"]
        )
        count = pool.order_by().values("offering").annotate(n=Count("key")).values("n")
        found: QuerySet[models.Offering] = super().get_queryset(request)
        return found.annotate(n_standing=Coalesce(Subquery(count), 0))

    @admin.display(description="in the pool now", ordering="n_standing")
    def standing(self, offering: models.Offering) -> int:
        return int(offering.n_standing)  # type: ignore[attr-defined]

    def save_through(self, request: HttpRequest, obj: models.Offering, form: forms.ModelForm[Any]) -> None:
        size, claimable = obj.pool_size, obj.claimable
        if not obj.pk:
            obj.pool_size = 0
            obj.save()
        models.Offering.objects.filter(pk=obj.pk).update(claimable=claimable)
        services.pool_resize(actor=platform_actor(request), offering=obj, size=size)


@admin.register(models.Price)
class PriceAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Prices are ranges of time: to change one, close the range and add the next. The reserved rates of the demo are
    invented (60 % of the on-demand price)."""

    list_display = ["instance_type", "zone", "kind", "usd_per_gpu_hour", "valid"]
    list_filter = ["instance_type", "zone", "kind"]
    list_select_related = ["instance_type", "zone"]


@admin.register(models.Zone)
class ZoneAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["name"]
    search_fields = ["name"]


@admin.register(models.InstanceType)
class InstanceTypeAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["name", "gpus", "gpu_model", "gpu_memory_gib"]
    search_fields = ["name", "gpu_model"]


@admin.register(models.CapacityClaim)
class ClaimAdmin(ReadOnlyAdmin):
    list_display = ["name", "organization", "offering", "kind", "target", "status", "created_at"]
    list_filter = ["status", "kind", "organization", "offering__zone", "offering__instance_type"]
    search_fields = ["name", "id"]
    list_select_related = ["organization", "offering__zone", "offering__instance_type"]


@admin.register(models.Instance)
class InstanceAdmin(ReadOnlyAdmin):
    list_display = ["name", "offering", "source", "state", "organization", "claim", "gpus_used", "gpus", "last_error"]
    list_filter = ["state", "source", "offering__zone", "offering__instance_type", "organization"]
    search_fields = ["name"]
    list_select_related = ["offering__zone", "offering__instance_type", "organization", "claim"]


@admin.register(models.UsageInterval)
class UsageIntervalAdmin(ReadOnlyAdmin):
    list_display = [
        "id",
        "kind",
        "organization",
        "holder_name",
        "offering",
        "instance",
        "gpus",
        "started_at",
        "ended_at",
    ]
    list_filter = ["kind", "organization", "offering__zone", "offering__instance_type"]
    search_fields = ["holder_name", "holder_id"]
    list_select_related = ["organization", "offering__zone", "offering__instance_type", "instance"]
    date_hierarchy = "started_at"


@admin.register(models.RatedSlice)
class RatedSliceAdmin(ReadOnlyAdmin):
    list_display = ["id", "organization", "interval", "started_at", "ended_at", "rate", "usd_per_gpu_hour", "usd"]
    list_filter = ["organization", "rate"]
    list_select_related = ["organization", "interval"]


@admin.register(models.QuotaChange)
class QuotaChangeAdmin(ReadOnlyAdmin):
    list_display = ["at", "organization", "offering", "limit", "reserved", "other_usage", "user"]
    list_filter = ["organization"]
    list_select_related = ["organization", "offering__zone", "offering__instance_type", "user"]
