"""The audit trail: who changed what, from what to what. Filters and time live in the address."""

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django import forms
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from claims.models import CapacityClaim
from console.common import clock
from console.common.ids import parse_uuid
from console.dashboard.access import actor_in, member_page
from console.dashboard.changes import changes
from console.dashboard.said import action_in_words
from console.organizations.models import AuditEvent
from console.organizations.selectors import audit_of
from deployments.models import Deployment, Gateway

SHOWN, RECENT = 50, 2000
PLACE = re.compile(r"[0-9]{1,18}")
RANGES = {"1h": timedelta(hours=1), "24h": timedelta(hours=24), "7d": timedelta(days=7), "30d": timedelta(days=30)}
MODELS: dict[str, tuple[type[CapacityClaim | Deployment | Gateway], str]] = {
    "CapacityClaim": (CapacityClaim, "claim"),
    "Deployment": (Deployment, "deployment"),
    "Gateway": (Gateway, "gateway"),
}
LISTS = {"Membership": "members", "ApiToken": "tokens", "Quota": "quota"}


class Moment(forms.DateTimeInput):
    input_type = "datetime-local"


class AuditForm(forms.Form):
    """What to look for; all of it may be empty."""

    who = forms.CharField(required=False, max_length=150)
    what = forms.CharField(required=False, max_length=60, widget=forms.Select)
    object = forms.CharField(required=False, max_length=150, label="Object (name or id)")
    since = forms.DateTimeField(required=False, label="From (UTC)", widget=Moment)
    until = forms.DateTimeField(required=False, label="Until (UTC)", widget=Moment)


@require_safe
@member_page
def audit(request: HttpRequest) -> HttpResponse:
    actor, form = actor_in(request), AuditForm(request.GET)
    whose = request.GET.get("of", "") if actor.is_platform else ""
    every = platform_events() if whose == "platform" else audit_of(actor)
    form.fields["what"].widget.choices = what_choices(known_actions(every), form["what"].value() or "")
    found = matching(every, form, request.GET.get("range", ""))
    before = request.GET.get("before", "") if PLACE.fullmatch(request.GET.get("before", "")) else ""
    rows = list((found.filter(id__lt=int(before)) if before else found)[: SHOWN + 1])
    shown = rows[:SHOWN]
    return render(request, "audit/list.html", {
        "form": form, "rows": described(shown), "older": shown[-1].id if len(rows) > SHOWN else None,
        "before": before, "ranges": list(RANGES), "range": request.GET.get("range", ""), "of": whose,
        "filtered": any(request.GET.get(name) for name in [*form.fields, "range"]),
    })  # fmt: skip


def platform_events() -> QuerySet[AuditEvent]:
    """What the platform did to no organization: pools, offerings, machines."""
    return AuditEvent.objects.filter(organization__isnull=True).order_by("-id")


def matching(found: QuerySet[AuditEvent], form: AuditForm, range_: str) -> QuerySet[AuditEvent]:
    """Narrowed by every field that is right; a wrong one says so on the form."""
    form.is_valid()
    data = form.cleaned_data
    if data.get("who"):
        found = found.filter(actor__icontains=data["who"])
    if data.get("what"):
        found = found.filter(action__istartswith=data["what"])
    if text := data.get("object"):
        found = found.filter(Q(object_name__icontains=text) | Q(object_id=text))
    if data.get("since"):
        found = found.filter(at__gte=data["since"])
    if data.get("until"):
        found = found.filter(at__lte=data["until"])
    if range_ in RANGES:
        found = found.filter(at__gte=clock.now() - RANGES[range_])
    return found


def known_actions(found: QuerySet[AuditEvent]) -> list[str]:
    """Actions among the newest events, to choose from."""
    return sorted(set(found.values_list("action", flat=True)[:RECENT]))


def what_choices(actions: Sequence[str], asked: str) -> list[tuple[str, str | list[tuple[str, str]]]]:
    """By what they are about: all of it, then each action in words. What the address asks for is among them."""
    groups: dict[str, list[str]] = {}
    for one in sorted({*actions, asked} - {""}):
        groups.setdefault(one.partition(".")[0], []).append(one)
    found: list[tuple[str, str | list[tuple[str, str]]]] = [("", "Anything")]
    for noun, some in groups.items():
        every = (f"{noun}.", f"{noun.capitalize()}: anything")
        found.append((noun.capitalize(), [every, *((one, action_in_words(one)) for one in some if one != every[0])]))
    return found


def described(events: Sequence[AuditEvent]) -> list[dict[str, Any]]:
    there = pages_of(events)
    return [
        {"event": event, "changes": changes(event), "url": there.get((event.object_type, event.object_id))}
        for event in events
    ]


def pages_of(events: Sequence[AuditEvent]) -> dict[tuple[str, str], str]:
    """Addresses of the objects that are still there (a query for each kind), or of the lists they are in."""
    found = {(event.object_type, event.object_id): reverse(LISTS[event.object_type])
             for event in events if event.object_type in LISTS}  # fmt: skip
    for kind, (model, page) in MODELS.items():
        ids = {id for event in events if event.object_type == kind and (id := parse_uuid(event.object_id))}
        organizations = {event.organization_id for event in events if event.organization_id}
        there = model._default_manager.filter(id__in=ids, organization__in=organizations)
        found |= {(kind, str(id)): reverse(page, args=[id]) for id in there.values_list("id", flat=True)}
    return found
