"""Quota: what the organization may claim for itself, how much of it is used, and how it came to be."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from claims.core.quota import Level, level
from claims.models import Offering, QuotaChange
from claims.quotas import (
    NUMBERS,
    committed_claims,
    offering_named,
    quota_changes,
    quota_requests_of,
    unused_reserved,
)
from claims.selectors import QuotaRow, quota_of, quotas_of
from console.common import clock
from console.dashboard import org_series
from console.dashboard.access import member_page, organization_in
from console.dashboard.paging import paged
from console.organizations.models import Organization

SHOWN, REQUESTS_SHOWN = 25, 20
RANGES = {"7d": timedelta(days=7), "30d": timedelta(days=30), "90d": timedelta(days=90), "all": None}
# Level -> (state class, icon, word)
WORDS = {
    Level.OVER: ("bad", "alert-triangle", "Limit below what is used"),
    Level.FULL: ("bad", "alert-triangle", "Used up"),
    Level.ALARM: ("bad", "alert-triangle", "95 % or more used"),
    Level.NOTICE: ("warn", "alert-triangle", "80 % or more used"),
    Level.ENOUGH: ("ok", "circle-check", "Enough free"),
    Level.NONE: ("idle", "circle-dashed", "None given"),
}


@dataclass(frozen=True, slots=True)
class Shown:
    """A quota with its bar: parts of `length` instances, the limit being one of their ends."""

    row: QuotaRow
    unused_reserved: int

    @property
    def level(self) -> Level:
        return level(limit=self.row.limit, used=self.row.used)

    @property
    def word(self) -> tuple[str, str, str]:
        return WORDS[self.level]

    @property
    def over(self) -> int:
        return max(0, self.row.used - self.row.limit)

    @property
    def length(self) -> int:
        return max(self.row.limit, self.row.used, 1)

    @property
    def parts(self) -> list[tuple[str, int, int]]:
        """(kind, from, length): committed, other use; what is beyond the limit is over."""
        row, found, at = self.row, [], 0
        for kind, size in (("claimed", row.committed), ("demand", row.other_usage)):
            inside = min(size, max(0, row.limit - at))
            found += [(kind, at, inside), ("over", at + inside, size - inside)]
            at += size
        return [part for part in found if part[2]]


def shown(organization: Organization, rows: Sequence[QuotaRow]) -> list[Shown]:
    unused = unused_reserved(organization, rows)
    return [Shown(row, unused[row.offering.key]) for row in rows]


@require_safe
@member_page
def quota(request: HttpRequest) -> HttpResponse:
    organization = organization_in(request)
    rows = shown(organization, quotas_of(organization))
    worst = [one for one in rows if one.level in (Level.OVER, Level.FULL, Level.ALARM, Level.NOTICE)]
    page = paged(request, quota_changes(organization), SHOWN)
    return render(
        request,
        "quota/list.html",
        {
            "rows": rows,
            "worst": worst,
            "page": page,
            "changes": described(page),
            "requests": quota_requests_of(organization)[:REQUESTS_SHOWN],
        },
    )


@require_safe
@member_page
def quota_page(request: HttpRequest, zone: str, type: str) -> HttpResponse:
    organization, offering = organization_in(request), offering_named(zone, type)
    page = paged(request, quota_changes(organization, offering), SHOWN)
    (one,) = shown(organization, [quota_of(organization, offering)])
    return render(request, "quota/detail.html", {
        "one": one, "offering": offering,
        "claims": committed_claims(organization, offering), "page": page, "changes": described(page),
        "ranges": list(RANGES), "range": range_of(request),
        "requests": quota_requests_of(organization, offering)[:REQUESTS_SHOWN],
    })  # fmt: skip


@require_safe
@member_page
def quota_chart(request: HttpRequest, zone: str, type: str) -> HttpResponse:
    offering: Offering = offering_named(zone, type)
    now, length = clock.now(), RANGES[range_of(request)]
    data = org_series.quota(organization_in(request), offering, now - length if length else None, now)
    return JsonResponse(data)


def range_of(request: HttpRequest) -> str:
    asked = request.GET.get("range", "")
    return asked if asked in RANGES else "90d"


def described(changes: Any) -> list[dict[str, Any]]:
    """Each change with the numbers that differ: (name, before, after)."""
    return [{"change": change, "numbers": numbers_of(change)} for change in changes]


def numbers_of(change: QuotaChange) -> list[tuple[str, int | None, int]]:
    found = []
    for name in NUMBERS:
        before, after = getattr(change, f"before_{name}"), getattr(change, name)
        if before != after:
            found.append((name.replace("_usage", " use"), before, after))
    return found
