"""Signing in and out is Django's; here is the choice of organization."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from console.organizations.middleware import SESSION_KEY
from console.organizations.models import User
from console.organizations.selectors import organizations_of


@login_required
@require_POST
def switch_organization(request: HttpRequest) -> HttpResponse:
    """Look at another organization from now on; one that the user is not in changes nothing."""
    assert isinstance(request.user, User)
    chosen = request.POST.get("organization", "")
    if chosen in {str(one.key) for one in organizations_of(request.user)}:
        request.session[SESSION_KEY] = int(chosen)
    return redirect("overview")


def sign_in_first(request: HttpRequest) -> HttpResponse:
    """The admin has no sign-in page of its own: one lock-out, one door."""
    return HttpResponseRedirect(f"{reverse('sign-in')}?next={reverse('admin:index')}")
