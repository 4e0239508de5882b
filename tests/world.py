"""Small worlds for tests: the catalogue, pools, quota, and time that passes."""

import time
import uuid
from datetime import datetime, timedelta

from django.db import transaction

from claims import provisioning
from claims.catalogue import catalogue_load
from claims.core.rules import ClaimResources
from claims.models import CapacityClaim, Instance, Offering, SimulatedNode
from claims.selectors import claim_get
from claims.services import (
    GpuRelease,
    GpuTake,
    claim_create,
    fulfilment,
    gpus_release,
    gpus_take,
    pool_adopt,
    quota_set,
)
from console.common import clock
from console.organizations.actors import Actor, system
from console.organizations.models import Organization

PLATFORM = system("the tests' platform")


def offering(zone: str = "US-WEST-04A", type_: str = "gb200-4x") -> Offering:
    if not Offering.objects.exists():
        catalogue_load()
    return Offering.objects.select_related("zone", "instance_type").get(zone__name=zone, instance_type__name=type_)


def pool(of: Offering, size: int) -> list[Instance]:
    return pool_adopt(actor=PLATFORM, offering=of, size=size)


def gone(of: Offering) -> Instance:
    """A machine that was there once: for intervals of the past that nothing else may touch."""
    return Instance.objects.create(
        name=f"gone-{uuid.uuid4().hex[:12]}", offering=of, source="POOL", state="RELEASED", gpus=of.instance_type.gpus
    )


def quota(organization: Organization, of: Offering, limit: int, reserved: int = 0, other_usage: int = 0) -> None:
    quota_set(
        actor=PLATFORM, organization=organization, offering=of, limit=limit, reserved=reserved,
        other_usage=other_usage,
    )  # fmt: skip


def resources(of: Offering, count: int, kind: str = "SERVERLESS") -> ClaimResources:
    return ClaimResources(of.instance_type.name, count, f"CAPACITY_TYPE_{kind}", (of.zone.name,))


def claim(actor: Actor, of: Offering, count: int, kind: str = "SERVERLESS", name: str = "mine") -> CapacityClaim:
    return claim_create(
        actor=actor,
        organization=actor.require_organization(),
        name=name,
        resources=resources(of, count, kind),
    )


def settle(passes: int = 1) -> None:
    """Fulfil and provision, as the loops do."""
    for _ in range(passes):
        provisioning.provision_pass(now=clock.now())
        fulfilment.fulfil_pass(now=clock.now())


def nodes_arrive() -> None:
    """The simulated machines that were asked for have joined, and those that leave are gone."""
    past: datetime = clock.now() - timedelta(hours=1)
    SimulatedNode.objects.filter(leaving_at__isnull=True).update(ready_at=past)
    SimulatedNode.objects.filter(leaving_at__isnull=False).update(leaving_at=past)


def everything_arrives() -> None:
    """Let time pass until nothing is under way."""
    for _ in range(4):
        settle()
        nodes_arrive()
    settle(2)


def a_second_passes() -> None:
    """The ledger counts whole seconds: what began in this one has been used for none of it yet."""
    time.sleep(1.01 - clock.now().microsecond / 1e6)


def reread(one: CapacityClaim) -> CapacityClaim:
    return claim_get(one.organization, one.id)


def take(
    instance: Instance, organization: Organization, replica: int, gpus: int = 1, claim: CapacityClaim | None = None
) -> bool:
    """A replica takes GPUs, on demand or of a claim, as the scaling loop would have it; whether it got them."""
    return bool(takes(replica, [(instance, gpus)], organization, claim))


def takes(
    replica: int, parts: list[tuple[Instance, int]], organization: Organization, claim: CapacityClaim | None = None
) -> set[int]:
    """The same on several instances at once."""
    wanted = [
        GpuTake(one.key, replica, gpus, organization.key, 1 if claim else 2, claim.key if claim else None,
                uuid.UUID(int=replica), f"replica-{replica}")
        for one, gpus in parts
    ]  # fmt: skip
    with transaction.atomic():
        return gpus_take(takes=wanted, now=clock.now())


def release(instance: Instance, replica: int, gpus: int = 1) -> None:
    with transaction.atomic():
        gpus_release(releases=[GpuRelease(instance.key, replica, gpus)], now=clock.now())
