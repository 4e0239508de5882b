"""What another size of a claim would have done, on a page of its own: it reads a week."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from claims.core.states import Status
from claims.models import CapacityClaim
from claims.selectors import claim_get
from claims.use import use_of_day
from console.common import clock
from console.dashboard.access import member_page, organization_in
from deployments.impact.claims import price_change
from deployments.sizing import Advice, advice


@require_safe
@member_page
def claim_sizing(request: HttpRequest, id: UUID) -> HttpResponse:
    claim, now = claim_get(organization_in(request), id), clock.now()
    if claim.status == Status.DELETING:
        return redirect("claim", id)
    found = advice(claim, now)
    use = use_of_day([claim], now).get(claim.key)
    context: dict[str, Any] = {"claim": claim, "advice": found, "used_percent": 100 * use.share if use else None}
    if found:
        context["sizes"] = [
            {"count": count, "seconds": seconds, "percent": 100 * seconds / found.sizing.seconds}
            for count, seconds in enumerate(found.sizing.at)
        ]
        context["growth"] = [
            {"count": claim.target + one.more, "more": one.more, "avoided_s": one.avoided_s}
            for one in found.sizing.growth[:5]
        ]
        context["filled_percent"] = 100 * found.share
        context["saved"] = saved_by(claim, found, now)
    return render(request, "claims/sizing.html", context)


def saved_by(claim: CapacityClaim, found: Advice, now: datetime) -> Decimal | None:
    """USD a month that the smaller base saves, in the share of the time in which no window holds as much; None where
    nothing is spare or has a price."""
    price = price_change(claim, claim.target, found.shrink_to, now) if found.shrink_to else None
    return (price.month_before - price.month_after) * Decimal(str(found.sizing.spared_share)) if price else None
