"""Deployments for tests: gateways, specs, workloads, and ticks."""

from datetime import datetime, timedelta
from typing import Any

from claims.models import InstanceType, Offering
from console.common import clock
from console.organizations.actors import Actor
from deployments.core.rules import Autoscaling, DeploymentSpec, GatewaySpec
from deployments.loop.actuate import actuate_pass
from deployments.loop.tick import Tick, shard_tick
from deployments.models import AutoscalingPolicy, Deployment, Gateway, SimulatedReplica, SimulatedWorkload
from deployments.selectors import deployment_get
from deployments.services import deployment_create, gateway_create

EVERY = timedelta(seconds=5)


def gateway(actor: Actor, *zones: str, name: str = "front") -> Gateway:
    spec = GatewaySpec(name, zones, {"core_weave_auth": {}}, {"path_based_routing": {}})
    return gateway_create(actor=actor, organization=actor.require_organization(), spec=spec)


def spec(at: Gateway, type_: str = "gb200-4x", name: str = "chat", **changes: Any) -> DeploymentSpec:
    block = {name: changes.pop(name) for name in ("min", "max", "priority", "concurrency", "capacity_classes")
             if name in changes}  # fmt: skip
    fields: dict[str, Any] = {
        "name": name, "gateway_ids": (str(at.id),), "engine": "vllm", "version": "0.21.0", "engine_config": None,
        "engine_env": None, "instance_type": type_, "gpu_count": 1, "model_name": "meta/llama-3-70b",
        "model_bucket": "weights", "model_path": "llama/70b", "autoscaling": Autoscaling(**{"min": 1, "max": 5, **block}),
    }  # fmt: skip
    return DeploymentSpec(**{**fields, **changes})


def deployment(
    actor: Actor, at: Gateway, of: Offering, name: str = "chat", look_ahead: bool = False, **changes: Any
) -> Deployment:
    """Of most tests the sizes are those that load alone asks for."""
    wanted = spec(at, of.instance_type.name, name, **changes)
    made = deployment_create(actor=actor, organization=actor.require_organization(), spec=wanted)
    AutoscalingPolicy.objects.filter(deployment=made).update(look_ahead=look_ahead)
    return deployment_get(made.organization, made.id)


def workload(of: Deployment, scale: float, trace: str = "azure_llm_2023_conv") -> SimulatedWorkload:
    return SimulatedWorkload.objects.create(deployment_key=of.key, trace=trace, scale=scale, origin=of.created_at)


def workload_stops(of: Deployment) -> None:
    """No more requests from now on; those under way are forgotten."""
    SimulatedWorkload.objects.filter(deployment_key=of.key).delete()


def loaded() -> None:
    """Every model that was being loaded is ready."""
    SimulatedReplica.objects.update(ready_at=clock.now() - timedelta(hours=1))


def tick(type_: InstanceType, now: datetime | None = None) -> Tick:
    """One pass of the scaling loop and of the actuate loop."""
    done = shard_tick(type_, now or clock.now())
    actuate_pass(now=clock.now())
    return done


def run(type_: InstanceType, start: datetime, passes: int) -> datetime:
    """Passes five seconds apart in the loop's time; models load at once."""
    now = start
    for _ in range(passes):
        tick(type_, now)
        loaded()
        actuate_pass(now=clock.now())
        now += EVERY
    return now


def reread(one: Deployment) -> Deployment:
    return deployment_get(one.organization, one.id)
