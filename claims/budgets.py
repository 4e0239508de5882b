"""Budgets: an amount a month, and notice when 50, 80 and 100 % of it are spent, and when the forecast exceeds it."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from claims import metering
from claims.core.rating import PriceMissing
from claims.forecast import Forecast, forecast
from claims.models import Budget
from console.common.errors import InvalidArgument, PermissionDenied
from console.common.money import CENT, to_cents
from console.organizations.actors import Actor
from console.organizations.models import Organization
from console.organizations.services import audit_record

THRESHOLDS = (50, 80, 100)
FORECAST = "forecast"
MOST_USD = Decimal(10) ** 11


@dataclass(frozen=True, slots=True)
class BudgetState:
    """A month's budget beside what was spent and what is foreseen, USD; both None where a price is missing."""

    amount: Decimal
    month: str
    spent: Decimal | None
    foreseen: Decimal | None

    @property
    def share(self) -> float | None:
        return None if self.spent is None else float(self.spent / self.amount)

    @property
    def crossed(self) -> list[int]:
        """Thresholds in percent that the spending has reached, lowest first; to the cent."""
        if self.spent is None:
            return []
        return [one for one in THRESHOLDS if to_cents(self.spent) * 100 >= self.amount * one]

    @property
    def forecast_exceeds(self) -> bool:
        return self.foreseen is not None and to_cents(self.foreseen) > self.amount

    @property
    def crossings(self) -> list[str]:
        """What there is to give notice of, each by a name of its own."""
        return [*(str(one) for one in self.crossed), *([FORECAST] if self.forecast_exceeds else [])]


def budget_set(*, actor: Actor, organization: Organization, amount: Decimal | None, now: datetime) -> Budget | None:
    """Set the organization's budget a month; None takes it away. For the roles billing and admin."""
    if not (actor.is_platform or actor.organization == organization):
        raise PermissionDenied("This is another organization's budget.")
    actor.require_money()
    if amount is not None and not (amount.is_finite() and 0 < amount < MOST_USD and amount == amount.quantize(CENT)):
        raise InvalidArgument.of("amount", "must be more than 0 USD and less than 100 billion, in whole cents")
    with transaction.atomic():
        before = Budget.objects.select_for_update().filter(organization=organization).first()
        if (before.amount if before else None) == amount:
            return before
        audit_record(
            actor=actor, action="budget.set" if amount else "budget.clear", obj_type="Budget",
            obj_id=str(organization.key), obj_name=organization.name, organization=organization,
            before=_told(before.amount if before else None), after=_told(amount),
        )  # fmt: skip
        if amount is None:
            Budget.objects.filter(organization=organization).delete()
            return None
        row, _ = Budget.objects.update_or_create(
            organization=organization, defaults={"amount": amount, "changed_at": now}
        )
        return row


def _told(amount: Decimal | None) -> dict[str, str] | None:
    return {"amount": f"{amount:.2f}"} if amount is not None else None


def budget_state(organization: Organization, now: datetime, foreseen: Forecast | None = None) -> BudgetState | None:
    """None where there is no budget. `foreseen`: the forecast, where it has been made."""
    budget = Budget.objects.filter(organization=organization).first()
    if budget is None:
        return None
    month = f"{metering.month_of(now):%Y-%m}"
    try:
        known = foreseen or forecast(organization, now, by_holder=False)
    except PriceMissing:
        return BudgetState(budget.amount, month, None, None)
    return BudgetState(budget.amount, month, known.so_far, known.total)
