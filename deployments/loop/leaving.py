"""Replicas that go, by the plan or whatever it says, and what follows from instances that claims took over."""

from collections.abc import Mapping
from datetime import datetime

from deployments.core.plan import Plan
from deployments.core.reasons import Reason
from deployments.core.states import HOLDING, LIVE, ReplicaState
from deployments.loop.snapshot import Shard
from deployments.loop.transitions import states_locked
from deployments.models import CapacityClass, Replica


def let_go(shard: Shard, plan: Plan, now: datetime) -> int:
    """Let replicas go, where they still are live, and label anew what claims took over; how many go.

    One that was replaced goes only while its replacement is ready (W2). All rows are locked at once, in their order.
    """
    reasons, replacements = _reasons(shard, plan), _replacements(shard, plan)
    concerned = {*reasons, *replacements.values(), *shard.converted.tolist()}
    states = states_locked(concerned, HOLDING) if concerned else {}
    _relabel([key for key in shard.converted.tolist() if key in states])
    going = [key for key in reasons if states.get(key) in LIVE and _replaced(key, replacements, states)]
    for reason in sorted({reasons[key] for key in going}):
        rows = Replica.objects.filter(key__in=[key for key in going if reasons[key] == reason])
        rows.update(state=ReplicaState.DRAINING, draining_at=now, reason=reason, next_attempt_at=None)
    return len(going)


def _replaced(key: int, replacements: Mapping[int, int], states: Mapping[int, ReplicaState]) -> bool:
    """Whether nothing is lost when it goes: it serves nobody yet, what replaces it does, or it goes for other reasons."""
    new = states.get(replacements[key]) if key in replacements else ReplicaState.READY
    return new == ReplicaState.READY or (new == ReplicaState.STARTING == states[key])


def _reasons(shard: Shard, plan: Plan) -> dict[int, str]:
    keys = shard.replica_keys
    planned = zip(plan.stops.replica.tolist(), plan.stops.code.tolist(), strict=True)
    return shard.leaving | {int(keys[row]): Reason(code).name for row, code in planned}


def _replacements(shard: Shard, plan: Plan) -> dict[int, int]:
    """By replica that goes because it has been replaced: the one that took its place."""
    keys, replaces = shard.replica_keys, shard.snapshot.replicas.replaces
    new = dict(zip(keys[replaces[replaces >= 0]].tolist(), keys[replaces >= 0].tolist(), strict=True))
    old = keys[plan.stops.replica[plan.stops.code == Reason.STOP_REPLACED]].tolist()
    return {key: new[key] for key in old if key in new}


def _relabel(keys: list[int]) -> None:
    """On demand becomes reserved: the claim took over the instances and the ledger with them (C4)."""
    if keys:
        of_demand = Replica.objects.filter(key__in=keys, capacity_class=CapacityClass.ON_DEMAND)
        of_demand.update(capacity_class=CapacityClass.RESERVED)
