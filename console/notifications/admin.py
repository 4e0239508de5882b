"""What every organization was told and where it went, for the platform's staff to read."""

from django.contrib import admin

from console.notifications.models import Channel, Delivery, Notification
from console.organizations.admin import OrganizationFilter, ReadOnlyAdmin


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin):
    list_display = ["created_at", "organization", "kind", "subject"]
    list_filter = ["kind", OrganizationFilter]
    search_fields = ["subject", "key", "organization__slug"]
    list_select_related = ["organization"]
    date_hierarchy = "created_at"


@admin.register(Channel)
class ChannelAdmin(ReadOnlyAdmin):
    list_display = ["name", "organization", "type", "target", "enabled", "created_at", "deleted_at"]
    list_filter = ["type", "enabled", OrganizationFilter]
    search_fields = ["name", "target", "organization__slug"]
    list_select_related = ["organization"]
    exclude = ["salt", "old_salt"]


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    list_display = ["id", "organization", "channel", "notification", "state", "attempts", "next_at", "last_error"]
    list_filter = ["state", "channel__type"]
    search_fields = ["notification__subject", "channel__name", "notification__organization__slug"]
    list_select_related = ["notification__organization", "channel"]

    @admin.display(ordering="notification__organization__slug")
    def organization(self, delivery: Delivery) -> str:
        return delivery.notification.organization.slug
