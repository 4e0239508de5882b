"""Quota: checked under its row's lock when claims grow, changed under the same lock by administrators (C3)."""

from django.db import connection, transaction

from claims import ledger, locks
from claims.core import quota as rule
from claims.models import Offering, Quota, QuotaChange
from console.common import clock
from console.common.errors import (
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    PermissionDenied,
    QuotaNumbers,
)
from console.organizations.actors import Actor
from console.organizations.models import Organization
from console.organizations.services import audit_record

MOST = 1_000_000
# `PROMISED` and `UNRELEASED` of `claims.selectors` in one statement, since it runs while others wait for the quota's row.
_COMMITMENTS = """
    SELECT coalesce(sum(greatest(promised, unreleased)), 0)::bigint, max(promised) FILTER (WHERE key = %(claim)s),
           max(unreleased) FILTER (WHERE key = %(claim)s)
    FROM (
        SELECT c.key, greatest(c.target, c.window_peak) AS promised, count(i.key) AS unreleased
        FROM claims_capacityclaim c LEFT JOIN claims_instance i
          ON i.claim_id = c.key AND i.state <> 'RELEASED' AND i.lost_at IS NULL AND i.work <> 'BAD'
        WHERE c.organization_id = %(organization)s AND c.offering_id = %(offering)s AND c.kind = 'CUSTOMER'
        GROUP BY c.key
    ) each"""


def commitments_of(
    organization: Organization, offering: Offering, claim_key: int | None
) -> tuple[int, rule.Commitment | None]:
    """Instances that all CUSTOMER claims of the organization commit in the offering, DELETING included; and what one of
    them does. One row, however many claims there are."""
    with connection.cursor() as cursor:
        cursor.execute(_COMMITMENTS, {"organization": organization.key, "offering": offering.key, "claim": claim_key})
        total, promised, unreleased = cursor.fetchone()
    return total, None if promised is None else rule.Commitment(promised, unreleased)


def quota_check(
    *, organization: Organization, offering: Offering, claim_key: int, promised: int, new: bool = False
) -> None:
    """Refuse when the claim may not come to want `promised` instances; a `new` one is stored already, and counts only once it
    is let pass. Holds the quota row until commit.

    What claims commit is counted only when a new one does not fit by the row's bound of it: the bound is raised with every
    claim that grows, here alone, and what becomes less leaves it too high until it is counted again.
    """
    if new and locks.quota_take(organization, offering, promised):
        return
    row = locks.quota_lock(organization, offering)
    total, mine = commitments_of(organization, offering, claim_key)
    if new and mine:
        total, mine = total - mine.instances, None
    before = mine.instances if mine else 0
    delta = max(promised, mine.unreleased if mine else 0) - before
    if mine and promised <= mine.promised:
        return
    limit, other = (row.limit, row.other_usage) if row else (0, 0)
    if rule.fits(delta=delta, limit=limit, other_usage=other, committed=total):
        if row:
            Quota.objects.filter(pk=row.pk).update(committed_bound=total + delta)
        return
    numbers = QuotaNumbers(str(offering), requested=delta, limit=limit, other_usage=other, committed=total)
    raise FailedPrecondition(
        "QUOTA_EXCEEDED",
        f"{offering.zone}/{offering.instance_type}",
        f"Quota for {offering}: {delta} more instances requested, {numbers.free} free (limit {limit}, "
        f"{other} in other use, {total} committed to claims). Ask for fewer, free some, or have the quota raised.",
        numbers,
    )


def quota_set(
    *,
    actor: Actor,
    organization: Organization,
    offering: Offering,
    limit: int,
    reserved: int,
    other_usage: int,
) -> Quota:
    """Set a quota; the platform's alone. Lowering it below what is committed takes nothing away (C13)."""
    if not actor.is_platform:
        raise PermissionDenied("Only the platform's staff may change quota; ask them for it.")
    numbers = {"limit": limit, "reserved": reserved, "other_usage": other_usage}
    wrong = [FieldViolation(name, f"must be from 0 to {MOST}") for name, n in numbers.items() if not 0 <= n <= MOST]
    if wrong:
        raise InvalidArgument(wrong)
    with transaction.atomic():
        row = locks.quota_lock(organization, offering)
        before = {name: getattr(row, name) for name in numbers} if row else None
        if row and before == numbers:
            return row
        row, _ = Quota.objects.update_or_create(organization=organization, offering=offering, defaults=numbers)
        # What is rated already was rated by the quota of its time (B5).
        now = clock.now()
        at = max(now, ledger.books_closed([organization.key]).get(organization.key, now))
        QuotaChange.objects.create(organization=organization, offering=offering, at=at, user=actor.user, **numbers)
        audit_record(actor=actor, action="quota.set", obj_type="Quota", obj_id=str(row.pk), obj_name=str(offering),
                     before=before, after=numbers, organization=organization)  # fmt: skip
    return row
