"""The loops as the workers run them, until nothing moves any more; and what has to be true then."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import connection
from django.db.models import F, Q

from claims import tasks as claims
from claims.core.states import HELD_STATES, InstanceState, Status
from claims.models import CapacityClaim, Instance, SimulatedNode, UsageInterval
from console.dashboard.invariants import breaches
from deployments import tasks as deployments
from deployments.core.states import HOLDING, ReplicaState
from deployments.loop.tick import shards
from deployments.models import Deployment, Replica, SimulatedReplica
from tests.clockwork import advance
from tests.faults.cuts import Cut

ROUND = timedelta(seconds=65)  # leases run out, models are loaded
LONG_ROUND = timedelta(minutes=11)  # every delay, deadline and back-off is over
MOST_ROUNDS = 40
BETWEEN = [InstanceState.REQUESTED, InstanceState.JOINING, InstanceState.FAILED, InstanceState.RELEASING,
           InstanceState.DRAINING]  # fmt: skip
Picture = dict[str, Any]


def scale() -> None:
    for shard in shards():
        deployments.scale_shard(shard.key)


LOOPS: dict[str, Callable[[], object]] = {
    "fulfil": claims.fulfil,
    "provision": claims.provision,
    "scale": scale,
    "actuate": deployments.actuate,
}


def one_round(after: timedelta = ROUND) -> None:
    advance(after)
    for loop in LOOPS.values():
        loop()


def settle(after: timedelta = LONG_ROUND) -> None:
    """Rounds until nothing moves and nothing is half done; fails when that does not come."""
    last = picture()
    for _ in range(MOST_ROUNDS):
        one_round(after)
        now = picture()
        if now == last and not under_way():
            return
        last = now
    raise AssertionError(f"not settled after {MOST_ROUNDS} rounds; under way: {under_way()}; {last}")


def picture() -> Picture:
    """What there is, without names that a second attempt would choose anew."""
    live = Instance.objects.exclude(state=InstanceState.RELEASED)
    held = Counter(live.values_list("offering_id", "source", "state", "claim__name", "gpus_used"))
    replicas = Replica.objects.filter(state__in=sorted(HOLDING))
    placed = Counter(replicas.values_list("deployment__name", "state", "capacity_class", "revision"))
    claims = CapacityClaim.objects.values_list("name", "target", "status").order_by("organization_id", "name")
    return {
        "claims": list(claims),
        "instances": dict(held),
        "deployments": list(Deployment.objects.values_list("name", "status", "disabled").order_by("key")),
        "replicas": dict(placed),
    }


def under_way() -> list[str]:
    """What no loop may leave as it is."""
    instances = Instance.objects.filter(state__in=BETWEEN).values_list("name", "state")
    replicas = Replica.objects.filter(state__in=[ReplicaState.STARTING, ReplicaState.DRAINING])
    gone = [*CapacityClaim.objects.filter(status=Status.DELETING), *Deployment.objects.filter(status=Status.DELETING)]
    return [
        *(f"{name} {state}" for name, state in instances),
        *(f"replica {key} {ReplicaState(state).name}" for key, state in replicas.values_list("key", "state")),
        *(f"{one} DELETING" for one in gone),
    ]


def states() -> dict[tuple[str, int], str]:
    """The state of everything that has a life cycle."""
    rows = [
        *(("instance", key, state) for key, state in Instance.objects.values_list("key", "state")),
        *(("replica", key, ReplicaState(state).name) for key, state in Replica.objects.values_list("key", "state")),
        *(("claim", key, status) for key, status in CapacityClaim.objects.values_list("key", "status")),
        *(("deployment", key, status) for key, status in Deployment.objects.values_list("key", "status")),
    ]
    return {(noun, key): state.removeprefix("STATUS_") for noun, key, state in rows}


class Steps:
    """Notes each change of a state, as `instance JOINING > READY` (`-` is what is not there), and where it was made."""

    def __init__(self) -> None:
        self.last, self.taken, self.made_at = states(), set[str](), list[Cut]()

    def look(self, cut: Cut) -> None:
        now = states()
        if now != self.last:
            self.made_at.append(cut)
        for noun, key in self.last.keys() | now.keys():
            before, after = self.last.get((noun, key), "-"), now.get((noun, key), "-")
            if before != after:
                self.taken.add(f"{noun} {before} > {after}")
        self.last = now


def wrong() -> list[str]:
    """Invariants that do not hold, and what leaked; to be asked when everything is settled."""
    connection.check_constraints()
    return [*(f"{one.invariant}: {one.rows}" for one in breaches()), *leaks(), *billed_too_long()]


def leaks() -> list[str]:
    """Machines and replicas that only the outside world knows of, or only we."""
    machines = set(SimulatedNode.objects.values_list("instance_key", flat=True))
    wanted = set(Instance.objects.filter(state__in=[*HELD_STATES, "JOINING"]).values_list("key", flat=True))
    running = set(SimulatedReplica.objects.values_list("replica_key", flat=True))
    holding = set(Replica.objects.filter(state__in=sorted(HOLDING)).values_list("key", flat=True))
    return [
        *(f"machine {key} is known to one side only" for key in sorted(machines ^ wanted)),
        *(f"replica {key} is known to one side only" for key in sorted(running ^ holding)),
    ]


def billed_too_long() -> list[str]:
    """Intervals that go on after the machine was released or (for claims) lost, or after the replica had stopped."""
    found = UsageInterval.objects.filter(
        _open_after("instance__released_at") | (_open_after("instance__lost_at") & Q(kind="CLAIM"))
    )
    stopped = dict(Replica.objects.filter(stopped_at__isnull=False).values_list("key", "stopped_at"))
    late = [
        one
        for one in UsageInterval.objects.filter(kind="REPLICA", resource_key__in=stopped)
        if one.ended_at is None or ((end := stopped[one.resource_key]) and one.ended_at > end)
    ]
    return [f"{one} on {one.instance} is billed to {one.ended_at}" for one in [*found, *late]]


def _open_after(end: str) -> Q:
    return Q(**{f"{end}__isnull": False}) & (Q(ended_at__isnull=True) | Q(ended_at__gt=F(end)))
