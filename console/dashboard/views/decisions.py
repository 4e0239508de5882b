"""Decisions: search over them, one with its derivation, and one made once more."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from console.common.errors import NotFound
from console.dashboard.access import member_page, organization_in
from console.dashboard.decision_search import neighbours, search_context
from console.dashboard.deployment_page import explained
from deployments.models import Decision
from deployments.replay.again import decision_replay
from deployments.replay.search import decision_get


@require_safe
@member_page
def decision_list(request: HttpRequest) -> HttpResponse:
    return render(request, "decisions/list.html", search_context(request))


@require_safe
@member_page
def decision_page(request: HttpRequest, id: int) -> HttpResponse:
    return render(request, "decisions/detail.html", context_of(request, decision_in(request, id)))


@require_safe
@member_page
def decision_again(request: HttpRequest, id: int) -> HttpResponse:
    """The same page with the decision made once more."""
    one = decision_in(request, id)
    return render(request, "decisions/detail.html", {**context_of(request, one), "replay": decision_replay(one)})


def decision_in(request: HttpRequest, id: int) -> Decision:
    if id >= 2**63:
        raise NotFound("Decision", id)
    return decision_get(organization_in(request), id)


def context_of(request: HttpRequest, one: Decision) -> dict[str, Any]:
    (row,) = explained([one], organization_in(request))
    before, after = neighbours(one)
    return {"row": row, "decision": one, "deployment": one.deployment, "before": before, "after": after}
