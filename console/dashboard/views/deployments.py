"""Deployments: list, page, why not more, new, enable, disable, delete."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from console.common import clock
from console.common.errors import AlreadyExists, InvalidArgument
from console.dashboard.access import actor_in, add_violations, member_page, organization_in
from console.dashboard.deployment_list import list_context
from console.dashboard.deployment_page import page_context
from console.dashboard.forms import OFF, DeploymentForm
from console.dashboard.past import MomentForm, then_context
from console.dashboard.views.autoscaling import PATHS, block_of
from console.organizations.models import Organization
from deployments import services
from deployments.core.rules import DeploymentSpec
from deployments.engines import ENGINES
from deployments.models import Deployment
from deployments.selectors import deployment_get, gateways_of, replicas_of
from deployments.shortage import explanation_of
from deployments.zones import all_zones, types_in


@require_safe
@member_page
def deployment_list(request: HttpRequest) -> HttpResponse:
    return render(request, "deployments/list.html", list_context(request))


@require_safe
@member_page
def deployment_page(request: HttpRequest, id: UUID) -> HttpResponse:
    organization = organization_in(request)
    context = page_context(request, organization, deployment_get(organization, id))
    return render(request, "deployments/detail.html", context)


@require_safe
@member_page
def deployment_why(request: HttpRequest, id: UUID) -> HttpResponse:
    """Why it has no more replicas, planned anew; also a part of the deployment's page. With `?at=`, why it had no more then."""
    one, platform = deployment_get(organization_in(request), id), actor_in(request).is_platform
    if request.GET.get("at"):
        return render(request, "deployments/why_then.html", then_context(request, one, platform=platform))
    why = explanation_of(one, clock.now(), platform=platform)
    return render(request, "deployments/why.html", {"deployment": one, "why": why, "moment": MomentForm()})


@require_POST
@member_page
def deployment_switch(request: HttpRequest, id: UUID) -> HttpResponse:
    """Enable or disable."""
    disabled = request.POST.get("disabled") == "1"
    one = services.deployment_set_disabled(actor=actor_in(request), deployment_id=id, disabled=disabled)
    messages.success(request, f"{one.name} is being {'torn down' if disabled else 'started'}.")
    return redirect("deployment", id)


@require_POST
@member_page
def deployment_shadow(request: HttpRequest, id: UUID) -> HttpResponse:
    """Into shadow, or out of it."""
    shadow = request.POST.get("shadow") == "1"
    one = services.shadow_set(actor=actor_in(request), deployment_id=id, shadow=shadow)
    what = "is in shadow: nothing is acted on" if shadow else "acts on what is decided for it from the next pass on"
    messages.success(request, f"{one.name} {what}.")
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
            one = created(request, form)
        except InvalidArgument as refusal:
            add_violations(form, refusal, {**PATHS, "labels": "labels"})
        except AlreadyExists as refusal:
            form.add_error("name", refusal.message)
        else:
            messages.success(request, f"{one.name} is created; its first replicas start as soon as there are GPUs.")
            return redirect("deployment", one.id)
    status = 422 if form.is_bound else 200
    return render(request, "deployments/new.html", {"form": form, "gateways": gateways_of(organization)}, status=status)


def created(request: HttpRequest, form: DeploymentForm) -> Deployment:
    actor, gib = actor_in(request), form.cleaned_data["model_memory_gib"]
    with transaction.atomic():
        one = services.deployment_create(actor=actor, organization=organization_in(request), spec=spec_of(form))
        services.look_ahead_set(actor=actor, deployment_id=one.id, look_ahead=form.cleaned_data["look_ahead"] != OFF)
        services.deployment_labels_set(actor=actor, deployment_id=one.id, labels=form.cleaned_data["labels"])
        if gib is not None:
            services.model_memory_set(actor=actor, deployment_id=one.id, gib=gib)
    return one


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
