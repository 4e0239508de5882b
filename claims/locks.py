"""The locks that writers to capacity take, each one function, so that tests can show the race without it (W1).

Order, for all: creation, quota, offerings by key, claim. None conflicts with the key-share locks of foreign keys, so
inserting a row that points at an offering waits for nobody.
"""

from collections.abc import Iterable

from django.db import connection

from claims.models import Offering, Quota
from console.organizations.models import Organization


def offerings_lock(keys: Iterable[int]) -> None:
    """Hold the offerings until the transaction ends; ordered by key, so that two writers never wait for each other."""
    list(Offering.objects.select_for_update(no_key=True).filter(key__in=set(keys)).order_by("key").values_list("key"))


def quota_lock(organization: Organization, offering: Offering) -> Quota | None:
    """The quota row, held until the transaction ends; None where there is none, which means limit 0 (C3)."""
    return Quota.objects.select_for_update(no_key=True).filter(organization=organization, offering=offering).first()


def creation_lock(fingerprint: str) -> None:
    """Let creations with the same fingerprint go one after the other."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [fingerprint])
