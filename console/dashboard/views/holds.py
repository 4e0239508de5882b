"""Holds (R19), notes on charts and the model's memory: small forms of the deployment pages."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from console.common import clock
from console.common.errors import FailedPrecondition, InvalidArgument
from console.common.ids import parse_uuid
from console.common.words import counted
from console.dashboard.access import actor_in, add_violations, member_page, organization_in, told
from console.dashboard.deployment_list import list_context
from console.dashboard.deployment_page import page_context
from console.dashboard.forms import FreezeForm, HoldForm, MemoryForm, NoteForm
from deployments.models import Hold
from deployments.selectors import deployment_get
from deployments.services import (
    annotation_create,
    annotation_delete,
    hold_create,
    hold_end,
    model_memory_set,
    replica_restart,
)

PATHS = {"kind": "kind", "size": "size", "reason": "reason", "expires_at": "lasts"}


@require_POST
@member_page
def deployment_hold(request: HttpRequest, id: UUID) -> HttpResponse:
    """Freeze or pin one deployment."""
    actor, organization = actor_in(request), organization_in(request)
    actor.require_write()
    one, form = deployment_get(organization, id), HoldForm(request.POST)
    if form.is_valid():
        data = form.cleaned_data
        size = data["size"] if data["kind"] == "PIN" else None
        try:
            hold = hold_create(actor=actor, kind=data["kind"], reason=data["reason"], deployment_id=id, size=size,
                               expires_at=form.expires_at(clock.now()))  # fmt: skip
        except InvalidArgument as refusal:
            add_violations(form, refusal, PATHS)
        except FailedPrecondition as refusal:
            form.add_error("size" if refusal.kind == "PIN_OUTSIDE_BOUNDS" else None, refusal.message)
        else:
            messages.success(request, f"{one.name} is {done(hold)}. The next pass of the loop goes by it.")
            return redirect("deployment", id)
    context = page_context(request, organization, one, {"hold_form": form})
    return render(request, "deployments/detail.html", context, status=422)


@require_POST
@member_page
def freeze(request: HttpRequest) -> HttpResponse:
    """Freeze the organization, or (platform staff) the fleet."""
    actor, organization = actor_in(request), organization_in(request)
    actor.require_write()
    fleet, form = request.POST.get("fleet") == "1", FreezeForm(request.POST)
    if form.is_valid():
        try:
            hold_create(actor=actor, kind="FREEZE", reason=form.cleaned_data["reason"], fleet=fleet,
                        expires_at=form.expires_at(clock.now()))  # fmt: skip
        except InvalidArgument as refusal:
            add_violations(form, refusal, PATHS)
        except FailedPrecondition as refusal:
            form.add_error(None, refusal.message)
        else:
            what = "The whole fleet" if fleet else organization.name
            messages.success(request, f"{what} is frozen: no deployment changes its size until this is over.")
            return redirect("deployments")
    return render(request, "deployments/list.html", list_context(request, {"freeze_form": form}), status=422)


def done(hold: Hold) -> str:
    return "frozen" if hold.size is None else f"pinned to {counted(hold.size, 'replica')}"


@require_POST
@member_page
def hold_over(request: HttpRequest, id: UUID) -> HttpResponse:
    """End a hold, then back to the page where that was asked."""
    hold = hold_end(actor=actor_in(request), hold_id=id)
    what = hold.deployment or hold.organization or "The fleet"
    messages.success(request, f"{what} scales again from the next pass of the loop on.")
    return back(request)


def back(request: HttpRequest) -> HttpResponse:
    """To the page of the deployment that the form names, else to the list."""
    deployment = parse_uuid(request.POST.get("deployment", ""))
    return redirect("deployment", deployment) if deployment else redirect("deployments")


@require_POST
@member_page
def note_new(request: HttpRequest, id: UUID) -> HttpResponse:
    actor, organization = actor_in(request), organization_in(request)
    actor.require_write()
    one, form = deployment_get(organization, id), NoteForm(request.POST)
    if form.is_valid():
        try:
            annotation_create(actor=actor, deployment_id=id, text=form.cleaned_data["text"], at=form.moment())
        except InvalidArgument as refusal:
            add_violations(form, refusal, {"text": "text", "at": "at"})
        else:
            messages.success(request, "The note is on the charts.")
            return redirect("deployment", id)
    context = page_context(request, organization, one, {"note_form": form})
    return render(request, "deployments/detail.html", context, status=422)


@require_POST
@member_page
def note_gone(request: HttpRequest, id: UUID) -> HttpResponse:
    annotation_delete(actor=actor_in(request), annotation_id=id)
    messages.success(request, "The note is deleted.")
    return back(request)


@require_POST
@member_page
def deployment_memory(request: HttpRequest, id: UUID) -> HttpResponse:
    """What the model needs of GPU memory, as an operator says."""
    actor, organization = actor_in(request), organization_in(request)
    actor.require_write()
    one, form = deployment_get(organization, id), MemoryForm(request.POST)
    if form.is_valid():
        model_memory_set(actor=actor, deployment_id=id, gib=form.cleaned_data["gib"])
        messages.success(request, f"{one.name}: saved. Nothing is restarted by it.")
        return redirect("deployment", id)
    context = page_context(request, organization, one, {"memory_form": form})
    return render(request, "deployments/detail.html", context, status=422)


@require_POST
@member_page
def replica_anew(request: HttpRequest, id: UUID, key: int) -> HttpResponse:
    """Have one replica replaced, its replacement first."""
    try:
        replica_restart(actor=actor_in(request), deployment_id=id, replica_key=key)
    except FailedPrecondition as refusal:
        told(request, refusal)
    else:
        messages.success(request, f"Replica {key} is to be started anew: it goes once its replacement is ready.")
    return redirect("deployment", id)
