"""Prices, the ledger and what was rated. The ledger is read-only."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AdminSplitDateTime
from django.http import HttpRequest

from claims import models, services
from claims.admin.base import ThroughServiceAdmin
from claims.services.prices import MOST_USD
from console.organizations.admin import OrganizationFilter, ReadOnlyAdmin, platform_actor


class PriceForm(forms.ModelForm):  # type: ignore[type-arg]
    usd_per_gpu_hour = forms.DecimalField(
        label="USD per GPU-hour", min_value=0, max_value=MOST_USD, max_digits=14, decimal_places=6
    )
    starts = forms.SplitDateTimeField(
        widget=AdminSplitDateTime(), help_text="In UTC. The price before ends there; it cannot lie in what is rated."
    )

    class Meta:
        model = models.Price
        fields = ["instance_type", "zone", "kind", "usd_per_gpu_hour"]


@admin.register(models.Price)
class PriceAdmin(ThroughServiceAdmin):
    """Prices are ranges of time: a new one ends the one before. The reserved rates of the demo are invented (60 % of
    the on-demand price)."""

    form = PriceForm
    list_display = ["instance_type", "where", "kind", "usd_per_gpu_hour", "begins", "ends"]
    list_filter = ["instance_type", "zone", "kind"]
    search_fields = ["instance_type__name", "zone__name"]
    list_select_related = ["instance_type", "zone"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """One that is there has both of its ends; a new one is told when it begins."""
        when = ["begins", "ends"] if obj else ["starts"]
        return ["instance_type", "zone", "kind", "usd_per_gpu_hour", *when]

    @admin.display(description="zone", ordering="zone__name")
    def where(self, price: models.Price) -> str:
        return price.zone.name if price.zone else "zones without their own"

    @admin.display(description="from", ordering="valid")
    def begins(self, price: models.Price) -> Any:
        return price.valid.lower

    @admin.display(description="until")
    def ends(self, price: models.Price) -> Any:
        return price.valid.upper or "another is set"

    def save_through(self, request: HttpRequest, obj: models.Price, form: forms.ModelForm[Any]) -> None:
        made = services.price_set(
            actor=platform_actor(request), instance_type=obj.instance_type, zone=obj.zone,
            kind=models.PriceKind(obj.kind), usd=obj.usd_per_gpu_hour, starts=form.cleaned_data["starts"],
        )  # fmt: skip
        obj.pk, obj.valid = made.pk, made.valid


@admin.register(models.UsageInterval)
class UsageIntervalAdmin(ReadOnlyAdmin):
    list_display = [
        "id",
        "kind",
        "organization",
        "holder_name",
        "gpus",
        "started_at",
        "ended_at",
        "instance",
        "offering",
    ]
    list_filter = ["kind", ("ended_at", admin.EmptyFieldListFilter), OrganizationFilter, "offering__zone",
                   "offering__instance_type"]  # fmt: skip
    search_fields = ["holder_name", "holder_id", "organization__slug", "instance__name"]
    ordering = ["-id"]
    list_select_related = ["organization", "offering__zone", "offering__instance_type", "instance"]


@admin.register(models.RatedSlice)
class RatedSliceAdmin(ReadOnlyAdmin):
    list_display = ["id", "organization", "interval", "started_at", "ended_at", "rate", "usd_per_gpu_hour", "usd"]
    list_filter = [OrganizationFilter, "rate"]
    search_fields = ["interval__holder_name", "organization__slug"]
    list_select_related = ["organization", "interval"]
    ordering = ["-id"]


@admin.register(models.QuotaChange)
class QuotaChangeAdmin(ReadOnlyAdmin):
    list_display = ["at", "organization", "offering", "limit", "reserved", "other_usage", "user"]
    list_filter = [OrganizationFilter]
    search_fields = ["organization__slug", "offering__instance_type__name", "offering__zone__name", "user__username"]
    list_select_related = ["organization", "offering__zone", "offering__instance_type", "user"]


@admin.register(models.MeterCursor)
class MeterCursorAdmin(ReadOnlyAdmin):
    list_display = ["organization", "rated_until", "closed_until", "problem"]
    list_filter = [("problem", admin.EmptyFieldListFilter)]
    search_fields = ["organization__slug"]
    list_select_related = ["organization"]


class StatementLineInline(admin.TabularInline):  # type: ignore[type-arg]
    model = models.StatementLine
    fields = ["description", "rate", "usd_per_gpu_hour", "gpu_seconds", "amount", "correction_of"]
    readonly_fields = ["description", "rate", "usd_per_gpu_hour", "gpu_seconds", "amount", "correction_of"]
    can_delete = False
    extra = 0

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(models.Statement)
class StatementAdmin(ReadOnlyAdmin):
    list_display = ["month", "organization", "status", "closed_at", "total"]
    list_filter = ["status", OrganizationFilter, "month"]
    search_fields = ["organization__slug", "organization__id", "organization__name"]
    list_select_related = ["organization"]
    inlines = [StatementLineInline]
