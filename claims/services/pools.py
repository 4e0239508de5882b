"""Managed pools: grown, shrunk, taken over, withdrawn; the platform's alone. Each takes the offering's lock."""

from datetime import datetime

from django.db import transaction

from claims import locks
from claims.backends.base import node_backend
from claims.core.states import InstanceState
from claims.models import Instance, Offering, Source
from claims.services import fulfilment
from claims.services import instances as hands
from console.common import clock
from console.common.errors import InvalidArgument, PermissionDenied
from console.common.notify import publish
from console.common.wake import wake_on_commit
from console.organizations.actors import Actor
from console.organizations.services import audit_record

LARGEST_POOL = 100_000


def pool_resize(*, actor: Actor, offering: Offering, size: int) -> Offering:
    """Set how many instances the managed pool of an offering is to have.

    Of a smaller pool, free instances go now; the rest as they free up, after the claims that wait (C13).
    """
    _require_platform(actor)
    if not 0 <= size <= LARGEST_POOL:
        raise InvalidArgument.of("pool_size", f"must be from 0 to {LARGEST_POOL}; it is {size}")
    with transaction.atomic():
        _lock(offering)
        before = offering.pool_size
        if before != size:
            offering.pool_size = size
            offering.save(update_fields=["pool_size"])
            audit_record(actor=actor, action="pool.resize", obj_type="Offering", obj_id=str(offering.key),
                         obj_name=str(offering), before={"pool_size": before}, after={"pool_size": size})  # fmt: skip
            _settle(offering, clock.now())
    return offering


def pool_adopt(*, actor: Actor, offering: Offering, size: int) -> list[Instance]:
    """Take `size` machines that already stand in the cluster into the pool, READY at once.

    For the installation of Headroom onto a running fleet: later growth goes through `pool_resize`.
    """
    _require_platform(actor)
    with transaction.atomic():
        _lock(offering)
        now = clock.now()
        made = hands.new_instances(offering=offering, source=Source.POOL, count=size, now=now)
        Instance.objects.filter(key__in=[one.key for one in made]).update(
            state=InstanceState.READY, joining_at=now, ready_at=now, next_attempt_at=None
        )
        before, offering.pool_size = offering.pool_size, offering.pool_size + size
        offering.save(update_fields=["pool_size"])
        node_backend().adopt([one.key for one in made], now)
        audit_record(actor=actor, action="pool.adopt", obj_type="Offering", obj_id=str(offering.key),
                     obj_name=str(offering), before={"pool_size": before},
                     after={"pool_size": offering.pool_size})  # fmt: skip
    return made


def offering_withdraw(*, actor: Actor, offering: Offering) -> Offering:
    """Take an offering out of service: no new claims, no new replicas on its pool, which is given back as it frees up.

    What is in use goes on; claims that wait for it still come first (C13). Repeating it changes nothing.
    """
    return _withdrawn(actor, offering, "offering.withdraw", withdrawn=True)


def offering_restore(*, actor: Actor, offering: Offering) -> Offering:
    """Offer it again: its pool grows back to its size. Repeating it changes nothing."""
    return _withdrawn(actor, offering, "offering.restore", withdrawn=False)


def offering_claimable_set(*, actor: Actor, offering: Offering, claimable: bool) -> Offering:
    """Say whether new claims may be made here; its pool and the claims there are go on."""
    _require_platform(actor)
    with transaction.atomic():
        _lock(offering)
        if offering.claimable != claimable:
            offering.claimable = claimable
            offering.save(update_fields=["claimable"])
            audit_record(actor=actor, action="offering.claimable", obj_type="Offering", obj_id=str(offering.key),
                         obj_name=str(offering), before={"claimable": not claimable},
                         after={"claimable": claimable})  # fmt: skip
    return offering


def _withdrawn(actor: Actor, offering: Offering, action: str, *, withdrawn: bool) -> Offering:
    _require_platform(actor)
    with transaction.atomic():
        _lock(offering)
        if bool(offering.withdrawn_at) != withdrawn:
            now = clock.now()
            offering.withdrawn_at = now if withdrawn else None
            offering.save(update_fields=["withdrawn_at"])
            audit_record(actor=actor, action=action, obj_type="Offering", obj_id=str(offering.key),
                         obj_name=str(offering), before={"withdrawn": not withdrawn},
                         after={"withdrawn": withdrawn})  # fmt: skip
            _settle(offering, now)
    return offering


def _lock(offering: Offering) -> None:
    locks.offerings_lock([offering.key])
    offering.refresh_from_db(fields=["pool_size", "claimable", "withdrawn_at"])


def _settle(offering: Offering, now: datetime) -> None:
    publish("claims", fulfilment.offering_settle(offering=offering, now=now, finish=False))
    wake_on_commit("claims.tasks.fulfil", "control")
    wake_on_commit("claims.tasks.provision", "io")


def _require_platform(actor: Actor) -> None:
    if not actor.is_platform:
        raise PermissionDenied("Only the platform's staff may change what is offered.")
