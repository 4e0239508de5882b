"""Changes of autoscaling: first their effect, as the planner would have it, then, confirmed, the change."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_POST

from console.common.errors import FailedPrecondition, InvalidArgument
from console.dashboard.access import actor_in, add_violations, member_page, organization_in, told
from console.dashboard.deployment_page import page_context
from console.dashboard.effects import change_of_autoscaling
from console.dashboard.forms import ON, AutoscalingForm
from deployments import services
from deployments.core.rules import Autoscaling
from deployments.selectors import deployment_get

PATHS = {
    "autoscaling": "max", "autoscaling.min": "min", "autoscaling.max": "max", "autoscaling.priority": "priority",
    "autoscaling.concurrency": "concurrency", "autoscaling.capacity_classes": "classes", "name": "name",
    "gateway_ids[0]": "gateway", "gateway_ids": "gateway", "runtime.engine": "engine", "runtime.version": "engine",
    "resources.instance_type": "instance_type", "resources.gpu_count": "gpu_count", "model.name": "model_name",
    "model.bucket": "model_bucket", "model.path": "model_path", "model_memory_gib": "model_memory_gib",
}  # fmt: skip


def block_of(form: AutoscalingForm) -> Autoscaling:
    data = form.cleaned_data
    classes = tuple(one for one in data["classes"].split(",") if one)
    return Autoscaling(data["min"], data["max"], data["priority"], data["concurrency"], classes)


def own_settings(form: AutoscalingForm) -> dict[str, Any]:
    """Headroom's own settings, as far as they were sent, by column of the policy."""
    data, own = form.cleaned_data, {}
    if data["look_ahead"]:
        own["look_ahead"] = data["look_ahead"] == ON
    if "scale_down_s" in form.data:
        delay_s = data["scale_down_s"]
        own["scale_down_delay"] = None if delay_s is None else timedelta(seconds=delay_s)
    return own


@require_POST
@member_page
def deployment_autoscaling(request: HttpRequest, id: UUID) -> HttpResponse:
    actor, organization = actor_in(request), organization_in(request)
    actor.require_write()
    one, form = deployment_get(organization, id), AutoscalingForm(request.POST)
    if form.is_valid():
        block, own = block_of(form), own_settings(form)
        if "confirmed" not in request.POST and "back" not in request.POST:
            if block.max >= block.min:
                effect = change_of_autoscaling(one, block, own, money=actor.sees_money)
                context: dict[str, Any] = {
                    "deployment": one,
                    "form": form,
                    "hidden": {name: value for name, value in form.cleaned_data.items() if name in form.data},
                    "effect": effect,
                }
                return render(request, "deployments/autoscaling.html", context)
            form.add_error("max", "max must be greater than or equal to min")
        elif "confirmed" in request.POST:
            try:
                services.autoscaling_update(
                    actor=actor,
                    deployment_id=id,
                    block=block,
                    headroom=own,
                    seen_at=parse_datetime(request.POST.get("seen_at", "")),
                )
            except InvalidArgument as refusal:
                add_violations(form, refusal, PATHS)
            except FailedPrecondition as refusal:
                told(request, refusal)
                return redirect("deployment", id)
            else:
                messages.success(request, f"{one.name}: saved. The next pass of the loop, within seconds, goes by it.")
                return redirect("deployment", id)
    context = page_context(request, organization, one, {"form": form})
    return render(request, "deployments/detail.html", context, status=422)
