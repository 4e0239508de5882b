"""What organizations are told of: quota that fills up, and budgets. Each occurrence once; each pass looks anew, so that a
pass that is missed loses nothing. What happens to claims is told with their history (`claims.services.life`)."""

from datetime import datetime
from decimal import Decimal

from django.db import transaction

from claims.budgets import BudgetState, budget_state
from claims.core.quota import Level, level
from claims.models import Budget, CapacityClaim, Quota, QuotaLevel
from claims.quotas import quota_path
from claims.selectors import QuotaRow, committed, quotas_of
from console.common.money import to_cents
from console.common.words import counted
from console.notifications.models import Kind
from console.notifications.services import notify
from console.organizations.models import Organization

PERCENT = {Level.NOTICE: 80, Level.ALARM: 95, Level.FULL: 95, Level.OVER: 95}


def quota_notices_pass(*, now: datetime) -> int:
    """Tell of every quota of which 80 or 95 % came to be used since it was last looked at; returns how many. A level is
    told when it is reached, and again only after use has been below it: what is stored is how high it was last. Three
    queries where nothing has changed."""
    known = {
        (org, of): percent for org, of, percent in QuotaLevel.objects.values_list("organization", "offering", "percent")
    }
    used, moved = committed(CapacityClaim.objects.all()), []
    for org, of, limit, other in Quota.objects.values_list("organization", "offering", "limit", "other_usage"):
        reached = PERCENT.get(level(limit=limit, used=used.get((org, of), 0) + other), 0)
        if reached != known.get((org, of), 0):
            moved.append(org)
    owners = Organization.objects.filter(pk__in=moved).order_by("pk") if moved else []
    return sum(quota_notices(organization=one, now=now) for one in owners)


def quota_notices(*, organization: Organization, now: datetime) -> int:
    """Tell of the quotas of one organization that have reached another level."""
    known = dict(QuotaLevel.objects.filter(organization=organization).values_list("offering", "percent"))
    told = 0
    for row in quotas_of(organization):
        reached = PERCENT.get(level(limit=row.limit, used=row.used), 0)
        before = known.get(row.offering.key, 0)
        if reached != before:
            told += quota_level_move(organization=organization, row=row, before=before, reached=reached, now=now)
    return told


def quota_level_move(*, organization: Organization, row: QuotaRow, before: int, reached: int, now: datetime) -> bool:
    """Store the level, and tell of it where it is a higher one; False where another pass has stored it already."""
    with transaction.atomic():
        QuotaLevel.objects.get_or_create(organization=organization, offering=row.offering)
        one = QuotaLevel.objects.select_for_update().get(organization=organization, offering=row.offering)
        if one.percent != before:
            return False
        one.percent, one.crossings = reached, one.crossings + (reached > before)
        one.save(update_fields=["percent", "crossings"])
        if reached < before:
            return False
        return notify(
            organization=organization, kind=Kind.QUOTA_NOTICE, now=now, path=quota_path(row.offering),
            key=f"quota:{row.offering.key}:{reached}:{one.crossings}",
            subject=f"{reached} % of the quota of {row.offering} is used",
            text=f"{row.used} of {counted(row.limit, 'instance')}: {row.committed} committed to claims, {row.other_usage} in other use."
            + (f" It is {row.over} over its limit: new customer claims are refused." if row.over else ""),
            data={"zone": row.zone, "instanceId": row.instance_type, "percent": reached, "limit": row.limit,
                  "committed": row.committed, "otherUsage": row.other_usage},
        )  # fmt: skip


def budget_notices_pass(*, now: datetime) -> int:
    """Tell of the highest threshold that each budget has reached this month, and of a forecast above it."""
    return sum(budget_notices(organization=one.organization, now=now)
               for one in Budget.objects.select_related("organization").order_by("pk"))  # fmt: skip


def budget_notices(*, organization: Organization, now: datetime) -> int:
    state = budget_state(organization, now)
    if state is None or state.spent is None:
        return 0
    told = 0
    if state.crossed:
        percent = state.crossed[-1]
        told += _budget(organization, state, str(percent), f"{percent} % of the budget of {state.month} is spent", now)
    if state.forecast_exceeds and 100 not in state.crossed:
        told += _budget(organization, state, "forecast", f"{state.month} is going to exceed its budget", now)
    return told


def _budget(organization: Organization, state: BudgetState, name: str, subject: str, now: datetime) -> bool:
    spent, foreseen = to_cents(state.spent or Decimal(0)), to_cents(state.foreseen or Decimal(0))
    return notify(
        organization=organization, kind=Kind.BUDGET, key=f"budget:{state.month}:{state.amount}:{name}",
        subject=subject, path="/billing/budget", now=now,
        text=f"${spent:,} are spent, ${foreseen:,} is the forecast, ${state.amount:,} the budget.",
        data={"month": state.month, "crossed": name, "budget": str(state.amount), "spent": str(spent),
              "forecast": str(foreseen), "currency": "USD"},
    )  # fmt: skip
