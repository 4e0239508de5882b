"""`/api/v1/budgets`: what the organization means to spend in a month, and where it stands."""

from decimal import Decimal, InvalidOperation
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from claims.api import shapes
from claims.api.examples import BUDGET
from claims.budgets import FORECAST, THRESHOLDS, BudgetState, budget_set, budget_state
from claims.models import Budget
from console.common import clock
from console.common.errors import InvalidArgument
from console.common.money import to_cents
from console.common.paging import page
from console.organizations.api.etags import Tagged
from console.organizations.api.permissions import request_actor


class ChangesBudgets(BasePermission):
    """Billing and admin read budgets and change them."""

    def has_permission(self, request: Request, view: Any) -> bool:
        request_actor(request).require_money()
        return True


def budget_in(request: Request) -> Budget | None:
    return Budget.objects.filter(organization=request_actor(request).require_organization()).first()


def budget_lock(request: Request, budget: Budget | None) -> None:
    Budget.objects.select_for_update().filter(pk=budget.pk if budget else None).first()


BUDGET_TAG = Tagged(budget_in, lambda one: [one.pk, one.amount], budget_lock)


class BudgetsView(APIView):
    permission_classes = [ChangesBudgets]

    @BUDGET_TAG.shown
    @extend_schema(responses=shapes.BudgetPage, operation_id="ListBudgets")
    def get(self, request: Request) -> Response:
        """The organization's budget, what is spent of it this month and what is foreseen; no item where none is set."""
        state = budget_state(request_actor(request).require_organization(), clock.now())
        return Response(page([] if state is None else [state_to(state)]))

    @BUDGET_TAG.edited
    @extend_schema(
        request=shapes.BudgetRequest, responses=shapes.BudgetShape, operation_id="SetBudget", examples=[BUDGET]
    )
    def put(self, request: Request) -> Response:
        """Set the budget: `{"amount": "5000.00"}`, USD a calendar month."""
        actor, now = request_actor(request), clock.now()
        organization = actor.require_organization()
        budget_set(actor=actor, organization=organization, amount=amount_in(request.data), now=now)
        state = budget_state(organization, now)
        assert state is not None
        return Response(state_to(state))

    @BUDGET_TAG.edited
    @extend_schema(responses={204: None}, operation_id="DeleteBudget")
    def delete(self, request: Request) -> Response:
        """Take the budget away; again changes nothing."""
        actor = request_actor(request)
        budget_set(actor=actor, organization=actor.require_organization(), amount=None, now=clock.now())
        return Response(status=204)


def amount_in(data: Any) -> Decimal:
    sent = data.get("amount") if isinstance(data, dict) else None
    if isinstance(sent, bool) or not isinstance(sent, str | int | float) or len(str(sent)) > 40:
        raise InvalidArgument.of("amount", 'must be an amount such as "5000.00"')
    try:
        return Decimal(str(sent))
    except InvalidOperation as error:
        raise InvalidArgument.of("amount", 'must be an amount such as "5000.00"') from error


def state_to(state: BudgetState) -> dict[str, Any]:
    return {
        "amount": f"{state.amount:.2f}",
        "currency": "USD",
        "month": state.month,
        "spent": None if state.spent is None else f"{to_cents(state.spent):.2f}",
        "forecast": None if state.foreseen is None else f"{to_cents(state.foreseen):.2f}",
        "thresholds": [{"percent": one, "crossed": one in state.crossed} for one in THRESHOLDS],
        "forecastExceeds": FORECAST in state.crossings,
    }
