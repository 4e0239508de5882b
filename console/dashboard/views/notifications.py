"""Notifications: what happened, and for admins where it is sent and what came of it."""

import json
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from console.common import clock
from console.common.errors import FailedPrecondition, InvalidArgument
from console.dashboard.access import actor_in, add_violations, member_page, organization_in, told
from console.dashboard.paging import paged
from console.notifications import channels
from console.notifications.channels import CHOSEN
from console.notifications.messages import message_id, payload
from console.notifications.models import Channel, ChannelType, Delivery, DeliveryState, Kind
from console.notifications.selectors import (
    channel_get,
    channels_of,
    deliveries_of,
    delivery_counts,
    delivery_get,
    notification_get,
    notifications_of,
)

SHOWN, ATTEMPTS_SHOWN = 25, 100
KIND_CHOICES = [(kind.value, kind.label) for kind in CHOSEN]
FIELDS = {"name": "name", "target": "target", "kinds": "kinds"}
HINTS = {
    ChannelType.WEBHOOK: ("Address", "https, and not in a private network. Each request is signed."),
    ChannelType.EMAIL: ("Mailbox", "For instance oncall@example.com."),
}


class ChannelForm(forms.Form):
    """What a channel is called, and of what it hears."""

    name = forms.CharField(max_length=100, help_text="Who is behind it, for instance: pager of the platform team.")
    kinds = forms.MultipleChoiceField(
        label="Tell it about", choices=KIND_CHOICES, widget=forms.CheckboxSelectMultiple, required=True
    )


class NewChannelForm(ChannelForm):
    """A new one, and where it leads."""

    field_order = ["name", "target", "kinds"]

    target = forms.CharField(max_length=1000)

    def __init__(self, type: ChannelType, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["target"].label, self.fields["target"].help_text = HINTS[type]


@require_safe
@member_page
def notification_list(request: HttpRequest) -> HttpResponse:
    actor = actor_in(request)
    found = notifications_of(actor)
    kind = request.GET.get("kind", "")
    if kind in Kind.values:
        found = found.filter(kind=kind)
    page = paged(request, found, SHOWN)
    counts = delivery_counts(page) if actor.can_write else {}
    context = {
        "page": page,
        "rows": [(one, counts.get(one.pk)) for one in page],
        "kind": kind,
        "kinds": KIND_CHOICES,
        "channels": channels_of(organization_in(request)) if actor.can_write else [],
        **mail_state(),
    }
    return render(request, "notifications/list.html", context)


def mail_state() -> dict[str, Any]:
    """Whether e-mail leaves this machine; where it does not, the folder it is written into."""
    sent = settings.EMAIL_BACKEND.endswith("smtp.EmailBackend")
    return {"mail_is_sent": sent, "mail_folder": "" if sent else getattr(settings, "EMAIL_FILE_PATH", "")}


@require_safe
@member_page
def notification_page(request: HttpRequest, id: UUID) -> HttpResponse:
    actor = actor_in(request)
    one = notification_get(actor, id)
    deliveries = deliveries_of(organization_in(request)).filter(notification=one) if actor.can_write else []
    context = {"one": one, "deliveries": deliveries, "data": json.dumps(one.data, indent=2)}
    return render(request, "notifications/detail.html", context)


@require_http_methods(["GET", "POST"])
@member_page
def channel_new(request: HttpRequest) -> HttpResponse:
    """The answer to a new webhook is the one page that holds its secret."""
    actor, organization = actor_in(request), organization_in(request)
    actor.require_write()
    type = ChannelType.EMAIL if request.GET.get("type") == "email" else ChannelType.WEBHOOK
    every = [kind for kind, _ in KIND_CHOICES]
    form = NewChannelForm(type, request.POST if request.method == "POST" else None, initial={"kinds": every})
    if request.method == "POST" and form.is_valid():
        try:
            channel, secret = channels.channel_create(
                actor=actor, organization=organization, type=type, **form.cleaned_data
            )
        except InvalidArgument as refusal:
            add_violations(form, refusal, FIELDS)
        except FailedPrecondition as refusal:
            form.add_error(None, refusal.message)
        else:
            if secret:
                return secret_page(request, channel, secret)
            messages.success(request, f"{channel.name} is told from now on. Send it a test.")
            return redirect("channel", channel.id)
    context = {"form": form, "type": type, **mail_state()}
    return render(request, "notifications/channel_new.html", context, status=422 if form.is_bound else 200)


def secret_page(request: HttpRequest, channel: Channel, secret: str, *, rotated: bool = False) -> HttpResponse:
    answer = render(request, "notifications/secret.html", {"channel": channel, "secret": secret, "rotated": rotated},
                    status=201)  # fmt: skip
    answer["Cache-Control"] = "no-store"
    return answer


@require_http_methods(["GET", "POST"])
@member_page
def channel_page(request: HttpRequest, id: UUID) -> HttpResponse:
    """A channel, its form, and the log of what was sent to it."""
    actor, organization = actor_in(request), organization_in(request)
    actor.require_write()
    channel = channel_get(organization, id)
    form = ChannelForm(
        request.POST if request.method == "POST" else None, initial={"name": channel.name, "kinds": channel.kinds}
    )
    if request.method == "POST" and form.is_valid():
        try:
            channels.channel_change(actor=actor, channel=channel, now=clock.now(), **form.cleaned_data)
        except InvalidArgument as refusal:
            add_violations(form, refusal, FIELDS)
        else:
            messages.success(request, "It is changed.")
            return redirect("channel", channel.id)
    found = deliveries_of(organization).filter(channel=channel)
    state = request.GET.get("state", "")
    if state in DeliveryState.values:
        found = found.filter(state=state)
    context = {"channel": channel, "form": form, "page": paged(request, found, SHOWN), "state": state,
               "states": DeliveryState.choices, "labels": dict(KIND_CHOICES)}  # fmt: skip
    return render(request, "notifications/channel.html", context, status=422 if form.is_bound else 200)


@require_POST
@member_page
def channel_switch(request: HttpRequest, id: UUID) -> HttpResponse:
    """Enable or disable it: `enabled` is 1 or 0."""
    actor, channel = allowed_channel(request, id)
    enabled = request.POST.get("enabled") == "1"
    channels.channel_change(actor=actor, channel=channel, enabled=enabled, now=clock.now())
    messages.success(request, f"{channel.name} is {'enabled' if enabled else 'disabled'}.")
    return redirect("channel", channel.id)


@require_POST
@member_page
def channel_test(request: HttpRequest, id: UUID) -> HttpResponse:
    actor, channel = allowed_channel(request, id)
    try:
        delivery = channels.channel_test(actor=actor, channel=channel, now=clock.now())
    except FailedPrecondition as refusal:
        told(request, refusal)
        return redirect("channel", channel.id)
    messages.success(request, "The test is on its way; what comes of it is below.")
    return redirect("delivery", delivery.pk)


@require_http_methods(["GET", "POST"])
@member_page
def channel_rotate(request: HttpRequest, id: UUID) -> HttpResponse:
    actor, channel = allowed_channel(request, id)
    if request.method == "GET" or channel.type != ChannelType.WEBHOOK:
        return render(request, "notifications/channel_rotate.html", {"channel": channel})
    secret = channels.channel_rotate(actor=actor, channel=channel, now=clock.now())
    return secret_page(request, channel, secret, rotated=True)


@require_http_methods(["GET", "POST"])
@member_page
def channel_delete(request: HttpRequest, id: UUID) -> HttpResponse:
    actor, channel = allowed_channel(request, id)
    if request.method == "GET":
        return render(request, "notifications/channel_delete.html", {"channel": channel})
    channels.channel_delete(actor=actor, channel=channel, now=clock.now())
    messages.success(request, f"{channel.name} is deleted: nothing more is sent to it.")
    return redirect("notifications")


@require_safe
@member_page
def delivery_page(request: HttpRequest, id: int) -> HttpResponse:
    """One delivery: what is sent, and each attempt. It renews itself while the delivery is under way."""
    actor_in(request).require_write()
    delivery = delivery_get(organization_in(request), id)
    context = {
        "delivery": delivery,
        "under_way": delivery.state in (DeliveryState.WAITING, DeliveryState.SENDING),
        "log": delivery.log.order_by("-number")[:ATTEMPTS_SHOWN],
        "message_id": message_id(delivery.notification),
        "body": body_shown(delivery),
    }
    return render(request, "notifications/delivery.html", context)


def body_shown(delivery: Delivery) -> str:
    is_webhook = delivery.channel.type == ChannelType.WEBHOOK
    return json.dumps(payload(delivery.notification), indent=2) if is_webhook else delivery.notification.text


@require_POST
@member_page
def delivery_replay(request: HttpRequest, id: int) -> HttpResponse:
    actor = actor_in(request)
    actor.require_write()
    delivery = delivery_get(organization_in(request), id)
    try:
        channels.delivery_replay(actor=actor, delivery=delivery, now=clock.now())
    except FailedPrecondition as refusal:
        told(request, refusal)
    else:
        messages.success(request, "It is sent anew, with the same message id.")
    return redirect("delivery", delivery.pk)


def allowed_channel(request: HttpRequest, id: UUID) -> tuple[Any, Channel]:
    actor = actor_in(request)
    actor.require_write()
    return actor, channel_get(organization_in(request), id)
