"""How the platform's pages change things: through a service, or through an action that first shows what it does."""

from collections.abc import Callable, Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from console.common.errors import Refusal
from console.organizations.admin import RoomyAdmin

MOST_AT_ONCE = 200


class ThroughServiceAdmin(RoomyAdmin):
    """Saves through a service; a refusal is said and changes nothing."""

    def save_through(self, request: HttpRequest, obj: Any, form: forms.ModelForm[Any]) -> None:
        """Each admin names its service here."""
        raise AssertionError(f"{type(self).__name__} saves nothing")

    def save_model(self, request: HttpRequest, obj: Any, form: forms.ModelForm[Any], change: bool) -> None:
        self.save_through(request, obj, form)

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except Refusal as refusal:
            self.message_user(request, refusal.message, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> None:  # type: ignore[override]
        """The audit trail is written by the service, with before and after."""

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> None:  # type: ignore[override]
        """As above."""


class ReasonForm(forms.Form):
    reason = forms.CharField(max_length=200, strip=True, help_text="Shown to whom it affects, and in the audit trail.")


def confirmed_action(
    model_admin: admin.ModelAdmin[Any],
    request: HttpRequest,
    queryset: QuerySet[Any],
    *,
    action: str,
    title: str,
    effects: Callable[[Sequence[Any]], list[tuple[str, str]]],
    apply: Callable[[Any, str], object],
    asks_reason: bool,
) -> HttpResponse | None:
    """An action in two steps: a page with its effect on each row (and a field for the reason), then, confirmed, the
    service for each. What a service refuses is said; the others are done all the same."""
    rows = list(queryset[: MOST_AT_ONCE + 1])
    if len(rows) > MOST_AT_ONCE:
        model_admin.message_user(request, f"Choose at most {MOST_AT_ONCE} at once.", messages.ERROR)
        return None
    form = ReasonForm(request.POST if "confirmed" in request.POST else None) if asks_reason else None
    if "confirmed" not in request.POST or (form is not None and not form.is_valid()):
        context = {
            **model_admin.admin_site.each_context(request), "opts": model_admin.model._meta, "title": title,
            "action": action, "form": form, "effects": effects(rows), "rows": rows,
            "checkbox": ACTION_CHECKBOX_NAME,
        }  # fmt: skip
        return TemplateResponse(request, "admin/claims/confirm.html", context)
    done = 0
    for row in rows:
        try:
            apply(row, form.cleaned_data["reason"] if form is not None else "")
        except Refusal as refusal:
            model_admin.message_user(request, refusal.message, messages.ERROR)
        else:
            done += 1
    if done:
        model_admin.message_user(request, f"{title}: {done} done.", messages.SUCCESS)
    return None
