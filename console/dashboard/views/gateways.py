"""Gateways: list, page, create, edit with preview, delete. What authentication keeps secret is never shown."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from claims.core.states import Status
from console.common.errors import AlreadyExists, FailedPrecondition, InvalidArgument
from console.dashboard.access import actor_in, add_violations, member_page, organization_in, told
from console.dashboard.paging import paged
from console.organizations.selectors import audit_of
from deployments import services
from deployments.core.rules import GatewaySpec
from deployments.models import Deployment, Gateway
from deployments.selectors import deployments_of, gateway_get, gateways_of, replicas_by_zone
from deployments.zones import all_zones, common_zones

EVENTS, PAGE_SIZE = 10, 50
TICK = {"class": "form-check-input"}
AUTHS = {"core_weave_auth": "API keys of the platform", "weights_and_biases_auth": "Weights & Biases"}
ROUTINGS = {
    "body_based_routing": "By the model that the body names (OpenAI API)",
    "header_based_routing": "By a header",
    "path_based_routing": "By the path",
}
FLAGS = {"usage_reports": "enable_usage_reports", "rate_limiting": "enable_rate_limiting"}
# Field of the form by what a refusal's path begins with.
PLACES = {"name": "name", "zones": "zones", "auth": "auth", "weights": "auth", "routing": "routing",
          "body_": "routing", "header_": "header_name", "endpoint_": "dns"}  # fmt: skip


class GatewayForm(forms.Form):
    """Everything of a gateway that can change."""

    zones = forms.MultipleChoiceField(
        required=False, widget=forms.CheckboxSelectMultiple(TICK),
        help_text="Replicas of its deployments run in these alone. None chosen: in all.",
    )  # fmt: skip
    auth = forms.ChoiceField(label="Authentication", choices=list(AUTHS.items()))
    usage_reports = forms.BooleanField(
        required=False, label="Report usage to Weights & Biases", widget=forms.CheckboxInput(TICK)
    )
    rate_limiting = forms.BooleanField(
        required=False, label="Let Weights & Biases limit rates", widget=forms.CheckboxInput(TICK)
    )
    routing = forms.ChoiceField(choices=list(ROUTINGS.items()))
    header_name = forms.CharField(
        required=False, max_length=100, help_text="Where routing goes by a header, for instance X-Model."
    )
    dns = forms.CharField(
        required=False, label="More host names", widget=forms.Textarea({"rows": 3}),
        help_text="Under which it answers besides its own; one a line.",
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["zones"].choices = [(zone, zone) for zone in all_zones()]  # type: ignore[attr-defined]


class NewGatewayForm(GatewayForm):
    field_order = ["name"]
    name = forms.CharField(max_length=63, help_text="Letters, digits and hyphens; fixed afterwards.")


@require_safe
@member_page
def gateway_list(request: HttpRequest) -> HttpResponse:
    found = gateways_of(organization_in(request)).annotate(users=Count("deployments")).order_by("name")
    rows = [{"gateway": one, **in_words(one)} for one in found]
    return render(request, "gateways/list.html", {"rows": rows})


@require_safe
@member_page
def gateway_page(request: HttpRequest, id: UUID) -> HttpResponse:
    organization = organization_in(request)
    gateway = gateway_get(organization, id)
    return render(request, "gateways/detail.html", {
        "gateway": gateway, **in_words(gateway),
        "page": paged(request, deployments_of(organization).filter(gateways=gateway).order_by("name"), PAGE_SIZE),
        "events": audit_of(actor_in(request)).filter(object_type="Gateway", object_id=str(gateway.id))[:EVENTS],
    })  # fmt: skip


def in_words(gateway: Gateway) -> dict[str, Any]:
    """Authentication, routing and names for a reader: the members that are known, so no secret among them."""
    ((auth, inside),) = gateway.auth.items()
    ((routing, how),) = gateway.routing.items()
    flags = [GatewayForm.base_fields[name].label for name, key in FLAGS.items() if inside.get(key)]
    return {
        "auth": AUTHS[auth],
        "flags": flags,
        "has_key": bool(inside.get("api_key")),
        "routing": ROUTINGS[routing] + (f" {how['header_name']}" if how.get("header_name") else ""),
        "names": (gateway.endpoint_configuration or {}).get("additional_dns") or [],
    }


@require_http_methods(["GET", "POST"])
@member_page
def gateway_new(request: HttpRequest) -> HttpResponse:
    actor, organization = actor_in(request), organization_in(request)
    actor.require_write()
    initial = {"auth": "core_weave_auth", "routing": "body_based_routing"}
    form = NewGatewayForm(request.POST if request.method == "POST" else None, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            made = services.gateway_create(actor=actor, organization=organization, spec=spec_of(form, None))
        except InvalidArgument as refusal:
            blame(form, refusal)
        except AlreadyExists as refusal:
            form.add_error("name", refusal.message)
        else:
            messages.success(
                request, f"{made.name} is created; it answers within seconds. Deployments can attach to it."
            )
            return redirect("gateway", made.id)
    return render(request, "gateways/form.html", {"form": form}, status=422 if form.is_bound else 200)


@require_http_methods(["GET", "POST"])
@member_page
def gateway_edit(request: HttpRequest, id: UUID) -> HttpResponse:
    """First the effect (before and after, replicas in zones that are left out), then, confirmed, the change."""
    actor = actor_in(request)
    actor.require_write()
    gateway = gateway_get(organization_in(request), id)
    if request.method == "GET":
        return render(request, "gateways/form.html", {"form": GatewayForm(initial=filled(gateway)), "gateway": gateway})
    form = GatewayForm(request.POST)
    if form.is_valid() and "back" not in request.POST:
        spec = spec_of(form, gateway)
        if "confirmed" not in request.POST:
            return render(request, "gateways/preview.html", {"gateway": gateway, "form": form, **effect(gateway, spec)})
        try:
            services.gateway_update(actor=actor, gateway_id=id, spec=spec)
        except InvalidArgument as refusal:
            blame(form, refusal)
        else:
            messages.success(request, f"{gateway.name} is changed.")
            return redirect("gateway", id)
    status = 200 if "back" in request.POST else 422
    return render(request, "gateways/form.html", {"form": form, "gateway": gateway}, status=status)


@require_http_methods(["GET", "POST"])
@member_page
def gateway_delete(request: HttpRequest, id: UUID) -> HttpResponse:
    """Refused while a deployment uses it; the page names them first."""
    actor = actor_in(request)
    actor.require_write()
    gateway = gateway_get(organization_in(request), id)
    if request.method == "GET":
        users = gateway.deployments.exclude(status=Status.DELETING).order_by("name")
        return render(request, "gateways/delete.html", {"gateway": gateway, "users": users})
    try:
        services.gateway_delete(actor=actor, gateway_id=id)
    except FailedPrecondition as refusal:
        told(request, refusal)
        return redirect("gateway-delete", id)
    messages.success(request, f"{gateway.name} is being deleted.")
    return redirect("gateways")


def filled(gateway: Gateway) -> dict[str, Any]:
    ((auth, inside),) = gateway.auth.items()
    ((routing, how),) = gateway.routing.items()
    return {
        "zones": [zone.upper() for zone in gateway.sent_zones], "auth": auth, "routing": routing,
        "header_name": how.get("header_name", ""),
        "dns": "\n".join((gateway.endpoint_configuration or {}).get("additional_dns") or []),
        **{name: inside.get(key, False) for name, key in FLAGS.items()},
    }  # fmt: skip


def spec_of(form: GatewayForm, gateway: Gateway | None) -> GatewaySpec:
    """What the form asks for. What it does not show stays as it is stored: a secret, the case of zones as sent."""
    data = form.cleaned_data
    names = data["dns"].split()
    stored = gateway.endpoint_configuration if gateway else None
    configuration = (
        {**(stored or {}), "additional_dns": names} if names or (stored or {}).get("additional_dns") else stored
    )
    return GatewaySpec(
        name=gateway.name if gateway else data["name"],
        zones=zones_of(data["zones"], gateway),
        auth={data["auth"]: auth_of(data, gateway)},
        routing={data["routing"]: routing_of(data)},
        endpoint_configuration=configuration,
    )


def zones_of(chosen: list[str], gateway: Gateway | None) -> tuple[str, ...]:
    sent = gateway.sent_zones if gateway else []
    return tuple(sent if {zone.upper() for zone in sent} == set(chosen) else chosen)


def auth_of(data: Mapping[str, Any], gateway: Gateway | None) -> dict[str, Any]:
    kept = dict(gateway.auth.get(data["auth"], {})) if gateway else {}
    if data["auth"] == "weights_and_biases_auth":
        kept |= {key: data[name] for name, key in FLAGS.items() if data[name] or key in kept}
    return kept


def routing_of(data: Mapping[str, Any]) -> dict[str, Any]:
    if data["routing"] == "body_based_routing":
        return {"api_type": "API_TYPE_OPENAI"}
    return {"header_name": data["header_name"]} if data["routing"] == "header_based_routing" else {}


def effect(gateway: Gateway, spec: GatewaySpec) -> dict[str, Any]:
    """Rows of before and after, and the replicas that run in zones it would leave out."""
    after = Gateway(name=gateway.name, sent_zones=list(spec.zones), auth=spec.auth, routing=spec.routing,
                    endpoint_configuration=spec.endpoint_configuration)  # fmt: skip
    old, new = in_words(gateway), in_words(after)
    every = all_zones()
    left_out = common_zones([gateway.sent_zones], every) - common_zones([spec.zones], every)
    return {
        "rows": [
            ("Zones", ", ".join(gateway.sent_zones) or "all", ", ".join(spec.zones) or "all"),
            ("Authentication", "; ".join([old["auth"], *old["flags"]]), "; ".join([new["auth"], *new["flags"]])),
            ("Routing", old["routing"], new["routing"]),
            ("More host names", ", ".join(old["names"]) or "none", ", ".join(new["names"]) or "none"),
        ],
        "left_out": sorted(left_out),
        "stranded": [row for row in replicas_by_zone(gateway) if row.zone in left_out],
        "rolling": rolling(gateway, spec.zones, every),
    }  # fmt: skip


def rolling(gateway: Gateway, zones: Sequence[str], every: Sequence[str]) -> list[Deployment]:
    """Deployments that may run in other zones afterwards: all their replicas are replaced (R10)."""
    users = gateway.deployments.exclude(status=Status.DELETING).prefetch_related("gateways").order_by("name")
    found = []
    for one in users:
        others = [each.sent_zones for each in one.gateways.all() if each.key != gateway.key]
        if common_zones([*others, gateway.sent_zones], every) != common_zones([*others, zones], every):
            found.append(one)
    return found


def blame(form: GatewayForm, refusal: InvalidArgument) -> None:
    fields = {
        violation.field: place
        for violation in refusal.violations
        for start, place in PLACES.items()
        if violation.field.startswith(start) and place in form.fields
    }
    add_violations(form, refusal, fields)
