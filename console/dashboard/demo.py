"""The demo: two organizations on a simulated fleet, driven by real traces, competing for small pools.

Everything is made through the services that everybody uses. Safe to repeat: what is there stays as it is.
"""

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import connection, transaction

from claims.catalogue import catalogue_load
from claims.core.rules import ClaimResources
from claims.core.window_rules import WindowAsked
from claims.models import CapacityClaim, Instance, Offering, Quota
from claims.services import claim_create, claim_labels_set, pool_adopt, quota_set, window_create
from console.common import clock
from console.common.files import write_secret
from console.organizations.actors import Actor, system
from console.organizations.models import Organization, Role, User
from console.organizations.services import membership_set, organization_create
from deployments.core.rules import Autoscaling, DeploymentSpec, GatewaySpec
from deployments.history.services import history_request
from deployments.models import Deployment, Gateway, SimulatedWorkload
from deployments.objective.services import objective_set
from deployments.services import deployment_create, deployment_labels_set, gateway_create

LOADER = system("manage.py load_demo")
CONV, CODE, LARGE = "azure_llm_2023_conv", "azure_llm_2023_code", "servegen_m_large_rates"
WEST, EAST, RENO = "US-WEST-04A", "US-EAST-01A", "RNO2A"

# Instances of the managed pool. They are short on purpose: deployments wait for GPUs every hour.
POOLS = {
    ("gb200-4x", WEST): 8,
    ("gd-8xh100ib-i128", EAST): 5,
    ("gd-8xh100ib-i128", WEST): 3,
    ("gd-1xgh200", RENO): 16,
    ("gd-8xl40s-i128", EAST): 2,
    ("gd-8xh200ib-i128", WEST): 3,
    ("b200-8x", RENO): 2,
}
# Organization, type, zone: limit, reserved, other usage. Every type that can be claimed leaves room for two instances.
QUOTAS = {
    ("demo", "gb200-4x", WEST): (16, 8, 4),
    ("demo", "gd-8xh100ib-i128", EAST): (8, 4, 2),
    ("demo", "gd-1xgh200", RENO): (20, 0, 0),
    ("rival", "gb200-4x", WEST): (8, 4, 0),
    ("rival", "gd-1xgh200", RENO): (8, 0, 0),
}
SPARE_QUOTA = (4, 0, 0)
# A claim that has one more instance while its users are at work.
BY_DAY = "prod-west"
DAYTIME = WindowAsked(datetime(2026, 1, 5, 8), timedelta(hours=10), "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", "America/Los_Angeles", 3)  # fmt: skip  # noqa: DTZ001

# Whose claims and deployments are, by name.
TEAMS = {
    "prod-west": "assistants", "chat-large": "assistants", "chat-fast": "assistants", "code-complete": "developers",
    "steady-east": "research", "reasoning": "research", "summaries": "search", "embeddings": "search",
    "moderation": "trust",
}  # fmt: skip
TRIALS = {"reasoning", "batch-labels"}  # the others are in production


@dataclass(frozen=True, slots=True)
class Load:
    """A deployment of the demo and the traffic that reaches it: `scale` copies of the trace, `phase_h` hours on."""

    organization: str
    name: str
    type: str
    gpus: int
    model: str
    block: Autoscaling
    trace: str
    scale: float
    phase_h: float = 0.0
    zones: tuple[str, ...] = field(default=())
    engine: str = "vllm"
    version: str = "0.21.0"
    quantization: str = ""
    objective: float | None = None  # share of requests within a second; None: sized by hand-set settings


RESERVED, ON_DEMAND = "CAPACITY_CLASS_RESERVED", "CAPACITY_CLASS_ON_DEMAND"
LOADS = [
    Load("demo", "chat-large", "gb200-4x", 4, "llama-4-maverick", Autoscaling(1, 6, 800, 16), CONV, 1.6, 0.0,
         quantization="fp8"),
    Load("demo", "chat-fast", "gb200-4x", 1, "llama-4-scout", Autoscaling(1, 12, 500, 8), CONV, 1.3, 0.4,
         quantization="fp8"),
    Load("demo", "code-complete", "gd-1xgh200", 1, "qwen3-coder-30b", Autoscaling(1, 12, 600, 8), CODE, 4.0, 0.2),
    Load("demo", "embeddings", "gd-1xgh200", 1, "nomic-embed-v2", Autoscaling(1, 8, 100, 16, (ON_DEMAND,)), LARGE,
         0.035, 8.0),
    Load("demo", "summaries", "gd-8xh100ib-i128", 2, "mistral-small-3", Autoscaling(1, 10, None, 8), LARGE, 0.02, 14.0,
         objective=0.99),
    Load("demo", "reasoning", "gd-8xh100ib-i128", 8, "deepseek-r1", Autoscaling(1, 4, 900, 24, (RESERVED, ON_DEMAND)),
         CONV, 1.0, 0.7, engine="dynamo-vllm", version="1.0.0", quantization="awq"),
    Load("demo", "batch-labels", "gd-8xh100ib-i128", 4, "qwen3-72b", Autoscaling(1, 6, 50, 8, (ON_DEMAND,)), CODE, 3.0, 0.6),
    Load("demo", "moderation", "gd-8xl40s-i128", 1, "llama-guard-4", Autoscaling(1, 20, 300, 8), LARGE, 0.05, 2.0),
    Load("rival", "assistant", "gb200-4x", 2, "llama-4-maverick", Autoscaling(1, 10, 500, 8), CONV, 1.4, 0.5,
         quantization="awq"),
    Load("rival", "autocomplete", "gd-1xgh200", 1, "codestral-25", Autoscaling(1, 12, 500, 8), CODE, 5.0, 0.7),
    Load("rival", "translate", "gd-8xh100ib-i128", 4, "aya-expanse-32b", Autoscaling(1, 6, 500, 8), LARGE, 0.02, 2.0),
]  # fmt: skip


def demo_load(state_dir: Path) -> None:
    """Make what is missing of the demo; two at once make it once."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('load_demo'))")
        catalogue_load()
        organizations = {
            "demo": organization("cwde30", "demo", "Demo"),
            "rival": organization("cw01a1", "rival", "Rival"),
        }
        people(organizations["demo"], state_dir)
        pools()
        quotas(organizations)
        actors = {slug: acting(one) for slug, one in organizations.items()}
        claims(actors)
        made = [one for load in LOADS if (one := deployment(actors[load.organization], load))]
        # On the first start alone: later there is a time before, and it was as it was.
        if len(made) == len(LOADS) and settings.DEMO_HISTORY:
            history_request(actor=actors["demo"], deployments=made, now=clock.now(), length=settings.DEMO_HISTORY)


def acting(organization: Organization) -> Actor:
    return Actor(name=LOADER.name, organization=organization, role=Role.ADMIN)


def organization(id: str, slug: str, name: str) -> Organization:
    found = Organization.objects.filter(slug=slug).first()
    return found or organization_create(actor=LOADER, id=id, slug=slug, name=name)


def people(demo: Organization, state_dir: Path) -> None:
    """`operator`, admin of the demo, and `platform`, staff: random passwords, made once, kept for their owner alone."""
    path = state_dir / "sign-ins"
    if User.objects.filter(username="operator").exists():
        return
    passwords = {"operator": secrets.token_urlsafe(12), "platform": secrets.token_urlsafe(12)}
    operator = User.objects.create_user("operator", password=passwords["operator"])
    User.objects.create_user("platform", password=passwords["platform"], is_staff=True, is_superuser=True)
    membership_set(actor=LOADER, user=operator, organization=demo, role=Role.ADMIN)
    roles = {"operator": "admin of the demo organization", "platform": "platform staff"}
    state_dir.mkdir(parents=True, exist_ok=True)
    write_secret(path, "".join(f"{name} {password} {roles[name]}\n" for name, password in passwords.items()))


def pools() -> None:
    for (type_, zone), size in POOLS.items():
        of = offering(type_, zone)
        if not Instance.objects.filter(offering=of, source="POOL").exists():
            pool_adopt(actor=LOADER, offering=of, size=size)


def offering(type_: str, zone: str) -> Offering:
    found = Offering.objects.select_related("zone", "instance_type")
    return found.get(instance_type__name=type_, zone__name=zone)


def quotas(organizations: dict[str, Organization]) -> None:
    wanted = dict(QUOTAS)
    for type_, zone in Offering.objects.values_list("instance_type__name", "zone__name"):
        wanted.setdefault(("demo", type_, zone), SPARE_QUOTA)
    for (slug, type_, zone), (limit, reserved, other) in wanted.items():
        of, whose = offering(type_, zone), organizations[slug]
        if not Quota.objects.filter(organization=whose, offering=of).exists():
            quota_set(actor=LOADER, organization=whose, offering=of, limit=limit, reserved=reserved, other_usage=other)


def labels(name: str) -> dict[str, str]:
    team = {"team": TEAMS[name]} if name in TEAMS else {}
    return {**team, "environment": "staging" if name in TRIALS else "production"}


def claims(actors: dict[str, Actor]) -> None:
    """One of each kind for the demo, one for the rival, which leave room in every quota."""
    wanted = [
        ("demo", "prod-west", "CAPACITY_TYPE_CUSTOMER", "gb200-4x", WEST, 2),
        ("demo", "steady-east", "CAPACITY_TYPE_SERVERLESS", "gd-8xh100ib-i128", EAST, 2),
        ("rival", "burst-reno", "CAPACITY_TYPE_SERVERLESS", "gd-1xgh200", RENO, 4),
    ]
    for slug, name, kind, type_, zone, count in wanted:
        actor = actors[slug]
        whose = actor.require_organization()
        if not CapacityClaim.objects.filter(organization=whose, name=name).exists():
            claim = claim_create(
                actor=actor, organization=whose, name=name, resources=ClaimResources(type_, count, kind, (zone,))
            )
            claim_labels_set(actor=actor, claim_id=claim.id, labels=labels(name))
            if name == BY_DAY:
                window_create(actor=actor, claim_id=claim.id, asked=DAYTIME)


def deployment(actor: Actor, load: Load) -> Deployment | None:
    """The deployment with its traffic; None where there is one of that name."""
    whose = actor.require_organization()
    if Deployment.objects.filter(organization=whose, name=load.name).exists():
        return None
    spec = DeploymentSpec(
        name=load.name, gateway_ids=(str(gateway(actor).id),), engine=load.engine, version=load.version,
        engine_config={"max-model-len": "32768", **({"quantization": load.quantization} if load.quantization else {})}, engine_env=None, instance_type=load.type, gpu_count=load.gpus,
        model_name=load.model, model_bucket="model-weights", model_path=f"{load.model}/main",
        autoscaling=load.block,
    )  # fmt: skip
    made = deployment_create(actor=actor, organization=whose, spec=spec)
    deployment_labels_set(actor=actor, deployment_id=made.id, labels=labels(load.name))
    SimulatedWorkload.objects.create(
        deployment_key=made.key, trace=load.trace, scale=load.scale, phase_s=load.phase_h * 3600, seed=made.key,
        origin=clock.now(),
    )  # fmt: skip
    if load.objective is not None:
        objective_set(actor=actor, deployment_id=made.id, share=load.objective)
    return made


def gateway(actor: Actor) -> Gateway:
    whose = actor.require_organization()
    found = Gateway.objects.filter(organization=whose, name="public").first()
    spec = GatewaySpec("public", (), {"core_weave_auth": {}}, {"body_based_routing": {"api_type": "API_TYPE_OPENAI"}})
    return found or gateway_create(actor=actor, organization=whose, spec=spec)


def simulated() -> bool:
    """Whether what the pages show runs on simulated machines."""
    return settings.NODE_BACKEND.endswith("SimulatedNodeBackend")
