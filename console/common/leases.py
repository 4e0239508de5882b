"""Work that one worker has at a time: its row says until when, and a worker that died has it no longer then (W4)."""

from datetime import datetime

from django.db.models import Q

MOST_TOLD = 2000  # characters of an error


class LeaseLost(Exception):
    """Somebody else has the work, or nobody is to do it any more."""


def unleased(now: datetime) -> Q:
    """Rows that no worker has."""
    return Q(leased_until__isnull=True) | Q(leased_until__lte=now)


def what_failed(error: Exception) -> str:
    """An error as rows keep it."""
    return f"{type(error).__name__}: {error}"[:MOST_TOLD]
