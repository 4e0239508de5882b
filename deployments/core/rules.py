"""What gateway and deployment requests must be like, whatever the state of the system (PROTO.md).

Used by every protocol. Field paths are snake_case; rules on a whole message come before those on its fields.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from console.common.errors import FieldViolation
from deployments.core import policy

HOST_LABEL = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?")
HOSTNAME = re.compile(r"(?=.{1,253}$)[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
                      r"(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*")  # fmt: skip
ZONE = re.compile(r"([A-Z]{2}-[A-Z]+-[0-9]+[A-Z]+|RNO2A)")
MODEL_NAME = re.compile(r"[a-zA-Z0-9._:/-]+")
CONFIG_KEY = re.compile(r"[A-Za-z0-9_.-]+")
ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ID = r"(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
SEMVER = re.compile(r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"
                    rf"(?:-{_ID}(?:\.{_ID})*)?(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?")  # fmt: skip
GPU_COUNTS = (1, 2, 4, 8, 16)
MAX_WEIGHT, MAX_PAIRS, MAX_KEY, MAX_VALUE, MAX_PATH = 1000, 100, 253, 1024, 1024
AUTHS = ("core_weave_auth", "weights_and_biases_auth")
ROUTINGS = ("body_based_routing", "header_based_routing", "path_based_routing")
CAPACITY_CLASSES = {"CAPACITY_CLASS_RESERVED": 1, "CAPACITY_CLASS_ON_DEMAND": 2}

Violations = list[FieldViolation]


@dataclass(frozen=True, slots=True)
class Autoscaling:
    """The `autoscaling` block; None (or 0, on the wire) is unset."""

    min: int
    max: int
    priority: int | None = None
    concurrency: int | None = None
    capacity_classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeploymentSpec:
    """A deployment as it was sent."""

    name: str
    gateway_ids: tuple[str, ...]
    engine: str
    version: str
    engine_config: Mapping[str, str] | None
    engine_env: Mapping[str, str] | None
    instance_type: str
    gpu_count: int
    model_name: str
    model_bucket: str
    model_path: str
    autoscaling: Autoscaling
    weight: int = 0
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class GatewaySpec:
    """A gateway as it was sent; `auth` and `routing` hold the members that were present, snake_case."""

    name: str
    zones: tuple[str, ...] = ()
    auth: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    routing: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    endpoint_configuration: Mapping[str, Any] | None = None


def validate_deployment(spec: DeploymentSpec) -> Violations:
    """Every violation of a deployment; an empty list is a request that may go on."""
    found = host_label("name", spec.name)
    if not spec.gateway_ids:
        found.append(FieldViolation("gateway_ids", "value must contain at least 1 item(s)"))
    found += unique("gateway_ids", [one.lower() for one in spec.gateway_ids])
    found += _runtime(spec)
    if not spec.instance_type:
        found.append(FieldViolation("resources.instance_type", "value is required"))
    if spec.gpu_count not in GPU_COUNTS:
        text = f"value must be in list [{', '.join(map(str, GPU_COUNTS))}]; it is {spec.gpu_count}"
        found.append(FieldViolation("resources.gpu_count", text))
    found += _model(spec) + validate_autoscaling(spec.autoscaling)
    if spec.weight > MAX_WEIGHT:
        text = f"value must be greater than or equal to 0 and less than or equal to {MAX_WEIGHT}"
        found.append(FieldViolation("traffic.weight", text))
    return found


def validate_autoscaling(block: Autoscaling) -> Violations:
    classes = [CAPACITY_CLASSES.get(one, 0 if one.endswith("UNSPECIFIED") else -1) for one in block.capacity_classes]
    found = policy.validate(block.min, block.max, block.priority, block.concurrency, classes)
    return [FieldViolation(path, text) for path, text in found]


def _runtime(spec: DeploymentSpec) -> Violations:
    found = []
    if not spec.engine:
        found.append(FieldViolation("runtime.engine", "value is required"))
    if spec.version and not (SEMVER.fullmatch(spec.version) and len(spec.version) <= 100):
        found.append(FieldViolation("runtime.version", f"{spec.version!r} is not a semantic version"))
    found += _pairs("runtime.engine_config", spec.engine_config or {}, CONFIG_KEY)
    return found + _pairs("runtime.engine_env", spec.engine_env or {}, ENV_NAME)


def _pairs(path: str, pairs: Mapping[str, str], form: re.Pattern[str]) -> Violations:
    found = []
    if len(pairs) > MAX_PAIRS:
        found.append(FieldViolation(path, f"map must be at most {MAX_PAIRS} entries"))
    for key, value in pairs.items():
        if not form.fullmatch(key) or len(key) > MAX_KEY:
            found.append(FieldViolation(f'{path}["{key[:50]}"]', f"key must match `^{form.pattern}$`, up to {MAX_KEY}"))
        elif len(value) > MAX_VALUE:
            found.append(FieldViolation(f'{path}["{key}"]', f"value length must be at most {MAX_VALUE} characters"))
        elif "$(" in value:
            found.append(FieldViolation(f'{path}["{key}"]', "value contains substring `$(`"))
    return found


def _model(spec: DeploymentSpec) -> Violations:
    found = []
    if not 4 <= len(spec.model_name) <= 63:
        found.append(FieldViolation("model.name", "value length must be from 4 to 63 characters"))
    elif not MODEL_NAME.fullmatch(spec.model_name):
        found.append(FieldViolation("model.name", f"value does not match regex pattern `^{MODEL_NAME.pattern}$`"))
    found += host_label("model.bucket", spec.model_bucket)
    path = spec.model_path
    if not path:
        found.append(FieldViolation("model.path", "value is required"))
    elif len(path) > MAX_PATH:
        found.append(FieldViolation("model.path", f"value length must be at most {MAX_PATH} characters"))
    elif ".." in path.split("/"):
        found.append(FieldViolation("model.path", "must not contain path traversal (..) segments"))
    return found


def validate_gateway(spec: GatewaySpec) -> Violations:
    """Every violation of a gateway."""
    found = _exactly_one("auth", spec.auth) + _exactly_one("routing", spec.routing)
    found += host_label("name", spec.name)
    found += unique("zones", [zone.upper() for zone in spec.zones])
    for place, zone in enumerate(spec.zones):
        if not ZONE.fullmatch(zone.upper()):
            found.append(FieldViolation(f"zones[{place}]", f"{zone!r} is not a zone, such as US-WEST-04A"))
    return found + _auth(spec.auth) + _routing(spec.routing) + _endpoints(spec.endpoint_configuration)


def _exactly_one(path: str, members: Mapping[str, Any]) -> Violations:
    if len(members) == 1:
        return []
    return [FieldViolation(path, f"exactly one field is required in oneof; {len(members)} are set")]


def _auth(auth: Mapping[str, Mapping[str, Any]]) -> Violations:
    wandb = auth.get("weights_and_biases_auth", {})
    if wandb.get("api_key") or wandb.get("server_url"):
        text = "Custom W&B Instance support is not available yet, contact support if you are interested in this feature"
        return [FieldViolation("weights_and_biases_auth", text)]
    return []


def _routing(routing: Mapping[str, Mapping[str, Any]]) -> Violations:
    body, header = routing.get("body_based_routing"), routing.get("header_based_routing")
    if body is not None and body.get("api_type") != "API_TYPE_OPENAI":
        return [FieldViolation("body_based_routing.api_type", "must be API_TYPE_OPENAI")]
    if header is not None and not 1 <= len(str(header.get("header_name") or "")) <= 100:
        return [FieldViolation("header_based_routing.header_name", "value length must be from 1 to 100 characters")]
    return []


def _endpoints(configuration: Mapping[str, Any] | None) -> Violations:
    names: Sequence[str] = (configuration or {}).get("additional_dns") or []
    found = unique("endpoint_configuration.additional_dns", names)
    for place, name in enumerate(names):
        if not HOSTNAME.fullmatch(name):
            found.append(
                FieldViolation(f"endpoint_configuration.additional_dns[{place}]", "value must be a valid hostname")
            )
    return found


def host_label(path: str, value: str) -> Violations:
    if HOST_LABEL.fullmatch(value):
        return []
    return [FieldViolation(path, "must be a hostname label: 1 to 63 letters, digits and hyphens, no hyphen at an end")]


def unique(path: str, values: Sequence[str]) -> Violations:
    return [] if len(set(values)) == len(values) else [FieldViolation(path, "repeated value must contain unique items")]
