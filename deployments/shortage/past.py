"""What was on its way at a time of the past, and when it came."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np
from django.db.models import Q, QuerySet

from claims.models import Instance
from claims.models import Source as InstanceSource
from deployments.models import Replica
from deployments.shortage.case import Size
from deployments.shortage.expected import Expected, Line, draining_rows, soonest
from deployments.shortage.holders import Names
from deployments.shortage.room import zones_of
from deployments.trial import Trial


def past_line(trial: Trial, row: int, names: Names) -> Line:
    """Without claims that wait today: which ones waited then is not recorded."""
    return Line(trial, row, replace(names, claims={}), [])


def came_in(line: Line, at: datetime) -> list[Expected]:
    """Machines that were joining and replicas that were draining, each with the time at which its GPUs came; None where
    they have not come, or nobody knows any more."""
    return soonest([*_machines(line, at), *_replicas(line)])


def sizes_then(trial: Trial, names: Names, org: int, at: datetime) -> dict[int, Size]:
    """What the organization's claims held, and what was joining for them."""
    there = trial.snapshot.instances.claim
    coming = Counter(_joining(trial.snapshot.offerings.key.tolist(), at).values_list("claim", flat=True))
    mine = [one.key for one in names.claims.values() if one.organization_id == org and one.created_at <= at]
    return {key: Size(int(np.count_nonzero(there == key)) + coming[key], coming[key]) for key in mine}


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
