"""Who waits for capacity: claims for instances of the pool, in their order, and deployments for GPUs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, F, OuterRef, Subquery
from django.urls import reverse

from claims.core.states import Status
from claims.models import CapacityClaim, ClaimKind
from claims.selectors import IN_CLUSTER, WANTED
from console.dashboard.machines import OTHERS, Viewer, Wanted
from deployments.core import explain
from deployments.models import CapacityClass, Decision, Deployment
from deployments.selectors import names_in

MOST = 100


@dataclass(frozen=True, slots=True)
class WaitingClaim:
    """Instances that a claim waits for. `place` counts from 1 in its offering; those ahead of it are served first (C4).

    Neighbours of other organizations are one row without name and time, and `place` is that of the first.
    """

    zone: str
    type: str
    place: int
    name: str
    url: str | None
    organization: str
    missing: int
    since: datetime | None


@dataclass(frozen=True, slots=True)
class ShortDeployment:
    """GPUs that a deployment was not granted at its last decision."""

    name: str
    url: str | None
    organization: str
    replicas: int
    gpus: int
    capacity_class: str
    zone: str
    type: str
    why: str
    at: datetime


def claims_waiting(viewer: Viewer, wanted: Wanted) -> list[WaitingClaim]:
    """SERVERLESS claims with instances missing, in the order in which they are served: one query."""
    found = CapacityClaim.objects.filter(kind=ClaimKind.SERVERLESS).exclude(status=Status.DELETING)
    if wanted.zone:
        found = found.filter(offering__zone__name=wanted.zone)
    if wanted.type:
        found = found.filter(offering__instance_type__name=wanted.type)
    found = found.annotate(n=Count("instances", filter=IN_CLUSTER)).filter(n__lt=WANTED)
    order = ("offering__zone__name", "offering__instance_type__name", "created_at", "key")
    rows = found.select_related("offering__zone", "offering__instance_type", "organization").order_by(*order)
    return _merged(_numbered(viewer, rows))


def _numbered(viewer: Viewer, claims: Iterable[CapacityClaim]) -> Iterable[WaitingClaim]:
    offering, place = None, 0
    for claim in claims:
        place = place + 1 if claim.offering_id == offering else 1
        offering, of = claim.offering_id, claim.offering
        own, known = viewer.owns(claim.organization_id), viewer.knows(claim.organization_id)
        missing: int = claim.wanted - claim.n  # type: ignore[attr-defined]
        yield WaitingClaim(
            of.zone.name, of.instance_type.name, place, claim.name if known else "",
            reverse("claim", args=[claim.id]) if own else None, claim.organization.name if known else OTHERS, missing,
            claim.created_at if known else None,
        )  # fmt: skip


def _merged(rows: Iterable[WaitingClaim]) -> list[WaitingClaim]:
    """Neighbours without a name as one row: how many claims others have is theirs to know."""
    found: list[WaitingClaim] = []
    for row in rows:
        last = found[-1] if found else None
        if last and not row.name and not last.name and (row.zone, row.type) == (last.zone, last.type):
            found[-1] = WaitingClaim(row.zone, row.type, last.place, "", None, OTHERS, last.missing + row.missing, None)
        else:
            found.append(row)
    return found


def deployments_short(viewer: Viewer, wanted: Wanted) -> list[ShortDeployment]:
    """Deployments that were granted less than they wanted, most GPUs first: two queries. Members see their own."""
    deployments = Deployment.objects.filter(disabled=False)
    if not viewer.platform:
        deployments = deployments.filter(organization=viewer.organization)
    if wanted.type:
        deployments = deployments.filter(instance_type__name=wanted.type)
    last = Decision.objects.filter(deployment=OuterRef("key")).order_by("-id").values("id")[:1]
    newest = deployments.order_by().annotate(last=Subquery(last)).values("last")
    found = Decision.objects.filter(id__in=newest, granted__lt=F("wanted"))
    if wanted.zone:
        found = found.filter(record__zone=wanted.zone)
    decisions = list(
        found.select_related("deployment__organization", "deployment__instance_type").order_by("-id")[:MOST]
    )
    names = names_in(decisions, viewer.organization, platform=viewer.platform)
    rows = [_short(viewer, one, names) for one in decisions]
    return sorted(rows, key=lambda row: (-row.gpus, row.organization, row.name))


def _short(viewer: Viewer, decision: Decision, names: Mapping[int, str]) -> ShortDeployment:
    one, record = decision.deployment, decision.record
    words = {CapacityClass.RESERVED: "reserved", CapacityClass.ON_DEMAND: "on demand"}
    return ShortDeployment(
        one.name, reverse("deployment", args=[one.id]) if viewer.owns(one.organization_id) else None,
        one.organization.name, decision.wanted - decision.granted, int(record["granted_missing_gpus"]),
        words.get(record["granted_capacity_class"], "any"), str(record["zone"]), one.instance_type.name,
        explain.steps(record, names)[-1]["text"], decision.at,
    )  # fmt: skip
