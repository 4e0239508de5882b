"""The overview: what needs attention first, then the numbers, then what happened."""

from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from claims import metering
from claims.core.rating import PriceMissing
from claims.selectors import claim_numbers, claims_of, quotas_of
from console.common import clock
from console.dashboard.access import actor_in, member_page, organization_in
from console.dashboard.attention import notices
from console.dashboard.billing import without_price
from console.dashboard.live import last_sample
from console.loops.selectors import loops_late
from console.organizations.models import Organization
from console.organizations.selectors import audit_of
from deployments.core import explain
from deployments.models import Decision
from deployments.selectors import deployments_of, recent_decisions

RECENT = 12


@require_safe
@member_page
def overview(request: HttpRequest) -> HttpResponse:
    organization, actor = organization_in(request), actor_in(request)
    deployments, claims = list(deployments_of(organization)), list(claims_of(organization))
    context: dict[str, Any] = {
        "notices": notices(loops_late(now=clock.now()), deployments, claims, quotas_of(organization)),
        "kpis": kpis(organization, deployments, claims),
        "decisions": [described(one) for one in recent_decisions(organization, RECENT)],
        "events": audit_of(actor)[:RECENT],
    }
    if actor.sees_money:
        context |= money(organization, clock.now())
    return render(request, "overview.html", context)


def money(organization: Organization, now: datetime) -> dict[str, Any]:
    """Spent this month and an hour now; why it is not known where a price is missing."""
    try:
        return {
            "spent": metering.total(metering.month_to_date(organization, now)),
            "per_hour": metering.spend_per_hour(organization, now),
        }
    except PriceMissing as missing:
        return {"missing": without_price(missing)}


@require_safe
@member_page
def late(request: HttpRequest) -> HttpResponse:
    """The banner alone, for pages that are open."""
    return render(request, "parts/late.html")


def kpis(organization: Organization, deployments: Any, claims: Any) -> dict[str, int]:
    numbers = [claim_numbers(claim) for claim in claims]
    sample = last_sample(organization)
    return {
        "ready": sum(one.ready for one in deployments),
        "starting": sum(one.starting for one in deployments),
        "wanted": sum(one.last_wanted or 0 for one in deployments),
        "allocated": sum(allocated for allocated, _ in numbers),
        "pending": sum(pending for _, pending in numbers),
        "queued": sum(row.queued for row in sample.values()),
        "active": sum(row.active for row in sample.values()),
    }


def described(decision: Decision) -> dict[str, Any]:
    return {"decision": decision, "text": explain.line(decision.record)}
