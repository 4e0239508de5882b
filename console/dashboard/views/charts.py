"""JSON for charts, by the same door as the pages."""

from datetime import datetime
from uuid import UUID

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from claims.selectors import claim_get
from console.common import clock
from console.dashboard import series
from console.dashboard.access import actor_in, member_page, organization_in
from console.dashboard.marks import as_json, marks_of
from deployments.selectors import deployment_get

KINDS = {
    "replicas": series.deployment_replicas,
    "queue": series.deployment_queue,
    "waits": series.deployment_waits,
    "in-time": series.deployment_in_time,
}


def span_of(request: HttpRequest, default: str) -> tuple[datetime, datetime]:
    """The range that the address names, ending now."""
    length = series.RANGES.get(request.GET.get("range", default), series.RANGES[default])
    now = clock.now()
    return now - length, now


@require_safe
@member_page
def deployment(request: HttpRequest, id: UUID, kind: str) -> HttpResponse:
    one, (start, end) = deployment_get(organization_in(request), id), span_of(request, "1h")
    return JsonResponse(KINDS[kind](one, start, end) | {"notes": as_json(marks_of(one, start, end), start, end)})


@require_safe
@member_page
def fleet(request: HttpRequest, kind: str) -> HttpResponse:
    return JsonResponse(series.fleet(organization_in(request), clock.now())[kind])


@require_safe
@member_page
def claims(request: HttpRequest) -> HttpResponse:
    return JsonResponse(series.claims_of_all(organization_in(request), *span_of(request, "6h")))


@require_safe
@member_page
def claim(request: HttpRequest, id: UUID) -> HttpResponse:
    one = claim_get(organization_in(request), id)
    return JsonResponse(series.claims_chart([one], one.id, *span_of(request, "6h")))


@require_safe
@member_page
def spend(request: HttpRequest) -> HttpResponse:
    actor_in(request).require_money()
    return JsonResponse(series.spend(organization_in(request), clock.now()))
