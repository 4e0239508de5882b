"""What a claim request must be like, whatever the state of the system (API.md, PROTO.md "Capacity claims").

Used by every protocol; field paths are snake_case.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from console.common.errors import FieldViolation

NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
ZONE = re.compile(r"([A-Z]{2}-[A-Z]+-[0-9]+[A-Z]+|RNO2A)")
MAX_NAME, MAX_COUNT = 100, 2**32 - 1
# The two names of one thing, and the kind of claim they mean.
KINDS = {
    "CAPACITY_TYPE_SERVERLESS": "SERVERLESS",
    "CAPACITY_TYPE_MANAGED": "SERVERLESS",
    "CAPACITY_TYPE_CUSTOMER": "CUSTOMER",
}


@dataclass(frozen=True, slots=True)
class ClaimResources:
    """The `resources` block as it was sent; `instance_count` counts instances."""

    instance_id: str
    instance_count: int
    capacity_type: str
    zones: tuple[str, ...]

    @property
    def kind(self) -> str:
        return KINDS[self.capacity_type]


def validate_create(name: str, resources: ClaimResources) -> list[FieldViolation]:
    """Every violation, in order of the fields; an empty list is a request that may go on."""
    return validate_name(name) + validate_resources(resources)


def validate_name(name: str) -> list[FieldViolation]:
    if not name:
        return [FieldViolation("name", "value is required")]
    if len(name) > MAX_NAME:
        return [FieldViolation("name", f"value length must be at most {MAX_NAME} characters")]
    if not NAME.fullmatch(name):
        text = "must be lower-case letters, digits and hyphens, beginning and ending with a letter or digit"
        return [FieldViolation("name", text)]
    return []


def validate_resources(resources: ClaimResources) -> list[FieldViolation]:
    found = []
    if not resources.instance_id:
        found.append(FieldViolation("resources.instance_id", "value is required"))
    if not 1 <= resources.instance_count <= MAX_COUNT:
        text = f"must be from 1 to {MAX_COUNT}; it is {resources.instance_count}"
        found.append(FieldViolation("resources.instance_count", text))
    if resources.capacity_type not in KINDS:
        found.append(FieldViolation("resources.capacity_type", f"must be one of {', '.join(KINDS)}"))
    return found + validate_zones(resources.zones)


def validate_zones(zones: Sequence[str]) -> list[FieldViolation]:
    if len(zones) != 1:
        return [FieldViolation("resources.zones", f"must name exactly one zone; it names {len(zones)}")]
    if not ZONE.fullmatch(zones[0].upper()):
        return [FieldViolation("resources.zones[0]", f"{zones[0]!r} is not a zone, such as US-WEST-04A")]
    return []


def validate_unchanged(old: ClaimResources, new: ClaimResources) -> list[FieldViolation]:
    """Only the count of a claim can change (C2); letter case and the two names of SERVERLESS do not count."""
    found = []
    if new.instance_id.lower() != old.instance_id.lower():
        found.append(FieldViolation("resources.instance_id", f"cannot change; the claim has {old.instance_id}"))
    if new.kind != old.kind:
        found.append(FieldViolation("resources.capacity_type", f"cannot change; the claim has {old.capacity_type}"))
    if [zone.upper() for zone in new.zones] != [zone.upper() for zone in old.zones]:
        found.append(FieldViolation("resources.zones", f"cannot change; the claim has {', '.join(old.zones)}"))
    return found
