"""The newest value of every series that an open page draws, for an event of the stream: made once for all browsers that
show the same. A series of `console.dashboard.series` names its value by `feed`."""

from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

from claims.selectors import claim_numbers, claims_of
from console.common import clock
from console.dashboard.live import last_sample, totals
from console.organizations.models import Organization
from deployments.selectors import briefs_of, deployments_of

FLEET = "fleet"
Values = dict[str, int]


def feed(holder: UUID | str, name: str) -> str:
    return f"{holder}.{name}"


def holder(asked: str) -> str:
    """What a page says that it shows, as `newest` takes it; nothing for what is no such thing."""
    if asked == FLEET:
        return asked
    try:
        return str(UUID(asked))
    except ValueError:
        return ""


def newest(organization_key: int, topic: str, shown: Collection[str]) -> dict[str, dict[str, Any]]:
    """For each of `shown` (an id, FLEET for all together, "" for a page without such charts) what its event says:
    `{"at": milliseconds, "values": {feed: number}}`; nothing for topics without charts."""
    made = {"deployments": deployment_values, "claims": claim_values}.get(topic)
    if made is None:
        return {one: {} for one in shown}
    organization, at = Organization.objects.get(key=organization_key), round(clock.now().timestamp() * 1000)
    values = made(organization, {one for one in shown if one})
    return {one: {"at": at, "values": values.get(one, {})} for one in shown}


def deployment_values(organization: Organization, shown: Collection[str]) -> dict[str, Values]:
    found: dict[str, Values] = {}
    if FLEET in shown:
        found[FLEET] = {feed(FLEET, name): number for name, number in totals(briefs_of(organization)).items()}
    chosen = list(deployments_of(organization).filter(id__in=ids(shown))) if ids(shown) else []
    sample = last_sample(chosen) if chosen else {}
    for one in chosen:
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
        found[str(one.id)] = {feed(one.id, name): number for name, number in numbers.items() if number is not None}
    return found


def claim_values(organization: Organization, shown: Collection[str]) -> dict[str, Values]:
    if not shown:
        return {}
    claims = claims_of(organization)
    numbers = {
        str(one.id): claim_numbers(one) for one in (claims if FLEET in shown else claims.filter(id__in=ids(shown)))
    }
    found = {id: _claimed(id, numbers[id]) for id in shown & numbers.keys()}
    if FLEET in shown:
        found[FLEET] = _claimed(FLEET, [sum(column) for column in zip(*numbers.values(), strict=True)] or (0, 0))
    return found


def _claimed(holder: str, numbers: Iterable[int]) -> Values:
    return {feed(holder, name): number for name, number in zip(("allocated", "pending"), numbers, strict=True)}


def ids(shown: Iterable[str]) -> list[str]:
    return [one for one in shown if one != FLEET]
