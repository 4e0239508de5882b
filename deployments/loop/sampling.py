"""One sampling pass of a shard: ask the runtime, keep a block, and what each replica runs."""

from datetime import datetime

import numpy as np
from django.db import connection

from claims.models import InstanceType
from deployments.backends.base import RuntimeBackend, Target
from deployments.core import policy
from deployments.loop.activity import activity_note
from deployments.loop.blocks import Block, pack_waits
from deployments.loop.columns import read_rows

_TARGETS = """
    SELECT d.key, p.slots, p.concurrency FROM deployments_deployment d
    JOIN deployments_autoscalingpolicy p ON p.deployment_id = d.key WHERE d.instance_type_id = %s ORDER BY d.key"""
_COUNTS = """
    SELECT deployment_id, count(*) FILTER (WHERE state = 2), count(*) FILTER (WHERE state = 1)
    FROM deployments_replica WHERE instance_type_id = %s AND state IN (1, 2, 3) GROUP BY deployment_id"""
# A pass that was sampled twice keeps what was seen first.
_KEEP = "INSERT INTO deployments_signalblock (instance_type_id, at, payload) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"


def sample_shard(instance_type: InstanceType, backend: RuntimeBackend, now: datetime) -> bool:
    """Sample every deployment of the shard; False where it has none."""
    targets = targets_of(instance_type)
    if not targets:
        return False
    samples = backend.sample(targets, now)
    keys = np.array([target.key for target in targets], np.int64)
    ready, starting = _replica_counts(instance_type, keys)
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
    return [
        Target(key, slots or policy.slots(concurrency or policy.DEFAULT_CONCURRENCY))
        for key, slots, concurrency in read_rows(_TARGETS, [instance_type.key])
    ]


def _replica_counts(instance_type: InstanceType, keys: "np.ndarray") -> tuple["np.ndarray", "np.ndarray"]:
    counts = {key: (ready, starting) for key, ready, starting in read_rows(_COUNTS, [instance_type.key])}
    columns = np.array([counts.get(key, (0, 0)) for key in keys.tolist()], np.int64)
    return columns[:, 0], columns[:, 1]
