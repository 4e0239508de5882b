"""Between the API's JSON and the domain's values for gateways and deployments. One mapping for every protocol."""

from collections.abc import Mapping, Sequence
from typing import Any

from claims.core.conditions import timestamp
from claims.models import InstanceType
from deployments.core.rules import Autoscaling, DeploymentSpec, GatewaySpec
from deployments.engines import ENGINES
from deployments.models import Deployment, Gateway

CLASS_NAMES = {
    "1": "CAPACITY_CLASS_RESERVED",
    "2": "CAPACITY_CLASS_ON_DEMAND",
    "0": "CAPACITY_CLASS_UNSPECIFIED",
}
API_TYPES = {"1": "API_TYPE_OPENAI", "0": "API_TYPE_UNSPECIFIED"}
# The API's names of the two oneofs and of what is inside them, with the domain's.
MEMBERS = {
    "coreWeaveAuth": "core_weave_auth",
    "weightsAndBiasesAuth": "weights_and_biases_auth",
    "bodyBasedRouting": "body_based_routing",
    "headerBasedRouting": "header_based_routing",
    "pathBasedRouting": "path_based_routing",
}
INNER = {
    "apiKey": "api_key",
    "serverUrl": "server_url",
    "enableUsageReports": "enable_usage_reports",
    "enableRateLimiting": "enable_rate_limiting",
    "apiType": "api_type",
    "headerName": "header_name",
    "additionalDns": "additional_dns",
}
OUTER = {inner: outer for outer, inner in {**MEMBERS, **INNER}.items()}
WRITE_ONLY = {"api_key"}


def autoscaling_from(data: Mapping[str, Any]) -> Autoscaling:
    return Autoscaling(
        min=data["min"],
        max=data["max"],
        priority=data.get("priority") or None,
        concurrency=data.get("concurrency") or None,
        capacity_classes=tuple(CLASS_NAMES.get(one, one) for one in data.get("capacity_classes") or ()),
    )


def deployment_from(data: Mapping[str, Any]) -> DeploymentSpec:
    runtime, model = data["runtime"], data["model"]
    return DeploymentSpec(
        name=data["name"],
        gateway_ids=tuple(data["gateway_ids"]),
        engine=runtime["engine"],
        version=runtime.get("version") or "",
        engine_config=runtime.get("engine_config"),
        engine_env=runtime.get("engine_env"),
        instance_type=data["resources"]["instance_type"],
        gpu_count=data["resources"]["gpu_count"],
        model_name=model["name"],
        model_bucket=model["bucket"],
        model_path=model["path"],
        autoscaling=autoscaling_from(data["autoscaling"]),
        weight=data["traffic"].get("weight") or 0,
        disabled=bool(data.get("disabled")),
    )


def deployment_to(deployment: Deployment) -> dict[str, Any]:
    """Every spec value as it was sent; what was not sent stays out."""
    runtime: dict[str, Any] = {"engine": deployment.engine}
    if deployment.engine_version:
        runtime["version"] = deployment.engine_version
    if deployment.engine_config is not None:
        runtime["engineConfig"] = deployment.engine_config
    if deployment.engine_env is not None:
        runtime["engineEnv"] = deployment.engine_env
    return {
        "spec": {
            "id": str(deployment.id),
            "name": deployment.name,
            "organizationId": deployment.organization.id,
            "gatewayIds": deployment.sent_gateway_ids,
            "disabled": deployment.disabled,
            "runtime": runtime,
            "resources": {"instanceType": deployment.sent_instance_type, "gpuCount": deployment.gpu_count},
            "model": {
                "name": deployment.model_name,
                "bucket": deployment.model_bucket,
                "path": deployment.model_path,
            },
            "autoscaling": autoscaling_to(deployment),
            "traffic": {"weight": deployment.traffic_weight},
        },
        "status": status_to(deployment),
    }


def autoscaling_to(deployment: Deployment) -> dict[str, Any]:
    policy = deployment.autoscaling
    block: dict[str, Any] = {"min": policy.min, "max": policy.max}
    if policy.priority:
        block["priority"] = policy.priority
    if policy.concurrency:
        block["concurrency"] = policy.concurrency
    return block | {"capacityClasses": policy.capacity_classes}


def status_to(row: Deployment | Gateway) -> dict[str, Any]:
    return {
        "status": row.status,
        "createdAt": timestamp(row.created_at),
        "updatedAt": timestamp(row.updated_at),
        "conditions": row.conditions,
    }


def gateway_from(data: Mapping[str, Any]) -> GatewaySpec:
    """`data` is a checked body with the API's names; a member that was sent, even empty, is present."""
    members = {MEMBERS[name]: _inner(data[name]) for name in MEMBERS if data.get(name) is not None}
    configuration = data.get("endpointConfiguration")
    return GatewaySpec(
        name=data["name"],
        zones=tuple(data.get("zones") or ()),
        auth={name: value for name, value in members.items() if name.endswith("_auth")},
        routing={name: value for name, value in members.items() if name.endswith("_routing")},
        endpoint_configuration=_inner(configuration) if configuration is not None else None,
    )


def _inner(value: Mapping[str, Any]) -> dict[str, Any]:
    plain = {INNER[name]: inner for name, inner in value.items() if name in INNER}
    if "api_type" in plain:
        plain["api_type"] = API_TYPES.get(plain["api_type"], plain["api_type"])
    return plain


def gateway_to(gateway: Gateway) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "id": str(gateway.id),
        "name": gateway.name,
        "organizationId": gateway.organization.id,
        "zones": gateway.sent_zones,
    }
    for name, value in {**gateway.auth, **gateway.routing}.items():
        spec[OUTER[name]] = _outer(value)
    if gateway.endpoint_configuration is not None:
        spec["endpointConfiguration"] = _outer(gateway.endpoint_configuration)
    return {"spec": spec, "status": {**status_to(gateway), "endpoints": gateway.endpoints}}


def _outer(value: Mapping[str, Any]) -> dict[str, Any]:
    return {OUTER[name]: inner for name, inner in value.items() if name not in WRITE_ONLY}


def deployment_parameters_to(gateway_ids: Sequence[str], types: Sequence[InstanceType]) -> dict[str, Any]:
    return {
        "gatewayIds": list(gateway_ids),
        "runtimeParameters": {
            "runtimeVersions": {name: {"versions": list(engine.versions)} for name, engine in ENGINES.items()},
            "runtimeConfigOptions": {
                name: {"allowedKeys": list(engine.config_keys)} for name, engine in ENGINES.items()
            },
            "engineEnvOptions": {name: {"allowedNames": list(engine.env_names)} for name, engine in ENGINES.items()},
        },
        "resourceParameters": {"instanceTypes": [one.name for one in types]},
    }
