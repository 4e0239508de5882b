"""The budget of the organization: where it stands, and its form. For who may see money."""

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from claims.budgets import THRESHOLDS, budget_set, budget_state
from console.common import clock
from console.common.errors import InvalidArgument
from console.dashboard.access import actor_in, add_violations, member_page, organization_in


class BudgetForm(forms.Form):
    amount = forms.DecimalField(
        label="USD a month", max_digits=13, decimal_places=2, required=False,
        help_text="Calendar months, UTC. Empty: no budget. It gives notice and limits nothing.",
    )  # fmt: skip


@require_http_methods(["GET", "POST"])
@member_page
def budget(request: HttpRequest) -> HttpResponse:
    actor, organization, now = actor_in(request), organization_in(request), clock.now()
    actor.require_money()
    state = budget_state(organization, now)
    sent = request.POST if request.method == "POST" else None
    form = BudgetForm(sent, initial={"amount": state.amount if state else None})
    if sent is not None and "amount" not in sent:
        form.add_error("amount", "Say an amount, or leave the field empty for no budget.")
    if sent is not None and form.is_valid():
        try:
            row = budget_set(actor=actor, organization=organization, amount=form.cleaned_data["amount"], now=now)
        except InvalidArgument as refusal:
            add_violations(form, refusal, {"amount": "amount"})
        else:
            messages.success(
                request, f"The budget is ${row.amount:,.2f} a month." if row else "There is no budget any more."
            )
            return redirect("budget")
    context = {"state": state, "form": form, "thresholds": THRESHOLDS}
    return render(request, "billing/budget.html", context, status=422 if form.is_bound else 200)
