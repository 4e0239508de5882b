"""Windows of min and max: first what it will do, then, confirmed, the change."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from console.common import clock
from console.common.errors import FailedPrecondition, InvalidArgument
from console.dashboard.access import actor_in, add_violations, member_page, organization_in
from console.dashboard.schedules import PATHS, ScheduleForm, effect_of
from console.dashboard.window_forms import times_of
from deployments.models import Deployment, ScheduleWindow
from deployments.schedules.selectors import schedule_get, schedules_of, words_of
from deployments.schedules.services import schedule_change, schedule_create, schedule_delete
from deployments.selectors import deployment_get


@require_http_methods(["GET", "POST"])
@member_page
def schedule_new(request: HttpRequest, id: UUID) -> HttpResponse:
    one = _deployment(request, id)
    rows = schedules_of(one)
    return _edited(request, one, None, {"zone": rows[0].time_zone if rows else "UTC"})


@require_http_methods(["GET", "POST"])
@member_page
def schedule_edit(request: HttpRequest, id: UUID, schedule: UUID) -> HttpResponse:
    one = _deployment(request, id)
    row = schedule_get(one, schedule)
    proposed = {name: request.GET[name] for name in ("min", "max") if name in request.GET}
    return _edited(request, one, row, {"min": row.min, "max": row.max, **times_of(row), **proposed})


@require_POST
@member_page
def schedule_gone(request: HttpRequest, id: UUID, schedule: UUID) -> HttpResponse:
    row = schedule_delete(actor=actor_in(request), deployment_id=id, schedule_id=schedule)
    messages.success(request, f"The window {words_of(row)} is gone; its own bounds hold.")
    return redirect("deployment", id)


def _deployment(request: HttpRequest, id: UUID) -> Deployment:
    actor_in(request).require_write()
    return deployment_get(organization_in(request), id)


def _edited(request: HttpRequest, one: Deployment, row: ScheduleWindow | None, first: dict[str, Any]) -> HttpResponse:
    """The form, with what the window will do once it is right, or the change and back to the deployment."""
    form = ScheduleForm(request.POST) if request.method == "POST" else ScheduleForm(initial=first)
    effect = None
    if request.method == "POST" and form.is_valid():
        confirmed = "confirmed" in request.POST
        try:
            stored = _stored(request, one, row, form, keep=confirmed)
        except InvalidArgument as refusal:
            add_violations(form, refusal, PATHS)
        except FailedPrecondition as refusal:
            form.add_error(None, refusal.message)
        else:
            if confirmed:
                messages.success(request, f"{one.name} has a window {words_of(stored)}.")
                return redirect("deployment", one.id)
            effect = effect_of(stored, one, clock.now())
    context = {"deployment": one, "row": row, "form": form, "effect": effect}
    return render(request, "deployments/schedule.html", context, status=422 if form.errors else 200)


def _stored(
    request: HttpRequest, one: Deployment, row: ScheduleWindow | None, form: ScheduleForm, *, keep: bool
) -> ScheduleWindow:
    """The window as it is stored; or as it would be, rolled back, so that refusals are the service's own."""
    actor, asked = actor_in(request), form.schedule()
    with transaction.atomic():
        if row is None:
            stored = schedule_create(actor=actor, deployment_id=one.id, asked=asked)
        else:
            stored = schedule_change(actor=actor, deployment_id=one.id, schedule_id=row.id, asked=asked)
        if not keep:
            transaction.set_rollback(True)
    return stored
