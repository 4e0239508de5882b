"""What has to be true of a fleet in which nothing moves any more: who waits, waits for a reason."""

from datetime import datetime
from itertools import chain

from claims.core.states import InstanceState, Status
from claims.models import CapacityClaim, ClaimKind, Instance, Offering, Source, Work
from claims.services import fulfilment
from deployments.core.states import LIVE
from deployments.models import Deployment, Replica
from deployments.zones import all_zones, common_zones
from tests.faults import life

MOST_PASSES = 10
HELD_STATES = [InstanceState.READY, InstanceState.DRAINING]


def wrong(now: datetime) -> list[str]:
    return list(chain(life.wrong(), claims(now), overlooked(now), pools(), deployments(now)))


def claims(now: datetime) -> list[str]:
    """A claim is READY, or waits for a pool in which nothing is free (C5), or for the platform, which has drained machines
    of its own that keep their places (`claims.services.work`); no reduction is overdue (C7)."""
    found = []
    for one in CapacityClaim.objects.select_related("offering"):
        free = Instance.objects.filter(offering=one.offering, source=Source.POOL, state=InstanceState.READY,
                                       organization__isnull=True, work="").count()  # fmt: skip
        drained = one.instances.filter(source=Source.CUSTOMER, work=Work.DRAIN, lost_at__isnull=True).count()
        waits = not free if one.kind == ClaimKind.SERVERLESS else drained > 0
        if one.status != Status.READY and not waits:
            found.append(f"claim {one.name} is {one.status} for {one.target} while {free} instances are free")
        if one.reduction_at is not None and one.reduction_at < now:
            found.append(f"claim {one.name} was to shrink at {one.reduction_at}")
    return found


def overlooked(now: datetime) -> list[str]:
    """What the fulfil loop has found no reason to look at, it would leave as it is."""
    for _ in range(MOST_PASSES):
        if not fulfilment.fulfil_pass(now=now):
            break
    CapacityClaim.objects.update(looked_at=None)
    changed = fulfilment.fulfil_pass(now=now)
    return [f"{changed} claims needed something, and no pass looked at them"] if changed else []


def pools() -> list[str]:
    """A pool has the size that was set, or what it has too much is in use (C13)."""
    found = []
    for one in Offering.objects.all():
        there = Instance.objects.filter(offering=one, source=Source.POOL, state__in=HELD_STATES, lost_at__isnull=True)
        wanted = 0 if one.withdrawn_at else one.pool_size
        free = there.filter(organization__isnull=True).count()
        surplus = there.count() - wanted
        if surplus < 0 or (surplus > 0 and free > 0):
            found.append(f"pool of {one} has {there.count()} of {wanted}, {free} of them free")
    return found


def deployments(now: datetime) -> list[str]:
    """No deployment lacks its min while GPUs that it may use are free, and none runs that was switched off."""
    found = []
    for one in Deployment.objects.select_related("autoscaling", "instance_type"):
        live = Replica.objects.filter(deployment=one, state__in=sorted(LIVE)).count()
        least = 0 if one.disabled else one.autoscaling.min
        if one.disabled and live:
            found.append(f"{one} is disabled and has {live} replicas")
        if live < least and not _held(one, now) and (room := _room(one)):
            found.append(f"{one} has {live} of at least {least}, and there is room on {room}")
    return found


def _held(one: Deployment, now: datetime) -> bool:
    from_fleet = one.holds.model.objects.filter(ended_at__isnull=True)
    return any(hold.expires_at is None or hold.expires_at > now for hold in from_fleet
               if hold.deployment_id == one.key or (hold.deployment_id is None
                                                    and hold.organization_id in (None, one.organization_id)))  # fmt: skip


def _room(one: Deployment) -> str:
    """Where another replica of the deployment would fit; empty for nowhere."""
    zones = common_zones([gateway.sent_zones for gateway in one.gateways.all()], all_zones())
    places: dict[tuple[str, str, bool], list[Instance]] = {}
    usable = Instance.objects.filter(state=InstanceState.READY, lost_at__isnull=True, kept=False, work="",
                                     offering__instance_type=one.instance_type)  # fmt: skip
    for instance in usable.select_related("offering__zone"):
        if instance.offering.zone.name in zones and _may_use(one, instance):
            kind = (instance.offering.zone.name, instance.source, instance.claim_id is None)
            places.setdefault(kind, []).append(instance)
    for kind, instances in places.items():
        if _fits(one.gpu_count, one.instance_type.gpus, [row.gpus - row.gpus_used for row in instances]):
            return f"{kind}: {[row.name for row in instances]}"
    return ""


def _may_use(one: Deployment, instance: Instance) -> bool:
    classes = one.autoscaling.capacity_classes or ["CAPACITY_CLASS_RESERVED", "CAPACITY_CLASS_ON_DEMAND"]
    if instance.claim_id is not None:
        return "CAPACITY_CLASS_RESERVED" in classes and instance.organization_id == one.organization_id
    free = instance.organization_id in (None, one.organization_id)
    return "CAPACITY_CLASS_ON_DEMAND" in classes and instance.source == Source.POOL and free


def _fits(wanted: int, whole: int, free: list[int]) -> bool:
    if wanted <= whole:
        return any(gpus >= wanted for gpus in free)
    return sum(gpus == whole for gpus in free) >= wanted // whole
