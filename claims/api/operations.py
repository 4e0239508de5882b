"""The vendor's operations on capacity claims, for every protocol: a body in the API's JSON in, its answer in JSON out."""

import uuid
from datetime import datetime
from typing import Any

from claims import services
from claims.api.serializers import ClaimCreateSerializer, ClaimUpdateSerializer
from claims.api.wire import claim_to, parameters_to, resources_from
from claims.models import CapacityClaim
from claims.selectors import claim_shown, claims_shown, offerings_claimable
from console.organizations.actors import Actor
from console.organizations.api.fields import checked
from console.organizations.api.ids import id_in_body
from console.organizations.idempotency import json_once


def claim_list(actor: Actor, updated_after: datetime | None) -> dict[str, Any]:
    claims = claims_shown(actor.require_organization(), after=updated_after)
    return {"capacityClaims": [claim_to(claim) for claim in claims]}


def claim_read(actor: Actor, id: uuid.UUID) -> dict[str, Any]:
    return one(claim_shown(actor.require_organization(), id))


def claim_create(actor: Actor, body: Any, key: str | None = None, *, distinct: bool = False) -> dict[str, Any]:
    """`key` is an Idempotency-Key; `distinct` says that the caller has seen to it."""

    def make() -> dict[str, Any]:
        data = checked(ClaimCreateSerializer(data=body))
        return one(claim_made(actor, data, distinct or key is not None))

    return json_once(actor, key, "CreateCapacityClaim", body, make)


def claim_made(actor: Actor, data: dict[str, Any], distinct: bool) -> CapacityClaim:
    """The claim that a checked `ClaimCreateSerializer` asks for."""
    return services.claim_create(
        actor=actor,
        organization=actor.require_organization(),
        name=data["name"],
        resources=resources_from(data["resources"]),
        id=id_in_body(data.get("id")),
        distinct=distinct,
    )


def claim_update(actor: Actor, id: uuid.UUID, body: Any) -> dict[str, Any]:
    data = checked(ClaimUpdateSerializer(data=body))
    return one(services.claim_resize(actor=actor, claim_id=id, resources=resources_from(data["resources"])))


def claim_delete(actor: Actor, id: uuid.UUID) -> dict[str, Any]:
    return one(services.claim_delete(actor=actor, claim_id=id))


def claim_parameters() -> dict[str, Any]:
    return parameters_to(offerings_claimable())


def one(claim: CapacityClaim) -> dict[str, Any]:
    return {"capacityClaim": claim_to(claim)}
