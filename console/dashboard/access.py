"""The door of every page: signed in, in an organization, with a role in it. Refusals become answers here, once."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect, HttpResponseClientRefresh
from django_htmx.middleware import HtmxDetails

from console.common.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from console.organizations.actors import Actor
from console.organizations.models import Organization

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]


def actor_in(request: HttpRequest) -> Actor:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    return actor


def organization_in(request: HttpRequest) -> Organization:
    return actor_in(request).require_organization()


def member_page(view: View[P]) -> View[P]:
    """For members of the organization and platform staff; another organization's object is not found."""

    @wraps(view)
    def inside(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not request.user.is_authenticated:
            return to_sign_in(request)
        actor = actor_in(request)
        if actor.organization is None or (actor.role is None and not actor.is_platform):
            return render(request, "nowhere.html", status=403)
        if elsewhere := from_elsewhere(request, actor.organization):
            return elsewhere
        try:
            return view(request, *args, **kwargs)
        except NotFound as refusal:
            raise Http404(refusal.message) from refusal
        except PermissionDenied:
            return render(request, "403.html", status=403)

    return inside


def to_sign_in(request: HttpRequest) -> HttpResponse:
    """Sign in, then come back. A part of a page that is fetched anew sends the whole page there: put in the part's
    place, the sign-in page would leave a hole."""
    htmx: HtmxDetails = request.htmx  # type: ignore[attr-defined]
    if not htmx:
        return redirect_to_login(request.get_full_path())
    page = htmx.current_url_abs_path or reverse("overview")
    return HttpResponseClientRedirect(redirect_to_login(page).url)


def from_elsewhere(request: HttpRequest, organization: Organization) -> HttpResponse | None:
    """The answer to a part or a form of a page that was opened in another organization than the one entered since:
    the page is loaded anew, the form changes nothing. None when all is of one organization."""
    htmx: HtmxDetails = request.htmx  # type: ignore[attr-defined]
    if htmx and request.headers.get("X-Organization", organization.id) != organization.id:
        return HttpResponseClientRefresh()
    before = request.POST.get("in_organization", organization.id)
    if before != organization.id:
        return render(request, "elsewhere.html", {"before": before}, status=409)
    return None


def told(request: HttpRequest, refusal: InvalidArgument | FailedPrecondition) -> None:
    """Show a refusal on the page that follows."""
    messages.error(request, refusal.message)


def add_violations(form: Any, refusal: InvalidArgument, fields: dict[str, str]) -> None:
    """Put each violation on the form's field it belongs to (by its path), or above the form."""
    for violation in refusal.violations:
        field = fields.get(violation.field)
        form.add_error(field, violation.description if field else f"{violation.field}: {violation.description}")
