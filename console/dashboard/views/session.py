"""Signing in and out is Django's; here is the choice of organization."""

from urllib.parse import urlsplit

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from console.common.ids import parse_key
from console.dashboard.context import landing
from console.organizations.middleware import SESSION_KEY, actor_of
from console.organizations.models import Membership, Organization, User
from console.organizations.selectors import organizations_of

SHOWN = 100


@login_required
@require_POST
def switch_organization(request: HttpRequest) -> HttpResponse:
    """Look at another organization from now on; one that the user may not enter changes nothing.

    The page stays where it names no object of the old organization; else the list that it is of follows.
    """
    assert isinstance(request.user, User)
    chosen = entered(request.user, request.POST.get("organization", ""))
    if chosen is None:
        messages.error(request, "You are not a member of that organization.")
        return redirect("overview")
    request.session[SESSION_KEY] = chosen.key
    before = urlsplit(request.POST.get("next", ""))
    return HttpResponseRedirect(landing(before.path, before.query, actor_of(request)))


def entered(user: User, key: str) -> Organization | None:
    parsed = parse_key(key)
    return None if parsed is None else organizations_of(user).filter(key=parsed).first()


@login_required
@require_safe
def organization_list(request: HttpRequest) -> HttpResponse:
    """Every organization that one may enter, with the role one has there; found by name, slug or id."""
    assert isinstance(request.user, User)
    text = request.GET.get("q", "").strip()
    found = organizations_of(request.user).filter(
        Q(name__icontains=text) | Q(slug__icontains=text) | Q(id__icontains=text)
    )
    roles = dict(Membership.objects.filter(user=request.user).values_list("organization_id", "role"))
    otherwise = "platform" if request.user.is_staff else ""
    rows = [{"one": one, "role": roles.get(one.key, otherwise)} for one in found[: SHOWN + 1]]
    context = {"rows": rows[:SHOWN], "more": len(rows) > SHOWN, "q": text, "shown": SHOWN}
    return render(request, "members/organizations.html", context)


def sign_in_first(request: HttpRequest) -> HttpResponse:
    """The admin has no sign-in page of its own: one lock-out, one door. Who is signed in gains nothing there."""
    if request.user.is_authenticated:
        return render(request, "for_staff.html", status=403)
    return HttpResponseRedirect(f"{reverse('sign-in')}?next={reverse('admin:index')}")
