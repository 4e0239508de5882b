"""The actuate loop: brings the runtime to the replicas that the rows want.

Level-triggered and leased (W4): rows are claimed for a minute, the runtime is asked outside any transaction and
idempotently, then a conditional update records what came of it. Killed anywhere, the next pass sees the same rows.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Q

from console.common import clock
from console.common.leases import unleased
from console.common.notify import publish
from deployments.backends.base import BackendError, Observation, RuntimeBackend, RuntimeState, runtime_backend
from deployments.backends.checked import CheckedRuntime
from deployments.core.states import HOLDING, ReplicaState
from deployments.loop.failures import Failure, given_up, note_observed, replicas_fail
from deployments.loop.transitions import replicas_become_ready, replicas_end, replicas_locked
from deployments.models import Replica

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
BATCH = 2000
FIRST_RETRY, LONGEST_RETRY = timedelta(seconds=5), timedelta(minutes=5)
# As long as an instance may drain (C10): a request that never ends holds no GPU for ever.
LONGEST_DRAIN = timedelta(minutes=10)
UNDER_WAY = [ReplicaState.STARTING, ReplicaState.DRAINING]

Step = Callable[[Sequence[Replica], RuntimeBackend, datetime], int]


def actuate_pass(*, now: datetime, backend: RuntimeBackend | None = None) -> int:
    """One step for every replica that is starting or draining; returns how many changed."""
    backend = CheckedRuntime(backend or runtime_backend())
    changed, after = 0, 0
    while leased := lease(now=now, after=after):
        changed += _bring(leased, backend, now)
        _release(leased)
        after = leased[-1].key
    try:
        changed += _watch_ready(backend, now)
        _stop_strays(backend)
    except BackendError as error:
        log.warning("the runtime did not answer: %s", error)
    return changed


def lease(*, now: datetime, after: int = 0) -> list[Replica]:
    """Claim the next replicas that need work and that no other worker has; a dead worker's lease runs out."""
    due = Q(next_attempt_at__isnull=True) | Q(next_attempt_at__lte=now)
    with transaction.atomic():
        found = Replica.objects.select_for_update(skip_locked=True, no_key=True).filter(
            due, unleased(now), key__gt=after
        )
        keys = list(found.filter(state__in=UNDER_WAY).order_by("key").values_list("key", flat=True)[:BATCH])
        Replica.objects.filter(key__in=keys).update(leased_until=now + LEASE)
    return list(Replica.objects.filter(key__in=keys).select_related("deployment").order_by("key"))


def _bring(leased: Sequence[Replica], backend: RuntimeBackend, now: datetime) -> int:
    """The steps, each by itself: that one kind of call fails keeps no other replica waiting."""
    starting = [one for one in leased if one.state == ReplicaState.STARTING]
    draining = [one for one in leased if one.state == ReplicaState.DRAINING]
    changed = _step(_start, [one for one in starting if one.loading_at is None], backend, now)
    changed += _step(_watch_starting, [one for one in starting if one.loading_at is not None], backend, now)
    return changed + _step(_drain, draining, backend, now)


def _step(step: Step, replicas: list[Replica], backend: RuntimeBackend, now: datetime) -> int:
    if not replicas:
        return 0
    try:
        changed = step(replicas, backend, now)
    except BackendError as error:
        _retry_later(replicas, error)
        return 0
    _recovered(replicas)
    return changed


def _start(replicas: Sequence[Replica], backend: RuntimeBackend, _: datetime) -> int:
    """Replicas whose start the runtime has taken note of; they are watched from then on."""
    expected = backend.start(replicas)
    now = clock.now()
    keys = [one.key for one in replicas]
    with transaction.atomic(), connection.cursor() as cursor:
        replicas_locked(keys, [ReplicaState.STARTING])
        cursor.execute(
            "UPDATE deployments_replica AS r SET loading_at = %s, expected_at = n.expected "
            "FROM unnest(%s::bigint[], %s::timestamptz[]) AS n (key, expected) WHERE r.key = n.key AND r.state = %s",
            [now, keys, [expected.get(key) for key in keys], ReplicaState.STARTING],
        )
        publish("deployments", {one.deployment.organization_id for one in replicas})
    for one in replicas:
        one.loading_at = now
    return len(replicas)


def _watch_starting(replicas: Sequence[Replica], backend: RuntimeBackend, now: datetime) -> int:
    seen = backend.observe([one.key for one in replicas])
    note_observed(replicas, seen)
    failed = given_up(replicas, seen, now)
    lost = {failure.replica.key for failure in failed}
    ready = [one for one in replicas
             if one.key not in lost and one.key in seen and seen[one.key].state == RuntimeState.READY]  # fmt: skip
    return replicas_become_ready(ready) + _fail(failed, backend)


def _drain(replicas: Sequence[Replica], backend: RuntimeBackend, now: datetime) -> int:
    """Ask draining replicas to finish; those that have, never began or take too long are stopped and release their
    GPUs."""
    keys = [one.key for one in replicas]
    backend.drain(keys)
    seen = backend.observe(keys)
    late = {one.key for one in replicas if one.draining_at is not None and now - one.draining_at > LONGEST_DRAIN}
    done = [one for one in replicas
            if one.key in late or one.key not in seen or seen[one.key].state != RuntimeState.READY]  # fmt: skip
    if done:
        backend.stop([one.key for one in done])
    return replicas_end(done, ReplicaState.STOPPED)


def _watch_ready(backend: RuntimeBackend, now: datetime) -> int:
    """Replicas that ended on their own, or load again and again: the next tick plans without them."""
    changed = 0
    ready = Replica.objects.filter(state=ReplicaState.READY).order_by("key").values_list("key", flat=True)
    for keys in _slices(ready):
        seen = backend.observe(keys)
        unwell = [key for key in keys if key not in seen or not _well(seen[key])]
        if unwell:
            rows = list(Replica.objects.filter(key__in=unwell, state=ReplicaState.READY).select_related("deployment"))
            note_observed(rows, seen)
            changed += _fail(given_up(rows, seen, now), backend)
    return changed


def _well(seen: Observation) -> bool:
    return seen.state == RuntimeState.READY and not seen.crashes


def _fail(failures: Sequence[Failure], backend: RuntimeBackend) -> int:
    if failures:
        backend.stop([one.replica.key for one in failures])
    return replicas_fail(failures)


def _stop_strays(backend: RuntimeBackend) -> None:
    """What the runtime runs and no row wants. A row is there before its replica is, so that none is stopped early."""
    running = set(backend.replicas())
    held = Replica.objects.filter(state__in=sorted(HOLDING)).order_by()
    wanted = set(held.values_list("key", flat=True)) if running else set()
    if strays := sorted(running - wanted):
        log.warning("the runtime ran %s replicas that nothing wants; they are stopped", len(strays))
        backend.stop(strays)


def _slices(keys: Iterable[int]) -> Iterator[list[int]]:
    every = list(keys)
    return (every[at : at + BATCH] for at in range(0, len(every), BATCH))


def _release(leased: Sequence[Replica]) -> None:
    """Give leases back, where they still are this worker's."""
    with transaction.atomic():
        replicas_locked([one.key for one in leased], UNDER_WAY)
        mine = Replica.objects.filter(key__in=[one.key for one in leased], leased_until=leased[0].leased_until)
        mine.update(leased_until=None)


def _recovered(replicas: Sequence[Replica]) -> None:
    if keys := [one.key for one in replicas if one.attempts]:
        Replica.objects.filter(key__in=keys).update(attempts=0, next_attempt_at=None, last_error="")


def _retry_later(replicas: Sequence[Replica], error: BackendError) -> None:
    log.warning("the runtime did not answer: %s", error)
    for attempts in sorted({one.attempts for one in replicas}):
        keys = [one.key for one in replicas if one.attempts == attempts]
        wait = min(FIRST_RETRY * 2 ** min(attempts, 10), LONGEST_RETRY)
        Replica.objects.filter(key__in=keys).update(
            attempts=attempts + 1, next_attempt_at=clock.now() + wait, last_error=str(error)[:2000]
        )
