"""Organizations, people, tokens and the audit trail."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.contrib.postgres.aggregates import StringAgg
from django.db.models import QuerySet
from django.http import HttpRequest

from console.common import clock
from console.common.errors import Refusal
from console.organizations import services
from console.organizations.actors import Actor
from console.organizations.models import ApiToken, AuditEvent, Membership, Organization, Role, User

admin.site.site_header = admin.site.site_title = "Headroom, platform"
admin.site.index_title = "Organizations, capacity, money"
admin.site.unregister(Group)  # rights are what memberships and `is_staff` give


def platform_actor(request: HttpRequest) -> Actor:
    assert isinstance(request.user, User)
    return Actor(name=request.user.username, user=request.user, is_platform=request.user.is_staff,
                 request_id=getattr(request, "request_id", ""))  # fmt: skip


class OrganizationFilter(admin.SimpleListFilter):
    """A few organizations to choose from, however many there are; the search finds those of any other."""

    title, parameter_name = "organization", "organization"
    MOST = 20
    path = "organization"  # from a row of the list to its organization

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, str]]:
        found = list(Organization.objects.order_by("slug").values_list("slug", flat=True)[: self.MOST + 1])
        if len(found) > self.MOST:
            self.title = f"organization (the first {self.MOST}; search for others)"
        chosen = request.GET.get(self.parameter_name, "")
        return [(slug, slug) for slug in dict.fromkeys([*found[: self.MOST], *([chosen] if chosen else [])])]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{f"{self.path}__slug": self.value()}) if self.value() else queryset


class RoomyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Lists that stay quick with many rows: pages of 50, and no second count of all there is."""

    show_full_result_count = False
    list_per_page = 50


class ReadOnlyAdmin(RoomyAdmin):
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Organization)
class OrganizationAdmin(RoomyAdmin):
    list_display = ["slug", "id", "name", "created_at"]
    search_fields = ["slug", "id", "name"]
    fields = ["id", "slug", "name"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["id", "slug"] if obj else []

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Organization, form: forms.ModelForm[Any], change: bool) -> None:
        if change:
            obj.save(update_fields=["name"])
        else:
            made = services.organization_create(actor=platform_actor(request), id=obj.id, slug=obj.slug, name=obj.name)
            obj.pk = made.pk


@admin.register(Membership)
class MembershipAdmin(RoomyAdmin):
    list_display = ["user", "organization", "role"]
    list_filter = [OrganizationFilter, "role"]
    search_fields = ["user__username", "organization__slug", "organization__name"]
    list_select_related = ["user", "organization"]
    autocomplete_fields = ["user", "organization"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["user", "organization"] if obj else []

    def save_model(self, request: HttpRequest, obj: Membership, form: forms.ModelForm[Any], change: bool) -> None:
        try:
            made = services.membership_set(
                actor=platform_actor(request), user=obj.user, organization=obj.organization, role=Role(obj.role)
            )
        except Refusal as refusal:
            self.message_user(request, refusal.message, messages.ERROR)
        else:
            obj.pk = made.pk

    def delete_model(self, request: HttpRequest, obj: Membership) -> None:
        try:
            services.membership_remove(actor=platform_actor(request), membership=obj)
        except Refusal as refusal:
            self.message_user(request, refusal.message, messages.ERROR)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for membership in queryset.select_related("organization"):
            self.delete_model(request, membership)


@admin.register(User)
class UserAdmin(DjangoUserAdmin):  # type: ignore[type-arg]
    list_display = ["username", "email", "is_staff", "is_active", "last_login", "organizations"]
    list_filter = ["is_staff", "is_active"]
    show_full_result_count = False
    list_per_page = 50
    # Rights are what memberships and `is_staff` give.
    fieldsets = [
        (None, {"fields": ["username", "password"]}),
        ("Person", {"fields": ["first_name", "last_name", "email"]}),
        ("Access", {"fields": ["is_active", "is_staff", "is_superuser"]}),
        ("Times", {"fields": ["last_login", "date_joined"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        found: QuerySet[User] = super().get_queryset(request)
        return found.annotate(in_organizations=StringAgg("memberships__organization__slug", ", ", distinct=True))

    @admin.display(ordering="in_organizations")
    def organizations(self, user: User) -> str:
        return user.in_organizations or "-"  # type: ignore[attr-defined]


@admin.register(ApiToken)
class TokenAdmin(ReadOnlyAdmin):
    list_display = ["name", "prefix", "organization", "role", "created_by", "expires_at", "revoked_at", "last_used_at"]
    list_filter = [OrganizationFilter, "role", ("revoked_at", admin.EmptyFieldListFilter)]
    search_fields = ["name", "prefix", "organization__slug", "created_by__username"]
    list_select_related = ["organization", "created_by"]
    exclude = ["sha256"]
    actions = ["revoke"]

    @admin.action(description="Revoke the selected tokens")
    def revoke(self, request: HttpRequest, queryset: Any) -> None:
        for token in queryset.select_related("organization"):
            services.token_revoke(actor=platform_actor(request), token=token, now=clock.now())


@admin.register(AuditEvent)
class AuditAdmin(ReadOnlyAdmin):
    list_display = ["at", "organization", "actor", "action", "object_type", "object_name"]
    list_filter = [OrganizationFilter, "object_type"]
    search_fields = ["object_name", "object_id", "actor", "action", "organization__slug"]
    list_select_related = ["organization"]
    date_hierarchy = "at"
