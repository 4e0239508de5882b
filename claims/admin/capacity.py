"""Quota, pools, zones, types and claims."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce, Greatest
from django.http import HttpRequest, HttpResponse

from claims import models, services
from claims.admin.base import ThroughServiceAdmin, confirmed_action
from claims.admin.quota_csv import QuotaCsv
from claims.core.states import LIVE_STATES
from claims.effects import withdrawal_effects
from claims.selectors import COUNTING, IN_CLUSTER, POOL_LIVE, PROMISED, claim_effective
from console.common.words import counted
from console.organizations.admin import OrganizationFilter, ReadOnlyAdmin, RoomyAdmin, platform_actor


@admin.register(models.Quota)
class QuotaAdmin(QuotaCsv, ThroughServiceAdmin):
    list_display = ["organization", "zone", "instance_type", "limit", "reserved", "other_usage", "committed", "free"]
    list_filter = [OrganizationFilter, "offering__zone", "offering__instance_type"]
    search_fields = ["organization__slug", "organization__id", "organization__name", "offering__instance_type__name",
                     "offering__zone__name"]  # fmt: skip
    autocomplete_fields = ["organization", "offering"]
    list_select_related = ["organization", "offering__zone", "offering__instance_type"]
    fields = ["organization", "offering", "limit", "reserved", "other_usage"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["organization", "offering"] if obj else []

    def get_queryset(self, request: HttpRequest) -> QuerySet[models.Quota]:
        """With what CUSTOMER claims commit (C3), in the same query."""
        live = (
            models.Instance.objects.filter(claim=OuterRef("key"), state__in=LIVE_STATES, lost_at__isnull=True)
            .exclude(work=models.Work.BAD)
            .order_by()
            .values("claim")
            .annotate(n=Count("key"))
            .values("n")
        )
        claims = models.CapacityClaim.objects.filter(
            organization=OuterRef("organization"), offering=OuterRef("offering"), kind=models.ClaimKind.CUSTOMER
        ).annotate(held=Greatest(PROMISED, Coalesce(Subquery(live, output_field=IntegerField()), 0)))
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
    list_display = ["zone", "instance_type", "claimable", "withdrawn_at", "pool_size", "standing", "to_leave"]
    search_fields = ["zone__name", "instance_type__name"]
    list_filter = ["zone", "instance_type", "claimable", ("withdrawn_at", admin.EmptyFieldListFilter)]
    list_select_related = ["zone", "instance_type"]
    fields = ["zone", "instance_type", "pool_size", "claimable"]
    actions = ["withdraw", "restore"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["zone", "instance_type"] if obj else []

    def get_queryset(self, request: HttpRequest) -> QuerySet[models.Offering]:
        found: QuerySet[models.Offering] = super().get_queryset(request)
        return found.annotate(n_standing=Count("instances", filter=POOL_LIVE))

    @admin.display(description="in the pool, joining included", ordering="n_standing")
    def standing(self, offering: models.Offering) -> int:
        return int(offering.n_standing)  # type: ignore[attr-defined]

    @admin.display(description="to leave as they free up")
    def to_leave(self, offering: models.Offering) -> int:
        return max(0, self.standing(offering) - offering.pool_wanted)

    def save_through(self, request: HttpRequest, obj: models.Offering, form: forms.ModelForm[Any]) -> None:
        actor, size, claimable = platform_actor(request), obj.pool_size, obj.claimable
        if not obj.pk:
            obj.pool_size = 0
            obj.save()
        services.offering_claimable_set(actor=actor, offering=obj, claimable=claimable)
        services.pool_resize(actor=actor, offering=obj, size=size)

    @admin.action(description="Withdraw: nothing new, the pool is given back as it frees up")
    def withdraw(self, request: HttpRequest, queryset: QuerySet[models.Offering]) -> HttpResponse | None:
        def effects(rows: Sequence[Any]) -> list[tuple[str, str]]:
            return [(str(one), text) for one, text in withdrawal_effects(rows)]

        return confirmed_action(
            self, request, queryset, action="withdraw", title="Withdraw offerings", effects=effects,
            apply=lambda row, _: services.offering_withdraw(actor=platform_actor(request), offering=row),
            asks_reason=False,
        )  # fmt: skip

    @admin.action(description="Restore: offer it again")
    def restore(self, request: HttpRequest, queryset: QuerySet[models.Offering]) -> HttpResponse | None:
        def effects(rows: Sequence[Any]) -> list[tuple[str, str]]:
            return [(str(one), f"its pool grows back to {counted(one.pool_size, 'instance')}") for one in rows]

        return confirmed_action(
            self, request, queryset, action="restore", title="Restore offerings", effects=effects,
            apply=lambda row, _: services.offering_restore(actor=platform_actor(request), offering=row),
            asks_reason=False,
        )  # fmt: skip


@admin.register(models.Zone)
class ZoneAdmin(RoomyAdmin):
    list_display = ["name"]
    search_fields = ["name"]


@admin.register(models.InstanceType)
class InstanceTypeAdmin(RoomyAdmin):
    list_display = ["name", "gpus", "gpu_model", "gpu_memory_gib"]
    search_fields = ["name", "gpu_model"]


@admin.register(models.CapacityClaim)
class ClaimAdmin(ReadOnlyAdmin):
    list_display = ["name", "organization", "offering", "kind", "status", "target", "window_count", "effective", "allocated",
                    "reduction_at", "reduced_at", "join_failures", "created_at"]  # fmt: skip
    list_filter = ["status", "kind", ("reduction_at", admin.EmptyFieldListFilter), OrganizationFilter, "offering__zone",
                   "offering__instance_type"]  # fmt: skip
    search_fields = ["name", "id", "organization__slug"]
    list_select_related = ["organization", "offering__zone", "offering__instance_type"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[models.CapacityClaim]:
        found: QuerySet[models.CapacityClaim] = super().get_queryset(request)
        return found.annotate(
            counting=Count("instances", filter=COUNTING), n_allocated=Count("instances", filter=IN_CLUSTER)
        )

    @admin.display(description="to have now")
    def effective(self, claim: models.CapacityClaim) -> int:
        return claim_effective(claim)

    @admin.display(ordering="n_allocated")
    def allocated(self, claim: models.CapacityClaim) -> int:
        return int(claim.n_allocated)  # type: ignore[attr-defined]


class OrganizationOfClaimFilter(OrganizationFilter):
    path = "claim__organization"


@admin.register(models.ClaimWindow)
class WindowAdmin(ReadOnlyAdmin):
    list_display = ["claim", "count", "first", "at", "duration", "recurrence", "time_zone", "until", "opened_for"]
    list_filter = ["time_zone", OrganizationOfClaimFilter]
    search_fields = ["claim__name", "claim__id", "claim__organization__slug", "id"]
    list_select_related = ["claim"]
