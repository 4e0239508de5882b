"""GPUs taken and released for replicas, set-wise, inside the caller's transaction (W1, W2, B3).

What the plan wanted is checked again under the lock: what no longer holds is left out and planned again.
"""

import uuid
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from claims import ledger, locks
from claims.core.states import InstanceState
from claims.models import Instance, Source, UsageInterval, UsageKind
from claims.selectors import offerings_spoken_for

RESERVED, ON_DEMAND = 1, 2  # the API's enum numbers of capacity classes


@dataclass(frozen=True, slots=True)
class GpuTake:
    """GPUs of one instance for one replica. `claim_key` is the claim the plan saw on the instance, None on demand."""

    instance_key: int
    replica_key: int
    gpus: int
    organization_key: int
    capacity_class: int
    claim_key: int | None
    deployment_id: uuid.UUID
    deployment_name: str


@dataclass(frozen=True, slots=True)
class GpuRelease:
    instance_key: int
    replica_key: int
    gpus: int


def gpus_take(*, takes: Sequence[GpuTake], now: datetime) -> set[int]:
    """Take what still holds; returns the keys of the replicas that got all of their GPUs, in the order given.

    A replica on several instances gets all of them or none.
    """
    instances = _locked({take.instance_key for take in takes})
    spoken_for = _spoken_for(instances.values())
    by_replica: dict[int, list[GpuTake]] = defaultdict(list)
    for take in takes:
        by_replica[take.replica_key].append(take)
    done: list[GpuTake] = []
    for parts in by_replica.values():
        if all(_holds(instances.get(part.instance_key), part, spoken_for) for part in parts):
            for part in parts:
                instance = instances[part.instance_key]
                instance.gpus_used += part.gpus
                instance.replicas += 1
                instance.organization_id = part.organization_key
            done += parts
    _write([instances[key] for key in {take.instance_key for take in done}])
    _open(done, instances, now)
    return {take.replica_key for take in done}


def _spoken_for(instances: Iterable[Instance]) -> set[int]:
    """Keys of the free pool instances that a waiting claim or a pool that has to shrink gets next (C4, C13)."""
    free = [one for one in instances if one.source == Source.POOL and one.organization_id is None]
    taken = offerings_spoken_for({one.offering_id for one in free})
    return {one.key for one in free if one.offering_id in taken}


def _holds(instance: Instance | None, take: GpuTake, spoken_for: Container[int]) -> bool:
    """Whether the instance can still give these GPUs: state, claim, organization, class and room (W2, R15, R17), and
    nobody goes before: no claim that waits (C4), no work of the platform."""
    if instance is None or instance.state != InstanceState.READY or instance.claim_id != take.claim_key:
        return False
    if instance.kept or instance.work or instance.key in spoken_for:
        return False
    if instance.organization_id not in (None, take.organization_key):
        return False
    if take.capacity_class == ON_DEMAND and (instance.claim_id is not None or instance.source != Source.POOL):
        return False
    if take.capacity_class == RESERVED and instance.claim_id is None:
        return False
    return instance.gpus_used + take.gpus <= instance.gpus


def gpus_release(*, releases: Sequence[GpuRelease], now: datetime) -> None:
    """Give GPUs back and end what they cost. The caller removes the placements in the same transaction, so that this
    happens once for each."""
    instances = _locked({release.instance_key for release in releases})
    for release in releases:
        instance = instances[release.instance_key]
        instance.gpus_used -= release.gpus
        instance.replicas -= 1
        if instance.gpus_used == 0 and instance.claim_id is None:
            instance.organization_id = None
    ledger.close_intervals(kind=UsageKind.REPLICA, resource_keys=[release.replica_key for release in releases], now=now)
    _write(list(instances.values()))


def _locked(keys: Iterable[int]) -> dict[int, Instance]:
    """The instances as they are once their offerings are locked."""
    wanted = sorted(set(keys))
    locks.offerings_lock(Instance.objects.filter(key__in=wanted).values_list("offering_id", flat=True).distinct())
    return {instance.key: instance for instance in Instance.objects.filter(key__in=wanted)}


def _write(instances: Sequence[Instance]) -> None:
    """Use and holder of many instances in one statement, in the order of their keys."""
    if not instances:
        return
    rows = sorted(instances, key=lambda instance: instance.key)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE claims_instance AS i SET gpus_used = n.used, replicas = n.replicas, organization_id = n.organization "
            "FROM unnest(%s::bigint[], %s::int[], %s::int[], %s::int[]) AS n (key, used, replicas, organization) "
            "WHERE i.key = n.key",
            [
                [row.key for row in rows],
                [row.gpus_used for row in rows],
                [row.replicas for row in rows],
                [row.organization_id for row in rows],
            ],
        )


def _open(takes: Sequence[GpuTake], instances: dict[int, Instance], now: datetime) -> None:
    """On-demand replicas are paid for from placement on (B3); those on claimed capacity cost nothing more."""
    rows = [
        UsageInterval(
            kind=UsageKind.REPLICA,
            resource_key=take.replica_key,
            organization_id=take.organization_key,
            offering_id=instances[take.instance_key].offering_id,
            instance_id=take.instance_key,
            gpus=take.gpus,
            holder_id=take.deployment_id,
            holder_name=take.deployment_name,
        )
        for take in takes
        if take.capacity_class == ON_DEMAND
    ]
    ledger.open_intervals(rows=rows, before=UsageInterval.objects.filter(kind=UsageKind.CLAIM), now=now)
