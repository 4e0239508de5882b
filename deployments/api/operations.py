"""The vendor's operations on gateways and deployments, for every protocol: a body in the API's JSON in, its answer in
JSON out."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from console.common.errors import FieldViolation, InvalidArgument
from console.common.ids import parse_uuid
from console.organizations.actors import Actor
from console.organizations.api.fields import checked
from console.organizations.api.ids import id_in_body
from console.organizations.idempotency import json_once
from deployments import services
from deployments.api.serializers import DeploymentSerializer, GatewaySerializer
from deployments.api.wire import (
    deployment_from,
    deployment_parameters_to,
    deployment_to,
    gateway_from,
    gateway_to,
)
from deployments.models import Deployment, Gateway
from deployments.selectors import deployment_shown, deployments_shown, gateway_get, gateways_of
from deployments.zones import all_zones, common_zones, types_in


def deployment_list(actor: Actor, updated_after: datetime | None, parent_gateway_id: str | None) -> dict[str, Any]:
    gateway = parse_uuid(parent_gateway_id) if parent_gateway_id else None
    if parent_gateway_id and gateway is None:
        raise InvalidArgument.of("parent_gateway_id", "value must be a valid UUID")
    found = deployments_shown(actor.require_organization(), after=updated_after, gateway=gateway)
    return {"items": [deployment_to(row) for row in found]}


def deployment_read(actor: Actor, id: uuid.UUID) -> dict[str, Any]:
    return one_deployment(deployment_shown(actor.require_organization(), id))


def deployment_create(actor: Actor, body: Any, key: str | None = None) -> dict[str, Any]:
    """`key` is an Idempotency-Key."""
    return json_once(actor, key, "CreateDeployment", body, lambda: _deployment_made(actor, body))


def _deployment_made(actor: Actor, body: Any) -> dict[str, Any]:
    data = checked(DeploymentSerializer(data=body))
    deployment = services.deployment_create(
        actor=actor,
        organization=actor.require_organization(),
        spec=deployment_from(data),
        id=id_in_body(data.get("id")),
    )
    return one_deployment(deployment)


def deployment_update(actor: Actor, id: uuid.UUID, body: Any) -> dict[str, Any]:
    spec = deployment_from(checked(DeploymentSerializer(data=body)))
    return one_deployment(services.deployment_update(actor=actor, deployment_id=id, spec=spec))


def deployment_delete(actor: Actor, id: uuid.UUID) -> dict[str, Any]:
    return one_deployment(services.deployment_delete(actor=actor, deployment_id=id))


def deployment_parameters(actor: Actor, gateway_ids: Sequence[str]) -> dict[str, Any]:
    organization = actor.require_organization()
    zones = []
    for place, text in enumerate(gateway_ids):
        id = parse_uuid(text)
        gateway = gateways_of(organization).filter(id=id).first() if id else None
        if gateway is None:
            raise InvalidArgument([FieldViolation(f"gateway_ids[{place}]", f"there is no gateway {text!r}")])
        zones.append(gateway.sent_zones)
    return deployment_parameters_to(gateway_ids, types_in(common_zones(zones, all_zones())))


def one_deployment(deployment: Deployment) -> dict[str, Any]:
    return {"deployment": deployment_to(deployment)}


def gateway_list(actor: Actor, updated_after: datetime | None) -> dict[str, Any]:
    found = gateways_of(actor.require_organization())
    if updated_after is not None:
        found = found.filter(updated_at__gt=updated_after)
    return {"items": [gateway_to(row) for row in found]}


def gateway_read(actor: Actor, id: uuid.UUID) -> dict[str, Any]:
    return one_gateway(gateway_get(actor.require_organization(), id))


def gateway_create(actor: Actor, body: Any, key: str | None = None) -> dict[str, Any]:
    """`key` is an Idempotency-Key."""
    return json_once(actor, key, "CreateGateway", body, lambda: _gateway_made(actor, body))


def _gateway_made(actor: Actor, body: Any) -> dict[str, Any]:
    data = checked(GatewaySerializer(data=body))
    gateway = services.gateway_create(
        actor=actor,
        organization=actor.require_organization(),
        spec=gateway_from(data),
        id=id_in_body(data.get("id")),
    )
    return one_gateway(gateway)


def gateway_update(actor: Actor, id: uuid.UUID, body: Any) -> dict[str, Any]:
    spec = gateway_from(checked(GatewaySerializer(data=body)))
    return one_gateway(services.gateway_update(actor=actor, gateway_id=id, spec=spec))


def gateway_delete(actor: Actor, id: uuid.UUID) -> dict[str, Any]:
    return one_gateway(services.gateway_delete(actor=actor, gateway_id=id))


def gateway_parameters() -> dict[str, Any]:
    return {"zones": all_zones()}


def one_gateway(gateway: Gateway) -> dict[str, Any]:
    return {"gateway": gateway_to(gateway)}
