"""The objective of a deployment: its page, set, removed."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from console.common import clock
from console.common.errors import FailedPrecondition, InvalidArgument
from console.common.ids import parse_key
from console.dashboard.access import actor_in, add_violations, member_page, organization_in
from console.dashboard.objective import PATHS, ObjectiveForm, form_of, objective_context
from deployments.objective.selectors import objective_of
from deployments.objective.services import objective_clear, objective_set
from deployments.selectors import deployment_get


@require_http_methods(["GET", "POST"])
@member_page
def deployment_objective(request: HttpRequest, id: UUID) -> HttpResponse:
    """What is to be served, what was chosen for it, and what came."""
    actor, one = actor_in(request), deployment_get(organization_in(request), id)
    row = objective_of(one)
    form = form_of(row, money=actor.sees_money)
    if request.method == "POST":
        actor.require_write()
        form = ObjectiveForm(request.POST, auto_id="objective_%s")
        if form.is_valid() and _set(request, id, form):
            messages.success(request, f"{one.name}: the objective is set. The next pass of the loop goes by it.")
            return redirect("deployment-objective", id)
    older = parse_key(request.GET.get("before", ""))
    context = objective_context(one, row, clock.now(), older) | {"objective_form": form}
    return render(request, "deployments/objective.html", context, status=422 if form.errors else 200)


def _set(request: HttpRequest, id: UUID, form: ObjectiveForm) -> bool:
    """Whether the service took it; else the form says why not."""
    try:
        objective_set(actor=actor_in(request), deployment_id=id, share=form.share,
                      price_ceiling=form.cleaned_data["price_ceiling"])  # fmt: skip
    except InvalidArgument as refusal:
        add_violations(form, refusal, PATHS)
    except FailedPrecondition as refusal:
        form.add_error("price_ceiling", refusal.message)
    return not form.errors


@require_POST
@member_page
def objective_gone(request: HttpRequest, id: UUID) -> HttpResponse:
    """Sized by what is set by hand again."""
    objective_clear(actor=actor_in(request), deployment_id=id)
    messages.success(request, "The objective is removed: the settings set by hand are gone by again.")
    return redirect("deployment-objective", id)
