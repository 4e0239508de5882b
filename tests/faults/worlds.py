"""Small worlds, each at the moment before a pass that takes certain steps."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.backends.postgresql.psycopg_any import DateTimeTZRange

from claims.models import Instance, InstanceType, Offering, Price, PriceKind, SimulatedNode, Zone
from claims.services import claim_delete, claim_resize, pool_resize
from deployments.core.rules import Autoscaling
from deployments.models import Deployment, SimulatedReplica
from deployments.services import autoscaling_update, deployment_delete, deployment_set_disabled, deployment_update
from tests import fleet, world
from tests.cast import Cast
from tests.clockwork import advance
from tests.faults import life

TYPE, WEST, EAST = "gb200-4x", "US-WEST-04A", "US-EAST-01A"
ON_DEMAND = ("CAPACITY_CLASS_ON_DEMAND",)
RESERVED = ("CAPACITY_CLASS_RESERVED",)


def catalogue() -> Offering:
    """One type of four GPUs in two zones; the offering in the west."""
    type_ = InstanceType.objects.create(name=TYPE, gpus=4, gpu_model="NVIDIA GB200", gpu_memory_gib=186)
    for kind, usd in ((PriceKind.ON_DEMAND, "10.50"), (PriceKind.RESERVED, "6.30")):
        valid = DateTimeTZRange(datetime(2024, 1, 1, tzinfo=UTC), None)
        Price.objects.create(instance_type=type_, kind=kind, usd_per_gpu_hour=Decimal(usd), valid=valid)
    for name in (WEST, EAST):
        Offering.objects.create(zone=Zone.objects.create(name=name), instance_type=type_)
    return world.offering(WEST, TYPE)


Build = Callable[[Cast, Offering], None]


@dataclass(frozen=True)
class World:
    """The loop whose next pass is of interest, the steps it takes in it, and how to get to the moment before it."""

    loop: str
    steps: frozenset[str]
    build: Build

    def __str__(self) -> str:
        return f"{self.loop}-{self.build.__name__}"


WORLDS: list[World] = []


def before(loop: str, *steps: str) -> Callable[[Build], Build]:
    def note(build: Build) -> Build:
        WORLDS.append(World(loop, frozenset(steps), build))
        return build

    return note


def rounds(count: int) -> None:
    for _ in range(count):
        life.one_round()


def passed(*loops: str, after: timedelta = life.ROUND) -> None:
    advance(after)
    for name in loops:
        life.LOOPS[name]()


def vanish(instances: Iterable[Instance]) -> None:
    SimulatedNode.objects.filter(instance_key__in=[one.key for one in instances]).delete()


def serving(cast: Cast, of: Offering, name: str = "chat", **changes: Any) -> Deployment:
    """A deployment that is ready."""
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor, name=f"for-{name}"), of, name, **changes)
    life.settle()
    return fleet.reread(one)


def autoscaling(cast: Cast, one: Deployment, min: int, max: int = 9) -> None:
    autoscaling_update(actor=cast.admin.actor, deployment_id=one.id, block=Autoscaling(min=min, max=max))


# --- fulfil ----------------------------------------------------------------------------------------
@before("fulfil", "claim CREATING > READY")
def claims_of_both_kinds_are_new(cast: Cast, of: Offering) -> None:
    world.claim(cast.admin.actor, of, 3, name="early")
    world.claim(cast.outsider.actor, of, 2, name="late")
    world.pool(of, 4)
    world.quota(cast.organization, of, limit=2)
    world.claim(cast.admin.actor, of, 2, "CUSTOMER", name="own")


@before("fulfil", "claim UPDATING > READY")
def machines_came_and_were_lost(cast: Cast, of: Offering) -> None:
    world.pool(of, 3)
    world.quota(cast.organization, of, limit=2)
    world.claim(cast.admin.actor, of, 2, name="pool")
    world.claim(cast.admin.actor, of, 2, "CUSTOMER", name="own")
    life.settle()
    for source in ("POOL", "CUSTOMER"):
        vanish(Instance.objects.filter(claim__isnull=False, source=source)[:1])
    passed("provision")


@before("fulfil", "claim UPDATING > READY")
def claims_shrink_and_go(cast: Cast, of: Offering) -> None:
    world.pool(of, 4)
    world.quota(cast.organization, of, limit=3)
    gone = world.claim(cast.admin.actor, of, 2, name="gone")
    less = world.claim(cast.admin.actor, of, 2, name="less")
    own = world.claim(cast.admin.actor, of, 3, "CUSTOMER", name="own")
    life.settle()
    serving(cast, of, min=2, gpu_count=4, capacity_classes=RESERVED)
    claim_delete(actor=cast.admin.actor, claim_id=gone.id)
    claim_resize(actor=cast.admin.actor, claim_id=less.id, resources=world.resources(of, 1))
    claim_resize(actor=cast.admin.actor, claim_id=own.id, resources=world.resources(of, 1, "CUSTOMER"))
    passed("scale", "actuate")


@before("fulfil", "claim DELETING > -", "instance DRAINING > READY", "instance DRAINING > RELEASING")
def what_drained_is_let_go(cast: Cast, of: Offering) -> None:
    world.pool(of, 2)
    world.quota(cast.organization, of, limit=1)
    both = [world.claim(cast.admin.actor, of, 1, kind, name=kind.lower()) for kind in ("SERVERLESS", "CUSTOMER")]
    life.settle()
    serving(cast, of, min=2, gpu_count=4, capacity_classes=RESERVED)
    for one in both:
        claim_delete(actor=cast.admin.actor, claim_id=one.id)
    passed("fulfil", "scale", "actuate", "scale", "actuate", after=timedelta(minutes=11))
    passed("actuate")


@before("fulfil", "instance READY > RELEASING")
def what_a_pool_has_too_much_of_is_free_at_last(cast: Cast, of: Offering) -> None:
    world.pool(of, 2)
    goes = serving(cast, of, "goes", min=2, gpu_count=4)
    pool_resize(actor=world.PLATFORM, offering=of, size=1)
    deployment_delete(actor=cast.admin.actor, deployment_id=goes.id)
    passed("scale", "actuate")
    passed("actuate")


@before("fulfil", "instance - > REQUESTED")
def a_machine_that_failed_to_join_is_replaced(cast: Cast, of: Offering) -> None:
    world.quota(cast.organization, of, limit=1)
    world.claim(cast.admin.actor, of, 1, "CUSTOMER", name="own")
    passed("fulfil", "provision")
    SimulatedNode.objects.all().delete()
    passed("provision", after=timedelta(seconds=10))
    passed("provision")
    passed("provision")
    advance(life.ROUND)


@before("fulfil", "claim UPDATING > READY")
def a_claim_grows(cast: Cast, of: Offering) -> None:
    world.pool(of, 2)
    pool = world.claim(cast.admin.actor, of, 1, name="pool")
    life.settle()
    claim_resize(actor=cast.admin.actor, claim_id=pool.id, resources=world.resources(of, 2))
    advance(timedelta(seconds=5))


# --- provision -------------------------------------------------------------------------------------
@before("provision", "instance REQUESTED > JOINING")
def machines_are_wanted(cast: Cast, of: Offering) -> None:
    pool_resize(actor=world.PLATFORM, offering=of, size=1)
    world.quota(cast.organization, of, limit=2)
    world.claim(cast.admin.actor, of, 2, "CUSTOMER", name="own")
    passed("fulfil")


@before("provision", "instance JOINING > FAILED", "instance JOINING > READY")
def machines_join_fail_and_are_late(cast: Cast, of: Offering) -> None:
    world.quota(cast.organization, of, limit=3)
    world.claim(cast.admin.actor, of, 3, "CUSTOMER", name="own")
    passed("fulfil", "provision")
    nodes = SimulatedNode.objects.order_by("instance_key")
    nodes.filter(instance_key=nodes[0].instance_key).update(ready_at=nodes[0].requested_at)
    nodes.filter(instance_key=nodes[1].instance_key).delete()
    advance(timedelta(seconds=10))


@before("provision", "instance RELEASING > RELEASED")
def machines_leave(cast: Cast, of: Offering) -> None:
    world.quota(cast.organization, of, limit=2)
    own = world.claim(cast.admin.actor, of, 2, "CUSTOMER", name="own")
    life.settle()
    claim_delete(actor=cast.admin.actor, claim_id=own.id)
    passed("fulfil", "provision")
    advance(life.ROUND)


@before("provision")
def machines_are_given_up_before_they_joined(cast: Cast, of: Offering) -> None:
    world.quota(cast.organization, of, limit=2)
    own = world.claim(cast.admin.actor, of, 2, "CUSTOMER", name="own")
    passed("fulfil", "provision")
    claim_delete(actor=cast.admin.actor, claim_id=own.id)
    advance(life.ROUND)


@before("provision", "claim READY > UPDATING", "instance - > REQUESTED", "instance READY > DRAINING")
def machines_vanish_with_what_they_held(cast: Cast, of: Offering) -> None:
    world.pool(of, 3)
    world.claim(cast.admin.actor, of, 1, name="pool")
    life.settle()
    serving(cast, of, min=2, gpu_count=4)
    vanish(Instance.objects.filter(gpus_used__gt=0))
    SimulatedNode.objects.create(instance_key=10**6, requested_at="2026-01-01T00:00Z", ready_at="2026-01-01T00:00Z")
    advance(life.ROUND)


@before("provision", "instance DRAINING > FAILED")
def a_lost_machine_is_empty_at_last(cast: Cast, of: Offering) -> None:
    machines_vanish_with_what_they_held(cast, of)
    passed("provision", "scale", "actuate")
    advance(life.ROUND)


@before("provision", "instance FAILED > RELEASING")
def a_lost_machine_is_sent_away(cast: Cast, of: Offering) -> None:
    a_lost_machine_is_empty_at_last(cast, of)
    passed("provision")
    advance(life.ROUND)


# --- scale -----------------------------------------------------------------------------------------
@before("scale", "replica - > STARTING")
def deployments_are_new(cast: Cast, of: Offering) -> None:
    world.pool(of, 2)
    world.claim(cast.admin.actor, of, 1, name="pool")
    life.settle()
    at = fleet.gateway(cast.admin.actor)
    fleet.deployment(cast.admin.actor, at, of, "anywhere", min=3, gpu_count=2)
    fleet.deployment(cast.admin.actor, at, of, "reserved", min=1, capacity_classes=RESERVED)
    advance(life.ROUND)


@before("scale", "replica - > STARTING", "replica READY > DRAINING")
def deployments_grow_shrink_and_go(cast: Cast, of: Offering) -> None:
    world.pool(of, 3)
    grows, stops, goes = (serving(cast, of, name, min=2) for name in ("grows", "stops", "goes"))
    autoscaling(cast, grows, min=4)
    deployment_set_disabled(actor=cast.admin.actor, deployment_id=stops.id, disabled=True)
    deployment_delete(actor=cast.admin.actor, deployment_id=goes.id)
    advance(life.ROUND)


@before("scale", "deployment DELETING > -")
def a_deleted_deployment_holds_nothing_any_more(cast: Cast, of: Offering) -> None:
    world.pool(of, 1)
    goes = serving(cast, of, "goes", min=2)
    deployment_delete(actor=cast.admin.actor, deployment_id=goes.id)
    passed("scale", "actuate")
    passed("actuate")


@before("scale", "replica - > STARTING")
def instances_drain(cast: Cast, of: Offering) -> None:
    world.pool(of, 3)
    goes = world.claim(cast.admin.actor, of, 1, name="goes")
    life.settle()
    serving(cast, of, min=2, gpu_count=2)
    claim_delete(actor=cast.admin.actor, claim_id=goes.id)
    advance(life.ROUND)


@before("scale", "replica READY > DRAINING")
def what_replaces_replicas_of_drained_instances_is_ready(cast: Cast, of: Offering) -> None:
    instances_drain(cast, of)
    passed("scale", "actuate", after=timedelta(seconds=5))
    passed("actuate")


@before("scale", "replica - > STARTING")
def a_new_revision_rolls(cast: Cast, of: Offering) -> None:
    world.pool(of, 2)
    at = fleet.gateway(cast.admin.actor)
    one = fleet.deployment(cast.admin.actor, at, of, min=2, gpu_count=2)
    life.settle()
    changed = fleet.spec(at, of.instance_type.name, min=2, gpu_count=2, model_path="llama/71b")
    deployment_update(actor=cast.admin.actor, deployment_id=one.id, spec=changed)
    advance(life.ROUND)


@before("scale", "replica READY > DRAINING")
def the_new_revision_is_ready(cast: Cast, of: Offering) -> None:
    a_new_revision_rolls(cast, of)
    passed("scale", "actuate", after=timedelta(seconds=5))
    passed("actuate")


@before("scale", "replica STARTING > DRAINING")
def a_deployment_goes_before_it_is_ready(cast: Cast, of: Offering) -> None:
    world.pool(of, 1)
    goes = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, min=2)
    passed("scale", "actuate")
    deployment_delete(actor=cast.admin.actor, deployment_id=goes.id)
    advance(timedelta(seconds=5))


@before("scale", "deployment CREATING > READY", "deployment UPDATING > READY")
def deployments_have_become_ready(cast: Cast, of: Offering) -> None:
    world.pool(of, 1)
    one = serving(cast, of, "old", min=1)
    fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, "new", min=1)
    passed("scale", "actuate")
    passed("actuate")
    for disabled in (True, False):
        deployment_set_disabled(actor=cast.admin.actor, deployment_id=one.id, disabled=disabled)
    advance(timedelta(seconds=5))


@before("scale", "deployment CREATING > ERROR")
def every_replica_of_a_deployment_failed(cast: Cast, of: Offering) -> None:
    world.pool(of, 2)
    fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, min=5)
    passed("scale", "actuate")
    SimulatedReplica.objects.all().delete()
    passed("actuate", after=timedelta(seconds=5))


@before("scale")
def a_machine_was_lost(cast: Cast, of: Offering) -> None:
    machines_vanish_with_what_they_held(cast, of)
    passed("provision")
    advance(life.ROUND)


@before("scale")
def a_higher_priority_lacks_its_min(cast: Cast, of: Offering) -> None:
    world.pool(of, 1)
    low = serving(cast, of, "low", min=4, max=4)
    autoscaling(cast, low, min=1, max=4)
    fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, "high", min=1, gpu_count=2, priority=500)
    advance(life.ROUND)


@before("scale")
def a_claim_has_had_room_for_long(cast: Cast, of: Offering) -> None:
    world.pool(of, 3)
    serving(cast, of, min=2, gpu_count=2)
    world.claim(cast.admin.actor, of, 1, name="new")
    life.settle()
    passed("fulfil", "scale", after=timedelta(minutes=11))
    advance(life.ROUND)


# --- actuate ---------------------------------------------------------------------------------------
@before("actuate")
def replicas_are_wanted(cast: Cast, of: Offering) -> None:
    deployments_are_new(cast, of)
    passed("scale")


@before("actuate", "replica READY > FAILED", "replica STARTING > FAILED", "replica STARTING > READY")
def replicas_load_are_ready_and_vanish(cast: Cast, of: Offering) -> None:
    world.pool(of, 2)
    serving(cast, of, "ready", min=2)
    fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, "new", min=3)
    passed("scale", "actuate")
    running = SimulatedReplica.objects.order_by("replica_key")
    first, *_, loaded, last = running
    running.filter(pk__in=[first.pk, last.pk]).delete()
    running.filter(pk=loaded.pk).update(ready_at=first.started_at)
    SimulatedReplica.objects.create(replica_key=10**6, deployment_key=1, started_at=first.started_at,
                                    ready_at=first.ready_at)  # fmt: skip
    advance(timedelta(seconds=5))


@before("actuate", "replica DRAINING > STOPPED")
def replicas_drain(cast: Cast, of: Offering) -> None:
    """One of them has a request that never ends."""
    deployments_grow_shrink_and_go(cast, of)
    busy = SimulatedReplica.objects.order_by("-replica_key")
    busy.filter(pk=busy[0].pk).update(active=1)
    passed("scale")
    advance(life.ROUND)
