"""Capacity: the pools of every zone and type, each instance with its GPUs, and who waits for what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from claims.selectors import PoolRow, pools
from console.dashboard.access import actor_in, member_page
from console.dashboard.machines import STATES, Viewer, Wanted, machines_of, machines_wanted
from console.dashboard.waiting import claims_waiting, deployments_short
from console.organizations.models import Organization

PAGE_SIZE = 50


@dataclass(frozen=True, slots=True)
class Cell:
    """A pool in the grid, in instances."""

    row: PoolRow
    chosen: bool

    @property
    def shrink(self) -> int:
        """Instances that go as soon as they are free, since the platform made the pool smaller (C13)."""
        return max(0, self.row.instances + self.row.joining - self.row.offering.pool_wanted)

    @property
    def empty(self) -> bool:
        return not (self.row.instances or self.row.joining or self.row.pending_claims)

    @property
    def parts(self) -> list[tuple[str, int, int]]:
        """(kind, from, length) of the bar; what is neither free nor claimed nor on demand is idle."""
        row = self.row
        lengths = {"claimed": row.claimed, "demand": row.on_demand, "free": row.free, "joining": row.joining}
        found, at = [], 0
        for kind, length in lengths.items():
            found.append((kind, at, length))
            at += length
        return [part for part in found if part[2]]

    @property
    def length(self) -> int:
        return max(1, self.row.claimed + self.row.on_demand + self.row.free + self.row.joining)


@require_safe
@member_page
def capacity(request: HttpRequest) -> HttpResponse:
    viewer, wanted = Viewer.of(actor_in(request)), Wanted.of(request.GET.dict())
    rows = pools()
    found = Paginator(machines_wanted(viewer, wanted), PAGE_SIZE).get_page(request.GET.get("page"))
    return render(request, "capacity.html", {
        "viewer": viewer,
        "wanted": wanted,
        **grid(rows, wanted),
        "machines": machines_of(viewer, list(found)),
        "page": found,
        "query": query_without_page(request.GET.dict()),
        "filters": filters(viewer, rows, wanted),
        "claims_waiting": claims_waiting(viewer, wanted),
        "deployments_short": deployments_short(viewer, wanted),
    })  # fmt: skip


def grid(rows: Sequence[PoolRow], wanted: Wanted) -> dict[str, Any]:
    """Types down, zones across; a type that no zone has anything of is left out."""
    cells = {
        (row.instance_type, row.zone): Cell(row, (row.zone, row.instance_type) == (wanted.zone, wanted.type))
        for row in rows
    }
    zones = sorted({zone for _, zone in cells})
    types = sorted({type_ for type_, _ in cells})
    lines = [(type_, [cells.get((type_, zone)) for zone in zones]) for type_ in types]
    return {"zones": zones, "lines": [line for line in lines if any(cell and not cell.empty for cell in line[1])]}


def filters(viewer: Viewer, rows: Sequence[PoolRow], wanted: Wanted) -> list[tuple[str, str, str, list[Any]]]:
    """(name, label, chosen, options) of each filter; an option is its value and its words."""
    zones, types = sorted({row.zone for row in rows}), sorted({row.instance_type for row in rows})
    holders = [("nobody", "Nobody"), ("ours", viewer.organization.name), ("others", "Another organization")]
    if viewer.platform:
        others = Organization.objects.exclude(key=viewer.organization.key)
        holders = [*holders[:2], *others.values_list("id", "name")]
    return [
        ("zone", "Zone", wanted.zone, [(one, one) for one in zones]),
        ("type", "Instance type", wanted.type, [(one, one) for one in types]),
        ("state", "State", wanted.state, [(one, STATE_WORDS.get(one, one.capitalize())) for one in STATES]),
        ("holder", "Held by", wanted.holder, holders),
        ("use", "Use of the pool", wanted.use, [("free", "Free"), ("claimed", "Claimed"), ("demand", "On demand")]),
    ]


STATE_WORDS = {"KEPT": "Kept for a claim", "CORDON": "Cordoned", "DRAIN": "Draining for work", "BAD": "Marked bad"}


def query_without_page(asked: Mapping[str, str]) -> str:
    return urlencode({name: value for name, value in asked.items() if name != "page" and value})
