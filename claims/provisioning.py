"""The provision loop: asks the node backend to join or release machines, and records what came of it.

For each instance: a lease (W4), the backend asked outside any transaction and idempotently by key, then a conditional
change of state together with the ledger's interval in one short transaction (B4), in which several that were asked to
join are recorded together. Killed anywhere, the next pass
sees the same row and asks again.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import takewhile

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q, Value
from django.db.models.functions import Greatest

from claims import ledger, locks
from claims.backends.base import BackendError, NodeBackend, NodeState, node_backend
from claims.backends.checked import CheckedNodes
from claims.core.states import HELD_STATES, InstanceState, Status
from claims.holdings import holding_of
from claims.models import CapacityClaim, Instance, Offering, UsageKind
from claims.services import fulfilment, life
from claims.services import instances as hands
from console.common import clock
from console.common.leases import unleased
from console.common.notify import publish
from console.common.wake import wake_on_commit

log = logging.getLogger(__name__)

LOOP = "provision loop"
LEASE = timedelta(seconds=60)
BATCH = 500
TOGETHER, RECORDED_WITHIN_S = 50, 1.0
FIRST_RETRY, LONGEST_RETRY = timedelta(seconds=5), timedelta(minutes=5)
UNSETTLED = [InstanceState.REQUESTED, InstanceState.JOINING, InstanceState.FAILED, InstanceState.RELEASING]
_JOINING = """
    UPDATE claims_instance i SET state = 'JOINING', joining_at = %(now)s, expected_at = a.expected, backend = %(backend)s,
           leased_until = NULL, attempts = 0, next_attempt_at = %(now)s
    FROM unnest(%(keys)s::bigint[], %(expected)s::timestamptz[]) AS a (key, expected)
    WHERE i.key = a.key AND i.state = 'REQUESTED'
    RETURNING CASE WHEN i.claim_id IS NOT NULL THEN i.organization_id END"""


def provision_pass(*, now: datetime, backend: NodeBackend | None = None) -> int:
    """One step for every instance that is under way; returns how many changed."""
    backend = CheckedNodes(backend or node_backend())
    leased = lease(now=now)
    changed = _step_all([instance for instance in leased if instance.state != InstanceState.JOINING], backend)
    joining = [instance for instance in leased if instance.state == InstanceState.JOINING]
    changed += _watch_joining(joining, backend)
    changed += _watch_cluster(backend)
    _return_strays(backend)
    return changed


def lease(*, now: datetime) -> list[Instance]:
    """Claim the instances that need work and that no other worker has; a dead worker's lease runs out.

    New ones first, then those looked at longest ago: a thousand that are joining keep nobody waiting.
    """
    due = Q(next_attempt_at__isnull=True) | Q(next_attempt_at__lte=now)
    with transaction.atomic():
        found = Instance.objects.select_for_update(skip_locked=True, no_key=True)
        waiting = found.filter(due, unleased(now), state__in=UNSETTLED)
        waiting = waiting.order_by(F("next_attempt_at").asc(nulls_first=True), "key")
        keys = list(waiting.values_list("key", flat=True)[:BATCH])
        Instance.objects.filter(key__in=keys).update(leased_until=now + LEASE)
    return list(Instance.objects.filter(key__in=keys).order_by("key"))


def _in_time(leased: Sequence[Instance]) -> Iterator[Instance]:
    """As many as there is time for while the lease lasts: a backend that is slow does not keep the pass. The others are
    taken by the next one, and come first then."""
    until = time.monotonic() + LEASE.total_seconds()
    return takewhile(lambda _: time.monotonic() < until, leased)


def _step_all(instances: Sequence[Instance], backend: NodeBackend) -> int:
    """Ask for one after the other; what was asked for is recorded together, before long."""
    changed, joining, until = 0, dict[Instance, datetime | None](), float("inf")
    for instance in _in_time(instances):
        if instance.state == InstanceState.REQUESTED:
            joining |= _join(instance, backend)
            until = min(until, time.monotonic() + RECORDED_WITHIN_S)
        else:
            changed += _step(instance, backend)
        if len(joining) >= TOGETHER or time.monotonic() >= until:
            changed, joining, until = changed + _record_joining(joining), {}, float("inf")
    return changed + _record_joining(joining)


def _step(instance: Instance, backend: NodeBackend) -> int:
    steps: dict[str, Callable[[Instance, NodeBackend], int]] = {
        InstanceState.FAILED: _give_back,
        InstanceState.RELEASING: _leave,
    }
    try:
        return steps[instance.state](instance, backend)
    except BackendError as error:
        _retry_later(instance, error)
        return 0


def _join(instance: Instance, backend: NodeBackend) -> dict[Instance, datetime | None]:
    """The instance with the time at which it is expected; nothing where the backend refused."""
    try:
        return {instance: backend.join(instance.key)}
    except BackendError as error:
        _retry_later(instance, error)
        return {}


def _record_joining(joining: Mapping[Instance, datetime | None]) -> int:
    """The backend has accepted these: they are JOINING, unless they were given up meanwhile; returns how many are."""
    changed = 0
    for offering in sorted({instance.offering_id for instance in joining}):
        expected = {one.key: at for one, at in joining.items() if one.offering_id == offering}
        with transaction.atomic(), connection.cursor() as cursor:
            locks.offerings_lock([offering])
            cursor.execute(_JOINING, {"keys": list(expected), "expected": list(expected.values()), "now": clock.now(),
                                      "backend": settings.NODE_BACKEND})  # fmt: skip
            found = cursor.fetchall()
            publish("claims", {organization for (organization,) in found if organization is not None})
        changed += len(found)
    return changed


def _give_back(instance: Instance, backend: NodeBackend) -> int:
    return change(instance, InstanceState.FAILED, InstanceState.RELEASING, clock.now())


def _leave(instance: Instance, backend: NodeBackend) -> int:
    if not backend.leave(instance.key):
        _look_again([instance.key])
        return 0
    now = clock.now()
    return change(instance, InstanceState.RELEASING, InstanceState.RELEASED, now,
                  claim=None, organization=None, released_at=now)  # fmt: skip


def _watch_joining(instances: Sequence[Instance], backend: NodeBackend) -> int:
    """Instances that have joined become READY and are billed from now on; those that failed are replaced (C6); the others
    are looked at again."""
    try:
        seen = backend.observe([instance.key for instance in instances])
    except BackendError as error:
        for instance in instances:
            _retry_later(instance, error)
        return 0
    states = {one.key: seen[one.key].state if one.key in seen else NodeState.GONE for one in instances}
    _look_again([key for key, state in states.items() if state == NodeState.JOINING])
    return sum(_joined_or_failed(one, states[one.key]) for one in instances if states[one.key] != NodeState.JOINING)


def _joined_or_failed(instance: Instance, state: NodeState) -> int:
    now = clock.now()
    if state == NodeState.READY:
        return change(instance, InstanceState.JOINING, InstanceState.READY, now, ready_at=now)
    return change(instance, InstanceState.JOINING, InstanceState.FAILED, now,
                  last_error=f"The backend says {state}.")  # fmt: skip


def change(instance: Instance, old: InstanceState, new: InstanceState, now: datetime, **fields: object) -> int:
    """Move the instance from `old` to `new` if it still is `old`, its billing with it; 1 if it was, else 0."""
    with transaction.atomic():
        locks.offerings_lock([instance.offering_id])
        current = Instance.objects.select_related("claim").get(key=instance.key)
        fields |= {"state": new, "leased_until": None, "attempts": 0, "next_attempt_at": now}
        if not Instance.objects.filter(key=instance.key, state=old).update(**fields):
            return 0
        if old == InstanceState.JOINING and new != InstanceState.RELEASING:
            _note_join(current, joined=new == InstanceState.READY)
        if new == InstanceState.READY and current.claim is not None:
            hands.relieve(claim=current.claim, count=1, now=now)
            ledger.open_claim_intervals(claim=current.claim, instances=[current], now=now)
        if current.claim is not None:
            publish("claims", [current.claim.organization_id])
            wake_on_commit("claims.tasks.fulfil", "control")
    return 1


def _note_join(instance: Instance, *, joined: bool) -> None:
    """Remember how many machines in a row did not join in this place: the next is asked for later and later (C6)."""
    failures = 0 if joined else Greatest("join_failures", Value(instance.join_failures + 1))
    if instance.claim_id is not None:
        CapacityClaim.objects.filter(key=instance.claim_id).update(join_failures=failures)
    else:
        Offering.objects.filter(key=instance.offering_id).update(join_failures=failures)


def _watch_cluster(backend: NodeBackend) -> int:
    """Instances that vanished: billing ends now, nothing is placed there any more, and they are replaced (C6)."""
    keys = list(Instance.objects.filter(state__in=HELD_STATES, lost_at__isnull=True).values_list("key", flat=True))
    try:
        seen = backend.observe(keys)
    except BackendError as error:
        log.warning("the cluster could not be looked at: %s", error)
        return 0
    gone = [key for key in keys if key not in seen or seen[key].state in (NodeState.GONE, NodeState.FAILED)]
    lost = instances_lost(gone)
    empty = Instance.objects.filter(lost_at__isnull=False, state=InstanceState.DRAINING, gpus_used=0)
    return lost + sum(change(one, InstanceState.DRAINING, InstanceState.FAILED, clock.now()) for one in empty)


def instances_lost(keys: Sequence[int]) -> int:
    """Note that machines are gone, and take the first step to replace them; how many were not known to be."""
    offerings = Offering.objects.filter(instances__in=list(keys)).select_related("zone", "instance_type")
    return sum(_lost(offering, keys) for offering in offerings.distinct().order_by("key"))


def _lost(offering: Offering, keys: Sequence[int]) -> int:
    """Billing ends, the claims that had them are UPDATING, until replacements are there (C6)."""
    with transaction.atomic():
        locks.offerings_lock([offering.key])
        now = clock.now()
        found = Instance.objects.filter(key__in=keys, offering=offering, state__in=HELD_STATES, lost_at__isnull=True)
        gone = list(found.order_by("key").values_list("key", flat=True))
        if not gone:
            return 0
        Instance.objects.filter(key__in=gone).update(
            state=InstanceState.DRAINING, lost_at=now, drain_until=now, kept=False
        )
        ledger.close_intervals(kind=UsageKind.CLAIM, resource_keys=gone, now=now)
        found_ready = _no_longer_ready(gone)
        touched = fulfilment.offering_settle(offering=offering, now=now, finish=False)
        short = CapacityClaim.objects.filter(instances__in=gone).distinct().select_related("offering__zone")
        for claim in short.order_by("key"):
            was = Status.READY if claim.key in found_ready else None
            fulfilment.claim_describe(holding=holding_of(claim), by=LOOP, now=now, was=was)
        publish("claims", touched)
        wake_on_commit("claims.tasks.fulfil", "control")
    return len(gone)


def _no_longer_ready(gone: Sequence[int]) -> set[int]:
    """Keys of the claims that were READY with one of these instances and are UPDATING now."""
    ready = CapacityClaim.objects.filter(instances__in=gone, status=Status.READY).distinct().order_by("key")
    claims = list(ready)
    for claim in claims:
        life.claim_move(claim, Status.UPDATING)
        claim.save(update_fields=["status"])
    return {claim.key for claim in claims}


def _return_strays(backend: NodeBackend) -> None:
    """Machines that came after we had given them up are released again; they were never billed (B4)."""
    try:
        known = backend.nodes()
    except BackendError as error:
        log.warning("strays could not be looked for: %s", error)
        return
    ours = Instance.objects.filter(key__in=known).exclude(state=InstanceState.RELEASED)
    for key in sorted(set(known) - set(ours.values_list("key", flat=True))):
        try:
            backend.leave(key)
        except BackendError as error:
            log.warning("stray machine %s could not be released: %s", key, error)


def _look_again(keys: Sequence[int]) -> None:
    if keys:
        Instance.objects.filter(key__in=keys).update(leased_until=None, next_attempt_at=clock.now())


def _retry_later(instance: Instance, error: BackendError) -> None:
    wait = min(FIRST_RETRY * 2 ** min(instance.attempts, 10), LONGEST_RETRY)
    log.warning("instance %s: %s; asked again in %s", instance.name, error, wait)
    Instance.objects.filter(key=instance.key, state=instance.state).update(
        leased_until=None,
        attempts=F("attempts") + 1,
        next_attempt_at=clock.now() + wait,
        last_error=str(error)[:2000],
    )
