"""What a page says about a deployment at a time of the past."""

from datetime import UTC, datetime
from typing import Any

from django import forms
from django.http import HttpRequest
from django.utils.dateparse import parse_datetime

from console.common import clock
from console.dashboard.access import organization_in
from console.dashboard.deployment_page import explained
from deployments.models import Deployment
from deployments.replay.past import explanation_at, to_its_end


class Second(forms.DateTimeInput):
    """To the second, as decisions are; without an offset it is UTC."""

    input_type = "datetime-local"

    def __init__(self) -> None:
        super().__init__(attrs={"step": "1"}, format="%Y-%m-%dT%H:%M:%S")


class MomentForm(forms.Form):
    """A time of the past."""

    at = forms.CharField(label="At (UTC)", widget=Second)

    def clean_at(self) -> datetime:
        text = self.cleaned_data["at"].strip().replace(" ", "+")
        try:
            found = parse_datetime(text)
            at = None if found is None else (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            at = None
        if at is None:
            raise forms.ValidationError("This is no time such as 2026-11-24T10:42:00.")
        if at > clock.now():
            raise forms.ValidationError(
                f"{at:%Y-%m-%d %H:%M:%S} UTC lies in the future: nothing has been decided then."
            )
        return at


def then_context(request: HttpRequest, one: Deployment, *, platform: bool) -> dict[str, Any]:
    form = MomentForm(request.GET)
    wrong = not form.is_valid()
    if wrong:
        return {"deployment": one, "moment": form, "past": True}
    at = form.cleaned_data["at"]
    then = explanation_at(one, min(to_its_end(at, request.GET["at"]), clock.now()), platform=platform)
    shown = MomentForm(initial={"at": at.replace(tzinfo=None)})
    context = {"deployment": one, "moment": shown, "at": at, "then": then, "past": True}
    if then is None:
        return context
    organization = organization_in(request)
    return {**context, "why": then.why, "after": explained(then.after, organization), "replay": then.replay,
            "steps": then.why.steps if then.why else then.steps}  # fmt: skip
