"""Replicas change their state here: many at once, conditionally, with everything that follows from it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from claims import locks
from claims.models import Instance
from claims.services import GpuRelease, gpus_release
from console.common import clock
from console.common.notify import publish
from deployments.core.states import ReplicaState, sources
from deployments.models import Deployment, Replica, ReplicaPlacement


def states_locked(keys: Iterable[int], states: Iterable[ReplicaState]) -> dict[int, ReplicaState]:
    """Those of the replicas that are in one of the states, with it, held until the transaction ends, in the order of
    keys: so writers of several replicas never wait for each other."""
    found = Replica.objects.select_for_update(no_key=True).filter(key__in=list(keys), state__in=sorted(states))
    return {key: ReplicaState(state) for key, state in found.order_by("key").values_list("key", "state")}


def replicas_locked(keys: Iterable[int], states: Iterable[ReplicaState]) -> list[int]:
    """The keys alone of `states_locked`."""
    return list(states_locked(keys, states))


def deployments_locked(replicas: QuerySet[Replica]) -> list[int]:
    """The deployments of the replicas, held until the transaction ends, in the order of keys; after replicas."""
    found = Deployment.objects.select_for_update(no_key=True).filter(key__in=replicas.values("deployment_id"))
    return list(found.order_by("key").values_list("key", flat=True))


def replicas_become_ready(replicas: Sequence[Replica]) -> int:
    """STARTING becomes READY, where it still is STARTING; returns how many did. Failures before it no longer count."""
    if not replicas:
        return 0
    with transaction.atomic():
        keys = replicas_locked([one.key for one in replicas], sources(ReplicaState.READY))
        Replica.objects.filter(key__in=keys).update(state=ReplicaState.READY, ready_at=clock.now(), expected_at=None)
        recovered = deployments_locked(Replica.objects.filter(key__in=keys, deployment__failures__gt=0))
        Deployment.objects.filter(key__in=recovered).update(failures=0)
        publish("deployments", {one.deployment.organization_id for one in replicas})
    return len(keys)


def replicas_end(replicas: Sequence[Replica], state: ReplicaState, reason: str = "") -> int:
    """These hold nothing any more: state, placements, GPUs and billing in one transaction; returns how many ended.

    Those that have ended before are left as they are. Without a reason the one they were drained for stays.
    """
    if not replicas:
        return 0
    why = {"reason": reason} if reason else {}
    with transaction.atomic():
        ended = let_go([one.key for one in replicas], state)
        Replica.objects.filter(key__in=ended.keys).update(**why)
        publish("deployments", {one.deployment.organization_id for one in replicas})
    return len(ended.keys)


@dataclass(frozen=True, slots=True)
class Ended:
    """Replicas that came to their end in this transaction, and what they held until then."""

    keys: list[int]
    held: list[GpuRelease]
    now: datetime


def let_go(wanted: Sequence[int], state: ReplicaState) -> Ended:
    """Those of the replicas that can still go to the final `state` do, and hold nothing; in the caller's
    transaction."""
    # Offerings before replicas, as the tick does.
    on = Instance.objects.filter(placements__replica__in=wanted)
    locks.offerings_lock(on.values_list("offering_id", flat=True).distinct())
    keys = replicas_locked(wanted, sources(state))
    now = clock.now()
    Replica.objects.filter(key__in=keys).update(state=state, stopped_at=now, leased_until=None)
    placements = ReplicaPlacement.objects.filter(replica__in=keys)
    held = placements.order_by("pk").values_list("instance_id", "replica_id", "gpus")
    releases = [GpuRelease(*one) for one in held]
    gpus_release(releases=releases, now=now)
    placements.delete()
    return Ended(keys, releases, now)
