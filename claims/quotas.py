"""Quota over time: what it was when, what was claimed of it, and which claims commit it now."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from django.db.models import Count, F, Q, QuerySet, Window
from django.db.models.functions import Lag

from claims.core import quota as rule
from claims.core.quota import Commitment
from claims.models import CapacityClaim, ClaimKind, Offering, QuotaChange, QuotaRequest, UsageInterval, UsageKind
from claims.selectors import UNRELEASED, ClaimPoint, QuotaRow, levels
from console.common.errors import NotFound
from console.organizations.models import Organization

NUMBERS = ("limit", "reserved", "other_usage")


def offering_named(zone: str, instance_type: str) -> Offering:
    """The offering of these names, whatever their case; NotFound otherwise."""
    found = Offering.objects.select_related("zone", "instance_type").filter(
        zone__name__iexact=zone, instance_type__name__iexact=instance_type
    )
    one = found.first()
    if one is None:
        raise NotFound("Offering", f"{instance_type} in {zone}")
    return one


def quota_path(offering: Offering) -> str:
    """The page of a quota, for who is told of it."""
    return f"/quota/{quote(offering.zone.name, safe='')}/{quote(offering.instance_type.name, safe='')}"


def quota_requests_of(organization: Organization, offering: Offering | None = None) -> QuerySet[QuotaRequest]:
    """Newest first."""
    found = QuotaRequest.objects.filter(organization=organization).order_by("-created_at", "-id")
    found = found.select_related("organization", "offering__zone", "offering__instance_type")
    return found.filter(offering=offering) if offering else found


def quota_request_get(organization: Organization, id: uuid.UUID) -> QuotaRequest:
    """One request; NotFound also for another organization's."""
    found = quota_requests_of(organization).filter(pk=id).first()
    if found is None:
        raise NotFound("QuotaRequest", id)
    return found


def quota_changes(organization: Organization, offering: Offering | None = None) -> QuerySet[QuotaChange]:
    """Newest first, each with `before_limit`, `before_reserved` and `before_other_usage` (None: it was the first)."""
    found = QuotaChange.objects.filter(organization=organization).select_related(
        "user", "offering__zone", "offering__instance_type"
    )
    before = {
        f"before_{name}": Window(Lag(name), partition_by=[F("offering_id")], order_by=[F("at").asc(), F("id").asc()])
        for name in NUMBERS
    }
    return (found.filter(offering=offering) if offering else found).annotate(**before).order_by("-at", "-id")


@dataclass(frozen=True, slots=True)
class QuotaMoment:
    """What a quota was from `at` on, in instances."""

    at: datetime
    limit: int
    reserved: int
    other_usage: int


def quota_history(
    organization: Organization, offering: Offering, since: datetime, until: datetime
) -> list[QuotaMoment]:
    """One moment for each change in (since, until], and at `since` what held then, where there was a quota."""
    changes = QuotaChange.objects.filter(organization=organization, offering=offering, at__lte=until)
    before = changes.filter(at__lte=since).order_by("-at", "-id").values_list("at", *NUMBERS).first()
    inside = changes.filter(at__gt=since).order_by("at", "id").values_list("at", *NUMBERS)
    start = [QuotaMoment(since, *before[1:])] if before else []
    return start + [QuotaMoment(*row) for row in inside]


def claimed_history(
    organization: Organization, offering: Offering, since: datetime, until: datetime
) -> list[ClaimPoint]:
    """Instances that the organization's CUSTOMER claims of the offering paid for over time, exactly."""
    paid = UsageInterval.objects.filter(
        Q(ended_at__isnull=True) | Q(ended_at__gt=since), organization=organization, offering=offering,
        kind=UsageKind.CLAIM, claim_kind=ClaimKind.CUSTOMER, started_at__lt=until,
    )  # fmt: skip
    return levels(paid.values_list("started_at", "ended_at"), since, until)


def unused_reserved(organization: Organization, rows: Iterable[QuotaRow]) -> dict[int, int]:
    """Of each quota, by offering key: its reserved instances that nothing takes now, counted as the bill counts them. One
    query."""
    paid = UsageInterval.objects.filter(
        organization=organization, kind=UsageKind.CLAIM, claim_kind=ClaimKind.CUSTOMER, ended_at__isnull=True
    )
    taken = dict(paid.order_by().values_list("offering_id").annotate(n=Count("id")))
    return {
        row.offering.key: rule.unused_reserved(
            reserved=row.reserved, other_usage=row.other_usage, paid=taken.get(row.offering.key, 0)
        )
        for row in rows
    }


@dataclass(frozen=True, slots=True)
class Committed:
    """A CUSTOMER claim and the instances of quota that it commits (C3)."""

    claim: CapacityClaim
    unreleased: int

    @property
    def instances(self) -> int:
        return Commitment(self.claim.promised, self.unreleased).instances


def committed_claims(organization: Organization, offering: Offering) -> Sequence[Committed]:
    """By name; their sum is what the quota has committed."""
    claims = CapacityClaim.objects.filter(organization=organization, offering=offering, kind=ClaimKind.CUSTOMER)
    counted = claims.annotate(n=Count("instances", filter=UNRELEASED)).order_by("name", "key")
    return [Committed(claim, claim.n) for claim in counted]
