"""Windows of a claim: first the effect, then, confirmed, the change; and the calendar of a pool."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from claims import services
from claims.calendar import pool_calendar
from claims.core.states import Status
from claims.core.window_rules import WindowAsked
from claims.models import CapacityClaim, ClaimWindow
from claims.quotas import offering_named
from claims.selectors import claim_get
from claims.services.windows import windows_if
from claims.windows import window_get, windows_of
from console.common import clock
from console.common.errors import FailedPrecondition, InvalidArgument
from console.common.words import counted
from console.dashboard.access import actor_in, add_violations, member_page, organization_in, told
from console.dashboard.window_forms import PATHS, WindowForm, times_of
from console.dashboard.windows import UTC_ZONE, calendar_of, words_of
from deployments.impact.claims import refused
from deployments.impact.windows import window_preview


@require_http_methods(["GET", "POST"])
@member_page
def window_new(request: HttpRequest, id: UUID) -> HttpResponse:
    claim = _claim(request, id)
    if claim.status == Status.DELETING:
        return redirect("claim", id)
    rows = windows_of(claim)
    first = {"zone": rows[0].time_zone if rows else "UTC", "count": claim.target + 1}
    return _edited(request, claim, None, first)


@require_http_methods(["GET", "POST"])
@member_page
def window_edit(request: HttpRequest, id: UUID, window: UUID) -> HttpResponse:
    claim = _claim(request, id)
    row = window_get(claim, window)
    return _edited(request, claim, row, {"count": row.count, **times_of(row)})


def _claim(request: HttpRequest, id: UUID) -> CapacityClaim:
    actor_in(request).require_write()
    return claim_get(organization_in(request), id)


def _edited(request: HttpRequest, claim: CapacityClaim, row: ClaimWindow | None, first: dict[str, Any]) -> HttpResponse:
    """The form, the preview of what it asks for, or the change and back to the claim."""
    form = WindowForm(request.POST) if request.method == "POST" else WindowForm(initial=first)
    if request.method == "POST" and form.is_valid() and "back" not in request.POST:
        asked = form.asked()
        try:
            if "confirmed" in request.POST:
                _stored(request, claim, row, asked)
                return redirect("claim", claim.id)
            refused(lambda: _stored(request, claim, row, asked, tell=False))
        except InvalidArgument as refusal:
            add_violations(form, refusal, PATHS)
        except FailedPrecondition as refusal:
            form.add_error(None, refusal.message)
        else:
            return _previewed(request, claim, row, asked, form)
    status = 422 if form.errors else 200
    return render(request, "claims/window_form.html", {"claim": claim, "row": row, "form": form}, status=status)


def _stored(
    request: HttpRequest, claim: CapacityClaim, row: ClaimWindow | None, asked: WindowAsked, tell: bool = True
) -> None:
    actor = actor_in(request)
    if row is None:
        stored = services.window_create(actor=actor, claim_id=claim.id, asked=asked)
    else:
        stored = services.window_change(actor=actor, claim_id=claim.id, window_id=row.id, asked=asked)
    if tell:
        messages.success(
            request, f"{claim.name} has a window of {counted(stored.count, 'instance')} {words_of(stored)}."
        )


def _previewed(
    request: HttpRequest,
    claim: CapacityClaim,
    row: ClaimWindow | None,
    asked: WindowAsked | None,
    form: WindowForm | None,
) -> HttpResponse:
    now = clock.now()
    rows, window = windows_if(claim, asked, row, now)
    meant = window or row
    assert meant is not None
    found = window_preview(claim, rows, window, now)
    return render(request, "claims/window_preview.html", {
        "claim": claim, "row": row, "found": found, "preview": found.now, "impact": found.now.impact,
        "words": words_of(meant), "count": meant.count,
        "hidden": _sent(request) if form else [], "interval": settings.REDUCTION_INTERVAL.total_seconds(),
        "drain": settings.DRAIN_DEADLINE.total_seconds(), "lead": found.lead.total_seconds(),
    })  # fmt: skip


def _sent(request: HttpRequest) -> list[tuple[str, str]]:
    """The fields of the form as they came, to be sent again."""
    return [(name, value) for name in WindowForm.base_fields for value in request.POST.getlist(name)]


@require_http_methods(["GET", "POST"])
@member_page
def window_delete(request: HttpRequest, id: UUID, window: UUID) -> HttpResponse:
    claim = _claim(request, id)
    row = window_get(claim, window)
    if request.method == "GET":
        return _previewed(request, claim, row, None, None)
    try:
        services.window_delete(actor=actor_in(request), claim_id=id, window_id=window)
    except FailedPrecondition as refusal:
        told(request, refusal)
    else:
        messages.success(request, f"{claim.name} no longer has the window {words_of(row)}.")
    return redirect("claim", id)


@require_safe
@member_page
def pool_calendar_page(request: HttpRequest, zone: str, type: str) -> HttpResponse:
    """What the claims of a managed pool, of everybody, promise in the next two weeks."""
    offering, now = offering_named(zone, type), clock.now()
    calendar = calendar_of(pool_calendar(offering, now, UTC_ZONE), UTC_ZONE, offering.pool_wanted, now)
    return render(request, "capacity/calendar.html", {"offering": offering, "calendar": calendar})
