"""Claims: list, page, reserve. Changes are in `claim_changes`."""

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.defaultfilters import pluralize
from django.views.decorators.http import require_http_methods, require_safe
from django_htmx.http import HttpResponseClientRefresh

from claims import joining, pricing, services
from claims.bills import Amount, claim_amounts
from claims.core.rating import PriceMissing
from claims.core.rules import ClaimResources
from claims.core.states import InstanceState, Status
from claims.foreseen import would_give_up
from claims.history import claim_gone, claim_history, claim_name, cursor_of, place_from
from claims.labels import labelled, labels_get, labels_of
from claims.models import CapacityClaim, ClaimKind, UsageKind
from claims.selectors import (
    QuotaRow,
    claim_get,
    claim_numbers,
    claims_of,
    instances_of,
    pending_changes,
    quota_of,
)
from claims.services.edges import lead_of
from claims.services.labels import claim_labelled
from claims.supply import supply_of
from claims.use import use_of_day
from console.common import clock
from console.common.errors import FailedPrecondition, InvalidArgument, NotFound
from console.dashboard.access import actor_in, member_page, organization_in
from console.dashboard.attention import degradation
from console.dashboard.billing import without_price
from console.dashboard.forms import CountForm
from console.dashboard.labels import MOST_TEXT, LabelsForm, asked_labels, few, in_order, labels_in
from console.dashboard.machines import Machine, Viewer, machines_of, users_of
from console.dashboard.reserve import Steps, meaning, steps
from console.dashboard.series import RANGES
from console.dashboard.windows import claim_calendar, next_of, shown_windows

MOST_EVENTS, HISTORY_PAGE = 12, 50
NARROW = {
    "zone": "offering__zone__name__iexact",
    "type": "offering__instance_type__name__iexact",
    "kind": "kind__iexact",
}


@require_safe
@member_page
def claim_list(request: HttpRequest) -> HttpResponse:
    """Narrowed to what the address names: zone, type, kind, labels, and those that wait for instances, are degraded or under-used."""
    organization = organization_in(request)
    found = claims_of(organization)
    narrowed = {name: value for name in NARROW if (value := request.GET.get(name, "").strip()[:60])}
    found = found.filter(**{NARROW[name]: value for name, value in narrowed.items()})
    label = request.GET.get("label", "").strip()[:MOST_TEXT]
    found = labelled(found, organization, UsageKind.CLAIM, asked_labels(label))
    claims, words = list(found), [*narrowed.values(), *([f"labelled {label}"] if label else [])]
    windows, named = next_of(claims, clock.now()), labels_of(organization, UsageKind.CLAIM, [one.id for one in claims])
    rows = [{**row_of(claim), "window": windows.get(claim.key), "labels": few(named.get(claim.id, {}))}
            for claim in claims]  # fmt: skip
    for name, (said, keeps) in ONLY.items():
        if request.GET.get(name) == "1":
            rows, words = keeps(rows), [*words, said]
    others = {name: value for name, value in request.GET.items() if name in (*NARROW, *ONLY)}
    return render(request, "claims/list.html", {"rows": rows, "narrowed": words, "label": label, "others": others})


Rows = list[dict[str, Any]]


def under_used(rows: Rows) -> Rows:
    use = use_of_day([row["claim"] for row in rows], clock.now())
    return [row for row in rows if (one := use.get(row["claim"].key)) and one.under]


ONLY: dict[str, tuple[str, Callable[[Rows], Rows]]] = {
    "waiting": ("waiting for instances", lambda rows: [row for row in rows if row["pending"]]),
    "degraded": ("degraded", lambda rows: [row for row in rows if degradation(row["claim"])]),
    "unused": ("under-used", under_used),
}


def row_of(claim: CapacityClaim) -> dict[str, Any]:
    allocated, pending = claim_numbers(claim)
    here: int = claim.here  # type: ignore[attr-defined]
    return {"claim": claim, "allocated": allocated, "pending": pending, "total": allocated + pending, "here": here,
            "gpus": here * claim.offering.instance_type.gpus, "used": claim.gpus_used}  # type: ignore[attr-defined]  # fmt: skip


@require_safe
@member_page
def claim_page(request: HttpRequest, id: UUID) -> HttpResponse:
    try:
        claim = claim_get(organization_in(request), id)
    except NotFound:
        return gone_page(request, id)
    return render(request, "claims/detail.html", page_context(request, claim))


def gone_page(request: HttpRequest, id: UUID) -> HttpResponse:
    """What is kept of a claim that was deleted: its life and what it cost. Where its page is still open, that is loaded
    anew."""
    organization, now = organization_in(request), clock.now()
    claim = claim_gone(organization, id)
    if request.htmx:  # type: ignore[attr-defined]
        return HttpResponseClientRefresh()
    context: dict[str, Any] = {"claim": claim, "history": claim_history(organization, id, MOST_EVENTS)}
    if actor_in(request).sees_money and claim.last:
        try:
            context["months"] = claim_amounts(organization, id, now)
        except PriceMissing as missing:
            context["missing"] = without_price(missing)
        else:
            context["whole"] = sum((one for _, one in context["months"]), Amount())
    return render(request, "claims/gone.html", context)


def page_context(request: HttpRequest, claim: CapacityClaim, labels_form: LabelsForm | None = None) -> dict[str, Any]:
    """What the page of a claim shows; `labels_form` is one that was sent and is wrong."""
    row, now, organization = row_of(claim), clock.now(), claim.organization
    labels = labels_get(organization, UsageKind.CLAIM, claim.id)
    machines = machines_of(
        Viewer.of(actor_in(request)), list(instances_of(claim).select_related("organization", "claim"))
    )
    quota = quota_of(organization, claim.offering) if claim.kind == ClaimKind.CUSTOMER else None
    context: dict[str, Any] = {
        **row,
        **windows_on(claim, quota, now),
        "machines": machines,
        **awaited(claim, machines, row["pending"], now),
        "users": users_of(claim, row["gpus"]),
        "history": claim_history(organization, claim.id, MOST_EVENTS),
        **under_way(claim, now),
        "form": CountForm(initial={"count": claim.target}),
        "quota": quota,
        "deleting": claim.status == Status.DELETING,
        "ranges": list(RANGES),
        "range": request.GET.get("range", "6h"),
        "labels": in_order(labels),
        "labels_form": labels_form or LabelsForm.of(labels),
        "may_label": actor_in(request).can_write and claim.status != Status.DELETING,
    }
    if actor_in(request).sees_money:
        context["spent"] = pricing.spent_this_month(claim, now)
        context["per_hour"] = pricing.claim_hourly(claim, now)
        context |= costs_until(claim, context, now)
    return context


def awaited(claim: CapacityClaim, machines: Sequence[Machine], pending: int, now: datetime) -> dict[str, Any]:
    """When what is pending is expected: each machine that joins, or what the pool will have free; nothing where nothing
    is."""
    if not pending or claim.status == Status.DELETING:
        return {}
    if claim.kind == ClaimKind.SERVERLESS:
        return {"supply": supply_of(claim, now)}
    expected = joining.expected([one.instance for one in machines], now)
    for one in machines:
        one.expected = expected.get(one.instance.key)
    next_at = min((one.at for one in expected.values() if one.at), default=None)
    return {"joining": joining.join_time(claim.offering), "next_at": next_at}


def windows_on(claim: CapacityClaim, quota: QuotaRow | None, now: datetime) -> dict[str, Any]:
    """The windows of the claim with what is promised in two weeks; their lead is only asked for where there are any."""
    windows = shown_windows(claim, now)
    return {
        "windows": windows, "calendar": claim_calendar(claim, windows, quota, now),
        "lead": lead_of(claim.offering).total_seconds() if windows else 0,
        "short_of": "the quota beside other use is" if quota else "the managed pool is to have",
    }  # fmt: skip


def under_way(claim: CapacityClaim, now: datetime) -> dict[str, Any]:
    """The reduction that waits for its time with the instances that will go, and what is being drained."""
    change = next(iter(pending_changes(claim)), None)
    going = would_give_up(claim, change.instance_count) if change else []
    draining = list(claim.instances.filter(state=InstanceState.DRAINING, lost_at__isnull=True).order_by("key"))
    held = change.instance_count + len(going) if change else None
    empty_by = max((one.drain_until for one in draining if one.drain_until), default=None)
    stays = claim.here - len(draining)  # type: ignore[attr-defined]
    return {"change": change, "going": going, "draining": draining, "empty_by": empty_by, "stays": stays, "held": held}


def costs_until(claim: CapacityClaim, found: dict[str, Any], now: datetime) -> dict[str, Decimal | None]:
    """What scheduled and draining instances cost until they go; only asked for those who see money."""
    change = found["change"]
    going = {one.key: change.effective_at for one in found["going"]}
    draining = {one.key: one.drain_until or now for one in found["draining"]}
    return {
        "reduction_cost": pricing.cost_until(claim, going, now) if going else Decimal(0),
        "draining_cost": pricing.cost_until(claim, draining, now) if draining else Decimal(0),
    }


@require_safe
@member_page
def claim_history_page(request: HttpRequest, id: UUID) -> HttpResponse:
    """All that happened to a claim, page by page; one that is gone has a history too."""
    organization = organization_in(request)
    name = claim_name(organization, id)
    try:
        place = place_from(request.GET.get("after"))
    except InvalidArgument:
        place = None
    rows, more = claim_history(organization, id, HISTORY_PAGE, place)
    return render(request, "claims/history_page.html", {
        "id": id, "name": name, "rows": rows, "older": cursor_of(more) if more else "", "after": place is not None,
        "there": claims_of(organization).filter(id=id).exists(),
    })  # fmt: skip


@require_http_methods(["GET", "POST"])
@member_page
def claim_new(request: HttpRequest) -> HttpResponse:
    """Reserve capacity: zone, type, kind, count; each step offers only what is possible. Works without scripts."""
    actor, organization = actor_in(request), organization_in(request)
    actor.require_write()
    asked = (request.POST if request.method == "POST" else request.GET).dict()
    chosen, now = steps(organization, asked), clock.now()
    refusal = reason = ""
    if request.method == "POST" and "reserve" in request.POST and chosen.offer is not None:
        try:
            return reserved(request, chosen, asked.get("count", ""), asked.get("labels", ""))
        except (InvalidArgument, FailedPrecondition) as refused:
            refusal, reason = refused.message, getattr(refused, "kind", "")
    context = {"chosen": chosen, "offer": chosen.offer, "refusal": refusal, "reason": reason, "labels": asked.get("labels", ""),
               "means": meaning(organization, chosen, now, money=actor.sees_money)}  # fmt: skip
    return render(request, "claims/new.html", context, status=422 if refusal else 200)


def reserved(request: HttpRequest, chosen: Steps, count: str, lines: str) -> HttpResponse:
    """Create the claim with its labels and go to its page. Raises what the services refuse, and for a count that is no
    number and lines that are no labels."""
    if not (count.isascii() and count.isdigit()):
        raise InvalidArgument.of("instances", "must be a whole number of at least 1")
    assert chosen.offer is not None
    offering = chosen.offer.offering
    resources = ClaimResources(
        offering.instance_type.name, int(count[:20]), f"CAPACITY_TYPE_{chosen.kind}", (offering.zone.name,)
    )
    try:
        labels = labels_in(lines)
    except ValueError as error:
        raise InvalidArgument.of("labels", str(error)) from error
    actor, organization, name = actor_in(request), organization_in(request), chosen.name.strip()
    claim = claim_labelled(actor=actor, labels=labels, make=lambda: services.claim_create(
        actor=actor, organization=organization, name=name, resources=resources
    ))  # fmt: skip
    allocated, pending = claim_numbers(claim)
    held = f"{allocated} instance{pluralize(allocated)} allocated"
    messages.success(request, f"{claim.name} is created: {held}, {pending} pending.")
    return redirect("claim", claim.id)
