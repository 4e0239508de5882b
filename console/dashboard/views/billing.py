"""Billing: what the organization spends, cut every way, down to the intervals of the ledger. For who may see money."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from claims import bills, metering
from claims.bills import Amount, Chosen, Month, UnusedReserved
from claims.budgets import budget_state
from claims.core.rating import PriceMissing
from claims.focus.period import coverage
from claims.forecast import Forecast, forecast
from claims.labels import holders_with, labels_of_all
from claims.metering import UsageRow
from claims.models import Offering, UsageKind
from console.common import clock
from console.common.ids import parse_uuid
from console.common.labels import key_wrong
from console.dashboard import org_series
from console.dashboard.access import actor_in, member_page, organization_in
from console.dashboard.billing import (
    LABEL,
    TABLES,
    Labels,
    ahead_by_line,
    csv_rows,
    label_keys,
    lines,
    table_of,
    without_price,
)
from console.dashboard.paging import paged
from console.organizations.models import Organization

SHOWN = 50
KINDS = {"claim": UsageKind.CLAIM, "replica": UsageKind.REPLICA}
KIND_WORDS = {"claim": "claims", "replica": "replicas on demand"}
NONE = Decimal(0)


@require_safe
@member_page
def billing(request: HttpRequest) -> HttpResponse:
    actor_in(request).require_money()
    organization, now = organization_in(request), clock.now()
    months = bills.months(organization, now)
    month, by, labels = month_in(request, months), by_in(request), labels_of_all(organization)
    context = {"months": months, "month": month, "present": month == months[0], "by": by, "tabs": TABLES,
               "table": table_of(by, labels), **label_tabs(by, labels)}  # fmt: skip
    try:
        places = offerings()
        found = forecast(organization, now) if context["present"] else None
        rows = found.rows if found else metering.usage(organization, month.start, month.end, now)
        context |= bill(organization, month, by, rows, places, labels, now)
        context["focus"] = coverage(organization, month, now)
        if found:
            context |= outlook(organization, by, context, found, places, labels, now)
    except PriceMissing as missing:
        context["missing"] = without_price(missing)
    return render(request, "billing/month.html", context)


def label_tabs(by: str, labels: Labels) -> dict[str, Any]:
    """The keys that a bill can be cut by, and where the tab of labels leads."""
    keys = label_keys(labels)
    asked = by if by.startswith(LABEL) else f"{LABEL}{keys[0]}" if keys else ""
    return {"label_tab": asked, "label_keys": [(key, f"{LABEL}{key}") for key in keys]}


def bill(
    organization: Organization,
    month: Month,
    by: str,
    rows: Sequence[UsageRow],
    places: Mapping[int, Offering],
    labels: Labels,
    now: datetime,
) -> dict[str, Any]:
    whole, unused = bills.amount(rows), bills.unused_reserved(organization, month.start, month.end, now)
    found = lines(organization, by, rows, places, month, labels)
    return {
        "whole": whole,
        "reserved_share": float(whole.reserved / whole.total) if whole.total else 0.0,
        "reserved_time_share": whole.reserved_seconds / whole.gpu_seconds if whole.gpu_seconds else 0.0,
        "lines": found,
        "unused": unused,
        "unused_seconds": sum(one.instance_seconds for one in unused),
        "unused_usd": total_of(unused),
    }


def outlook(
    organization: Organization,
    by: str,
    bill: Mapping[str, Any],
    found: Forecast,
    places: Mapping[int, Offering],
    labels: Labels,
    now: datetime,
) -> dict[str, Any]:
    """What the present month is going to cost: all of it, and by line."""
    ahead = ahead_by_line(by, found, places, labels)
    return {
        "forecast": found,
        "lines": bill["lines"]
        if by == "day"
        else [replace(one, ahead=ahead.get(one.id, NONE)) for one in bill["lines"]],
        "foreseen": bill["whole"].total + sum(ahead.values(), NONE),
        "budget": budget_state(organization, now, found),
    }


def total_of(unused: list[UnusedReserved]) -> Decimal | None:
    """Together, at the reserved rate; None where a price is missing."""
    amounts = [one.usd for one in unused]
    return None if None in amounts else sum((usd for usd in amounts if usd is not None), Decimal(0))


@require_safe
@member_page
def billing_csv(request: HttpRequest) -> HttpResponse:
    """The table of the page."""
    actor_in(request).require_money()
    organization, now = organization_in(request), clock.now()
    month, by = month_in(request, bills.months(organization, now)), by_in(request)
    try:
        rows = metering.usage(organization, month.start, month.end, now)
    except PriceMissing as missing:
        return HttpResponse(without_price(missing), status=409, content_type="text/plain")
    answer = HttpResponse(content_type="text/csv")
    name = f"headroom-{organization.slug}-{month.name}-by-{re.sub('[^a-zA-Z0-9]+', '-', by)}.csv"
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    found = lines(organization, by, rows, offerings(), month, labels_of_all(organization))
    csv.writer(answer).writerows(csv_rows(by, month, found))
    return answer


@require_safe
@member_page
def billing_chart(request: HttpRequest, month: str) -> HttpResponse:
    """Daily bars: reserved against on demand."""
    actor_in(request).require_money()
    organization, now = organization_in(request), clock.now()
    found = next((one for one in bills.months(organization, now) if one.name == month), Month(metering.month_of(now)))
    return JsonResponse(org_series.bill(organization, found, now))


@require_safe
@member_page
def billing_lines(request: HttpRequest) -> HttpResponse:
    """Where a number comes from: the intervals of the ledger that it is the sum of. Of what is held now (`held=1`), what an
    hour of each costs."""
    actor_in(request).require_money()
    organization, now = organization_in(request), clock.now()
    month = month_in(request, bills.months(organization, now))
    start, end = period(request, month)
    chosen = labels_chosen(request, chosen_in(request))
    until = now + metering.SECOND if chosen.held else min(end, now)  # what began this second is held
    rows = bills.intervals(organization, chosen, start, until)
    page = paged(request, rows, SHOWN)
    context = {"month": month, "page": page, "held": chosen.held, "filters": filters_in(request)}
    try:
        if chosen.held:
            costs = bills.hour_amounts(organization, now)
            whole = sum((costs.get(id, Amount()) for id in rows.values_list("id", flat=True)), Amount())
        else:
            costs = bills.interval_amounts(organization, {row.id for row in page}, start, end, now)
            used = metering.usage(organization, start, end, now)
            whole = bills.amount(bills.narrowed(used, chosen, offerings()))
    except PriceMissing as missing:
        context["missing"] = without_price(missing)
    else:
        context["whole"] = whole
        context["rows"] = [{"interval": row, "amount": costs.get(row.id, bills.Amount())} for row in page]
    return render(request, "billing/lines.html", context)


def month_in(request: HttpRequest, months: list[Month]) -> Month:
    """The month that the address names, among those there are; the present one otherwise."""
    return next((one for one in months if one.name == request.GET.get("month")), months[0])


def by_in(request: HttpRequest) -> str:
    asked = request.GET.get("by", "")
    named = asked.startswith(LABEL) and not key_wrong(asked.removeprefix(LABEL))
    return asked if asked in TABLES or named else "claim"


def period(request: HttpRequest, month: Month) -> tuple[datetime, datetime]:
    """The day that the address names, within the month; the whole month otherwise."""
    try:
        day = datetime.strptime(request.GET.get("day", ""), "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return month.start, month.end
    return (day, day + timedelta(days=1)) if month.start <= day < month.end else (month.start, month.end)


def chosen_in(request: HttpRequest) -> Chosen:
    claim, deployment = (parse_uuid(request.GET.get(name, "")) for name in ("claim", "deployment"))
    kind = UsageKind.CLAIM if claim else UsageKind.REPLICA if deployment else KINDS.get(request.GET.get("kind", ""))
    return Chosen(kind, claim or deployment, request.GET.get("zone", ""), request.GET.get("type", ""),
                  held=request.GET.get("held") == "1")  # fmt: skip


def labels_chosen(request: HttpRequest, chosen: Chosen) -> Chosen:
    """And of what has a label (`label=team=search`), or has none of a key (`unlabelled=team`)."""
    label, without = request.GET.get("label", ""), request.GET.get("unlabelled", "")
    if not (label or without):
        return chosen
    labels = labels_of_all(organization_in(request))
    key, given, value = label.partition("=")
    among = holders_with(labels, key, value if given else None) if label else None
    return replace(chosen, among=among, beside=holders_with(labels, without) if without else frozenset())


def filters_in(request: HttpRequest) -> Mapping[str, str]:
    found = {name: value for name in (*TABLES, "label", "unlabelled") if (value := request.GET.get(name, ""))}
    kind = request.GET.get("kind", "")
    return found | ({"of": KIND_WORDS[kind]} if kind in KINDS else {})


def offerings() -> dict[int, Offering]:
    return {one.key: one for one in Offering.objects.select_related("zone", "instance_type")}
