"""The locks that writers to capacity take, each one function, so that tests can show the race without it (W1).

Order, for all: creation, quota, offerings by key, claim, books by key, prices. None conflicts with the key-share locks of foreign keys, so
inserting a row that points at an offering waits for nobody.
"""

import uuid
from collections.abc import Iterable

from django.db import OperationalError, connection, transaction
from psycopg.errors import LockNotAvailable

from claims.models import CapacityClaim, Offering, Quota
from console.common.together import Statement, run_together
from console.organizations.models import Organization

# Written out, since every creation waits for whoever holds the row.
_QUOTA_LOCK = "SELECT * FROM claims_quota WHERE organization_id = %s AND offering_id = %s FOR NO KEY UPDATE"
_QUOTA_TAKE = """
    UPDATE claims_quota SET committed_bound = committed_bound + %(more)s
    WHERE organization_id = %(organization)s AND offering_id = %(offering)s
      AND committed_bound + %(more)s <= "limit" - other_usage"""


def offerings_lock(keys: Iterable[int]) -> None:
    """Hold the offerings until the transaction ends; ordered by key, so that two writers never wait for each other."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT key FROM claims_offering WHERE key = ANY(%s::bigint[]) ORDER BY key FOR NO KEY UPDATE",
            [sorted(set(keys))],
        )


def quota_lock(organization: Organization, offering: Offering) -> Quota | None:
    """The quota row, held until the transaction ends; None where there is none, which means limit 0 (C3)."""
    found = Quota.objects.raw(_QUOTA_LOCK, [organization.key, offering.key])
    return next(iter(found), None)


def quota_take(organization: Organization, offering: Offering, more: int) -> bool:
    """Let so many more instances be committed where they fit beyond doubt, which one statement both sees and notes; the row is
    held until the transaction ends. False: nothing was done, and what is committed has to be counted."""
    with connection.cursor() as cursor:
        cursor.execute(_QUOTA_TAKE, {"organization": organization.key, "offering": offering.key, "more": more})
        return bool(cursor.rowcount)


def claim_lock(organization: Organization, id: uuid.UUID) -> CapacityClaim | None:
    """The claim alone, held until the transaction ends, for what fulfilment does not go by; None where there is none."""
    return CapacityClaim.objects.select_for_update(no_key=True).filter(organization=organization, id=id).first()


def creation_lock(fingerprint: str) -> None:
    """Let creations with the same fingerprint go one after the other."""
    run_together([creation_locked(fingerprint)])


def creation_locked(fingerprint: str) -> Statement:
    """The same, to be sent together with what has to be looked at under the lock."""
    return "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [fingerprint]


# First halves of two-part advisory locks; the second is the organization, or nothing.
BOOKS, PRICES = 7101, 7102
PATIENCE_MS = 500  # less than PostgreSQL takes to look for a deadlock


def books_lock(organization_keys: Iterable[int]) -> None:
    """Enter something into the ledger: shared among writers, so that only the closing of the books waits for them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock_shared(%s, key) FROM unnest(%s::int[]) AS k (key)",
            [BOOKS, sorted(set(organization_keys))],
        )


def books_closing_lock(organization_key: int) -> bool:
    """Wait until nobody is entering anything; False where somebody still does after half a second."""
    return _exclusive(BOOKS, organization_key)


def prices_lock() -> None:
    """Rate by the prices there are: shared, so that only their change waits for it, and it for their change."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s, 0)", [PRICES])


def prices_changing_lock() -> None:
    """Change prices while nobody rates by them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, 0)", [PRICES])


def _exclusive(first: int, second: int) -> bool:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = {PATIENCE_MS}")
            cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [first, second])
            cursor.execute("SET LOCAL lock_timeout TO DEFAULT")
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            return False
        raise
    return True
