"""`/api/v1/notifications`, `/webhooks` and `/deliveries`: what happened, where it is sent, and what came of it."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from console.common import clock
from console.common.errors import InvalidArgument, NotFound
from console.notifications import channels
from console.notifications.channels import CHOSEN
from console.notifications.messages import link
from console.notifications.models import Attempt, Channel, ChannelType, Delivery, DeliveryState, Kind, Notification
from console.notifications.selectors import (
    channel_get,
    channels_of,
    deliveries_of,
    delivery_get,
    notification_get,
    notifications_of,
)
from console.organizations.api.etags import Tagged
from console.organizations.api.fields import FlagField, TextField, checked, rfc3339
from console.organizations.api.idempotency import idempotent
from console.organizations.api.ids import id_in_path
from console.organizations.api.listing import Filter, Listing, sparse
from console.organizations.api.permissions import ForAdmins, request_actor
from console.organizations.api.schema import Page


class NotificationShape(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.UUIDField()
    kind = serializers.ChoiceField(Kind.values)
    subject = serializers.CharField()
    text = serializers.CharField()
    url = serializers.CharField(help_text="The page about it; empty where there is none.")
    details = serializers.DictField(help_text="Its numbers, by kind (docs/notifications.md).")
    createdAt = serializers.DateTimeField()


class NotificationListShape(Page):
    items = sparse(NotificationShape)(many=True)


class WebhookShape(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.UUIDField()
    name = serializers.CharField()
    url = serializers.CharField()
    kinds = serializers.ListField(child=serializers.ChoiceField([kind.value for kind in CHOSEN]))
    enabled = serializers.BooleanField()
    disabledBecause = serializers.CharField(help_text="Where the receiver asked for it (410).")
    createdAt = serializers.DateTimeField()


class WebhookListShape(Page):
    items = WebhookShape(many=True)


class WebhookMadeShape(WebhookShape):
    secret = serializers.CharField(
        allow_null=True, help_text="`whsec_...`; shown this once, and null when the answer is repeated."
    )


class SecretShape(serializers.Serializer):  # type: ignore[type-arg]
    secret = serializers.CharField(
        allow_null=True,
        help_text="`whsec_...`; shown this once, and null when the answer is repeated. The old one signs as well for 24 hours.",
    )


class DeliveryShape(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.IntegerField()
    notificationId = serializers.UUIDField()
    messageId = serializers.CharField(help_text="`webhook-id` of every attempt.")
    channelId = serializers.UUIDField()
    channelType = serializers.ChoiceField(ChannelType.values)
    state = serializers.ChoiceField(DeliveryState.values)
    attempts = serializers.IntegerField()
    nextAttemptAt = serializers.DateTimeField(allow_null=True)
    lastStatus = serializers.IntegerField(allow_null=True)
    lastError = serializers.CharField()
    createdAt = serializers.DateTimeField()
    endedAt = serializers.DateTimeField(allow_null=True)


class DeliveryListShape(Page):
    items = sparse(DeliveryShape)(many=True)


class AttemptShape(serializers.Serializer):  # type: ignore[type-arg]
    number = serializers.IntegerField()
    at = serializers.DateTimeField()
    seconds = serializers.FloatField(allow_null=True)
    ok = serializers.BooleanField()
    status = serializers.IntegerField(allow_null=True)
    error = serializers.CharField()
    answer = serializers.CharField()


class DeliveryFullShape(DeliveryShape):
    log = AttemptShape(many=True)


class KindsField(serializers.ListField):
    child = TextField(max_length=40)


class WebhookSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """A new webhook."""

    name = TextField(max_length=100)
    url = TextField(source="target", max_length=1000)
    kinds = KindsField(required=False, max_length=20, help_text="Default: all.")


class WebhookChangeSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """What is given is changed. The address stays: another address is another webhook."""

    name = TextField(max_length=100, required=False)
    kinds = KindsField(required=False, max_length=20)
    enabled = FlagField(required=False)


BY_TIME = {"createdAt": ("pk",)}  # ids grow with time
NOTIFICATIONS = Listing(
    BY_TIME, "-createdAt",
    {"kind": Filter("kind", "Only of this kind.", Kind.values),
     "since": Filter("created_at__gte", "What happened then or later.", type=OpenApiTypes.DATETIME)},
    NotificationShape,
)  # fmt: skip
WEBHOOKS = Listing({**BY_TIME, "name": ("name", "pk")}, "createdAt")
DELIVERIES = Listing(
    BY_TIME, "-createdAt",
    {"webhook": Filter("channel", "Of this channel alone.", type=OpenApiTypes.UUID),
     "notification": Filter("notification", "Of this notification.", type=OpenApiTypes.UUID),
     "state": Filter("state", "Only in this state.", DeliveryState.values)},
    DeliveryShape,
)  # fmt: skip


class NotificationsView(APIView):
    @extend_schema(
        responses=NotificationListShape, operation_id="ListNotifications", parameters=NOTIFICATIONS.parameters
    )
    def get(self, request: Request) -> Response:
        """What happened, newest first. Those about money need the role billing or admin."""
        return Response(NOTIFICATIONS.stored(request, notifications_of(request_actor(request)), notification_to))


class NotificationView(APIView):
    @extend_schema(responses=NotificationShape, operation_id="GetNotification")
    def get(self, request: Request, id: str) -> Response:
        """One notification."""
        return Response(notification_to(notification_get(request_actor(request), id_in_path("Notification", id))))


class WebhooksView(APIView):
    permission_classes = [ForAdmins]

    @extend_schema(responses=WebhookListShape, operation_id="ListWebhooks", parameters=WEBHOOKS.parameters)
    def get(self, request: Request) -> Response:
        """The organization's webhooks, the oldest first. For the role admin."""
        rows = channels_of(request_actor(request).require_organization()).filter(type=ChannelType.WEBHOOK)
        return Response(WEBHOOKS.stored(request, rows, webhook_to))

    @idempotent("secret")
    @extend_schema(
        request=WebhookSerializer, responses={201: WebhookMadeShape}, operation_id="CreateWebhook",
        examples=[OpenApiExample("Shortages and lost instances to the pager", request_only=True, value={
            "name": "pager", "url": "https://hooks.example.com/headroom", "kinds": ["SHORTAGE", "CLAIM_DEGRADED"]})],
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """A new webhook; the answer holds the secret that signs what it gets, this once. Its address must be https and
        public, unless the operator of this server allows private ones."""
        actor, data = request_actor(request), checked(WebhookSerializer(data=request.data))
        try:
            channel, secret = channels.channel_create(
                actor=actor, organization=actor.require_organization(), type=ChannelType.WEBHOOK, name=data["name"],
                target=data["target"], kinds=data.get("kinds", [kind.value for kind in CHOSEN]),
            )  # fmt: skip
        except InvalidArgument as refusal:
            raise named(refusal, {"target": "url"}) from refusal
        return Response(webhook_to(channel) | {"secret": secret}, status=201)


def webhook_in(request: Request, id: str) -> Channel:
    """The webhook of the address; e-mail has no secret and is not found here."""
    channel = channel_get(request_actor(request).require_organization(), id_in_path("Webhook", id))
    if channel.type != ChannelType.WEBHOOK:
        raise NotFound("Webhook", id)
    return channel


WEBHOOK = Tagged(webhook_in, lambda one: [one.pk, one.name, one.target, one.kinds, one.enabled, one.salt],
                 lambda request, one: channels.locked(one))  # fmt: skip


class WebhookView(APIView):
    permission_classes = [ForAdmins]

    @WEBHOOK.shown
    @extend_schema(responses=WebhookShape, operation_id="GetWebhook")
    def get(self, request: Request, id: str) -> Response:
        """One webhook."""
        return Response(webhook_to(webhook_in(request, id)))

    @WEBHOOK.edited
    @extend_schema(
        request=WebhookChangeSerializer, responses=WebhookShape, operation_id="UpdateWebhook",
        examples=[OpenApiExample("Turn it off", request_only=True, value={"enabled": False})],
    )  # fmt: skip
    def patch(self, request: Request, id: str) -> Response:
        """Rename it, choose other kinds, disable or enable it. While it is disabled nothing is kept for it."""
        data = checked(WebhookChangeSerializer(data=request.data))
        actor, channel = request_actor(request), webhook_in(request, id)
        return Response(webhook_to(channels.channel_change(actor=actor, channel=channel, now=clock.now(), **data)))

    @WEBHOOK.edited
    @extend_schema(responses={204: None}, operation_id="DeleteWebhook")
    def delete(self, request: Request, id: str) -> Response:
        """Delete it; what is under way to it is cancelled, the log stays."""
        channels.channel_delete(actor=request_actor(request), channel=webhook_in(request, id), now=clock.now())
        return Response(status=204)


class WebhookSecretView(APIView):
    permission_classes = [ForAdmins]

    @idempotent("secret")
    @WEBHOOK.edited
    @extend_schema(request=None, responses=SecretShape, operation_id="RotateWebhookSecret")
    def post(self, request: Request, id: str) -> Response:
        """Another secret. For 24 hours the old one signs as well, so that the receiver can change over."""
        secret = channels.channel_rotate(actor=request_actor(request), channel=webhook_in(request, id), now=clock.now())
        return Response({"secret": secret})


class WebhookTestView(APIView):
    permission_classes = [ForAdmins]

    @idempotent()
    @extend_schema(request=None, responses={202: DeliveryShape}, operation_id="TestWebhook")
    def post(self, request: Request, id: str) -> Response:
        """Send it a test, whatever kinds it wants; what comes of it is at `/api/v1/deliveries/{id}`."""
        delivery = channels.channel_test(actor=request_actor(request), channel=webhook_in(request, id), now=clock.now())
        return Response(delivery_to(delivery), status=202)


class DeliveriesView(APIView):
    permission_classes = [ForAdmins]

    @extend_schema(responses=DeliveryListShape, operation_id="ListDeliveries", parameters=DELIVERIES.parameters)
    def get(self, request: Request) -> Response:
        """Deliveries to all channels, webhooks and e-mail, newest first. For the role admin."""
        found = deliveries_of(request_actor(request).require_organization())
        return Response(DELIVERIES.stored(request, found, delivery_to))


def delivery_in(request: Request, id: str) -> Delivery:
    known = whole(id)
    if known is None:
        raise NotFound("Delivery", id)
    return delivery_get(request_actor(request).require_organization(), known)


DELIVERY = Tagged(delivery_in, lambda one: [one.pk, one.ended_at, one.give_up_at],
                  lambda request, one: channels.delivery_locked(one))  # fmt: skip


class DeliveryView(APIView):
    permission_classes = [ForAdmins]

    @DELIVERY.shown
    @extend_schema(responses=DeliveryFullShape, operation_id="GetDelivery")
    def get(self, request: Request, id: str) -> Response:
        """One delivery with its log of attempts, the newest first."""
        delivery = delivery_in(request, id)
        log = [attempt_to(one) for one in delivery.log.order_by("-number")[:100]]
        return Response(delivery_to(delivery) | {"log": log})


class ReplayView(APIView):
    permission_classes = [ForAdmins]

    @idempotent()
    @DELIVERY.edited
    @extend_schema(request=None, responses={202: DeliveryShape}, operation_id="ReplayDelivery")
    def post(self, request: Request, id: str) -> Response:
        """Send it anew with the same `webhook-id`, tried for 24 hours again."""
        delivery = channels.delivery_replay(
            actor=request_actor(request), delivery=delivery_in(request, id), now=clock.now()
        )
        return Response(delivery_to(delivery), status=202)


def named(refusal: InvalidArgument, names: Mapping[str, str]) -> InvalidArgument:
    """The refusal with fields named as the API names them."""
    return InvalidArgument([type(one)(names.get(one.field, one.field), one.description) for one in refusal.violations])


def whole(text: Any) -> int | None:
    return int(text) if str(text).isascii() and str(text).isdigit() and len(str(text)) < 19 else None


def notification_to(one: Notification) -> dict[str, Any]:
    return {"id": str(one.id), "kind": one.kind, "subject": one.subject, "text": one.text, "url": link(one),
            "details": one.data, "createdAt": rfc3339(one.created_at)}  # fmt: skip


def webhook_to(one: Channel) -> dict[str, Any]:
    return {"id": str(one.id), "name": one.name, "url": one.target, "kinds": one.kinds, "enabled": one.enabled,
            "disabledBecause": one.disabled_because, "createdAt": rfc3339(one.created_at)}  # fmt: skip


def delivery_to(one: Delivery) -> dict[str, Any]:
    waits = one.state == DeliveryState.WAITING
    return {
        "id": one.pk, "notificationId": str(one.notification_id), "messageId": f"msg_{one.notification_id.hex}",
        "channelId": str(one.channel_id), "channelType": one.channel.type, "state": one.state,
        "attempts": one.attempts, "nextAttemptAt": rfc3339(one.next_at) if waits else None,
        "lastStatus": one.last_status, "lastError": one.last_error, "createdAt": rfc3339(one.created_at),
        "endedAt": rfc3339(one.ended_at),
    }  # fmt: skip


def attempt_to(one: Attempt) -> dict[str, Any]:
    return {"number": one.number, "at": rfc3339(one.at), "seconds": one.seconds, "ok": one.ok, "status": one.status,
            "error": one.error, "answer": one.answer}  # fmt: skip
