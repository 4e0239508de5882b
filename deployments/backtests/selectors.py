"""Reads of backtests."""

import uuid

from django.db.models import QuerySet

from console.common.errors import NotFound
from console.organizations.models import Organization
from deployments.models import Backtest


def backtests_of(organization: Organization) -> QuerySet[Backtest]:
    """Newest first, without what is large; with their deployments."""
    found = Backtest.objects.filter(organization=organization).select_related("deployment")
    return found.defer("trace", "result").order_by("-id")


def backtest_get(organization: Organization, id: uuid.UUID) -> Backtest:
    """With its result; raises NotFound, also for another organization's."""
    found = (
        Backtest.objects.filter(organization=organization, id=id).select_related("deployment").defer("trace").first()
    )
    if found is None:
        raise NotFound("Backtest", id)
    return found
