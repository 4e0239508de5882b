"""What each procedure does: the same operations as REST, on the request as the API's JSON."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from protobuf import Message, message_to_json_value

from claims.api import operations as claims
from console.common.errors import InvalidArgument
from console.common.ids import parse_uuid
from console.organizations.actors import Actor
from deployments.api import operations as deployments

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A claim shows the name that it was created with over REST alone; here the older one is reserved (API.md).
OLDER, NEWER = "CAPACITY_TYPE_SERVERLESS", "CAPACITY_TYPE_MANAGED"

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One request: who asks, what for, and the Idempotency-Key that came with it."""

    actor: Actor
    asked: Any  # a message of the procedure's own type
    key: str | None = None

    @property
    def id(self) -> uuid.UUID:
        """The id of what the request is about; InvalidArgument where it is none."""
        found = parse_uuid(self.asked.id)
        if found is None:
            raise InvalidArgument.of("id", "value must be a valid UUID")
        return found

    @property
    def updated_after(self) -> datetime | None:
        """The filter of a list; InvalidArgument for a time that no calendar has."""
        after = self.asked.updated_after
        if after is None:
            return None
        try:
            return EPOCH + timedelta(seconds=after.seconds, microseconds=after.nanos // 1000)
        except OverflowError:
            raise InvalidArgument.of("updated_after", "must be a time from the years 1 to 9999") from None

    @property
    def body(self) -> dict[str, Any]:
        """The request as the API's JSON, with fields at their zero values, so that the rules see them."""
        return as_json(self.asked)

    @property
    def deployment(self) -> dict[str, Any]:
        """The body of a deployment: an empty map is one that was not sent, and the version is not left to choose."""
        body = self.body
        runtime = body.get("runtime", {"version": "missing, and the serializer says so"})
        if not runtime["version"]:
            raise InvalidArgument.of("runtime.version", "value is required")
        for name in ("engineConfig", "engineEnv"):
            if not runtime.get(name):
                runtime.pop(name, None)
        return body


def as_json(message: Message) -> dict[str, Any]:
    value: Any = message_to_json_value(message, always_emit_implicit=True)
    return dict(value)


def claims_of(answer: Answer) -> Answer:
    """The answer with the name of the capacity type that this protocol has."""
    for claim in answer["capacityClaims"] if "capacityClaims" in answer else [answer["capacityClaim"]]:
        resources = claim["spec"]["resources"]
        if resources["capacityType"] == OLDER:
            resources["capacityType"] = NEWER
    return answer


READS: Mapping[str, Callable[[Call], Answer]] = {
    "ListCapacityClaims": lambda call: claims_of(claims.claim_list(call.actor, call.updated_after)),
    "GetCapacityClaim": lambda call: claims_of(claims.claim_read(call.actor, call.id)),
    "GetCapacityClaimParameters": lambda call: claims.claim_parameters(),
    "ListDeployments": lambda call: deployments.deployment_list(
        call.actor, call.updated_after, call.asked.parent_gateway_id
    ),
    "GetDeployment": lambda call: deployments.deployment_read(call.actor, call.id),
    "GetDeploymentParameters": lambda call: deployments.deployment_parameters(call.actor, call.asked.gateway_ids),
    "ListGateways": lambda call: deployments.gateway_list(call.actor, call.updated_after),
    "GetGateway": lambda call: deployments.gateway_read(call.actor, call.id),
    "GetGatewayParameters": lambda call: deployments.gateway_parameters(),
}
WRITES: Mapping[str, Callable[[Call], Answer]] = {
    "CreateCapacityClaim": lambda call: claims_of(claims.claim_create(call.actor, call.body, call.key)),
    "UpdateCapacityClaim": lambda call: claims_of(claims.claim_update(call.actor, call.id, call.body)),
    "DeleteCapacityClaim": lambda call: claims_of(claims.claim_delete(call.actor, call.id)),
    "CreateDeployment": lambda call: deployments.deployment_create(call.actor, call.deployment, call.key),
    "UpdateDeployment": lambda call: deployments.deployment_update(call.actor, call.id, call.deployment),
    "DeleteDeployment": lambda call: deployments.deployment_delete(call.actor, call.id),
    "CreateGateway": lambda call: deployments.gateway_create(call.actor, call.body, call.key),
    "UpdateGateway": lambda call: deployments.gateway_update(call.actor, call.id, call.body),
    "DeleteGateway": lambda call: deployments.gateway_delete(call.actor, call.id),
}
