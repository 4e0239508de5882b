"""The newest value of every series that a page may draw, for an event of the stream: made once for an organization,
however many browsers look. A series of `console.dashboard.series` names its value by `feed`."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from claims.selectors import claim_numbers, claims_of
from console.common import clock
from console.dashboard.live import last_sample
from console.organizations.models import Organization
from deployments.selectors import deployments_of

FLEET = "fleet"
Values = dict[str, int]


def feed(holder: UUID | str, name: str) -> str:
    return f"{holder}.{name}"


def newest(organization_key: int, topic: str) -> dict[str, Any]:
    """`{"at": milliseconds, "values": {feed: number}}` of a topic; empty for topics without charts."""
    organization = Organization.objects.get(key=organization_key)
    made = {"deployments": deployment_values, "claims": claim_values}.get(topic)
    if made is None:
        return {}
    return {"at": round(clock.now().timestamp() * 1000), "values": made(organization)}


def deployment_values(organization: Organization) -> Values:
    deployments = list(deployments_of(organization))
    sample, values = last_sample(deployments), Values()
    for one in deployments:
        policy, now = one.autoscaling, sample.get(one.key)
        numbers: dict[str, int | None] = {
            "ready": one.ready,  # type: ignore[attr-defined]
            "starting": one.starting,  # type: ignore[attr-defined]
            "wanted": one.last_wanted,  # type: ignore[attr-defined]
            "min": policy.min,
            "max": policy.max,
            "queued": now.queued if now else None,
            "active": now.active if now else None,
        }
        values |= {feed(one.id, name): number for name, number in numbers.items() if number is not None}
    return values | summed(values, ("ready", "starting", "wanted", "queued", "active"))


def claim_values(organization: Organization) -> Values:
    values: Values = {}
    for claim in claims_of(organization):
        allocated, pending = claim_numbers(claim)
        values[feed(claim.id, "allocated")] = allocated
        values[feed(claim.id, "pending")] = pending
    return values | summed(values, ("allocated", "pending"))


def summed(values: Mapping[str, int], names: Iterable[str]) -> Values:
    """The same over the whole organization; 0 where nothing has such a value."""
    return {feed(FLEET, name): sum(number for key, number in values.items() if key.endswith("." + name))
            for name in names}  # fmt: skip
