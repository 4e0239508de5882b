"""Deployments: list, page, new, autoscaling, enable, disable, delete."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from claims.selectors import prices_at
from console.common import clock
from console.common.errors import AlreadyExists, FailedPrecondition, InvalidArgument
from console.dashboard.access import actor_in, add_violations, member_page, organization_in, told
from console.dashboard.forms import AutoscalingForm, DeploymentForm
from console.dashboard.live import last_sample
from console.dashboard.series import RANGES
from console.organizations.models import AuditEvent, Organization
from deployments import services
from deployments.core import explain
from deployments.core.rules import Autoscaling, DeploymentSpec
from deployments.engines import ENGINES
from deployments.models import Decision, Deployment
from deployments.selectors import decisions_of, deployment_get, deployments_of, gateways_of, replicas_of
from deployments.zones import all_zones, types_in

SHOWN = 25
SORTS = {"name": "name", "type": "instance_type__name", "ready": "ready", "wanted": "last_wanted",
         "priority": "autoscaling__priority", "status": "status"}  # fmt: skip
PATHS = {
    "autoscaling": "max", "autoscaling.min": "min", "autoscaling.max": "max", "autoscaling.priority": "priority",
    "autoscaling.concurrency": "concurrency", "autoscaling.capacity_classes": "classes", "name": "name",
    "gateway_ids[0]": "gateway", "gateway_ids": "gateway", "runtime.engine": "engine", "runtime.version": "engine",
    "resources.instance_type": "instance_type", "resources.gpu_count": "gpu_count", "model.name": "model_name",
    "model.bucket": "model_bucket", "model.path": "model_path",
}  # fmt: skip


@require_safe
@member_page
def deployment_list(request: HttpRequest) -> HttpResponse:
    """Filter and order live in the address."""
    organization = organization_in(request)
    found, text = deployments_of(organization), request.GET.get("q", "").strip()
    if text:
        found = found.filter(name__icontains=text)
    sort = request.GET.get("sort", "name")
    column = SORTS.get(sort.lstrip("-"), "name")
    found = found.order_by(("-" if sort.startswith("-") else "") + column, "key")
    now = last_sample(organization)
    rows = [{"deployment": one, "now": now.get(one.key), "short": is_short(one)} for one in found]
    heads = [(name, title, "-" + name if sort == name else name, sort in (name, "-" + name), sort.startswith("-"))
             for name, title in (("name", "Name"), ("status", "Status"), ("type", "Type"), ("ready", "Replicas"))]  # fmt: skip
    return render(request, "deployments/list.html", {"rows": rows, "q": text, "sort": sort, "heads": heads})


def is_short(one: Deployment) -> bool:
    wanted, granted = one.last_wanted or 0, one.last_granted or 0  # type: ignore[attr-defined]
    return granted < wanted and not one.disabled


@require_safe
@member_page
def deployment_page(request: HttpRequest, id: UUID) -> HttpResponse:
    organization = organization_in(request)
    one = deployment_get(organization, id)
    return render(request, "deployments/detail.html", page_context(request, organization, one, autoscaling_form(one)))


def page_context(
    request: HttpRequest, organization: Organization, one: Deployment, form: AutoscalingForm
) -> dict[str, Any]:
    price = replica_price(one)
    return {
        "deployment": one,
        "form": form,
        "now": last_sample(organization).get(one.key),
        "short": is_short(one),
        "decisions": [explained(decision) for decision in decisions_of(one, SHOWN)],
        "replicas": replicas_of(one),
        "gateways": one.gateways.order_by("name"),
        "events": AuditEvent.objects.filter(object_type="Deployment", object_id=str(one.id)).order_by("-id")[:10],
        "classes": classes_in_words(one.autoscaling.capacity_classes),
        "ranges": list(RANGES),
        "range": request.GET.get("range", "1h"),
        "price_min": price * one.autoscaling.min if price is not None else None,
        "price_max": price * one.autoscaling.max if price is not None else None,
    }


def explained(decision: Decision) -> dict[str, Any]:
    return {
        "decision": decision,
        "text": explain.line(decision.record),
        "steps": explain.steps(decision.record),
    }


def replica_price(one: Deployment) -> Decimal | None:
    """USD an hour of one replica on demand, at the dearest zone of its type."""
    prices = prices_at(clock.now())
    keys = one.instance_type.offerings.values_list("key", flat=True)
    known = [prices[key, "ON_DEMAND"] for key in keys if (key, "ON_DEMAND") in prices]
    return max(known) * one.gpu_count if known else None


def autoscaling_form(one: Deployment) -> AutoscalingForm:
    policy = one.autoscaling
    return AutoscalingForm(initial={
        "min": policy.min, "max": policy.max, "concurrency": policy.concurrency, "priority": policy.priority,
        "classes": ",".join(policy.capacity_classes),
    })  # fmt: skip


def block_of(form: AutoscalingForm) -> Autoscaling:
    data = form.cleaned_data
    classes = tuple(one for one in data["classes"].split(",") if one)
    return Autoscaling(data["min"], data["max"], data["priority"], data["concurrency"], classes)


@require_POST
@member_page
def deployment_autoscaling(request: HttpRequest, id: UUID) -> HttpResponse:
    """First the effect (numbers before and after), then, confirmed, the change."""
    actor, organization = actor_in(request), organization_in(request)
    actor.require_write()
    one, form = deployment_get(organization, id), AutoscalingForm(request.POST)
    if form.is_valid():
        block = block_of(form)
        if "confirmed" not in request.POST and "back" not in request.POST:
            if block.max >= block.min:
                return render(request, "deployments/autoscaling.html", change(one, form, block))
            form.add_error("max", "max must be greater than or equal to min")
        elif "confirmed" in request.POST:
            try:
                services.autoscaling_update(
                    actor=actor, deployment_id=id, block=block, seen_at=parse_datetime(request.POST.get("seen_at", ""))
                )
            except InvalidArgument as refusal:
                add_violations(form, refusal, PATHS)
            except FailedPrecondition as refusal:
                told(request, refusal)
                return redirect("deployment", id)
            else:
                messages.success(request, f"{one.name}: saved. The next pass of the loop, within seconds, goes by it.")
                return redirect("deployment", id)
    return render(request, "deployments/detail.html", page_context(request, organization, one, form), status=422)


def change(one: Deployment, form: AutoscalingForm, block: Autoscaling) -> dict[str, Any]:
    """Before and after, with what min and max cost on demand."""
    policy, price = one.autoscaling, replica_price(one)
    rows = [
        ("Min replicas", policy.min, block.min), ("Max replicas", policy.max, block.max),
        ("Target concurrency", given(policy.concurrency, 8), given(block.concurrency, 8)),
        ("Priority", given(policy.priority, 0), given(block.priority, 0)),
        ("Capacity", classes_in_words(policy.capacity_classes), classes_in_words(block.capacity_classes)),
    ]  # fmt: skip
    if price is not None:
        rows += [("On demand at min, an hour", f"${price * policy.min:,.2f}", f"${price * block.min:,.2f}"),
                 ("On demand at max, an hour", f"${price * policy.max:,.2f}", f"${price * block.max:,.2f}")]  # fmt: skip
    running = one.ready + one.starting  # type: ignore[attr-defined]
    effect = None
    if running > block.max:
        effect = f"{running - block.max} of {running} replicas are let go, least active first."
    elif running < block.min:
        effect = f"{block.min - running} replicas are started, as far as there are GPUs."
    return {"deployment": one, "rows": rows, "form": form, "effect": effect, "hidden": form.cleaned_data}


def given(value: int | None, otherwise: int) -> str:
    return f"{otherwise} (unset)" if value is None else str(value)


def classes_in_words(classes: Any) -> str:
    words = {"CAPACITY_CLASS_RESERVED": "reserved", "CAPACITY_CLASS_ON_DEMAND": "on demand"}
    return ", then ".join(words[one] for one in classes) or "reserved, then on demand (unset)"


@require_POST
@member_page
def deployment_switch(request: HttpRequest, id: UUID) -> HttpResponse:
    """Enable or disable."""
    disabled = request.POST.get("disabled") == "1"
    one = services.deployment_set_disabled(actor=actor_in(request), deployment_id=id, disabled=disabled)
    messages.success(request, f"{one.name} is being {'torn down' if disabled else 'started'}.")
    return redirect("deployment", id)


@require_http_methods(["GET", "POST"])
@member_page
def deployment_delete(request: HttpRequest, id: UUID) -> HttpResponse:
    actor = actor_in(request)
    actor.require_write()
    one = deployment_get(organization_in(request), id)
    if request.method == "GET":
        return render(request, "deployments/delete.html", {"deployment": one, "replicas": replicas_of(one)})
    services.deployment_delete(actor=actor, deployment_id=id)
    messages.success(request, f"{one.name} is being deleted; its replicas finish what they run.")
    return redirect("deployments")


@require_http_methods(["GET", "POST"])
@member_page
def deployment_new(request: HttpRequest) -> HttpResponse:
    actor, organization = actor_in(request), organization_in(request)
    actor.require_write()
    form = new_form(organization, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            one = services.deployment_create(actor=actor, organization=organization, spec=spec_of(form))
        except InvalidArgument as refusal:
            add_violations(form, refusal, PATHS)
        except AlreadyExists as refusal:
            form.add_error("name", refusal.message)
        else:
            messages.success(request, f"{one.name} is created; its first replicas start as soon as there are GPUs.")
            return redirect("deployment", one.id)
    status = 422 if form.is_bound else 200
    return render(request, "deployments/new.html", {"form": form, "gateways": gateways_of(organization)}, status=status)


def new_form(organization: Organization, data: Any) -> DeploymentForm:
    form = DeploymentForm(data, initial={"min": 1, "max": 4})
    form.fields["gateway"].choices = [  # type: ignore[attr-defined]
        (str(one.id), f"{one.name} ({', '.join(one.sent_zones) or 'all zones'})") for one in gateways_of(organization)
    ]
    form.fields["engine"].choices = [  # type: ignore[attr-defined]
        (f"{name} {version}", f"{name} {version}") for name, one in ENGINES.items() for version in one.versions
    ]
    form.fields["instance_type"].choices = [  # type: ignore[attr-defined]
        (one.name, f"{one.name}: {one.gpus} x {one.gpu_model}, {one.gpu_memory_gib} GiB each")
        for one in types_in(all_zones())
    ]
    return form


def spec_of(form: DeploymentForm) -> DeploymentSpec:
    data = form.cleaned_data
    engine, version = data["engine"].split(" ")
    return DeploymentSpec(
        name=data["name"], gateway_ids=(data["gateway"],), engine=engine, version=version, engine_config=None,
        engine_env=None, instance_type=data["instance_type"], gpu_count=data["gpu_count"],
        model_name=data["model_name"], model_bucket=data["model_bucket"], model_path=data["model_path"],
        autoscaling=block_of(form),
    )  # fmt: skip
