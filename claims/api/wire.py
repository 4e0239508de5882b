"""Between the API's JSON and the domain's values for claims. One mapping for every protocol."""

from collections.abc import Mapping, Sequence
from typing import Any

from claims.core.conditions import OF_THE_VENDOR, timestamp
from claims.core.rules import ClaimResources
from claims.labels import labels_of
from claims.models import CapacityClaim, Offering, UsageKind
from claims.selectors import claim_numbers, pending_changes

# Integers are accepted for enums; number 1 is reserved and means nothing (PROTO.md "Enums").
TYPE_NAMES = {2: "CAPACITY_TYPE_CUSTOMER", 3: "CAPACITY_TYPE_MANAGED"}


def capacity_type_name(value: str | int) -> str:
    """The enum's name for a name or a number; what is neither stays as it is and is refused by the rules."""
    number = int(value) if isinstance(value, int) or (value.isascii() and value.isdigit()) else None
    return str(value) if number is None else TYPE_NAMES.get(number, str(number))


def resources_from(data: Mapping[str, Any]) -> ClaimResources:
    return ClaimResources(
        instance_id=data["instance_id"],
        instance_count=data["instance_count"],
        capacity_type=capacity_type_name(data["capacity_type"]),
        zones=tuple(data["zones"]),
    )


def own_claim_to(claim: CapacityClaim) -> dict[str, Any]:
    """As Headroom's own API has it: with its labels and all conditions."""
    [found] = own_claims_to([claim])
    return found


def own_claims_to(claims: Sequence[CapacityClaim]) -> list[dict[str, Any]]:
    """Claims of one organization as Headroom's own API has them: one query."""
    named = labels_of(claims[0].organization, UsageKind.CLAIM, [one.id for one in claims]) if claims else {}
    found = []
    for one in claims:
        item = claim_to(one)
        item["status"]["conditions"] = one.conditions
        found.append({**item, "labels": named.get(one.id, {})})
    return found


def claim_to(claim: CapacityClaim) -> dict[str, Any]:
    """A claim read by `claims_of` or `claims_shown`; spec values exactly as they were sent, and no conditions but those
    that the vendor's API has."""
    allocated, pending = claim_numbers(claim)
    return {
        "spec": {
            "id": str(claim.id),
            "name": claim.name,
            "organizationId": claim.organization.id,
            "resources": {
                "instanceId": claim.sent_instance_id,
                "instanceCount": claim.target,
                "capacityType": claim.sent_capacity_type,
                "zones": [claim.sent_zone],
            },
        },
        "status": {
            "status": claim.status,
            "createdAt": timestamp(claim.created_at),
            "updatedAt": timestamp(claim.updated_at),
            "allocatedInstances": allocated,
            "pendingInstances": pending,
            "pendingChanges": [
                {"instanceCount": one.instance_count, "effectiveAt": timestamp(one.effective_at)}
                for one in pending_changes(claim)
            ],
            "conditions": [one for one in claim.conditions if one["type"] in OF_THE_VENDOR],
        },
    }


def parameters_to(offerings: Sequence[Offering]) -> dict[str, Any]:
    zones: dict[str, list[str]] = {}
    for offering in offerings:
        zones.setdefault(offering.zone.name, []).append(offering.instance_type.name)
    return {"zoneInstanceTypes": {zone: {"instanceIds": names} for zone, names in zones.items()}}
