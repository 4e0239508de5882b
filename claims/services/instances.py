"""Instances change hands here. Every function is called under the lock of the offering (W1), unless it says that it
takes the lock itself."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from django.db import transaction

from claims import ledger, locks
from claims.backends.base import node_backend
from claims.core.states import HELD_STATES, PENDING_STATES, InstanceState
from claims.models import CapacityClaim, Instance, Offering, Source, UsageKind
from console.common import clock
from console.common.errors import InvalidArgument, PermissionDenied
from console.common.ids import new_id
from console.common.wake import wake_on_commit
from console.organizations.actors import Actor
from console.organizations.services import audit_record

DRAIN_DEADLINE = timedelta(minutes=10)
LARGEST_POOL = 100_000
LARGEST_STEP = 1000  # instances requested for one claim or pool in one pass, so that a pass stays short


def new_instances(
    *, offering: Offering, source: Source, count: int, now: datetime, claim: CapacityClaim | None = None
) -> list[Instance]:
    """Rows that say these machines are wanted; the provision loop takes it from there."""
    stem = f"{offering.zone.name}-{offering.instance_type.name}".lower()
    return Instance.objects.bulk_create(
        Instance(
            name=f"{stem}-{new_id().hex[-10:]}",
            offering=offering,
            source=source,
            state=InstanceState.REQUESTED,
            claim=claim,
            organization_id=claim.organization_id if claim else None,
            gpus=offering.instance_type.gpus,
            created_at=now,
            claimed_at=now if claim else None,
        )
        for _ in range(count)
    )


def free_pool_keys(offering_key: int, most: int) -> list[int]:
    """Pool instances that nobody holds, in the order in which claims take them."""
    free = Instance.objects.filter(
        offering_id=offering_key, source=Source.POOL, state=InstanceState.READY, organization__isnull=True
    )
    return list(free.order_by("key").values_list("key", flat=True)[:most])


def give_to_claim(*, claim: CapacityClaim, keys: Sequence[int], now: datetime) -> None:
    """Set free pool instances aside for the claim, which pays for them from now on (B1)."""
    Instance.objects.filter(key__in=keys).update(claim=claim, organization_id=claim.organization_id, claimed_at=now)
    ledger.open_claim_intervals(claim=claim, instances=list(Instance.objects.filter(key__in=keys)), now=now)


def give_up(*, instances: Iterable[Instance], now: datetime) -> None:
    """The claim no longer wants these: free ones go at once, ones in use are drained first (C10)."""
    chosen = list(instances)
    in_use = [one.key for one in chosen if one.gpus_used > 0 and one.state == InstanceState.READY]
    Instance.objects.filter(key__in=in_use).update(state=InstanceState.DRAINING, drain_until=now + DRAIN_DEADLINE)
    let_go(instances=[one for one in chosen if one.gpus_used == 0], now=now)


def let_go(*, instances: Sequence[Instance], now: datetime) -> None:
    """Instances with no GPU in use leave their claim: back to the pool, or away; billing ends here (B1)."""
    held = [one.key for one in instances if one.state in HELD_STATES]
    pool = [one.key for one in instances if one.source == Source.POOL and one.key in set(held)]
    away = [one.key for one in instances if one.key not in set(pool)]
    ledger.close_intervals(kind=UsageKind.CLAIM, resource_keys=held, now=now)
    Instance.objects.filter(key__in=pool).update(
        state=InstanceState.READY, claim=None, organization=None, claimed_at=None, drain_until=None
    )
    Instance.objects.filter(key__in=away).update(
        state=InstanceState.RELEASING, drain_until=None, next_attempt_at=None, leased_until=None
    )


def pool_reconcile(*, offering: Offering, now: datetime) -> int:
    """Bring the managed pool nearer to the size the platform set; free instances only ever go (C13).

    Returns how many instances were requested or released.
    """
    pool = Instance.objects.filter(offering=offering, source=Source.POOL)
    live = pool.filter(state__in=HELD_STATES | PENDING_STATES, lost_at__isnull=True).count()
    missing = min(offering.pool_size - live, LARGEST_STEP)
    if missing > 0:
        new_instances(offering=offering, source=Source.POOL, count=missing, now=now)
        return missing
    pending = list(pool.filter(state__in=PENDING_STATES).order_by("-key")[: max(0, -missing)])
    free = free_pool_keys(offering.key, LARGEST_STEP)[::-1][: max(0, -missing - len(pending))]
    going = [one.key for one in pending] + free
    Instance.objects.filter(key__in=going).update(
        state=InstanceState.RELEASING, next_attempt_at=None, leased_until=None
    )
    return len(going)


def pool_resize(*, actor: Actor, offering: Offering, size: int) -> Offering:
    """Set how many instances the managed pool of an offering is to have; takes the offering's lock."""
    if not actor.is_platform:
        raise PermissionDenied("Only the platform's staff may change a pool.")
    if not 0 <= size <= LARGEST_POOL:
        raise InvalidArgument.of("pool_size", f"must be from 0 to {LARGEST_POOL}; it is {size}")
    with transaction.atomic():
        locks.offerings_lock([offering.key])
        offering.refresh_from_db(fields=["pool_size"])
        before = offering.pool_size
        if before != size:
            offering.pool_size = size
            offering.save(update_fields=["pool_size"])
            audit_record(actor=actor, action="pool.resize", obj_type="Offering", obj_id=str(offering.key),
                         obj_name=str(offering), before={"pool_size": before}, after={"pool_size": size})  # fmt: skip
            wake_on_commit("claims.tasks.fulfil", "control")
    return offering


def pool_adopt(*, actor: Actor, offering: Offering, size: int) -> list[Instance]:
    """Take over a pool of `size` machines that already stand in the cluster, READY at once; takes the lock.

    For the installation of Headroom onto a running fleet: later growth goes through `pool_resize`.
    """
    with transaction.atomic():
        locks.offerings_lock([offering.key])
        now = clock.now()
        made = new_instances(offering=offering, source=Source.POOL, count=size, now=now)
        Instance.objects.filter(key__in=[one.key for one in made]).update(
            state=InstanceState.READY, joining_at=now, ready_at=now
        )
        offering.pool_size = size
        offering.save(update_fields=["pool_size"])
        node_backend().adopt([one.key for one in made], now)
        audit_record(actor=actor, action="pool.adopt", obj_type="Offering", obj_id=str(offering.key),
                     obj_name=str(offering), after={"pool_size": size})  # fmt: skip
    return made
