"""Quota: checked under its row's lock when claims grow, changed under the same lock by administrators (C3)."""

from django.db import transaction
from django.db.models import Count, Max, Q, Sum
from django.db.models.functions import Greatest

from claims import ledger, locks
from claims.core import quota as rule
from claims.models import CapacityClaim, ClaimKind, Offering, Quota, QuotaChange
from claims.selectors import PROMISED, UNRELEASED
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


def commitments_of(
    organization: Organization, offering: Offering, claim_key: int | None
) -> tuple[int, rule.Commitment | None]:
    """Instances that all CUSTOMER claims of the organization commit in the offering, DELETING included; and what one of
    them does. One row, however many claims there are."""
    claims = CapacityClaim.objects.filter(organization=organization, offering=offering, kind=ClaimKind.CUSTOMER)
    each = claims.annotate(n=Count("instances", filter=UNRELEASED), most=PROMISED)
    mine = Q(key=claim_key)
    found = each.aggregate(
        total=Sum(Greatest("most", "n")), promised=Max("most", filter=mine), unreleased=Max("n", filter=mine)
    )
    one = None if found["promised"] is None else rule.Commitment(found["promised"], found["unreleased"])
    return found["total"] or 0, one


def quota_check(*, organization: Organization, offering: Offering, claim_key: int | None, promised: int) -> None:
    """Refuse when the claim (None: a new one) may not come to want `promised` instances. Holds the quota row until commit."""
    row = locks.quota_lock(organization, offering)
    total, mine = commitments_of(organization, offering, claim_key)
    before = mine.instances if mine else 0
    delta = max(promised, mine.unreleased if mine else 0) - before
    if mine and promised <= mine.promised:
        return
    limit, other = (row.limit, row.other_usage) if row else (0, 0)
    if rule.fits(delta=delta, limit=limit, other_usage=other, committed=total):
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
