"""Statements: the list of months, and one month line by line. For who may see money."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from claims.core.rating import PriceMissing
from claims.statements.selectors import month_named, statement_of, statements_of
from console.common import clock
from console.common.errors import InvalidArgument
from console.dashboard.access import actor_in, member_page, organization_in
from console.dashboard.billing import without_price


@require_safe
@member_page
def statement_list(request: HttpRequest) -> HttpResponse:
    actor_in(request).require_money()
    context: dict[str, Any] = {}
    try:
        context["statements"] = statements_of(organization_in(request), clock.now())
    except PriceMissing as missing:
        context["missing"] = without_price(missing)
    return render(request, "billing/statements.html", context)


@require_safe
@member_page
def statement_page(request: HttpRequest, month: str) -> HttpResponse:
    """A month of the future, or none at all, is refused in a sentence."""
    actor_in(request).require_money()
    organization, now = organization_in(request), clock.now()
    context: dict[str, Any] = {"name": month}
    try:
        found = month_named(organization, month, now)
        context["one"], context["lines"] = statement_of(organization, found, now)
    except InvalidArgument as refusal:
        return render(request, "billing/statement.html", context | {"refusal": refusal.message}, status=400)
    except PriceMissing as missing:
        context["refusal"] = without_price(missing)
    return render(request, "billing/statement.html", context)
