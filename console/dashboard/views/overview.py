"""The overview: what needs attention first, then the numbers, then what happened."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from claims.budgets import BudgetState, budget_state
from claims.core.rating import PriceMissing
from claims.forecast import forecast
from claims.selectors import claim_numbers, claims_of, quotas_of
from console.common import clock
from console.common.errors import NotFound
from console.dashboard.access import actor_in, member_page, organization_in
from console.dashboard.acknowledging import notice_hide, notice_show, until
from console.dashboard.afterwards import makings
from console.dashboard.attention import Facts, Notice, board, notices
from console.dashboard.billing import without_price
from console.dashboard.groups import Group, grouped, grouped_hidden, meant
from console.dashboard.lateness import late_kinds
from console.dashboard.live import totals
from console.organizations.actors import Actor
from console.organizations.models import Organization
from console.organizations.selectors import audit_of
from deployments.core import explain
from deployments.models import Decision
from deployments.selectors import briefs_of, holds_in_force, names_in, recent_decisions

RECENT = 12


@require_safe
@member_page
def overview(request: HttpRequest) -> HttpResponse:
    organization, actor, now = organization_in(request), actor_in(request), clock.now()
    spent = money(organization, now) if actor.sees_money else {}
    facts = facts_of(organization, now, spent.get("missing", ""), spent.get("budget"))
    shown = board(organization, notices(facts), now)
    return render(request, "overview.html", {
        "notices": grouped(shown.shown),
        "hidden": grouped_hidden(shown.hidden),
        "hidden_count": len(shown.hidden),
        "all": request.GET.get("hidden") == "1",
        "tomorrow": until("tomorrow", now),
        "kpis": kpis(facts),
        "late_loops": facts.late,
        "decisions": described(recent_decisions(organization, RECENT), organization),
        "events": audit_of(actor)[:RECENT],
        "makings": makings(organization, actor),
        **spent,
    })  # fmt: skip


def facts_of(
    organization: Organization, now: datetime, missing_price: str = "", budget: BudgetState | None = None
) -> Facts:
    return Facts(
        organization=organization,
        now=now,
        late=late_kinds(now),
        deployments=briefs_of(organization),
        claims=list(claims_of(organization)),
        quotas=quotas_of(organization),
        holds=holds_in_force(organization, now),
        missing_price=missing_price,
        budget=budget,
    )


@require_POST
@member_page
def attention(request: HttpRequest) -> HttpResponse:
    """Acknowledge a notice, snooze it, or show it again. One that is over by now needs nothing any more."""
    actor, organization, now = actor_in(request), organization_in(request), clock.now()
    actor.require_write()
    spent = money(organization, now) if actor.sees_money else {}
    found = notices(facts_of(organization, now, spent.get("missing", ""), spent.get("budget")))
    made = board(organization, found, now)
    listed = [row.notice for row in made.hidden] if request.POST.get("do") == "show" else made.shown
    notice = meant(request.POST.get("key", ""), found, listed)
    if notice is None:
        messages.info(request, "That is over, or it happened anew in the meantime.")
    else:
        messages.success(request, deal(actor, notice, request.POST.get("do", ""), now))
    return redirect(reverse("overview") + ("?hidden=1" if request.POST.get("hidden") == "1" else ""))


def deal(actor: Actor, notice: Notice | Group, wanted: str, now: datetime) -> str:
    """Do what is wanted with the notice; says what was done."""
    if wanted == "show":
        with suppress(NotFound):  # somebody was there first
            notice_show(actor=actor, notice=notice)
        return f"{notice.title}: shown again."
    ends = until(wanted, now)
    notice_hide(actor=actor, notice=notice, now=now, snoozed_until=ends)
    if ends is None:
        return f"{notice.title}: acknowledged until it happens anew."
    return f"{notice.title}: quiet until {ends:%Y-%m-%d %H:%M} UTC, unless it gets worse."


def money(organization: Organization, now: datetime) -> dict[str, Any]:
    """Spent this month, foreseen, an hour now and the budget; why it is not known where a price is missing."""
    try:
        foreseen = forecast(organization, now, by_holder=False)
        return {
            "spent": foreseen.so_far,
            "foreseen": foreseen.total,
            "budget": budget_state(organization, now, foreseen),
            "per_hour": foreseen.per_hour,
        }
    except PriceMissing as missing:
        return {"missing": without_price(missing)}


@require_safe
@member_page
def late(request: HttpRequest) -> HttpResponse:
    """The banner alone, for pages that are open."""
    return render(request, "parts/late.html")


def kpis(facts: Facts) -> dict[str, int]:
    numbers = [claim_numbers(claim) for claim in facts.claims]
    return totals(facts.deployments) | {
        "allocated": sum(allocated for allocated, _ in numbers),
        "pending": sum(pending for _, pending in numbers),
    }


def described(decisions: Iterable[Decision], organization: Organization) -> list[dict[str, Any]]:
    rows = list(decisions)
    names = names_in(rows, organization)
    return [{"decision": one, "text": explain.verdict(one.record, names)} for one in rows]
