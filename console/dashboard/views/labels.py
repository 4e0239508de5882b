"""Labels of claims and deployments, edited on their pages."""

from collections.abc import Callable, Mapping
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from claims import services as claim_services
from claims.selectors import claim_get
from console.common.errors import FailedPrecondition, InvalidArgument
from console.dashboard.access import actor_in, add_violations, member_page, organization_in
from console.dashboard.deployment_page import page_context as deployment_context
from console.dashboard.labels import LabelsForm
from console.dashboard.views.claims import page_context as claim_context
from deployments import services
from deployments.selectors import deployment_get

Labels = Mapping[str, str]


@require_POST
@member_page
def claim_labels(request: HttpRequest, id: UUID) -> HttpResponse:
    actor, claim = actor_in(request), claim_get(organization_in(request), id)
    form = LabelsForm(request.POST, auto_id="labels_%s")
    actor.require_write()
    if saved(form, lambda labels, seen: claim_services.claim_labels_set(
        actor=actor, claim_id=id, labels=labels, seen=seen
    )):  # fmt: skip
        messages.success(request, f"The labels of {claim.name} are saved.")
        return redirect("claim", id)
    return render(request, "claims/detail.html", claim_context(request, claim, form), status=422)


@require_POST
@member_page
def deployment_labels(request: HttpRequest, id: UUID) -> HttpResponse:
    actor, organization = actor_in(request), organization_in(request)
    one, form = deployment_get(organization, id), LabelsForm(request.POST, auto_id="labels_%s")
    actor.require_write()
    if saved(form, lambda labels, seen: services.deployment_labels_set(
        actor=actor, deployment_id=id, labels=labels, seen=seen
    )):  # fmt: skip
        messages.success(request, f"The labels of {one.name} are saved.")
        return redirect("deployment", id)
    context = deployment_context(request, organization, one, {"labels_form": form})
    return render(request, "deployments/detail.html", context, status=422)


def saved(form: LabelsForm, save: Callable[[Labels, Labels], None]) -> bool:
    """Save what the form says; False, and the form says why, where it cannot be."""
    if not form.is_valid():
        return False
    try:
        save(form.cleaned_data["labels"], form.cleaned_data["seen"])
    except InvalidArgument as refusal:
        add_violations(form, refusal, {"labels": "labels"})
    except FailedPrecondition as refusal:
        form.add_error(None, refusal.message)
    return form.is_valid()
