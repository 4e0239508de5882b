"""One sampling pass of a shard: ask the runtime, keep a block, note what each replica runs."""

from datetime import datetime

import numpy as np
from django.db import connection

from claims.models import InstanceType
from deployments.backends.base import RuntimeBackend, Samples, Target
from deployments.core import policy
from deployments.core.states import HOLDING, ReplicaState
from deployments.loop.blocks import Block
from deployments.models import AutoscalingPolicy, Replica, SignalBlock


def sample_shard(instance_type: InstanceType, backend: RuntimeBackend, now: datetime) -> SignalBlock | None:
    """Sample every deployment of the shard; None where it has none."""
    targets = targets_of(instance_type)
    if not targets:
        return None
    samples = backend.sample(targets, now)
    keys = np.array([target.key for target in targets], np.int64)
    ready, starting = _replica_counts(instance_type, keys)
    block = Block(
        key=keys, queued=samples.queued, active=samples.active, ready=ready, starting=starting,
        arrived=samples.arrived, finished=samples.finished, service_seconds=samples.service_seconds,
        waited_le_1s=samples.waited_le_1s, waited_le_5s=samples.waited_le_5s,
    )  # fmt: skip
    _note_active(samples)
    row, _ = SignalBlock.objects.get_or_create(
        instance_type=instance_type, at=now, defaults={"payload": block.to_bytes()}
    )
    return row


def targets_of(instance_type: InstanceType) -> list[Target]:
    rows = AutoscalingPolicy.objects.filter(deployment__instance_type=instance_type).order_by("deployment_id")
    return [
        Target(key, slots or policy.slots(concurrency or policy.DEFAULT_CONCURRENCY))
        for key, slots, concurrency in rows.values_list("deployment_id", "slots", "concurrency")
    ]


def _replica_counts(instance_type: InstanceType, keys: "np.ndarray") -> tuple["np.ndarray", "np.ndarray"]:
    live = Replica.objects.filter(instance_type=instance_type, state__in=sorted(HOLDING))
    rows = np.array(list(live.values_list("deployment_id", "state")), np.int64).reshape(-1, 2)
    counts = []
    for state in (ReplicaState.READY, ReplicaState.STARTING):
        of_state = rows[rows[:, 1] == state, 0]
        of_state = of_state[np.isin(of_state, keys)]
        counts.append(np.bincount(np.searchsorted(keys, of_state), minlength=len(keys)))
    return counts[0], counts[1]


def _note_active(samples: Samples) -> None:
    """Running requests of each replica, for victims (R18) and pages; only what changed is written.

    A row that another writer holds is left for the next sample: nobody waits for a number that is about to change.
    """
    if samples.replica_active:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE deployments_replica AS r SET active = n.active FROM ("
                "SELECT o.key, s.active FROM deployments_replica o "
                "JOIN unnest(%s::bigint[], %s::int[]) AS s (key, active) ON o.key = s.key AND o.active <> s.active "
                "FOR NO KEY UPDATE OF o SKIP LOCKED) AS n WHERE r.key = n.key",
                [list(samples.replica_active), list(samples.replica_active.values())],
            )
