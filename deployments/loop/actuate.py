"""The actuate loop: brings the runtime to the replicas that the rows want.

Level-triggered and leased (W4): rows are claimed for a minute, the runtime is asked outside any transaction and
idempotently, then a conditional update records what came of it. Killed anywhere, the next pass sees the same rows.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q

from claims import locks
from claims.services import GpuRelease, gpus_release
from console.common import clock
from console.common.notify import publish
from deployments.backends.base import BackendError, Observation, RuntimeBackend, RuntimeState, runtime_backend
from deployments.core.states import HOLDING, ReplicaState, sources
from deployments.models import Replica, ReplicaPlacement

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
BATCH = 2000
FIRST_RETRY, LONGEST_RETRY = timedelta(seconds=5), timedelta(minutes=5)
UNDER_WAY = [ReplicaState.STARTING, ReplicaState.DRAINING]


def actuate_pass(*, now: datetime, backend: RuntimeBackend | None = None) -> int:
    """One step for every replica that is starting or draining; returns how many changed."""
    backend = backend or runtime_backend()
    leased = lease(now=now)
    changed = 0
    try:
        changed += _start(
            [one for one in leased if one.state == ReplicaState.STARTING and one.loading_at is None], backend
        )
        changed += _watch_starting([one for one in leased if one.state == ReplicaState.STARTING], backend)
        changed += _drain([one for one in leased if one.state == ReplicaState.DRAINING], backend)
        changed += _watch_ready(backend)
        _stop_strays(backend)
    except BackendError as error:
        _retry_later(leased, error)
    Replica.objects.filter(key__in=[one.key for one in leased]).update(leased_until=None)
    return changed


def lease(*, now: datetime) -> list[Replica]:
    """Claim the replicas that need work and that no other worker has; a dead worker's lease runs out."""
    due = Q(next_attempt_at__isnull=True) | Q(next_attempt_at__lte=now)
    free = Q(leased_until__isnull=True) | Q(leased_until__lte=now)
    with transaction.atomic():
        found = Replica.objects.select_for_update(skip_locked=True, no_key=True)
        keys = list(found.filter(due, free, state__in=UNDER_WAY).order_by("key").values_list("key", flat=True)[:BATCH])
        Replica.objects.filter(key__in=keys).update(leased_until=now + LEASE)
    return list(Replica.objects.filter(key__in=keys).select_related("deployment").order_by("key"))


def _start(replicas: Sequence[Replica], backend: RuntimeBackend) -> int:
    if not replicas:
        return 0
    expected = backend.start(replicas)
    now = clock.now()
    for one in replicas:
        Replica.objects.filter(key=one.key, state=ReplicaState.STARTING).update(
            loading_at=now, expected_at=expected.get(one.key), attempts=0
        )
    return len(replicas)


def _watch_starting(replicas: Sequence[Replica], backend: RuntimeBackend) -> int:
    seen = backend.observe([one.key for one in replicas]) if replicas else {}
    ready = [one for one in replicas if _state(seen, one.key) == RuntimeState.READY]
    failed = [one for one in replicas if _state(seen, one.key) in (RuntimeState.FAILED, RuntimeState.GONE)]
    return become_ready(ready) + _fail(failed, backend)


def become_ready(replicas: Sequence[Replica]) -> int:
    """STARTING becomes READY, where it still is STARTING."""
    if not replicas:
        return 0
    with transaction.atomic():
        found = Replica.objects.filter(key__in=[one.key for one in replicas], state__in=sources(ReplicaState.READY))
        changed = found.update(state=ReplicaState.READY, ready_at=clock.now())
        publish("deployments", {one.deployment.organization_id for one in replicas})
    return changed


def _drain(replicas: Sequence[Replica], backend: RuntimeBackend) -> int:
    """Ask draining replicas to finish; those that have, or never began, are stopped and release their GPUs."""
    if not replicas:
        return 0
    keys = [one.key for one in replicas]
    backend.drain(keys)
    seen = backend.observe(keys)
    done = [one for one in replicas if _state(seen, one.key) != RuntimeState.READY]
    backend.stop([one.key for one in done])
    return sum(replica_end(one, ReplicaState.STOPPED, one.reason) for one in done)


def _watch_ready(backend: RuntimeBackend) -> int:
    """Replicas that ended on their own: their GPUs are released, and the next tick plans again."""
    ready = list(Replica.objects.filter(state=ReplicaState.READY).select_related("deployment").order_by("key"))
    seen = backend.observe([one.key for one in ready]) if ready else {}
    return _fail([one for one in ready if _state(seen, one.key) in (RuntimeState.FAILED, RuntimeState.GONE)], backend)


def _fail(replicas: Sequence[Replica], backend: RuntimeBackend) -> int:
    if replicas:
        backend.stop([one.key for one in replicas])
    return sum(replica_end(one, ReplicaState.FAILED, "FAILED") for one in replicas)


def replica_end(replica: Replica, state: ReplicaState, reason: str) -> int:
    """The replica holds nothing any more: state, placements, GPUs and billing in one transaction. 0 if it was done."""
    with transaction.atomic():
        placements = list(ReplicaPlacement.objects.filter(replica=replica).select_related("instance"))
        # Offerings before replicas, as the tick does.
        locks.offerings_lock({one.instance.offering_id for one in placements})
        now = clock.now()
        found = Replica.objects.filter(key=replica.key, state__in=sources(state))
        if not found.update(state=state, stopped_at=now, reason=reason, leased_until=None, active=0):
            return 0
        gpus_release(releases=[GpuRelease(one.instance_id, replica.key, one.gpus) for one in placements], now=now)
        ReplicaPlacement.objects.filter(replica=replica).delete()
        publish("deployments", [replica.deployment.organization_id])
    return 1


def _stop_strays(backend: RuntimeBackend) -> None:
    """What the runtime runs and no row wants."""
    running = set(backend.replicas())
    wanted = set(Replica.objects.filter(key__in=running, state__in=sorted(HOLDING)).values_list("key", flat=True))
    if running - wanted:
        backend.stop(sorted(running - wanted))


def _state(seen: Mapping[int, Observation], key: int) -> RuntimeState:
    return seen[key].state if key in seen else RuntimeState.GONE


def _retry_later(replicas: Sequence[Replica], error: BackendError) -> None:
    log.warning("the runtime did not answer: %s", error)
    for one in replicas:
        wait = min(FIRST_RETRY * 2 ** min(one.attempts, 10), LONGEST_RETRY)
        Replica.objects.filter(key=one.key).update(
            attempts=F("attempts") + 1, next_attempt_at=clock.now() + wait, last_error=str(error)[:2000]
        )
