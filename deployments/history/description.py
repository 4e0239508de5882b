"""What is simulated, as JSON: settings, machines and requests as they are when a history is asked for.

The tables are those that the scaling loop reads for its snapshot. Machines are taken as if every claim had been
fulfilled long ago.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from django.conf import settings
from django.db.models import Count

from claims.core.states import InstanceState, Status
from claims.models import CapacityClaim, ClaimKind, Instance, InstanceType, Source
from deployments.core.snapshot import Deployments, Offerings
from deployments.core.snapshot import Source as PlannersSource
from deployments.loop.sampling import targets_of
from deployments.loop.snapshot import read_shard
from deployments.loop.tick import PARAMS
from deployments.models import Deployment, SimulatedWorkload
from deployments.sim.startup import LOAD_MAX_S, LOAD_MIN_S

Json = dict[str, Any]

# What happens to a deployment while it lives says nothing of the time before.
OF_THE_MOMENT = ("service_s", "pin", "freeze", "backoff", "avoid")
SLOW_START = 0.9  # of start-ups are quicker than what the planner goes by


def describe(deployments: Iterable[Deployment], now: datetime) -> Json:
    """The deployments that have a workload, shard by shard, with the machines that there are for them."""
    keys = [one.key for one in deployments]
    workloads = {one.deployment_key: one for one in SimulatedWorkload.objects.filter(deployment_key__in=keys)}
    used = Deployment.objects.filter(key__in=workloads).values_list("instance_type_id", flat=True)
    types = InstanceType.objects.filter(key__in=used.distinct()).order_by("key")
    return {"speed": settings.SIM_SPEED, "shards": [_shard(one, workloads, now) for one in types]}


def _shard(instance_type: InstanceType, workloads: dict[int, SimulatedWorkload], now: datetime) -> Json:
    snapshot = read_shard(instance_type, PARAMS, now).snapshot
    slots = {target.key: target.slots for target in targets_of(instance_type)}
    wanted = snapshot.deployments.take(np.isin(snapshot.deployments.key, list(workloads)))
    machines = [
        {"offering": row, **group}
        for row, offering in enumerate(snapshot.offerings.key.tolist())
        for group in _machines(offering)
    ]
    kept = _offerings(wanted, {group["offering"] for group in machines}, snapshot.offerings)
    return {
        "gpus": instance_type.gpus,
        "offerings": [{"row": row, "key": int(snapshot.offerings.key[row]), "zone": snapshot.offerings.zone[row]}
                      for row in kept],
        "machines": machines,
        "deployments": _columns(wanted),
        "slots": [slots[key] for key in wanted.key.tolist()],
        "workloads": [_workload(workloads[key]) for key in wanted.key.tolist()],
    }  # fmt: skip


def _machines(offering: int) -> list[Json]:
    """Groups of equal machines: those of each claim in order of creation, then the free pool."""
    pool = Instance.objects.filter(offering=offering, source=Source.POOL, state=InstanceState.READY, lost_at=None)
    free = pool.aggregate(count=Count("key"))["count"]
    groups: list[Json] = []
    for claim in CapacityClaim.objects.filter(offering=offering).exclude(status=Status.DELETING):
        mine = claim.kind == ClaimKind.SERVERLESS
        count = min(claim.target, free) if mine else claim.target
        free -= count if mine else 0
        source = PlannersSource.POOL if mine else PlannersSource.CUSTOMER
        groups.append({"org": claim.organization_id, "claim": claim.key, "source": int(source), "count": count})
    groups.append({"org": 0, "claim": 0, "source": int(PlannersSource.POOL), "count": free})
    return [group for group in groups if group["count"]]


def _offerings(deployments: Deployments, with_machines: set[int], offerings: Offerings) -> list[int]:
    """Rows of the offerings that make a difference: those with machines, and of each set of zones the one that is named
    where all of them are full. The fewer there are, the more hours fit side by side."""
    by_key = np.argsort(offerings.key).tolist()
    named = {next((row for row in by_key if zones >> row & 1), None) for zones in set(deployments.zones.tolist())}
    return sorted(with_machines | {row for row in named if row is not None})


def _columns(deployments: Deployments) -> Json:
    columns = {name: values.tolist() for name, values in deployments.items() if name not in OF_THE_MOMENT}
    known = deployments.startup_s
    usual = (LOAD_MIN_S + SLOW_START * (LOAD_MAX_S - LOAD_MIN_S)) / settings.SIM_SPEED
    columns["startup_s"] = np.where(np.isnan(known), usual, known).tolist()
    return {name: _without_nan(values) for name, values in columns.items()}


def _without_nan(values: Sequence[Any]) -> list[Any]:
    """JSON has no NaN: null."""
    return [None if value != value else value for value in values]


def _workload(one: SimulatedWorkload) -> Json:
    return {"trace": one.trace, "scale": one.scale, "phase_s": one.phase_s, "seed": one.seed,
            "origin": one.origin.timestamp()}  # fmt: skip
