"""Members of the organization: list, add, change role, remove. For admins."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from console.common import clock
from console.common.errors import FailedPrecondition, InvalidArgument
from console.dashboard.access import actor_in, add_violations, member_page, organization_in, told
from console.dashboard.paging import paged
from console.organizations import services
from console.organizations.models import Organization, Role, User
from console.organizations.selectors import member_get, members_of

SHOWN = 100
ROLES = {
    Role.VIEWER: "reads everything but money, members and tokens",
    Role.BILLING: "reads as a viewer does, and money",
    Role.ADMIN: "reads and changes everything of the organization",
}


class MemberForm(forms.Form):
    """Somebody who can sign in already, and what they may do here."""

    username = forms.CharField(label="Sign-in name", max_length=150)
    role = forms.ChoiceField(choices=Role.choices)


@require_http_methods(["GET", "POST"])
@member_page
def member_list(request: HttpRequest) -> HttpResponse:
    """The list, with the form to add somebody."""
    actor, organization = actor_in(request), organization_in(request)
    actor.require_write()
    form = MemberForm(request.POST if request.method == "POST" else None, initial={"role": Role.VIEWER.value})
    if request.method == "POST" and form.is_valid():
        name, role = form.cleaned_data["username"], Role(form.cleaned_data["role"])
        try:
            services.member_add(actor=actor, organization=organization, username=name, role=role)
        except InvalidArgument as refusal:
            add_violations(form, refusal, {"username": "username"})
        else:
            messages.success(request, f"{name} is a member now, as {role.label.lower()}.")
            return redirect("members")
    context = members_context(request, organization) | {"form": form}
    return render(request, "members/list.html", context, status=422 if form.is_bound else 200)


def members_context(request: HttpRequest, organization: Organization) -> dict[str, Any]:
    admins = members_of(organization, clock.now()).filter(role=Role.ADMIN, user__is_active=True)
    return {
        "page": paged(request, members_of(organization, clock.now()), SHOWN),
        "roles": ROLES,
        "admins": admins.count(),
        "staff": User.objects.filter(is_staff=True, is_active=True).count(),
    }


@require_POST
@member_page
def member_role(request: HttpRequest, id: int) -> HttpResponse:
    actor, organization = actor_in(request), organization_in(request)
    actor.require_write()
    member, chosen = member_get(organization, id, clock.now()), request.POST.get("role", "")
    if chosen not in Role.values:
        messages.error(request, f"The role must be one of {', '.join(Role.values)}.")
        return redirect("members")
    try:
        services.membership_set(actor=actor, user=member.user, organization=organization, role=Role(chosen))
    except FailedPrecondition as refusal:
        told(request, refusal)
    else:
        messages.success(request, f"{member.user.username} is {chosen} from now on.")
    return redirect("members")


@require_http_methods(["GET", "POST"])
@member_page
def member_remove(request: HttpRequest, id: int) -> HttpResponse:
    """First what it means, then, confirmed, the removal."""
    actor = actor_in(request)
    actor.require_write()
    member = member_get(organization_in(request), id, clock.now())
    if request.method == "GET":
        return render(request, "members/remove.html", {"member": member, "self": member.user == actor.user})
    try:
        services.membership_remove(actor=actor, membership=member)
    except FailedPrecondition as refusal:
        told(request, refusal)
        return redirect("members")
    messages.success(request, f"{member.user.username} is no member any more.")
    return redirect("overview" if member.user == actor.user else "members")
