"""Deployments: created, updated, deleted. Nothing waits in here; the scaling loop does the rest."""

import uuid
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.db import transaction

from claims.core.conditions import Condition
from claims.core.states import Status
from claims.models import InstanceType
from console.common import clock
from console.common.errors import FailedPrecondition, FieldViolation, InvalidArgument
from console.common.ids import new_id, parse_uuid
from console.common.notify import publish
from console.common.wake import wake_on_commit
from console.organizations.actors import Actor
from console.organizations.models import Organization
from console.organizations.services import audit_record
from deployments.core.rules import Autoscaling, DeploymentSpec, validate_autoscaling, validate_deployment
from deployments.core.status import Facts, deployment_status
from deployments.engines import validate_runtime
from deployments.locks import deployment_locked
from deployments.models import AutoscalingPolicy, Deployment, Gateway
from deployments.selectors import deployment_get
from deployments.services.gateways import insert
from deployments.services.revisions import ROLLING, mark, other_classes
from deployments.zones import all_zones, common_zones, types_in


def deployment_create(
    *,
    actor: Actor,
    organization: Organization,
    spec: DeploymentSpec,
    id: uuid.UUID | None = None,
) -> Deployment:
    """A new deployment; answers CREATING. Names are unique in the organization."""
    actor.require_write()
    with transaction.atomic():
        _gateways_lock(organization, spec)
        gateways, type_ = _resolved(organization, spec)
        now, chosen = clock.now(), id or new_id()
        deployment = Deployment(
            id=chosen,
            organization=organization,
            name=spec.name,
            created_at=now,
            updated_at=now,
            **_columns(spec, type_),
        )
        zone = sorted(allowed_zones(gateways))[0]
        facts = Facts(
            Status.CREATING,
            disabled=False,
            ever_ready=False,
            min=spec.autoscaling.min,
            ready=0,
            live=0,
            zone=zone,
        )
        deployment.conditions = deployment_status(facts, now)[1]
        insert(deployment, "Deployment", spec.name)
        deployment.gateways.set(gateways)
        AutoscalingPolicy.objects.create(deployment=deployment, **_policy(spec.autoscaling))
        audit_record(actor=actor, action="deployment.create", obj_type="Deployment", obj_id=str(deployment.id),
                     obj_name=deployment.name, after=_plain(spec), organization=organization)  # fmt: skip
        _tell(organization)
    return deployment_get(organization, deployment.id)


def deployment_update(*, actor: Actor, deployment_id: uuid.UUID, spec: DeploymentSpec) -> Deployment:
    """Replace the whole spec. What concerns autoscaling alone, but for its classes, leaves it READY (R9, R10)."""
    actor.require_write()
    organization = actor.require_organization()
    with transaction.atomic():
        _gateways_lock(organization, spec)
        gateways, type_ = _resolved(organization, spec)
        deployment = deployment_locked(organization, deployment_id)
        if spec.name != deployment.name:
            raise InvalidArgument.of("name", f"cannot change; the deployment is {deployment.name!r}")
        columns, policy = _columns(spec, type_), _policy(spec.autoscaling)
        changed = [name for name, value in columns.items() if getattr(deployment, name) != value]
        changed_policy = [name for name, value in policy.items() if getattr(deployment.autoscaling, name) != value]
        old = list(deployment.gateways.all())
        moved = {one.key for one in old} != {one.key for one in gateways}
        rolls = any(name in ROLLING for name in changed) or allowed_zones(old) != allowed_zones(gateways)
        rolls = rolls or other_classes(deployment.autoscaling.capacity_classes, policy["capacity_classes"])
        if not (changed or changed_policy or moved):
            return deployment
        if "instance_type_id" in changed and deployment.replicas.filter(stopped_at__isnull=True).exists():
            raise FailedPrecondition(
                "DEPLOYMENT_RUNNING", f"deployments/{deployment.id}",
                "The instance type can change only while no replica runs: disable the deployment first.",
            )  # fmt: skip
        before = _plain(_spec_of(deployment)) | ({"revision": deployment.revision} if rolls else {})
        for name in changed:
            setattr(deployment, name, columns[name])
        deployment.gateways.set(gateways)
        AutoscalingPolicy.objects.filter(deployment=deployment).update(**policy)
        mark(deployment, changed, rolls=rolls)
        after = _plain(spec) | ({"revision": deployment.revision} if rolls else {})
        audit_record(actor=actor, action="deployment.update", obj_type="Deployment", obj_id=str(deployment.id),
                     obj_name=deployment.name, before=before, after=after, organization=organization)  # fmt: skip
        _tell(organization)
    return deployment_get(organization, deployment.id)


def autoscaling_update(
    *,
    actor: Actor,
    deployment_id: uuid.UUID,
    block: Autoscaling,
    headroom: dict[str, Any] | None = None,
    seen_at: datetime | None = None,
) -> Deployment:
    """Change the autoscaling block and, when given, Headroom's own settings; the deployment stays READY (R9) unless its
    classes change, which rolls its replicas (R10).

    `seen_at` is the `updated_at` that the editor saw: somebody else's change since then is a FailedPrecondition.
    """
    actor.require_write()
    organization = actor.require_organization()
    violations = validate_autoscaling(block)
    if violations:
        raise InvalidArgument(violations)
    with transaction.atomic():
        deployment = deployment_locked(organization, deployment_id)
        if seen_at is not None and deployment.updated_at != seen_at:
            raise FailedPrecondition(
                "CHANGED_MEANWHILE", f"deployments/{deployment.id}",
                f"{deployment.name} was changed at {deployment.updated_at:%Y-%m-%d %H:%M:%S} UTC; look at it again, then save.",
            )  # fmt: skip
        new = _policy(block) | (headroom or {})
        policy = deployment.autoscaling
        changed = [name for name, value in new.items() if getattr(policy, name) != value]
        if not changed:
            return deployment
        rolls = other_classes(policy.capacity_classes, new["capacity_classes"])
        before = {name: _jsonable(getattr(policy, name)) for name in changed}
        before |= {"revision": deployment.revision} if rolls else {}
        AutoscalingPolicy.objects.filter(deployment=deployment).update(**new)
        mark(deployment, [], rolls=rolls)
        after = {name: _jsonable(new[name]) for name in changed} | ({"revision": deployment.revision} if rolls else {})
        audit_record(actor=actor, action="deployment.autoscaling", obj_type="Deployment", obj_id=str(deployment.id),
                     obj_name=deployment.name, before=before, after=after, organization=organization)  # fmt: skip
        _tell(organization)
    return deployment_get(organization, deployment.id)


def deployment_set_disabled(*, actor: Actor, deployment_id: uuid.UUID, disabled: bool) -> Deployment:
    """Tear the deployment down, or bring it back."""
    actor.require_write()
    organization = actor.require_organization()
    with transaction.atomic():
        deployment = deployment_locked(organization, deployment_id)
        if deployment.disabled == disabled:
            return deployment
        deployment.disabled = disabled
        mark(deployment, ["disabled"], rolls=False)
        audit_record(actor=actor, action="deployment.disable" if disabled else "deployment.enable",
                     obj_type="Deployment", obj_id=str(deployment.id), obj_name=deployment.name,
                     before={"disabled": not disabled}, after={"disabled": disabled},
                     organization=organization)  # fmt: skip
        _tell(organization)
    return deployment_get(organization, deployment.id)


def deployment_delete(*, actor: Actor, deployment_id: uuid.UUID) -> Deployment:
    """Stop every replica, then the row goes. While it is DELETING the same call answers with the object again."""
    actor.require_write()
    organization = actor.require_organization()
    with transaction.atomic():
        deployment = deployment_locked(organization, deployment_id, deleting=True)
        if deployment.status == Status.DELETING:
            return deployment
        deployment.status, deployment.updated_at = Status.DELETING, clock.now()
        deployment.save(update_fields=["status", "updated_at"])
        audit_record(actor=actor, action="deployment.delete", obj_type="Deployment", obj_id=str(deployment.id),
                     obj_name=deployment.name, before={**_plain(_spec_of(deployment)), "key": deployment.key},
                     organization=organization)  # fmt: skip  # records of the loop name it by its key
        _tell(organization)
    return deployment_get(organization, deployment.id)


def deployments_settle(*, facts: dict[int, Facts], now: datetime) -> int:
    """The loop's step: write statuses that changed, remove deleted deployments that hold nothing any more.

    `facts` by deployment key, as the pass saw them; a row that was changed meanwhile is left for the next pass.
    """
    written = 0
    for deployment in Deployment.objects.filter(key__in=facts):
        fact = facts[deployment.key]
        if deployment.status == Status.DELETING and fact.live == 0:
            written += deployment_remove(deployment)
        elif deployment.status == fact.status:
            written += _write_status(deployment, fact, now)
    return written


def deployment_remove(deployment: Deployment) -> int:
    """The row of a deleted deployment and its history go, once no replica holds GPUs."""
    with transaction.atomic():
        row = Deployment.objects.select_for_update().filter(key=deployment.key, status=Status.DELETING).first()
        if row is None or row.replicas.filter(placements__isnull=False).exists():
            return 0
        row.replicas.all().delete()
        row.delete()
        publish("deployments", [deployment.organization_id])
    return 1


def _write_status(deployment: Deployment, facts: Facts, now: datetime) -> int:
    """Store status and conditions where they changed. A message alone (a count of replicas) is no update of the
    deployment: editors and `updatedAfter` would see one with every replica."""
    status, conditions = deployment_status(facts, now)
    if status == deployment.status and _said(conditions, messages=True) == _said(deployment.conditions, messages=True):
        return 0
    told = status != deployment.status or _said(conditions, messages=False) != _said(
        deployment.conditions, messages=False
    )
    same = Deployment.objects.filter(key=deployment.key, status=deployment.status, updated_at=deployment.updated_at)
    return same.update(
        status=status,
        conditions=conditions,
        updated_at=now if told else deployment.updated_at,
        ever_ready=deployment.ever_ready or (status == Status.READY and not deployment.disabled),
    )


def _said(conditions: Sequence[Condition], *, messages: bool) -> list[tuple[str, ...]]:
    return [(one["type"], one["status"], one["reason"], one["message"] if messages else "") for one in conditions]


def _gateways_lock(organization: Organization, spec: DeploymentSpec) -> None:
    """Hold the gateways that the spec names, so that their zones stay what the change was judged by; before the
    deployment, as a change of a gateway does."""
    ids = [id for text in spec.gateway_ids if (id := parse_uuid(text))]
    found = Gateway.objects.select_for_update(no_key=True).filter(organization=organization, id__in=ids)
    list(found.order_by("key").values_list("key"))


def _resolved(organization: Organization, spec: DeploymentSpec) -> tuple[list[Gateway], InstanceType]:
    """Gateways and instance type that a valid spec names; InvalidArgument with every field that names none."""
    violations = validate_deployment(spec)
    violations += (
        validate_runtime(spec.engine, spec.version, dict(spec.engine_config or {}), dict(spec.engine_env or {}))
        if spec.engine
        else []
    )
    gateways = []
    for place, text in enumerate(spec.gateway_ids):
        id = parse_uuid(text)
        known = Gateway.objects.filter(organization=organization).exclude(status=Status.DELETING)
        found = known.filter(id=id).first() if id else None
        if found is None:
            violations.append(FieldViolation(f"gateway_ids[{place}]", f"there is no gateway {text!r}"))
        else:
            gateways.append(found)
    if violations:
        raise InvalidArgument(violations)
    allowed = allowed_zones(gateways)
    if not allowed:
        raise InvalidArgument.of("gateway_ids", "these gateways have no zone in common")
    there = types_in(allowed)
    type_ = next((one for one in there if one.name == spec.instance_type.lower()), None)
    if type_ is None:
        names = ", ".join(one.name for one in there)
        text = f"{spec.instance_type!r} is not offered in {', '.join(sorted(allowed))}; there are {names}"
        raise InvalidArgument.of("resources.instance_type", text)
    return gateways, type_


def allowed_zones(gateways: Sequence[Gateway]) -> set[str]:
    return common_zones([gateway.sent_zones for gateway in gateways], all_zones())


def _columns(spec: DeploymentSpec, type_: InstanceType) -> dict[str, Any]:
    return {
        "sent_gateway_ids": list(spec.gateway_ids),
        "engine": spec.engine,
        "engine_version": spec.version,
        "engine_config": dict(spec.engine_config) if spec.engine_config is not None else None,
        "engine_env": dict(spec.engine_env) if spec.engine_env is not None else None,
        "instance_type_id": type_.key,
        "sent_instance_type": spec.instance_type,
        "gpu_count": spec.gpu_count,
        "model_name": spec.model_name,
        "model_bucket": spec.model_bucket,
        "model_path": spec.model_path,
        "traffic_weight": spec.weight,
        "disabled": spec.disabled,
    }


def _policy(block: Autoscaling) -> dict[str, Any]:
    return {"min": block.min, "max": block.max, "priority": block.priority or None,
            "concurrency": block.concurrency or None, "capacity_classes": list(block.capacity_classes)}  # fmt: skip


def _spec_of(row: Deployment) -> DeploymentSpec:
    block = row.autoscaling
    return DeploymentSpec(
        name=row.name, gateway_ids=tuple(row.sent_gateway_ids), engine=row.engine, version=row.engine_version,
        engine_config=row.engine_config, engine_env=row.engine_env, instance_type=row.sent_instance_type,
        gpu_count=row.gpu_count, model_name=row.model_name, model_bucket=row.model_bucket, model_path=row.model_path,
        autoscaling=Autoscaling(block.min, block.max, block.priority, block.concurrency, tuple(block.capacity_classes)),
        weight=row.traffic_weight, disabled=row.disabled,
    )  # fmt: skip


def _plain(spec: DeploymentSpec) -> dict[str, Any]:
    return asdict(spec)


def _jsonable(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str | list | dict) else str(value)


def _tell(organization: Organization) -> None:
    publish("deployments", [organization.key])
    wake_on_commit("deployments.tasks.scale", "control")
