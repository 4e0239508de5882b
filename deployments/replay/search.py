"""Search over an organization's decisions, newest first. One query, by an index whatever is asked for."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from console.common.errors import NotFound
from console.organizations.models import Organization
from deployments.core.bounds import BY_OPERATOR
from deployments.core.plan import Bound
from deployments.core.reasons import Reason, stage
from deployments.core.snapshot import CapacityClass
from deployments.models import Decision

PLACES = ("signal", "need", "look-ahead", "damping", "bounds", "contention")
# Reasons that a decision can have: those of placement are reasons of replicas.
REASONS = tuple(one for one in Reason if stage(one) in PLACES)
BOUNDS = tuple(one.name for one in Bound)
CLASSES = {"RESERVED": CapacityClass.RESERVED, "ON_DEMAND": CapacityClass.ON_DEMAND}
Place = tuple[datetime, int]  # time and id of the last decision that was seen


@dataclass(frozen=True, slots=True)
class Asked:
    """What to look for; None is anything. `reason` is of any stage; class and zone are those that ran short."""

    deployment: uuid.UUID | None = None
    since: datetime | None = None  # included
    until: datetime | None = None  # not included
    reason: Reason | None = None
    bound: str | None = None
    capacity_class: CapacityClass | None = None
    zone: str | None = None


def decisions_found(
    organization: Organization, asked: Asked, limit: int, after: Place | None = None
) -> Sequence[Decision]:
    """At most `limit` decisions, from after the place on."""
    found = Decision.objects.filter(_matching(asked), organization=organization)
    if after:
        at, id = after
        found = found.filter(Q(at__lt=at) | Q(at=at, id__lt=id), at__lte=at)
    return list(found.select_related("deployment").order_by("-at", "-id")[:limit])


def decisions_counted(organization: Organization, asked: Asked, most: int) -> int:
    """How many there are, counted up to `most`."""
    return Decision.objects.filter(_matching(asked), organization=organization).order_by()[:most].count()


def _matching(asked: Asked) -> Q:
    wanted = {
        "deployment__id": asked.deployment, "at__gte": asked.since, "at__lt": asked.until,
        "short_class": asked.capacity_class, "short_zone": asked.zone.upper() if asked.zone else None,
        "codes__contains": [int(asked.reason)] if asked.reason else None,
    }  # fmt: skip
    return Q(**{name: value for name, value in wanted.items() if value is not None}) & bound_by(asked.bound)


def bound_by(name: str | None) -> Q:
    """A hold is found as well where the size that it sets is short of GPUs besides, which is then the bound."""
    if name == Bound.HOLD.name:
        return Q(bound=name) | Q(codes__overlap=[int(one) for one in BY_OPERATOR])
    return Q(bound=name) if name else Q()


def decision_get(organization: Organization, id: int) -> Decision:
    """One decision; NotFound also for another organization's."""
    found = Decision.objects.filter(organization=organization, id=id).select_related("deployment").first()
    if found is None:
        raise NotFound("Decision", str(id))
    return found
