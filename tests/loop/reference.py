"""The snapshot again, slowly and obviously: one ORM object after the other."""

from datetime import timedelta
from typing import Any

from claims.models import Instance, InstanceType, Offering
from deployments.core import snapshot as core
from deployments.core.params import Params
from deployments.loop.blocks import Block
from deployments.models import Deployment, DeploymentObjective, Replica, ReplicaActivity, SignalBlock
from deployments.replay.packing import unpack
from deployments.zones import all_zones, common_zones

CLASSES = {"CAPACITY_CLASS_RESERVED": 1, "CAPACITY_CLASS_ON_DEMAND": 2}


def deployments(type_: InstanceType) -> dict[int, dict[str, Any]]:
    offerings = list(Offering.objects.filter(instance_type=type_).order_by("key"))
    found = {}
    for one in Deployment.objects.filter(instance_type=type_):
        policy = one.autoscaling
        allowed = common_zones([gateway.sent_zones for gateway in one.gateways.all()], all_zones())
        classes = [CLASSES[name] for name in policy.capacity_classes] or [1, 2]
        chosen = DeploymentObjective.objects.filter(deployment=one).first()
        delay = chosen.scale_down_delay if chosen else policy.scale_down_delay
        found[one.key] = {
            "org": one.organization_id,
            "created_at": one.created_at.timestamp(),
            "min": policy.min,
            "max": policy.max,
            "priority": policy.priority or 0,
            "concurrency": chosen.target if chosen else policy.concurrency or 8,
            "floor": chosen.floor or 0 if chosen else 0,
            "gpu_count": one.gpu_count,
            "slots": chosen.target if chosen and chosen.ahead else policy.slots or 0,
            "class_order": [*classes, 0][:2],
            "zones": sum(1 << place for place, of in enumerate(offerings) if of.zone.name in allowed),
            "enabled": not one.disabled and one.status != "STATUS_DELETING",
            "revision": one.revision,
            "tolerance": policy.tolerance,
            "ahead": chosen.ahead if chosen else None if policy.look_ahead else 0.0,
            "stable_s": policy.stable_window and policy.stable_window.total_seconds(),
            "scale_down_s": delay and delay.total_seconds(),
        }
    return found


def instances(type_: InstanceType) -> dict[int, dict[str, Any]]:
    found = {}
    for one in Instance.objects.filter(offering__instance_type=type_, state__in=["READY", "DRAINING"]):
        state = core.InstanceState.READY if one.state == "READY" else core.InstanceState.DRAINING
        found[one.key] = {
            "org": one.organization_id or 0,
            "claim": one.claim_id or 0,
            "state": core.InstanceState.OTHER if one.lost_at else state,
            "gpus": one.gpus,
            "gpus_used": one.gpus_used,
            "source": core.Source[one.source],
            "held": one.kept or bool(one.work),
            "drain_until": one.drain_until and one.drain_until.timestamp(),
        }
    return found


def replicas(type_: InstanceType) -> dict[int, dict[str, Any]]:
    found, running = {}, activity(type_)
    for one in Replica.objects.filter(instance_type=type_, deployment__instance_type=type_, state__in=[1, 2, 3]):
        found[one.key] = {
            "deployment": one.deployment_id,
            "state": one.state,
            "capacity_class": one.capacity_class,
            "instance": min(one.placements.values_list("instance_id", flat=True), default=None),
            "gpus": one.gpus,
            "active": running.get(one.key, 0),
            "revision": one.revision,
            "replaces": one.replaces_id
            if one.replaces and one.state in (1, 2) and one.replaces.state in (1, 2)
            else None,
            "started_at": one.created_at.timestamp(),
        }
    return found


def activity(type_: InstanceType) -> dict[int, int]:
    """Requests by replica at the last sample."""
    for row in ReplicaActivity.objects.filter(instance_type=type_):
        columns, _ = unpack(bytes(row.payload))
        return dict(zip(columns["key"].tolist(), columns["active"].tolist(), strict=True))
    return {}


def parts(type_: InstanceType) -> list[tuple[int, int, int]]:
    """(replica, instance, GPUs) of replicas on more than one instance."""
    found = []
    for one in Replica.objects.filter(instance_type=type_, deployment__instance_type=type_, state__in=[1, 2, 3]):
        if one.placements.count() > 1:
            found += [(one.key, part.instance_id, part.gpus) for part in one.placements.all()]
    return sorted(found)


def samples(type_: InstanceType, now: Any, params: Params) -> list[tuple[float, dict[int, tuple[int, int]]]]:
    """(time, {deployment: (queued, active)}) of each pass that may still count."""
    longest = max([params.stable_s, params.burst_s, *(
        one.autoscaling.stable_window.total_seconds()
        for one in Deployment.objects.filter(instance_type=type_) if one.autoscaling.stable_window
    )])  # fmt: skip
    since = now - timedelta(seconds=longest + 2 * params.sample_s)
    found = []
    for row in SignalBlock.objects.filter(instance_type=type_, at__gt=since).order_by("at"):
        block = Block.from_bytes(row.payload)
        values = zip(block.key.tolist(), block.queued.tolist(), block.active.tolist(), strict=True)
        found.append((row.at.timestamp(), {key: (queued, active) for key, queued, active in values}))
    return found
