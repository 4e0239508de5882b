"""The search over decisions as the page has it: what is asked for lives in the address, as in the API."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.http import HttpRequest

from claims.models import Zone
from console.common import clock
from console.common.errors import InvalidArgument
from console.common.paging import decode_cursor, encode_cursor
from console.dashboard.access import organization_in
from console.dashboard.deployment_page import explained
from console.dashboard.reason_words import WORDS
from console.dashboard.templatetags.headroom import bound
from console.dashboard.views.audit import Moment
from console.organizations.models import Organization
from deployments.core.reasons import stage
from deployments.models import Decision, Deployment
from deployments.replay.search import BOUNDS, CLASSES, REASONS, Asked, Place, decisions_counted, decisions_found

SHOWN = 50
MOST_COUNTED = 1000
SINCE = (("Last hour", timedelta(hours=1)), ("Last day", timedelta(days=1)))
ANY = ("", "Any")
NO_DEPLOYMENT = uuid.UUID(int=0)
Choices = list[tuple[str, Any]]


def reason_choices() -> Choices:
    """By stage, the last first: what people look for is mostly what stood in the way."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for one in sorted(REASONS, key=lambda one: (-(one // 100), one)):
        groups.setdefault(stage(one), []).append((one.name, f"{WORDS[one]} ({one.name})"))
    return [ANY, *((name.capitalize(), some) for name, some in groups.items())]


class SearchForm(forms.Form):
    """What to look for; all of it may be empty."""

    deployment = forms.ChoiceField(required=False)
    reason = forms.ChoiceField(required=False, choices=reason_choices(), help_text="Of any stage.")
    bound = forms.ChoiceField(required=False, choices=[ANY, *((one, bound(one).capitalize()) for one in BOUNDS)],
                              help_text="What decided the size.")  # fmt: skip
    class_ = forms.ChoiceField(required=False, label="Class that ran short",
                               choices=[ANY, ("RESERVED", "Reserved"), ("ON_DEMAND", "On demand")])  # fmt: skip
    zone = forms.ChoiceField(required=False, label="Zone that ran short")
    from_ = forms.DateTimeField(required=False, label="From (UTC)", widget=Moment)
    to = forms.DateTimeField(required=False, label="Before (UTC)", widget=Moment)

    def add_prefix(self, field_name: str) -> str:
        """The names that the address has."""
        return field_name.rstrip("_")


def search_context(request: HttpRequest) -> dict[str, Any]:
    organization = organization_in(request)
    form = form_of(organization, request.GET)
    asked, now = asked_in(form), clock.now()
    rows = list(decisions_found(organization, asked, SHOWN + 1, place_in(request.GET.get("before", ""))))
    count = decisions_counted(organization, asked, MOST_COUNTED + 1)
    return {
        "count": min(count, MOST_COUNTED),
        "more_than": count > MOST_COUNTED,
        "since": [(words, f"{now - span:%Y-%m-%dT%H:%M}") for words, span in SINCE],
        "form": form,
        "rows": explained(rows[:SHOWN], organization),
        "older": place_of(rows[SHOWN - 1]) if len(rows) > SHOWN else None,
        "before": request.GET.get("before", ""),
        "filtered": any(request.GET.get(form.add_prefix(name)) for name in form.fields),
    }


def form_of(organization: Organization, data: Any) -> SearchForm:
    form = SearchForm(data)
    names = Deployment.objects.filter(organization=organization).order_by("name").values_list("id", "name")
    form.fields["deployment"].choices = [ANY, *((str(id), name) for id, name in names)]  # type: ignore[attr-defined]
    zones = Zone.objects.order_by("name").values_list("name", flat=True)
    form.fields["zone"].choices = [ANY, *((name, name) for name in zones)]  # type: ignore[attr-defined]
    return form


def asked_in(form: SearchForm) -> Asked:
    """Narrowed by every field that is right; a wrong one says so on the form. Nothing is found for a deployment that is not
    there (any more): an answer for all of them would be taken for its own."""
    form.is_valid()
    data = form.cleaned_data
    if "deployment" in form.errors:
        data["deployment"] = NO_DEPLOYMENT
    reasons = {one.name: one for one in REASONS}
    return Asked(
        deployment=data.get("deployment") or None, since=data.get("from_"), until=data.get("to"),
        reason=reasons.get(data.get("reason", "")), bound=data.get("bound") or None,
        capacity_class=CLASSES.get(data.get("class_", "")), zone=data.get("zone") or None,
    )  # fmt: skip


def place_of(one: Decision) -> str:
    return encode_cursor([one.at.isoformat(), one.id])


def place_in(text: str) -> Place | None:
    """Where the page goes on; the newest where the address names no place."""
    try:
        at, id = decode_cursor(text) if text else (None, None)
        moment = datetime.fromisoformat(at) if at else None
        return (moment, int(id)) if moment and moment.tzinfo and isinstance(id, int) and 0 <= id < 2**63 else None
    except (InvalidArgument, ValueError, TypeError):
        return None


def neighbours(one: Decision) -> Sequence[Decision | None]:
    """The decisions of the deployment before and after it. Two queries."""
    found = Decision.objects.filter(deployment=one.deployment)
    return found.filter(id__lt=one.id).order_by("-id").first(), found.filter(id__gt=one.id).order_by("id").first()
