"""Reads of histories made afterwards."""

from collections.abc import Iterable
from datetime import datetime

from django.db.models import F, Max, Min, Q

from console.organizations.models import Organization
from deployments.models import UNDER_WAY, HistoryRun, HistoryState

Span = tuple[datetime, datetime]


def history_span(deployment_keys: Iterable[int]) -> Span | None:
    """From when to when there is history of any of these deployments that was made afterwards; None where is none."""
    made = HistoryRun.objects.filter(deployments__in=list(deployment_keys), made_from__lt=F("ends_at"))
    found = made.aggregate(start=Min("made_from"), end=Max("ends_at"))
    return (found["start"], found["end"]) if found["end"] else None


def histories_to_show(organization: Organization) -> list[HistoryRun]:
    """Histories of the organization's deployments that are being made, or could not be."""
    concerned = HistoryRun.objects.filter(Q(state__in=UNDER_WAY) | Q(state=HistoryState.FAILED))
    return list(concerned.filter(deployments__organization=organization).distinct().defer("world"))
