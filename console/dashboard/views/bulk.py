"""Several deployments at once: priority, enable, disable; first the effect, then the change."""

import uuid
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from console.common.errors import FailedPrecondition, InvalidArgument, NotFound
from console.common.ids import parse_key, parse_uuid
from console.common.words import counted
from console.dashboard.access import actor_in, member_page, organization_in, told
from console.dashboard.deployment_list import list_context
from console.dashboard.effects import Effect, change_of_priorities, change_of_switch
from console.dashboard.forms import BulkForm
from deployments.models import Deployment
from deployments.selectors import deployments_of
from deployments.services import deployments_switch, priorities_set


@require_POST
@member_page
def deployments_bulk(request: HttpRequest) -> HttpResponse:
    actor = actor_in(request)
    actor.require_write()
    ids, form = chosen_in(request), BulkForm(request.POST, auto_id="bulk_%s")
    if not ids:
        form.add_error(None, "Tick the deployments first.")
    if not form.is_valid():
        context = list_context(request, {"bulk_form": form}) | {"ticked": ids}
        return render(request, "deployments/list.html", context, status=422)
    if "confirmed" in request.POST:
        return done(request, ids, form.cleaned_data)
    rows = list(deployments_of(organization_in(request)).filter(id__in=ids).order_by("name", "key"))
    if len(rows) != len(ids):
        raise NotFound("Deployment", min(set(ids) - {one.id for one in rows}))
    effect = effect_of(request, rows, form.cleaned_data)
    context = {"effect": effect, "rows": rows, "data": form.cleaned_data, "title": title(form.cleaned_data, len(rows))}
    return render(request, "deployments/bulk.html", context)


def chosen_in(request: HttpRequest) -> list[uuid.UUID]:
    found = (parse_uuid(text) for text in request.POST.getlist("deployment"))
    return sorted({id for id in found if id is not None})


def title(data: dict[str, Any], count: int) -> str:
    many = counted(count, "deployment")
    if data["action"] == "priority":
        return f"Set the priority of {many} to {data['priority']}"
    return f"{data['action'].capitalize()} {many}"


def effect_of(request: HttpRequest, rows: list[Deployment], data: dict[str, Any]) -> Effect:
    organization = organization_in(request)
    if data["action"] == "priority":
        return change_of_priorities(organization, rows, data["priority"])
    disabled, money = data["action"] == "disable", actor_in(request).sees_money
    return change_of_switch(organization, rows, disabled=disabled, money=money)


def done(request: HttpRequest, ids: list[uuid.UUID], data: dict[str, Any]) -> HttpResponse:
    actor = actor_in(request)
    try:
        if data["action"] == "priority":
            given = {id: parse_key(request.POST.get(f"seen_{id}", "")) for id in ids}
            seen = {id: version for id, version in given.items() if version is not None}
            changed = priorities_set(actor=actor, deployment_ids=ids, priority=data["priority"], seen=seen)
        else:
            changed = deployments_switch(actor=actor, deployment_ids=ids, disabled=data["action"] == "disable")
    except (InvalidArgument, FailedPrecondition) as refusal:
        told(request, refusal)
    else:
        messages.success(
            request, f"{len(changed)} of {counted(len(ids), 'deployment')} changed. The next pass goes by it."
        )
    return redirect("deployments")
