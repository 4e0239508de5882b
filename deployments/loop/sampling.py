"""One sampling pass of a shard: ask the runtime, keep a block, and what each replica runs."""

from datetime import datetime

import numpy as np
from django.db import connection

from claims.models import InstanceType
from deployments.backends.base import RuntimeBackend, Target
from deployments.core import policy
from deployments.core.states import ReplicaState
from deployments.loop.activity import activity_note
from deployments.loop.blocks import Block, pack_waits
from deployments.loop.columns import places
from deployments.loop.kept import KeptRows
from deployments.loop.replicas import replicas_read

_TARGETS = KeptRows(
    """SELECT d.key, coalesce(p.slots, 0) AS slots, coalesce(p.concurrency, 0) AS concurrency,
              least(age(d.xmin), age(p.xmin)) AS age
       FROM deployments_deployment d JOIN deployments_autoscalingpolicy p ON p.deployment_id = d.key
       WHERE d.instance_type_id = %s""",
    {"key": "bigint", "slots": "int", "concurrency": "int"},
)
# A pass that was sampled twice keeps what was seen first.
_KEEP = "INSERT INTO deployments_signalblock (instance_type_id, at, payload) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"


def sample_shard(instance_type: InstanceType, backend: RuntimeBackend, now: datetime) -> bool:
    """Sample every deployment of the shard; False where it has none."""
    targets = targets_of(instance_type)
    if not targets:
        return False
    samples = backend.sample(targets, now)
    keys = np.array([target.key for target in targets], np.int64)
    ready, starting = _replica_counts(instance_type, keys, now)
    block = Block(
        key=keys, queued=samples.queued, active=samples.active, ready=ready, starting=starting,
        arrived=samples.arrived, finished=samples.finished, service_seconds=samples.service_seconds,
        waited_le_1s=samples.waited_le_1s, waited_le_5s=samples.waited_le_5s,
        packed_waits=b"" if samples.waits is None else pack_waits(samples.waits),
    )  # fmt: skip
    activity_note(instance_type.key, now, samples.replica, samples.replica_active)
    with connection.cursor() as cursor:
        cursor.execute(_KEEP, [instance_type.key, now, block.to_bytes()])
    return True


def targets_of(instance_type: InstanceType) -> list[Target]:
    columns = _TARGETS.read(instance_type.key)
    set_to = columns["concurrency"].astype(np.int64)
    concurrency = np.where(set_to > 0, set_to, policy.DEFAULT_CONCURRENCY)
    slots = np.where(columns["slots"] > 0, columns["slots"], policy.slots(concurrency))
    return list(map(Target, columns["key"].tolist(), slots.tolist()))


def _replica_counts(
    instance_type: InstanceType, keys: "np.ndarray", now: datetime
) -> tuple["np.ndarray", "np.ndarray"]:
    """Replicas of each deployment that are ready, and that start."""
    columns = replicas_read(instance_type, now)
    row = places(keys, columns["deployment"])
    ready, starting = (
        np.bincount(row[(row >= 0) & (columns["state"] == state)], minlength=len(keys))
        for state in (ReplicaState.READY, ReplicaState.STARTING)
    )
    return ready, starting
