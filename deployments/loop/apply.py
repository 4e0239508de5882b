"""Acts on a plan: conditionally, set-wise, in one transaction (W2).

What no longer holds is left out and planned again. Two passes that planned from the same state do not both act: the
planner state moves from the one they read to the next, once.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from django.db import connection, transaction

from claims.core.states import Status
from claims.models import InstanceType
from claims.services import GpuTake, gpus_take
from console.common.notify import publish
from console.common.rows import rows_copy
from console.common.wake import wake_on_commit
from deployments.core import explain
from deployments.core.plan import Plan
from deployments.core.record import decision_records
from deployments.core.states import ReplicaState
from deployments.loop.leaving import let_go
from deployments.loop.settle import settle
from deployments.loop.snapshot import Shard
from deployments.loop.stale import without
from deployments.models import Decision, Deployment, PlannerState, Replica, ReplicaPlacement

_MOVE = """
    UPDATE deployments_plannerstate SET at = %(at)s, payload = %(payload)s
    WHERE instance_type_id = %(type)s AND at = %(before)s"""

# The first pass decides about all deployments: their numbers are not all made before the first is stored.
AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of a plan; `stale` replicas were planned and could no longer be placed."""

    started: int = 0
    stale: int = 0
    stopped: int = 0
    decisions: int = 0


def apply_plan(instance_type: InstanceType, shard: Shard, plan: Plan, now: datetime) -> Applied | None:
    """Act on the plan; None when another pass acted on the same state before."""
    deployments = _concerned(instance_type, shard, plan)
    with transaction.atomic():
        if not _move_state(instance_type, shard, plan):
            return None
        started, stale, unmoved = _start(instance_type, shard, plan, deployments, now)
        stopped = let_go(shard, plan, now)
        if stale or unmoved:
            plan = without(plan, stale, unmoved)
            PlannerState.objects.filter(instance_type=instance_type).update(payload=plan.state.to_bytes())
        decisions = _record(shard, plan, stale, unmoved, deployments, now)
        if started or stopped:
            wake_on_commit("deployments.tasks.actuate", "io")
    publish("deployments", settle(instance_type, now))
    return Applied(started, (stale + unmoved).total(), stopped, decisions)


def _concerned(instance_type: InstanceType, shard: Shard, plan: Plan) -> dict[int, Deployment]:
    """Deployments that start a replica or get a decision, as far as they still are in the shard."""
    rows = np.union1d(plan.starts.deployment, np.flatnonzero(plan.changed))
    return Deployment.objects.filter(instance_type=instance_type).in_bulk(shard.deployment_keys[rows].tolist())


def _move_state(instance_type: InstanceType, shard: Shard, plan: Plan) -> bool:
    """Store what the planner remembers, if it still is what this plan was made from."""
    at = datetime.fromtimestamp(plan.now, UTC)
    fields: dict[str, Any] = {"at": at, "payload": plan.state.to_bytes()}
    if shard.state_at is None:
        _, created = PlannerState.objects.get_or_create(instance_type=instance_type, defaults=fields)
        return created
    with connection.cursor() as cursor:
        cursor.execute(_MOVE, {**fields, "type": instance_type.key, "before": shard.state_at})
        return bool(cursor.rowcount)


def _start(
    instance_type: InstanceType, shard: Shard, plan: Plan, deployments: dict[int, Deployment], now: datetime
) -> tuple[int, Counter[int], Counter[int]]:
    """Take the GPUs and make the replicas; how many, and by row of the deployment how many could not be placed: such
    that add to the size, and such that were to replace another."""
    rows = _planned(instance_type, shard, plan, deployments, now)
    takes, parts = [], []
    for replica, instances in rows:
        deployment = deployments[replica.deployment_id]
        for place, gpus in instances:
            claim = int(shard.instance_claims[place]) or None
            key = int(shard.instance_keys[place])
            parts.append(ReplicaPlacement(replica=replica, instance_id=key, gpus=gpus))
            takes.append(GpuTake(key, replica.key, gpus, deployment.organization_id, replica.capacity_class, claim,
                                 deployment.id, deployment.name))  # fmt: skip
    got = gpus_take(takes=takes, now=now) if takes else set()
    lost = [replica for replica, _ in rows if replica.key not in got]
    Replica.objects.filter(key__in=[one.key for one in lost]).delete()
    rows_copy([part for part in parts if part.replica.key in got])
    places = {key: row for row, key in enumerate(shard.deployment_keys.tolist())}
    rows_of = [(places[one.deployment_id], one.replaces_id is None) for one in lost]
    return len(got), Counter(row for row, adds in rows_of if adds), Counter(row for row, adds in rows_of if not adds)


def _planned(
    instance_type: InstanceType, shard: Shard, plan: Plan, deployments: dict[int, Deployment], now: datetime
) -> list[tuple[Replica, list[tuple[int, int]]]]:
    """New replica rows with the instances (row of the snapshot, GPUs) that each is to be on.

    Size and revision are those that the plan was made for; a deployment that changed meanwhile rolls them.
    """
    of = shard.snapshot.deployments
    found: dict[int, tuple[Replica, list[tuple[int, int]]]] = {}
    columns = (plan.starts.replica, plan.starts.deployment, plan.starts.instance, plan.starts.gpus,
               plan.starts.capacity_class, plan.starts.replaces)  # fmt: skip
    for number, row, instance, gpus, capacity_class, old in zip(*(one.tolist() for one in columns), strict=True):
        deployment = deployments.get(int(shard.deployment_keys[row]))
        if deployment is None or deployment.disabled or deployment.status == Status.DELETING:
            continue
        if number not in found:
            replica = Replica(
                deployment=deployment, instance_type=instance_type, revision=int(of.revision[row]),
                capacity_class=capacity_class, state=ReplicaState.STARTING, gpus=int(of.gpu_count[row]), created_at=now,
                replaces_id=int(shard.replica_keys[old]) if old >= 0 else None,
            )  # fmt: skip
            found[number] = (replica, [])
        found[number][1].append((instance, gpus))
    rows_copy([replica for replica, _ in found.values()])
    return list(found.values())


def _record(
    shard: Shard,
    plan: Plan,
    stale: Counter[int],
    unmoved: Counter[int],
    deployments: dict[int, Deployment],
    now: datetime,
) -> int:
    """A decision row wherever wanted, granted or the binding limit changed."""
    keys = plan.key.tolist()
    rows = [row for row in np.flatnonzero(plan.changed).tolist() if keys[row] in deployments]
    for at in range(0, len(rows), AT_ONCE):
        rows_copy(_decisions(shard, plan, rows[at : at + AT_ONCE], stale, unmoved, deployments, now))
    return len(rows)


def _decisions(
    shard: Shard,
    plan: Plan,
    rows: list[int],
    stale: Counter[int],
    unmoved: Counter[int],
    deployments: dict[int, Deployment],
    now: datetime,
) -> list[Decision]:
    keys, records = plan.key.tolist(), decision_records(plan, shard.snapshot, rows)
    return [
        Decision(
            deployment_id=keys[row],
            organization_id=deployments[keys[row]].organization_id,
            at=now,
            current=int(plan.current[row]),
            wanted=int(plan.wanted.value[row]),
            granted=int(plan.granted.value[row]),
            bound=explain.bound_name(record),
            record={**record, "stale": stale[row], "unmoved": unmoved[row]},
        )
        for row, record in zip(rows, records, strict=True)
    ]
