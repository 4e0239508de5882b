"""Another size of a claim, its deletion, and a reduction withdrawn: first the effect, then, confirmed, the change."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from claims import services
from claims.core.rules import ClaimResources
from claims.core.states import Status
from claims.models import CapacityClaim
from claims.selectors import claim_get, claim_numbers
from claims.services.claims import resources_of
from console.common import clock
from console.common.errors import FailedPrecondition, InvalidArgument
from console.dashboard.access import actor_in, member_page, organization_in, told
from console.dashboard.forms import CountForm
from deployments.impact.claims import claim_preview


@require_http_methods(["GET", "POST"])
@member_page
def claim_resize(request: HttpRequest, id: UUID) -> HttpResponse:
    """The effect has an address of its own, to be shown to somebody else."""
    actor = actor_in(request)
    actor.require_write()
    claim, form = claim_get(organization_in(request), id), CountForm(request.POST or request.GET)
    if not form.is_valid():
        messages.error(request, "The number of instances must be a whole number of at least 1.")
        return redirect("claim", id)
    count = form.cleaned_data["count"]
    if "confirmed" not in request.POST:
        return render(request, "claims/resize.html", effect(claim, count))
    kept = resources_of(claim)
    wanted = ClaimResources(kept.instance_id, count, kept.capacity_type, kept.zones)
    try:
        changed = services.claim_resize(actor=actor, claim_id=id, resources=wanted)
    except (InvalidArgument, FailedPrecondition) as refusal:
        told(request, refusal)
    else:
        allocated, pending = claim_numbers(changed)
        messages.success(
            request, f"{claim.name} is to have {count} instances: {allocated} allocated, {pending} pending."
        )
    return redirect("claim", id)


def effect(claim: CapacityClaim, count: int) -> dict[str, Any]:
    """What the page of a preview shows; a count of 0 is a deletion."""
    preview = claim_preview(claim, count, clock.now())
    return {"claim": claim, "count": count, "preview": preview, "impact": preview.impact,
            "interval": settings.REDUCTION_INTERVAL.total_seconds()}  # fmt: skip


@require_POST
@member_page
def claim_withdraw(request: HttpRequest, id: UUID) -> HttpResponse:
    """Keep what is held instead of reducing it when the time comes (C7)."""
    try:
        kept = services.claim_withdraw(actor=actor_in(request), claim_id=id)
    except FailedPrecondition as refusal:
        told(request, refusal)
    else:
        messages.success(request, f"The reduction of {kept.name} is withdrawn; it keeps {kept.target} instances.")
    return redirect("claim", id)


@require_http_methods(["GET", "POST"])
@member_page
def claim_delete(request: HttpRequest, id: UUID) -> HttpResponse:
    actor = actor_in(request)
    actor.require_write()
    claim = claim_get(organization_in(request), id)
    if request.method == "GET" and claim.status == Status.DELETING:
        return redirect("claim", id)
    if request.method == "GET":
        return render(request, "claims/delete.html", effect(claim, 0))
    services.claim_delete(actor=actor, claim_id=id)
    messages.success(request, f"{claim.name} is being deleted; its instances are released one by one.")
    return redirect("claims")
