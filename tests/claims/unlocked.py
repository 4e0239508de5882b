"""Quota without its locks, for the tests that show what these are for: looked at and written apart, no row held between."""

import time

import pytest

from claims import locks
from claims.models import Offering, Quota
from console.organizations.models import Organization


def without_quota_locks(monkeypatch: pytest.MonkeyPatch, pause_s: float = 0.3) -> None:
    """`pause_s` lies between look and write, so that others come in between on any machine."""

    def get(organization: Organization, offering: Offering) -> Quota:
        return Quota.objects.get(organization=organization, offering=offering)

    def take(organization: Organization, offering: Offering, more: int) -> bool:
        row = get(organization, offering)
        time.sleep(pause_s)
        if row.committed_bound is None or row.committed_bound + more > row.limit - row.other_usage:
            return False
        Quota.objects.filter(pk=row.pk).update(committed_bound=row.committed_bound + more)
        return True

    monkeypatch.setattr(locks, "quota_lock", get)
    monkeypatch.setattr(locks, "quota_take", take)
