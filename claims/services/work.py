"""Platform work on machines: cordoned, drained, or bad and replaced. Audited, with a reason, for staff alone.

CORDON: neither a new replica nor a claim; what runs there goes on, and a claim that has it keeps it.
DRAIN:  and what runs there moves away (DRAINING, with a deadline). Afterwards it stays in the cluster, cordoned. A pool
        instance leaves its claim, which gets another from the pool as soon as one is free; from that moment the claim
        pays for the other, without gap or overlap. A CUSTOMER machine keeps its place in its claim, which is short of
        it, and pays for it (B1), until the work is cleared.
BAD:    drained, then given back and replaced by a fresh machine. The claim pays until another took its place, at the
        latest until it is given back. There is no way back from it.
"""

from datetime import datetime

from django.db import transaction

from claims import locks
from claims.core.states import HELD_STATES, InstanceState
from claims.holdings import AWAY
from claims.models import Instance, Work
from claims.services import fulfilment
from claims.services import instances as hands
from console.common import clock
from console.common.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from console.common.notify import publish
from console.common.wake import wake_on_commit
from console.organizations.actors import Actor
from console.organizations.services import audit_record

LONGEST_REASON = 200


def instance_work_set(*, actor: Actor, instance_key: int, work: Work, reason: str) -> Instance:
    """Begin work on a machine, or go from one kind to another; repeating it changes nothing.

    Refuses with FailedPrecondition what is not in the cluster, and anything else than BAD for what is bad.
    """
    _require_platform(actor)
    reason = reason.strip()
    if work not in Work.values:
        raise InvalidArgument.of("work", f"must be one of {', '.join(Work.values)}; it is {work!r}")
    if not 1 <= len(reason) <= LONGEST_REASON:
        raise InvalidArgument.of("reason", f"must have 1 to {LONGEST_REASON} characters; it has {len(reason)}")
    with transaction.atomic():
        instance = _workable(instance_key)
        if (instance.work, instance.work_reason) == (work, reason):
            return instance
        if instance.work == Work.BAD and work != Work.BAD:
            raise FailedPrecondition("BAD", instance.name, f"{instance.name} is bad and on its way out for good.")
        _change(actor, instance, work, reason, clock.now())
    return Instance.objects.get(key=instance_key)


def instance_work_clear(*, actor: Actor, instance_key: int) -> Instance:
    """End the work: the machine is used again. Where there is none, nothing changes; a bad one is refused."""
    _require_platform(actor)
    with transaction.atomic():
        instance = _workable(instance_key)
        if not instance.work:
            return instance
        if instance.work == Work.BAD:
            raise FailedPrecondition("BAD", instance.name, f"{instance.name} is bad and on its way out for good.")
        _change(actor, instance, "", "", clock.now())
    return Instance.objects.get(key=instance_key)


def _workable(key: int) -> Instance:
    """The machine, its offering locked; refused unless it is in the cluster."""
    locks.offerings_lock(Instance.objects.filter(key=key).values_list("offering_id", flat=True))
    found = Instance.objects.select_related("offering__zone", "offering__instance_type", "organization")
    instance = found.filter(key=key).first()
    if instance is None:
        raise NotFound("Instance", key)
    if instance.state not in HELD_STATES or instance.lost_at is not None:
        text = f"{instance.name} is not in the cluster: it is {'lost' if instance.lost_at else instance.state}."
        raise FailedPrecondition("NOT_IN_CLUSTER", instance.name, text)
    return instance


def _change(actor: Actor, instance: Instance, work: str, reason: str, now: datetime) -> None:
    before = _said(instance)
    was, instance.work, instance.work_reason = instance.work, work, reason
    instance.work_at = now if work else None
    instance.save(update_fields=["work", "work_reason", "work_at"])
    if work in AWAY and instance.state == InstanceState.READY:
        hands.drain(keys=[instance.key], now=now)
    elif was in AWAY and work not in AWAY and instance.relieved_at is None:
        hands.undrain(keys=[instance.key])
    audit_record(actor=actor, action=f"instance.{work.lower() or 'clear'}", obj_type="Instance",
                 obj_id=str(instance.key), obj_name=instance.name, before=before, after=_said(instance),
                 organization=instance.organization)  # fmt: skip
    publish("claims", fulfilment.offering_settle(offering=instance.offering, now=now, finish=True))
    wake_on_commit("claims.tasks.provision", "io")


def _said(instance: Instance) -> dict[str, str]:
    return {"work": instance.work, "reason": instance.work_reason, "state": InstanceState(instance.state).value}


def _require_platform(actor: Actor) -> None:
    if not actor.is_platform:
        raise PermissionDenied("Only the platform's staff may work on machines.")
