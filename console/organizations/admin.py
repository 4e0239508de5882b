"""Organizations, people, tokens and the audit trail."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.http import HttpRequest

from console.common import clock
from console.common.errors import Refusal
from console.organizations import services
from console.organizations.actors import Actor
from console.organizations.models import ApiToken, AuditEvent, Membership, Organization, Role, User


def platform_actor(request: HttpRequest) -> Actor:
    assert isinstance(request.user, User)
    return Actor(name=request.user.username, user=request.user, is_platform=request.user.is_staff,
                 request_id=getattr(request, "request_id", ""))  # fmt: skip


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Organization)
class OrganizationAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
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
class MembershipAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["user", "organization", "role"]
    list_filter = ["organization", "role"]
    search_fields = ["user__username"]
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
    list_display = ["username", "email", "is_staff", "is_active", "last_login"]


@admin.register(ApiToken)
class TokenAdmin(ReadOnlyAdmin):
    list_display = ["name", "prefix", "organization", "role", "expires_at", "revoked_at", "last_used_at"]
    list_filter = ["organization", "role"]
    list_select_related = ["organization"]
    exclude = ["sha256"]
    actions = ["revoke"]

    @admin.action(description="Revoke the selected tokens")
    def revoke(self, request: HttpRequest, queryset: Any) -> None:
        for token in queryset.select_related("organization"):
            services.token_revoke(actor=platform_actor(request), token=token, now=clock.now())


@admin.register(AuditEvent)
class AuditAdmin(ReadOnlyAdmin):
    list_display = ["at", "organization", "actor", "action", "object_type", "object_name"]
    list_filter = ["organization", "action"]
    search_fields = ["object_name", "object_id", "actor"]
    list_select_related = ["organization"]
    date_hierarchy = "at"
