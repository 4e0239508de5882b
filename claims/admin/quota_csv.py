"""Quota as CSV in the admin: export, and import in two steps, the first of which only shows what would be changed."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from claims.quota_csv import COLUMNS, MOST_BYTES, MOST_CHANGES, MOST_ROWS, Reading, quota_csv_read, quota_csv_rows
from claims.services.quota_import import QuotaMove, quotas_import
from console.common.errors import Refusal
from console.common.streams import csv_stream
from console.organizations.admin import platform_actor

SALT = "claims.quota_csv"
VALID_S = 3600
WRONG_SHOWN = 100


class FileForm(forms.Form):
    file = forms.FileField(label="CSV file", help_text=f"Columns {', '.join(COLUMNS)}; at most {MOST_ROWS} rows.")


class QuotaCsv(admin.ModelAdmin):  # type: ignore[type-arg]
    """The addresses `export/` and `import/` below a list of quotas."""

    change_list_template = "admin/claims/quota/change_list.html"

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        own = [
            path("export/", wrap(self.export_view), name="claims_quota_export"),
            path("import/", wrap(self.import_view), name="claims_quota_import"),
        ]
        return [*own, *super().get_urls()]

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return csv_stream(request, quota_csv_rows(), "headroom-quota.csv")

    def import_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_change_permission(request):
            raise PermissionDenied
        if "moves" in request.POST:
            return self._import(request)
        form = FileForm(request.POST or None, request.FILES or None)
        reading = None
        if request.method == "POST" and form.is_valid():
            reading = quota_csv_read(form.cleaned_data["file"].read(MOST_BYTES + 1))
        return TemplateResponse(request, "admin/claims/quota/import.html", {
            **self.admin_site.each_context(request), "opts": self.model._meta, "title": "Import quota", "form": form,
            "reading": reading, "wrong": reading.wrong[:WRONG_SHOWN] if reading else [],
            "moves": signed(reading) if reading and reading.changes and not reading.wrong else "",
            "most_changes": MOST_CHANGES,
        })  # fmt: skip

    def _import(self, request: HttpRequest) -> HttpResponse:
        """Make the changes that were shown, and only those."""
        try:
            rows = signing.loads(request.POST["moves"], salt=SALT, max_age=VALID_S)
            done = quotas_import(actor=platform_actor(request), moves=[move(row) for row in rows])
        except signing.BadSignature:
            self.message_user(
                request, "What was shown is too old, or was changed; read the file again.", messages.ERROR
            )
        except Refusal as refusal:
            self.message_user(request, refusal.message, messages.ERROR)
        else:
            self.message_user(request, f"{done} quotas are changed.", messages.SUCCESS)
            return HttpResponseRedirect(reverse("admin:claims_quota_changelist"))
        return HttpResponseRedirect(reverse("admin:claims_quota_import"))


def signed(reading: Reading) -> str:
    """The changes that were shown, so that those are made and no others."""
    rows = [(one.organization.pk, one.offering.pk, one.before, one.after) for one in reading.changes]
    return signing.dumps(rows, salt=SALT, compress=True)


def move(row: Any) -> QuotaMove:
    organization, offering, before, after = row
    return QuotaMove(organization, offering, tuple(before) if before else None, tuple(after))
