"""Chart data of what an organization may use and what it pays: quota, and money by day."""

from datetime import datetime
from typing import Any

from claims import metering
from claims.bills import Month, amounts
from claims.core.rating import PriceMissing
from claims.models import Offering, QuotaChange
from claims.quotas import claimed_history, quota_history
from console.dashboard.series import MOST, Points, chart, milliseconds, series
from console.organizations.models import Organization


def quota(organization: Organization, offering: Offering, start: datetime | None, end: datetime) -> dict[str, Any]:
    """Limit, reserved and other use as they were changed, and what claims paid for: exact steps. No start: all."""
    first = QuotaChange.objects.filter(organization=organization, offering=offering).order_by("at").first()
    begins = start or (first.at if first else end)
    moments = quota_history(organization, offering, begins, end)

    def steps(name: str) -> Points:
        found: Points = [(milliseconds(one.at), getattr(one, name)) for one in moments][-MOST + 1 :]
        return [*found, (milliseconds(end), found[-1][1])] if found else []

    claimed: Points = [
        (milliseconds(point.at), point.allocated) for point in claimed_history(organization, offering, begins, end)
    ]
    return chart("instances", begins, end, [
        series("Limit", "accent", steps("limit"), "step"),
        series("Reserved", "ok", steps("reserved"), "step"),
        series("Other use", "warn", steps("other_usage"), "step"),
        series("Claimed and ready", "info", claimed[-MOST:], "step"),
    ], since=first.at if first else None)  # fmt: skip


def bill(organization: Organization, month: Month, now: datetime) -> dict[str, Any]:
    """USD for each day, reserved against on demand; empty while a price is missing, which the page says."""
    try:
        rows = metering.usage(organization, month.start, month.end, now, by_holder=False)
    except PriceMissing:
        rows = []
    days = sorted(amounts(rows, lambda row: row.day).items())
    return chart("USD", month.start, min(month.end, now), [
        series("Reserved rate", "ok", [(milliseconds(day), round(float(one.reserved), 2)) for day, one in days]),
        series("On demand", "info", [(milliseconds(day), round(float(one.on_demand), 2)) for day, one in days]),
    ])  # fmt: skip
