"""API tokens: list, create (the secret is shown once), revoke. For admins."""

from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from console.common import clock
from console.common.errors import InvalidArgument
from console.dashboard.access import actor_in, add_violations, member_page, organization_in
from console.dashboard.paging import paged
from console.dashboard.views.members import ROLES
from console.organizations import services
from console.organizations.models import Role
from console.organizations.selectors import token_get, tokens_of
from console.organizations.services import LIFETIMES, LONGEST_COMMENT

SHOWN = 50
IN_WORDS = {"1h": "1 hour", "8h": "8 hours", "30d": "30 days", "90d": "90 days", "1y": "One year",
            "never": "Does not expire"}  # fmt: skip
PATHS = {"name": "name", "comment": "comment", "expires": "lifetime"}


class TokenForm(forms.Form):
    """A new token."""

    name = forms.CharField(max_length=100, help_text="What uses it, for instance: terraform in CI.")
    role = forms.ChoiceField(choices=Role.choices, help_text="The least that its user can work with.")
    lifetime = forms.ChoiceField(label="Expires after", choices=[(key, IN_WORDS[key]) for key in LIFETIMES])
    comment = forms.CharField(
        max_length=LONGEST_COMMENT, required=False, help_text="What it is for, and who to ask; may be left out."
    )


@require_safe
@member_page
def token_list(request: HttpRequest) -> HttpResponse:
    """The valid ones; `?ended=1` those that expired or were revoked."""
    actor_in(request).require_write()
    now, ended = clock.now(), request.GET.get("ended") == "1"
    tokens = tokens_of(organization_in(request), now, live=not ended)
    return render(request, "tokens/list.html", {"page": paged(request, tokens, SHOWN), "ended": ended, "now": now})


@require_http_methods(["GET", "POST"])
@member_page
def token_new(request: HttpRequest) -> HttpResponse:
    """The answer to a creation is the one page that ever holds the secret: nothing keeps it, no address names it."""
    actor, organization = actor_in(request), organization_in(request)
    actor.require_write()
    form = TokenForm(
        request.POST if request.method == "POST" else None, initial={"role": Role.VIEWER.value, "lifetime": "90d"}
    )
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            token, secret = services.token_create(
                actor=actor, organization=organization, name=data["name"], role=Role(data["role"]), now=clock.now(),
                lifetime=LIFETIMES[data["lifetime"]], comment=data["comment"],
            )  # fmt: skip
        except InvalidArgument as refusal:
            add_violations(form, refusal, PATHS)
        else:
            context = {"token": token, "secret": secret, "address": request.build_absolute_uri("/api/v1/quota")}
            answer = render(request, "tokens/created.html", context, status=201)
            answer["Cache-Control"] = "no-store"
            return answer
    return render(request, "tokens/new.html", {"form": form, "roles": ROLES}, status=422 if form.is_bound else 200)


@require_http_methods(["GET", "POST"])
@member_page
def token_revoke(request: HttpRequest, id: UUID) -> HttpResponse:
    actor = actor_in(request)
    actor.require_write()
    token = token_get(organization_in(request), id)
    if request.method == "GET":
        return render(request, "tokens/revoke.html", {"token": token})
    services.token_revoke(actor=actor, token=token, now=clock.now())
    messages.success(request, f"{token.name} is revoked: whoever sends it is refused from now on.")
    return redirect("tokens")
