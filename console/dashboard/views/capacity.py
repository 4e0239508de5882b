"""Pools of every zone and type, and the organization's quota."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from claims.selectors import pools, quotas_of
from console.dashboard.access import member_page, organization_in


@require_safe
@member_page
def capacity(request: HttpRequest) -> HttpResponse:
    return render(request, "capacity.html", {"pools": pools(), "quotas": quotas_of(organization_in(request))})
