"""Many quotas changed at once, all of them or none."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import transaction

from claims import locks
from claims.models import Offering
from claims.services.quota import quota_set
from console.common.errors import FailedPrecondition
from console.organizations.actors import Actor
from console.organizations.models import Organization


@dataclass(frozen=True, slots=True)
class QuotaMove:
    """One of them: limit, reserved and other use as they were when somebody looked (None: no quota), and as they are to
    be."""

    organization: int
    offering: int
    before: tuple[int, int, int] | None
    after: tuple[int, int, int]


def quotas_import(*, actor: Actor, moves: Iterable[QuotaMove]) -> int:
    """Make all of the changes; FailedPrecondition, and none is made, where one of the quotas was changed since they were
    looked at."""
    ordered = sorted(moves, key=lambda one: (one.organization, one.offering))
    organizations = Organization.objects.in_bulk({one.organization for one in ordered})
    offerings = Offering.objects.select_related("zone", "instance_type").in_bulk({one.offering for one in ordered})
    with transaction.atomic():
        for one in ordered:
            organization, offering = organizations[one.organization], offerings[one.offering]
            row = locks.quota_lock(organization, offering)
            if ((row.limit, row.reserved, row.other_usage) if row else None) != one.before:
                text = f"The quota of {organization} for {offering} was changed meanwhile; read the file again."
                raise FailedPrecondition("QUOTA_CHANGED", f"{organization.id}/{offering.pk}", text)
            limit, reserved, other = one.after
            quota_set(actor=actor, organization=organization, offering=offering, limit=limit, reserved=reserved,
                      other_usage=other)  # fmt: skip
    return len(ordered)
