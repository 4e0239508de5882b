"""From rows to a forecast and back to names. One snapshot of the shard, then a few look-ups of names."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np
from django.db.models import Count

from claims.holdings import holdings_of
from claims.models import ClaimKind, Instance, InstanceType
from claims.selectors import POOL_LIVE
from deployments.core.reasons import Reason, sentence
from deployments.core.snapshot import Snapshot
from deployments.core.states import ReplicaState
from deployments.impact.change import Change, Forecast, Move, Stop, Waiting
from deployments.impact.forecast import foresee
from deployments.loop.snapshot import Shard, read_shard
from deployments.loop.tick import PARAMS
from deployments.models import CapacityClass, Deployment


@dataclass(frozen=True, slots=True)
class Who:
    """A deployment, by name."""

    id: UUID
    name: str
    organization_key: int
    organization: str


@dataclass(frozen=True, slots=True)
class Moved:
    """A replica that will be replaced: from the instance `source` to the instances `to`; it goes at `at`."""

    replica: int
    who: Who
    gpus: int
    source: str
    to: tuple[str, ...]
    zone: str
    capacity_class: CapacityClass
    at: datetime


@dataclass(frozen=True, slots=True)
class Stopped:
    """A replica that will go before another stands in for it: it starts anew on `to`, or its deployment is short of it
    (`waits`), or it is no longer needed."""

    replica: int
    who: Who
    gpus: int
    source: str
    at: datetime
    to: tuple[str, ...]
    waits: bool
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Impact:
    """What a change does to replicas. `short`: deployments that end with so many replicas fewer."""

    moves: Sequence[Moved] = ()
    stops: Sequence[Stopped] = ()
    short: Sequence[tuple[Who, int]] = ()
    empty_at: datetime | None = None  # when nothing runs any more on what is given up
    complete: bool = True

    def seen_by(self, organization_key: int) -> "Impact":
        """The part of it that is one organization's."""
        return replace(
            self, moves=[one for one in self.moves if one.who.organization_key == organization_key],
            stops=[one for one in self.stops if one.who.organization_key == organization_key],
            short=[one for one in self.short if one[0].organization_key == organization_key],
        )  # fmt: skip


def impact_of(
    instance_type: InstanceType, change_of: Callable[[Shard], Change], now: datetime, later: timedelta = timedelta()
) -> Impact:
    """What a change would do that is made now; times are given as if it were made so much `later`."""
    shard = read_shard(instance_type, PARAMS, now)
    found = foresee(_without_leaving(shard), PARAMS, now.timestamp(), change_of(shard))
    return _named(found, later)


def rows_of(shard: Shard, instance_keys: Sequence[int]) -> dict[int, int]:
    """Row of each of the instances (keys) that the shard has; those that have not joined yet are left out."""
    places = {key: row for row, key in enumerate(shard.instance_keys.tolist())}
    return {key: places[key] for key in instance_keys if key in places}


def standing(shard: Shard, instance_type: InstanceType, extra: Mapping[int, int] | None = None) -> Change:
    """What waits for instances whatever is changed: claims (C4), pools that are to be smaller (C13), and what is kept
    for them. `extra`, by key of the claim: instances that it lacks because of the change."""
    kept = Instance.objects.filter(
        offering__instance_type=instance_type, offering__withdrawn_at__isnull=True, kept=True, work=""
    )
    return Change(
        waiting=_waiting_claims(shard, instance_type, extra or {}), shrinking=_shrinking_pools(shard, instance_type),
        kept=list(rows_of(shard, list(kept.values_list("key", flat=True))).values()),
    )  # fmt: skip


def _waiting_claims(shard: Shard, instance_type: InstanceType, extra: Mapping[int, int]) -> list[Waiting]:
    """SERVERLESS claims that lack instances, in the order in which they are served (C4)."""
    rows = {key: row for row, key in enumerate(shard.snapshot.offerings.key.tolist())}
    found = []
    for offering in instance_type.offerings.order_by("key"):
        for holding in holdings_of(offering):
            claim, more = holding.claim, extra.get(holding.claim.key, 0)
            lacks = holding.missing or (more and not holding.deleting)
            if claim.kind == ClaimKind.SERVERLESS and lacks:
                found.append(Waiting(claim.key, claim.organization_id, rows[offering.key], holding.missing, more))
    return found


def _shrinking_pools(shard: Shard, instance_type: InstanceType) -> list[tuple[int, int]]:
    """Offerings (rows) whose pool is to be smaller than it is, and by how many instances (C13)."""
    rows = {key: row for row, key in enumerate(shard.snapshot.offerings.key.tolist())}
    pools = instance_type.offerings.annotate(n=Count("instances", filter=POOL_LIVE)).order_by("key")
    return [(rows[one.key], one.n - one.pool_wanted) for one in pools if one.n > one.pool_wanted]


def _without_leaving(shard: Shard) -> Snapshot:
    """The snapshot in which replicas that go whatever is planned are on their way out already."""
    replicas = shard.snapshot.replicas
    going = np.isin(replicas.key, list(shard.leaving))
    state = np.where(going, ReplicaState.DRAINING, replicas.state).astype(replicas.state.dtype)
    return replace(shard.snapshot, replicas=replace(replicas, state=state))


def _named(found: Forecast, later: timedelta) -> Impact:
    touched: list[Move | Stop] = [*found.moves, *found.stops]
    deployments = {one.deployment for one in touched} | set(found.short)
    who = {one.key: Who(one.id, one.name, one.organization_id, one.organization.name)
           for one in Deployment.objects.filter(key__in=deployments).select_related("organization")}  # fmt: skip
    keys = {one.source for one in touched} | {key for one in touched for key in one.to}
    instances = Instance.objects.filter(key__in=keys).select_related("offering__zone").in_bulk()
    return Impact(
        [_moved(one, who, instances, later) for one in found.moves if one.deployment in who],
        [_stopped(one, who, instances, later) for one in found.stops if one.deployment in who],
        sorted(((who[key], count) for key, count in found.short.items() if key in who), key=lambda one: one[0].name),
        _time(max(found.emptied.values()), later) if found.emptied else None,
        found.complete,
    )  # fmt: skip


def _moved(one: Move, who: Mapping[int, Who], instances: Mapping[int, Instance], later: timedelta) -> Moved:
    to = [instances[key] for key in one.to]
    return Moved(
        one.replica, who[one.deployment], one.gpus, instances[one.source].name, tuple(place.name for place in to),
        to[0].offering.zone.name, CapacityClass(int(one.capacity_class)), _time(one.at, later),
    )  # fmt: skip


def _stopped(one: Stop, who: Mapping[int, Who], instances: Mapping[int, Instance], later: timedelta) -> Stopped:
    source = instances[one.source].name if one.source in instances else ""
    to = tuple(instances[key].name for key in one.to)
    return Stopped(one.replica, who[one.deployment], one.gpus, source, _time(one.at, later), to, one.waits,
                   Reason(one.reason).name, sentence(one.reason, {}))  # fmt: skip


def _time(at: float, later: timedelta) -> datetime:
    return datetime.fromtimestamp(at, UTC) + later
