"""Backtests: list, form, result, progress, cancel, and the data of their charts."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import HttpResponseClientRefresh

from console.common import clock
from console.common.errors import FailedPrecondition, InvalidArgument
from console.common.ids import parse_uuid
from console.common.uploads import TOO_LARGE
from console.dashboard.access import actor_in, member_page, organization_in
from console.dashboard.backtest_forms import BacktestForms, first_values, placeholders
from console.dashboard.backtests import chart_of, rows_of
from console.dashboard.paging import paged
from console.organizations.models import Organization
from deployments.backtests.selectors import backtest_get, backtests_of
from deployments.backtests.services import MOST_BYTES, backtest_cancel, backtest_create
from deployments.models import BACKTEST_UNDER_WAY, Backtest, BacktestState, Deployment
from deployments.selectors import deployment_get, deployments_of

SHOWN = 50
KINDS = ("replicas", "requests", "curve")


@require_safe
@member_page
def backtest_list(request: HttpRequest) -> HttpResponse:
    organization = organization_in(request)
    return render(request, "backtests/list.html", {"page": paged(request, backtests_of(organization), SHOWN)})


@require_http_methods(["GET", "POST"])
@member_page
def backtest_new(request: HttpRequest) -> HttpResponse:
    actor, organization = actor_in(request), organization_in(request)
    actor.require_write()
    one = _deployment(organization, request.GET.get("deployment"))
    if request.method == "GET":
        forms = BacktestForms(organization, initial=first_values(one, request.GET.dict(), clock.now()))
        return _form(request, forms, one, 200)
    forms = BacktestForms(organization, request.POST, request.FILES)
    run = _created(request, forms)
    return redirect("backtest", run.id) if run else _form(request, forms, one, 422)


def _created(request: HttpRequest, forms: BacktestForms) -> Backtest | None:
    """None where something is wrong, which the form then says."""
    valid = forms.is_valid()
    if TOO_LARGE in request.META:
        forms.form.add_error("trace", f"It is too large: at most {MOST_BYTES:,} bytes are taken.")
        return None
    if not valid or forms.too_large():
        return None
    id = UUID(forms.form.cleaned_data["deployment"])
    try:
        return backtest_create(actor=actor_in(request), deployment_id=id, asked=forms.asked(), now=clock.now())
    except InvalidArgument as refusal:
        forms.add_violations(refusal)
    except FailedPrecondition as refusal:
        forms.form.add_error(None, refusal.message)
    return None


def _form(request: HttpRequest, forms: BacktestForms, one: Deployment | None, status: int) -> HttpResponse:
    placeholders(forms.variants, one)
    context: dict[str, Any] = {"form": forms.form, "variants": forms.variants, "deployment": one}
    return render(request, "backtests/new.html", context, status=status)


def _deployment(organization: Organization, id: str | None) -> Deployment | None:
    """The one that the address names, else the first there is."""
    known = parse_uuid(id) if id else None
    return deployment_get(organization, known) if known else deployments_of(organization).order_by("name").first()


@require_safe
@member_page
def backtest_page(request: HttpRequest, id: UUID) -> HttpResponse:
    run = backtest_get(organization_in(request), id)
    context = {"run": run, "rows": rows_of(run, actor_in(request)), "under_way": run.state in BACKTEST_UNDER_WAY,
               "source": run.request["source"], "percent": int(100 * run.progress)}  # fmt: skip
    return render(request, "backtests/detail.html", context)


@require_safe
@member_page
def backtest_progress(request: HttpRequest, id: UUID) -> HttpResponse:
    """How far it is; once it is over the page is loaded anew, with all that it shows then."""
    run = backtest_get(organization_in(request), id)
    if run.state not in BACKTEST_UNDER_WAY:
        return HttpResponseClientRefresh() if request.headers.get("HX-Request") else redirect("backtest", id)
    return render(request, "backtests/progress.html", {"run": run, "percent": int(100 * run.progress)})


@require_POST
@member_page
def backtest_stop(request: HttpRequest, id: UUID) -> HttpResponse:
    run = backtest_cancel(actor=actor_in(request), backtest_id=id, now=clock.now())
    text = "It is cancelled." if run.state == BacktestState.CANCELLED else "It was over already."
    messages.info(request, text)
    return redirect("backtest", id)


@require_safe
@member_page
def backtest_chart(request: HttpRequest, id: UUID, kind: str) -> HttpResponse:
    return JsonResponse(chart_of(backtest_get(organization_in(request), id), kind))
