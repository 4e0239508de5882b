"""What was on its way at a time of the past, and when it came."""

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from datetime import datetime

from django.db.models import Q, QuerySet

from claims.history import asked_then
from claims.models import CapacityClaim, Instance
from claims.models import Source as InstanceSource
from console.organizations.models import Organization
from deployments.models import Replica
from deployments.shortage.expected import Expected, Line, draining_rows, soonest
from deployments.shortage.holders import Names
from deployments.shortage.room import zones_of


def names_then(names: Names, organization: Organization, at: datetime) -> Names:
    """With the claims of the organization alone, as they were asked for then: which others waited is not recorded. One
    query."""
    mine = [one for one in names.claims.values() if one.organization_id == organization.key and one.created_at <= at]
    asked = asked_then(organization, [one.id for one in mine], at)
    return replace(names, claims={one.key: _with(one, asked.get(one.id, one.target)) for one in mine})


def _with(claim: CapacityClaim, target: int) -> CapacityClaim:
    found = copy(claim)
    found.target, found.window_count, found.reduction_at = target, 0, None
    return found


def came_in(line: Line, at: datetime) -> list[Expected]:
    """Machines that were joining and replicas that were draining, each with the time at which its GPUs came; None where
    they have not come, or nobody knows any more."""
    return soonest([*_machines(line, at), *_replicas(line)])


def _joining(offering_keys: Sequence[int], at: datetime) -> QuerySet[Instance]:
    return Instance.objects.filter(
        Q(ready_at__isnull=True) | Q(ready_at__gt=at), Q(released_at__isnull=True) | Q(released_at__gt=at),
        offering__in=offering_keys, created_at__lte=at, lost_at__isnull=True,
    )  # fmt: skip


def _machines(line: Line, at: datetime) -> Iterator[Expected]:
    keys = [int(line.trial.snapshot.offerings.key[one]) for one in zones_of(line.trial.snapshot, line.row)]
    for one in _joining(keys, at).select_related("claim").order_by("ready_at", "key"):
        claim = one.claim
        if claim is not None and line.reserved and claim.organization_id == line.org:
            text = f"an instance of claim {claim.name} was joining"
        elif claim is None and line.on_demand and one.source == InstanceSource.POOL:
            text = "an instance of the pool was joining"
        else:
            continue
        yield Expected(one.gpus, line.zone_of(one.offering_id), text, one.ready_at)


def _replicas(line: Line) -> Iterator[Expected]:
    """Replicas of the organization that finished what they ran."""
    snapshot, rows = line.trial.snapshot, draining_rows(line)
    replicas = snapshot.replicas
    keys = replicas.key[rows].tolist()
    ended = dict(Replica.objects.filter(key__in=keys).values_list("key", "stopped_at"))
    for row, key in zip(rows.tolist(), keys, strict=True):
        deployment = int(snapshot.deployments.key[replicas.deployment[row]])
        _, name = line.names.deployments.get(deployment, (None, "a deployment"))
        zone = snapshot.offerings.zone[int(snapshot.instances.offering[replicas.instance[row]])]
        text = f"replica {key} of {name} was draining, and let its GPUs go"
        yield Expected(int(replicas.gpus[row]), zone, text, ended.get(key))
