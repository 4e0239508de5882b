"""Another size of a claim, its deletion, and a reduction withdrawn: first the effect, then, confirmed, the change."""

from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.defaultfilters import pluralize
from django.views.decorators.http import require_http_methods, require_POST

from claims import services
from claims.core.rules import ClaimResources
from claims.core.states import Status
from claims.models import CapacityClaim
from claims.pricing import claim_hourly
from claims.selectors import claim_get, claim_numbers
from claims.services.claims import resources_of
from console.common import clock
from console.common.errors import FailedPrecondition, InvalidArgument
from console.common.words import counted
from console.dashboard.access import actor_in, member_page, organization_in, told
from console.dashboard.forms import CountForm
from deployments.impact.claims import claim_preview


@require_http_methods(["GET", "POST"])
@member_page
def claim_resize(request: HttpRequest, id: UUID) -> HttpResponse:
    """The effect has an address of its own, to be shown to somebody else; whoever may read the claim may read it."""
    actor, claim = actor_in(request), claim_get(organization_in(request), id)
    if request.method == "GET":
        asked = CountForm(request.GET)
        count = asked.cleaned_data["count"] if asked.is_valid() else claim.target
        return shown(request, claim, "claims/resize.html", count)
    actor.require_write()
    form = CountForm(request.POST)
    if not form.is_valid():
        messages.error(request, "The number of instances must be a whole number of at least 1.")
        return redirect("claim", id)
    count = form.cleaned_data["count"]
    if "confirmed" not in request.POST:
        return shown(request, claim, "claims/resize.html", count)
    kept = resources_of(claim)
    wanted = ClaimResources(kept.instance_id, count, kept.capacity_type, kept.zones)
    try:
        changed = services.claim_resize(actor=actor, claim_id=id, resources=wanted)
    except (InvalidArgument, FailedPrecondition) as refusal:
        told(request, refusal)
    else:
        allocated, pending = claim_numbers(changed)
        messages.success(
            request,
            f"{claim.name} is to have {count} instance{pluralize(count)}: {allocated} allocated, {pending} pending.",
        )
    return redirect("claim", id)


def shown(request: HttpRequest, claim: CapacityClaim, template: str, count: int) -> HttpResponse:
    """The page of a preview; a count of 0 is a deletion. A claim that is being deleted has none, and its page says why."""
    if claim.status == Status.DELETING:
        return redirect("claim", claim.id)
    now = clock.now()
    preview = claim_preview(claim, count, now)
    return render(request, template, {
        "claim": claim, "count": count, "preview": preview, "impact": preview.impact,
        "billed": claim_hourly(claim, now) if actor_in(request).sees_money else None,
        "interval": settings.REDUCTION_INTERVAL.total_seconds(), "drain": settings.DRAIN_DEADLINE.total_seconds(),
    })  # fmt: skip


@require_POST
@member_page
def claim_withdraw(request: HttpRequest, id: UUID) -> HttpResponse:
    """Keep what is held instead of reducing it when the time comes (C7)."""
    try:
        kept = services.claim_withdraw(actor=actor_in(request), claim_id=id)
    except FailedPrecondition as refusal:
        told(request, refusal)
    else:
        messages.success(
            request, f"The reduction of {kept.name} is withdrawn; it keeps {counted(kept.target, 'instance')}."
        )
    return redirect("claim", id)


@require_http_methods(["GET", "POST"])
@member_page
def claim_delete(request: HttpRequest, id: UUID) -> HttpResponse:
    actor = actor_in(request)
    actor.require_write()
    claim = claim_get(organization_in(request), id)
    if request.method == "GET":
        return shown(request, claim, "claims/delete.html", 0)
    services.claim_delete(actor=actor, claim_id=id)
    messages.success(request, f"{claim.name} is being deleted; its instances are released one by one.")
    return redirect("claims")
