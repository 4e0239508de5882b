"""Gateways: created, updated, deleted. The scaling loop's pass makes them READY."""

import uuid
from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction

from claims.core.conditions import TRUE, Condition, timestamp
from claims.core.states import Status
from console.common import clock
from console.common.errors import AlreadyExists, FailedPrecondition, FieldViolation, InvalidArgument, NotFound
from console.common.ids import new_id
from console.common.notify import publish
from console.common.wake import wake_on_commit
from console.organizations.actors import Actor
from console.organizations.models import Organization
from console.organizations.services import audit_record
from deployments.core.rules import GatewaySpec, validate_gateway
from deployments.models import Deployment, Gateway
from deployments.selectors import gateway_get
from deployments.services.revisions import gateway_zones_changed
from deployments.zones import all_zones, common_zones, types_in


def gateway_create(
    *,
    actor: Actor,
    organization: Organization,
    spec: GatewaySpec,
    id: uuid.UUID | None = None,
) -> Gateway:
    """A new entry point; answers CREATING. Names are unique in the organization."""
    actor.require_write()
    _require(spec)
    with transaction.atomic():
        now, chosen = clock.now(), id or new_id()
        gateway = Gateway(
            id=chosen, organization=organization, name=spec.name, created_at=now, updated_at=now,
            endpoints=endpoints_of(spec.name, organization), **_columns(spec),
        )  # fmt: skip
        insert(gateway, "Gateway", spec.name)
        audit_record(actor=actor, action="gateway.create", obj_type="Gateway", obj_id=str(gateway.id),
                     obj_name=gateway.name, after=described(spec), organization=organization)  # fmt: skip
        _tell(organization)
    return gateway


def gateway_update(*, actor: Actor, gateway_id: uuid.UUID, spec: GatewaySpec) -> Gateway:
    """Replace the spec. Its deployments must still have a zone that offers their type."""
    actor.require_write()
    organization = actor.require_organization()
    _require(spec)
    with transaction.atomic():
        gateway = _locked(organization, gateway_id)
        if gateway.status == Status.DELETING:
            raise NotFound("Gateway", gateway_id)
        if spec.name != gateway.name:
            raise InvalidArgument.of("name", f"cannot change; the gateway is {gateway.name!r}")
        columns = _columns(spec)
        if spec.endpoint_configuration is None:  # what is stored stays (API.md, rule 3)
            columns.pop("endpoint_configuration")
        if all(getattr(gateway, name) == value for name, value in columns.items()):
            return gateway
        _refuse_stranding(gateway, spec.zones)
        before = described(_spec_of(gateway))
        gateway_zones_changed(actor=actor, gateway=gateway, before=gateway.sent_zones, after=spec.zones)
        for name, value in columns.items():
            setattr(gateway, name, value)
        now = clock.now()
        gateway.updated_at = now
        gateway.status = gateway.status if gateway.status == Status.CREATING else Status.UPDATING
        gateway.save(update_fields=[*columns, "updated_at", "status"])
        audit_record(actor=actor, action="gateway.update", obj_type="Gateway", obj_id=str(gateway.id),
                     obj_name=gateway.name, before=before, after=described(_spec_of(gateway)),
                     organization=organization)  # fmt: skip
        _tell(organization)
    return gateway


def gateway_delete(*, actor: Actor, gateway_id: uuid.UUID) -> Gateway:
    """Remove a gateway that no deployment uses; one whose last deployment is going waits for it."""
    actor.require_write()
    organization = actor.require_organization()
    with transaction.atomic():
        gateway = _locked(organization, gateway_id)
        users = gateway.deployments.exclude(status=Status.DELETING).order_by("name").values_list("name", flat=True)
        names = list(users)
        if names:
            raise FailedPrecondition(
                "GATEWAY_IN_USE", f"gateways/{gateway.id}",
                f"Gateway {gateway.name} is used by {', '.join(names[:5])}{' and others' if len(names) > 5 else ''}; "
                "delete or move these deployments first.",
            )  # fmt: skip
        if gateway.status != Status.DELETING:
            now = clock.now()
            gateway.status, gateway.updated_at = Status.DELETING, now
            gateway.save(update_fields=["status", "updated_at"])
            audit_record(actor=actor, action="gateway.delete", obj_type="Gateway", obj_id=str(gateway.id),
                         obj_name=gateway.name, before=described(_spec_of(gateway)), organization=organization)  # fmt: skip
        _tell(organization)
    return gateway


def gateways_settle() -> int:
    """The loop's step: new and changed gateways become READY, deleted ones without deployments go."""
    now = clock.now()
    gone, _ = Gateway.objects.filter(status=Status.DELETING, deployments__isnull=True).delete()
    written = 0
    for gateway in Gateway.objects.filter(status__in=[Status.CREATING, Status.UPDATING]):
        ready: Condition = {
            "type": "Ready", "status": TRUE, "lastUpdateTime": timestamp(now), "reason": "EndpointsReady",
            "message": "The gateway answers at its endpoints", "zone": sorted(gateway_zones(gateway))[0],
        }  # fmt: skip
        same = Gateway.objects.filter(key=gateway.key, updated_at=gateway.updated_at)
        written += same.update(status=Status.READY, conditions=[ready], updated_at=now)
    return gone + written


def gateway_zones(gateway: Gateway) -> set[str]:
    return common_zones([gateway.sent_zones], all_zones())


def endpoints_of(name: str, organization: Organization) -> list[str]:
    return [f"https://{name.lower()}-{organization.id}.inference.internal"]


def described(spec: GatewaySpec) -> dict[str, Any]:
    return {"name": spec.name, "zones": list(spec.zones), "auth": _plain(spec.auth), "routing": _plain(spec.routing),
            "endpoint_configuration": spec.endpoint_configuration}  # fmt: skip


def _spec_of(gateway: Gateway) -> GatewaySpec:
    return GatewaySpec(gateway.name, tuple(gateway.sent_zones), gateway.auth, gateway.routing,
                       gateway.endpoint_configuration)  # fmt: skip


def insert(row: Gateway | Deployment, type_name: str, name: str) -> None:
    """Store a new row, turning the database's word on uniqueness into ours."""
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError as error:
        if "name_once" in str(error):
            raise AlreadyExists(type_name, name, "name") from error
        raise AlreadyExists(type_name, row.id) from error


def _columns(spec: GatewaySpec) -> dict[str, Any]:
    return {
        "sent_zones": list(spec.zones),
        "auth": _plain(spec.auth),
        "routing": _plain(spec.routing),
        "endpoint_configuration": dict(spec.endpoint_configuration)
        if spec.endpoint_configuration is not None
        else None,
    }


def _plain(members: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: dict(value) for name, value in members.items()}


def _require(spec: GatewaySpec) -> None:
    violations = validate_gateway(spec)
    if not violations:
        known = set(all_zones())
        violations = [
            FieldViolation(f"zones[{place}]", f"{zone!r} is not in the catalogue; there are {', '.join(sorted(known))}")
            for place, zone in enumerate(spec.zones)
            if zone.upper() not in known
        ]
    if violations:
        raise InvalidArgument(violations)


def _refuse_stranding(gateway: Gateway, zones: tuple[str, ...]) -> None:
    every = all_zones()
    for deployment in gateway.deployments.prefetch_related("gateways").select_related("instance_type"):
        others = [one.sent_zones for one in deployment.gateways.all() if one.key != gateway.key]
        left = common_zones([*others, zones], every)
        if deployment.instance_type not in types_in(left):
            text = f"deployment {deployment.name} needs {deployment.instance_type}, which none of these zones offers"
            raise InvalidArgument.of("zones", text)


def _locked(organization: Organization, gateway_id: uuid.UUID) -> Gateway:
    gateway_get(organization, gateway_id)
    return Gateway.objects.select_for_update(no_key=True).get(organization=organization, id=gateway_id)


def _tell(organization: Organization) -> None:
    publish("deployments", [organization.key])
    wake_on_commit("deployments.tasks.scale", "control")
