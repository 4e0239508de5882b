from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from console.common.ids import new_id
from console.organizations.models import Organization


class Kind(models.TextChoices):
    """What a notification is about."""

    SHORTAGE = "SHORTAGE", "Short of capacity"
    CLAIM_DEGRADED = "CLAIM_DEGRADED", "Claim degraded"
    QUOTA_NOTICE = "QUOTA_NOTICE", "Quota nearly used"
    QUOTA_REQUEST = "QUOTA_REQUEST", "Quota request decided"
    CLAIM_UNDER_USED = "CLAIM_UNDER_USED", "Claim under-used"
    BUDGET = "BUDGET", "Budget"
    STATEMENT_CLOSED = "STATEMENT_CLOSED", "Statement closed"
    TEST = "TEST", "Test"


# What only those may read who see money.
ABOUT_MONEY = (Kind.BUDGET, Kind.STATEMENT_CLOSED)


class Notification(models.Model):
    """Something that happened to an organization. `key` names the occurrence, so that it is told once."""

    id = models.UUIDField(primary_key=True, default=new_id)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="notifications")
    kind = models.CharField(max_length=20, choices=Kind.choices)
    key = models.CharField(max_length=200)
    subject = models.CharField(max_length=200)
    text = models.TextField()
    path = models.CharField(max_length=300, blank=True, default="", help_text="The page about it.")
    data = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "key"], name="notification_once"),
            models.CheckConstraint(name="notification_kind", condition=Q(kind__in=Kind.values)),
        ]
        indexes = [
            models.Index(fields=["organization", "-created_at", "-id"], name="notification_by_time"),
            models.Index(fields=["created_at"], name="notification_by_age"),
        ]

    def __str__(self) -> str:
        return self.subject


class ChannelType(models.TextChoices):
    WEBHOOK = "WEBHOOK", "Webhook"
    EMAIL = "EMAIL", "E-mail"


class Channel(models.Model):
    """Where an organization wants its notifications, and of which kinds.

    The secret that webhooks are signed with is not stored: it is made of the server's own key and `salt`
    (`console.notifications.signing`). After a rotation the old one signs as well until `old_salt_until`.
    """

    id = models.UUIDField(primary_key=True, default=new_id)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="channels")
    type = models.CharField(max_length=10, choices=ChannelType.choices)
    name = models.CharField(max_length=100)
    target = models.CharField(max_length=1000, help_text="Address of the endpoint, or the mailbox.")
    kinds = ArrayField(models.CharField(max_length=20))
    enabled = models.BooleanField(default=True)
    disabled_because = models.CharField(max_length=200, blank=True, default="")
    salt = models.CharField(max_length=64)
    old_salt = models.CharField(max_length=64, blank=True, default="")
    old_salt_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    deleted_at = models.DateTimeField(null=True, help_text="Kept for the log of what was sent to it.")

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [
            models.CheckConstraint(name="channel_type", condition=Q(type__in=ChannelType.values)),
            models.CheckConstraint(name="channel_deleted_is_off", condition=Q(deleted_at=None) | Q(enabled=False)),
        ]
        indexes = [models.Index(fields=["organization", "created_at"], name="channel_by_organization")]

    def __str__(self) -> str:
        return self.name


class DeliveryState(models.TextChoices):
    """WAITING -> SENDING -> DELIVERED, or back to WAITING, or FAILED; CANCELLED where the channel went first. A replay
    leads from each of the last three to WAITING."""

    WAITING = "WAITING", "Waiting"
    SENDING = "SENDING", "Being sent"
    DELIVERED = "DELIVERED", "Delivered"
    FAILED = "FAILED", "Failed"
    CANCELLED = "CANCELLED", "Cancelled"


UNDER_WAY = (DeliveryState.WAITING, DeliveryState.SENDING)


class Delivery(models.Model):
    """A notification on its way to a channel. `next_at`: when it is tried next; while SENDING, when the lease of who
    sends it ends."""

    notification = models.ForeignKey(Notification, on_delete=models.CASCADE, related_name="deliveries")
    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="deliveries")
    state = models.CharField(max_length=10, choices=DeliveryState.choices, default=DeliveryState.WAITING)
    attempts = models.PositiveIntegerField(default=0, help_text="Begun so far, those of earlier replays included.")
    in_a_row = models.PositiveIntegerField(default=0, help_text="Of this try of 24 hours: what the back-off counts.")
    next_at = models.DateTimeField()
    give_up_at = models.DateTimeField()
    last_status = models.PositiveIntegerField(null=True, help_text="HTTP status of the last answer.")
    last_error = models.CharField(max_length=500, blank=True, default="")
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(fields=["notification", "channel"], name="delivery_once"),
            models.CheckConstraint(name="delivery_state", condition=Q(state__in=DeliveryState.values)),
            models.CheckConstraint(
                name="delivery_ended",
                condition=Q(ended_at=None, state__in=UNDER_WAY) | (Q(ended_at__isnull=False) & ~Q(state__in=UNDER_WAY)),
            ),
        ]
        indexes = [
            models.Index(fields=["next_at"], name="delivery_due", condition=Q(state__in=UNDER_WAY)),
            models.Index(fields=["channel", "-id"], name="delivery_by_channel"),
            models.Index(fields=["channel"], name="delivery_being_sent", condition=Q(state=DeliveryState.SENDING)),
        ]

    def __str__(self) -> str:
        return f"{self.notification} to {self.channel}"


class Attempt(models.Model):
    """One try of a delivery, as far as its end was recorded."""

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="log")
    number = models.PositiveIntegerField()
    at = models.DateTimeField()
    seconds = models.FloatField(null=True)
    ok = models.BooleanField(default=False)
    status = models.PositiveIntegerField(null=True)
    error = models.CharField(max_length=500, blank=True, default="")
    answer = models.CharField(max_length=500, blank=True, default="", help_text="The first of what was answered.")

    class Meta:
        ordering = ["delivery", "-number"]
        constraints = [models.UniqueConstraint(fields=["delivery", "number"], name="attempt_once")]

    def __str__(self) -> str:
        return f"{self.number} at {self.at:%Y-%m-%d %H:%M:%S}"
