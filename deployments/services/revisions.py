"""Revisions: what changes the replicas themselves raises a deployment's, and the planner rolls it out (R10)."""

from collections.abc import Sequence

from claims.core.states import Status
from console.common import clock
from console.organizations.actors import Actor
from console.organizations.services import audit_record
from deployments.models import Deployment, Gateway
from deployments.zones import all_zones, common_zones

# Changes of these need new replicas, as do other zones and other classes; the rest takes effect as it is.
ROLLING = ("engine", "engine_version", "engine_config", "engine_env", "instance_type_id", "gpu_count", "model_name",
           "model_bucket", "model_path")  # fmt: skip
EVERY_CLASS = ["CAPACITY_CLASS_RESERVED", "CAPACITY_CLASS_ON_DEMAND"]  # what unset means (R15)


def other_classes(before: Sequence[str], after: Sequence[str]) -> bool:
    """Whether replicas may be on other capacity than before, or in another order of preference."""
    return (list(before) or EVERY_CLASS) != (list(after) or EVERY_CLASS)


def mark(deployment: Deployment, changed: Sequence[str], *, rolls: bool) -> None:
    """Note a change: UPDATING at once (CREATING stays), and a new revision where replicas must take it on, which are
    tried at once, whatever failed before (R8)."""
    deployment.updated_at = clock.now()
    fields = [*changed, "updated_at"]
    if rolls:
        deployment.revision += 1
        deployment.failures = 0
        fields += ["revision", "failures"]
        deployment.replicas.filter(retry_at__isnull=False).update(retry_at=None)
    if (changed or rolls) and deployment.status in (Status.READY, Status.ERROR):
        deployment.status = Status.UPDATING
        fields.append("status")
    deployment.save(update_fields=fields)


def gateway_zones_changed(*, actor: Actor, gateway: Gateway, before: Sequence[str], after: Sequence[str]) -> None:
    """Deployments that may run in other zones now take a new revision; in the gateway's transaction, under its lock."""
    every = all_zones()
    locked = Deployment.objects.select_for_update(of=("self",), no_key=True).filter(gateways=gateway)
    for one in locked.exclude(status=Status.DELETING).order_by("key").prefetch_related("gateways"):
        others = [each.sent_zones for each in one.gateways.all() if each.key != gateway.key]
        old, new = (sorted(common_zones([*others, zones], every)) for zones in (before, after))
        if old != new:
            was = {"zones": old, "revision": one.revision}
            mark(one, [], rolls=True)
            audit_record(actor=actor, action="deployment.zones", obj_type="Deployment", obj_id=str(one.id),
                         obj_name=one.name, before=was, after={"zones": new, "revision": one.revision},
                         organization=gateway.organization)  # fmt: skip
