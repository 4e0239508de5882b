"""Requests for quota: the staff's queue, each with what the organization has and uses, decided here."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from claims import services
from claims.admin.base import confirmed_action
from claims.models import QuotaRequest, RequestState
from claims.selectors import quota_of
from claims.services.quota_requests import limit_of
from console.common import clock
from console.common.errors import InvalidArgument, Refusal
from console.common.words import counted
from console.organizations.admin import OrganizationFilter, ReadOnlyAdmin, platform_actor

APPROVE, REFUSE = "approve", "refuse"


class DecisionForm(forms.Form):
    """How much of it, or why not."""

    granted = forms.IntegerField(
        label="Limit to give", min_value=1, required=False, help_text="All that was asked for, or part of it."
    )
    comment = forms.CharField(
        max_length=1000, required=False, widget=forms.Textarea(attrs={"rows": 3}),
        help_text="The organization reads it. A refusal needs one.",
    )  # fmt: skip


@admin.register(QuotaRequest)
class QuotaRequestAdmin(ReadOnlyAdmin):
    list_display = ["organization", "offering", "limit_before", "wanted", "granted", "state", "created_at", "created_by",
                    "decided_by"]  # fmt: skip
    list_filter = ["state", OrganizationFilter, "offering__zone", "offering__instance_type"]
    search_fields = ["organization__slug", "organization__id", "offering__instance_type__name", "reason"]
    list_select_related = ["organization", "offering__zone", "offering__instance_type"]
    actions = ["approve"]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        one = self.get_object(request, object_id)
        if one is None or not self.has_view_permission(request, one):
            raise Http404
        form = DecisionForm(request.POST if request.method == "POST" else None, initial={"granted": one.wanted})
        if request.method == "POST" and form.is_valid():
            try:
                self._decide(request, one, form.cleaned_data)
            except Refusal as refusal:
                show(form, refusal)
            else:
                one.refresh_from_db()
                said = f"{one.organization}, {one.offering}: {RequestState(one.state).label.lower()}"
                said += f", {one.granted} of the {one.wanted} asked for." if one.granted else "."
                self.message_user(request, said, messages.SUCCESS)
                return HttpResponseRedirect(reverse("admin:claims_quotarequest_changelist"))
        context = {
            **self.admin_site.each_context(request), "opts": self.model._meta, "title": f"Quota request: {one.offering}",
            "one": one, "row": quota_of(one.organization, one.offering), "form": form,
            "waits": one.state == RequestState.PENDING,
        }  # fmt: skip
        return TemplateResponse(request, "admin/claims/quota/request.html", context)

    def _decide(self, request: HttpRequest, one: QuotaRequest, data: dict[str, Any]) -> None:
        actor, comment, now = platform_actor(request), data["comment"], clock.now()
        decision = request.POST.get("decision", "").lower()
        if decision == REFUSE:
            services.quota_request_refuse(actor=actor, request=one, comment=comment, now=now)
        elif decision == APPROVE:
            if data["granted"] is None:
                raise InvalidArgument.of("granted", "say how many instances the limit is to be")
            services.quota_request_approve(actor=actor, request=one, granted=data["granted"], comment=comment, now=now)
        else:
            raise InvalidArgument.of("decision", "must be approve or refuse")

    @admin.action(description="Approve as asked for")
    def approve(self, request: HttpRequest, queryset: QuerySet[QuotaRequest]) -> HttpResponse | None:
        def effects(rows: Sequence[Any]) -> list[tuple[str, str]]:
            return [(str(one), effect(one)) for one in rows]

        return confirmed_action(
            self, request, queryset, action=APPROVE, title="Approve requests", effects=effects,
            apply=lambda row, _: services.quota_request_approve(
                actor=platform_actor(request), request=row, granted=row.wanted, now=clock.now()
            ),
            asks_reason=False,
        )  # fmt: skip


def effect(one: QuotaRequest) -> str:
    if one.state != RequestState.PENDING:
        return f"nothing: it was decided before ({RequestState(one.state).label.lower()})"
    return f"limit from {limit_of(one.organization, one.offering)} to {counted(one.wanted, 'instance')}"


def show(form: DecisionForm, refusal: Refusal) -> None:
    """Each violation at its field; what has none above the form."""
    if not isinstance(refusal, InvalidArgument):
        form.add_error(None, refusal.message)
        return
    for one in refusal.violations:
        form.add_error(one.field if one.field in form.fields else None, one.description)
