"""Asking for more quota, and taking that back. For admins; the platform's staff decide in the admin."""

from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from claims import services
from claims.quotas import offering_named, quota_request_get
from claims.selectors import quota_of
from console.common import clock
from console.common.errors import FailedPrecondition, InvalidArgument
from console.dashboard.access import actor_in, add_violations, member_page, organization_in, told


class QuotaRequestForm(forms.Form):
    """How much, and what for."""

    wanted = forms.IntegerField(
        label="Limit asked for, instances", min_value=1, help_text="All of it, not what is to be added."
    )
    reason = forms.CharField(
        max_length=1000, widget=forms.Textarea(attrs={"rows": 4}),
        help_text="What it is for and from when on: who decides reads only this.",
    )  # fmt: skip


@require_http_methods(["GET", "POST"])
@member_page
def quota_request(request: HttpRequest, zone: str, type: str) -> HttpResponse:
    actor, organization, offering = actor_in(request), organization_in(request), offering_named(zone, type)
    actor.require_write()
    form = QuotaRequestForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            services.quota_request_create(
                actor=actor, organization=organization, offering=offering, now=clock.now(), **form.cleaned_data
            )
        except InvalidArgument as refusal:
            add_violations(form, refusal, {"wanted": "wanted", "reason": "reason"})
        except FailedPrecondition as refusal:
            form.add_error(None, refusal.message)
        else:
            messages.success(request, "It is asked for. The platform's staff decide; you are told.")
            return redirect("quota-of", zone, type)
    context = {"form": form, "offering": offering, "row": quota_of(organization, offering)}
    return render(request, "quota/request.html", context, status=422 if form.is_bound else 200)


@require_POST
@member_page
def quota_request_withdraw(request: HttpRequest, id: UUID) -> HttpResponse:
    actor = actor_in(request)
    actor.require_write()
    one = quota_request_get(organization_in(request), id)
    try:
        services.quota_request_withdraw(actor=actor, request=one, now=clock.now())
    except FailedPrecondition as refusal:
        told(request, refusal)
    else:
        messages.success(request, "The request is withdrawn.")
    return redirect("quota-of", one.offering.zone.name, one.offering.instance_type.name)
