"""A large fleet, written straight into the tables of an empty installation. Its machines, replicas, ledger and signals
agree with each other, so that the loops go on from there."""

from datetime import datetime, timedelta

from django.db import connection, transaction

from claims.catalogue import catalogue_load
from claims.models import Instance, Offering, SimulatedNode, UsageInterval
from claims.services import pool_adopt
from console.common import clock
from console.dashboard.demo import acting, organization
from console.organizations.actors import system
from console.organizations.models import Organization
from deployments.core.rules import GatewaySpec
from deployments.loop.tick import shard_tick
from deployments.models import (
    AutoscalingPolicy,
    Decision,
    Deployment,
    Replica,
    ReplicaPlacement,
    SignalBlock,
    SimulatedReplica,
    SimulatedWorkload,
)
from deployments.services import gateway_create

DEPLOYMENTS, EACH = 1000, 10  # replicas of one GPU
SHORT = 20  # deployments that want more than there is
BUSY = 50  # deployments that requests reach
DECISIONS = 30  # of each deployment, in the past
AGE = timedelta(hours=6)
TYPE, ZONE = "gb200-4x", "US-WEST-04A"
MAKER = system("bench")


def fleet_make(*, deployments: int = DEPLOYMENTS, organizations: int = 1, free: float = 0.0) -> Organization:
    """The fleet as it is after `AGE` of running: so many deployments in all, as many of each organization as of any other,
    and empty machines beside those in use (a share of these). Answers the first organization."""
    # Seen by the loops that run already once there are statistics: planned without, one of their reads takes minutes.
    with transaction.atomic():
        catalogue_load()
        now = clock.now()
        of = Offering.objects.select_related("instance_type").get(instance_type__name=TYPE, zone__name=ZONE)
        owners = [organization(f"cw{number:04x}", f"bench-{number}" if number else "bench", "Bench")
                  for number in range(organizations)]  # fmt: skip
        parts = [(whose, deployments_make(whose, of, number, deployments // organizations, now - AGE))
                 for number, whose in enumerate(owners)]  # fmt: skip
        for whose, rows in parts:
            theirs = machines_make(whose, of, len(rows) * EACH // of.instance_type.gpus, now - AGE)
            ledger_make(whose, rows, replicas_make(rows, theirs, now - AGE), theirs, now)
        pool_adopt(actor=MAKER, offering=of, size=round(free * deployments * EACH / of.instance_type.gpus))
        analyze()
    for _ in range(2):
        shard_tick(of.instance_type, clock.now())
    past_make(of, clock.now())
    analyze()
    return owners[0]


def deployments_make(whose: Organization, of: Offering, number: int, count: int, began: datetime) -> list[Deployment]:
    spec = GatewaySpec("public", (), {"core_weave_auth": {}}, {"path_based_routing": {}})
    at, type_ = gateway_create(actor=acting(whose), organization=whose, spec=spec), of.instance_type
    rows = Deployment.objects.bulk_create(
        Deployment(organization=whose, name=f"model-{n:04}", engine="vllm", engine_version="0.21.0", instance_type=type_,
                   sent_instance_type=type_.name, gpu_count=1, model_name=f"llama-{n % 7}-70b", model_bucket="weights",
                   model_path="llama/70b", status="STATUS_READY", ever_ready=True, created_at=began,
                   sent_gateway_ids=[str(at.id)])
        for n in range(count)
    )  # fmt: skip
    short = 0 if number else SHORT
    AutoscalingPolicy.objects.bulk_create(
        AutoscalingPolicy(deployment=one, min=EACH + (2 if n < short else 0), max=2 * EACH, priority=n % 10)
        for n, one in enumerate(rows)
    )
    through = Deployment.gateways.through
    through._default_manager.bulk_create(through(deployment_id=one.key, gateway_id=at.key) for one in rows)
    busy = [] if number else rows[:: count // BUSY or 1]
    SimulatedWorkload.objects.bulk_create(
        SimulatedWorkload(deployment_key=one.key, trace="azure_llm_2023_conv", scale=1.5, seed=one.key, origin=began)
        for one in busy
    )
    return rows


def machines_make(whose: Organization, of: Offering, count: int, began: datetime) -> list[Instance]:
    """All of them full, of the pool."""
    made = pool_adopt(actor=MAKER, offering=of, size=count)
    keys, gpus = [one.key for one in made], of.instance_type.gpus
    Instance.objects.filter(key__in=keys).update(
        organization=whose, gpus_used=gpus, replicas=gpus, created_at=began, ready_at=began
    )
    SimulatedNode.objects.filter(instance_key__in=keys).update(requested_at=began, ready_at=began)
    return made


def replicas_make(rows: list[Deployment], machines: list[Instance], began: datetime) -> list[Replica]:
    made = Replica.objects.bulk_create(
        (
            Replica(deployment=rows[n % len(rows)], instance_type=rows[0].instance_type, revision=1, capacity_class=2,
                    state=2, gpus=1, created_at=began, loading_at=began, ready_at=began)
            for n in range(len(rows) * EACH)
        ), batch_size=2000,
    )  # fmt: skip
    per = machines[0].gpus
    ReplicaPlacement.objects.bulk_create(
        (ReplicaPlacement(replica=one, instance=machines[n // per], gpus=1) for n, one in enumerate(made)),
        batch_size=2000,
    )
    SimulatedReplica.objects.bulk_create(
        (SimulatedReplica(replica_key=one.key, deployment_key=one.deployment_id, started_at=began, ready_at=began)
         for one in made), batch_size=2000,
    )  # fmt: skip
    return made


def ledger_make(
    whose: Organization, rows: list[Deployment], replicas: list[Replica], machines: list[Instance], now: datetime
) -> None:
    """An open interval of each replica; the meter rates it from there."""
    began, per = (now - AGE).replace(microsecond=0), machines[0].gpus
    UsageInterval.objects.bulk_create(
        (
            UsageInterval(kind="REPLICA", resource_key=one.key, organization=whose, offering=machines[n // per].offering,
                          instance=machines[n // per], gpus=1, holder_id=rows[n % len(rows)].id,
                          holder_name=rows[n % len(rows)].name, started_at=began)
            for n, one in enumerate(replicas)
        ), batch_size=2000,
    )  # fmt: skip


def past_make(of: Offering, now: datetime) -> None:
    """An hour of signals and the decisions of `AGE`, as many times what the ticks wrote last."""
    last = SignalBlock.objects.filter(instance_type=of.instance_type).order_by("-at")[0]
    SignalBlock.objects.filter(instance_type=of.instance_type).delete()
    SignalBlock.objects.bulk_create(
        SignalBlock(instance_type=of.instance_type, at=now - timedelta(seconds=5 * n), payload=last.payload)
        for n in range(720)
    )
    made = list(Decision.objects.order_by("id"))
    Decision.objects.bulk_create(
        (
            Decision(deployment_id=one.deployment_id, organization_id=one.organization_id,
                     at=now - AGE / DECISIONS * (DECISIONS - n - 1), current=one.current, wanted=one.wanted,
                     granted=one.granted, bound=one.bound, record=one.record)
            for n in range(DECISIONS) for one in made
        ), batch_size=2000,
    )  # fmt: skip


def analyze() -> None:
    """Statistics as autovacuum has them after a while."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
