"""History that is made afterwards: how far it is, and an end to it."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from console.dashboard.access import actor_in, member_page, organization_in
from console.dashboard.afterwards import makings
from deployments.history.services import history_cancel
from deployments.models import HistoryState


@require_safe
@member_page
def progress(request: HttpRequest) -> HttpResponse:
    """The part alone, for pages that are open."""
    return render(request, "parts/afterwards.html", {"makings": makings(organization_in(request), actor_in(request))})


@require_POST
@member_page
def cancel(request: HttpRequest, id: UUID) -> HttpResponse:
    run = history_cancel(actor=actor_in(request), run_id=id)
    if run.state == HistoryState.CANCELLED:
        messages.success(
            request, f"No more history is made; what there is, back to {run.made_from:%Y-%m-%d %H:%M} UTC, stays."
        )
    else:
        messages.info(request, "It was over already.")
    return redirect("overview")
