"""One pass of the scaling loop over a shard: sample, snapshot, plan, record, act.

The loop's row lets one pass begin at a time (W4); two that overlap all the same cannot both act, since only one of them
can move the planner's state on (`apply`). So no lock is held while the shard is read and planned (W3).
"""

import logging
from dataclasses import dataclass
from datetime import datetime

from claims.models import InstanceType
from deployments.backends.base import BackendError, RuntimeBackend, runtime_backend
from deployments.backends.checked import CheckedRuntime
from deployments.core.params import Params
from deployments.core.planner import plan
from deployments.core.states import HOLDING, ReplicaState
from deployments.loop.apply import Applied, apply_plan
from deployments.loop.columns import read_rows
from deployments.loop.sampling import sample_shard
from deployments.loop.snapshot import read_shard
from deployments.loop.transitions import replicas_end
from deployments.models import Deployment, Replica
from deployments.replay.records import tick_record
from deployments.schedules.loop import schedules_opened

log = logging.getLogger(__name__)

PARAMS = Params()
_LOST = """
    SELECT i.key FROM claims_instance i JOIN claims_offering o ON o.key = i.offering_id
    WHERE o.instance_type_id = %s AND i.gpus_used > 0 AND i.lost_at IS NOT NULL"""


@dataclass(frozen=True, slots=True)
class Tick:
    """What a pass did; `applied` is None where another pass was there first."""

    applied: Applied | None
    sampled: bool


def shards() -> list[InstanceType]:
    """Instance types that some deployment names or some replica still uses."""
    used = set(Deployment.objects.values_list("instance_type_id", flat=True).distinct())
    used |= set(Replica.objects.filter(state__in=[1, 2, 3]).values_list("instance_type_id", flat=True).distinct())
    return list(InstanceType.objects.filter(key__in=used).order_by("key"))


def shard_tick(instance_type: InstanceType, now: datetime, backend: RuntimeBackend | None = None) -> Tick:
    """One pass. A runtime that does not answer leaves old samples, and the planner holds on those (R5)."""
    replicas_lost(instance_type)
    sampled = _sample(instance_type, now, CheckedRuntime(backend or runtime_backend()))
    shard = read_shard(instance_type, PARAMS, now)
    made = plan(shard.snapshot, PARAMS, now.timestamp())
    applied = apply_plan(instance_type, shard, made, now)
    if applied:
        schedules_opened(shard.opened)
        tick_record(
            instance_type=instance_type, snapshot=shard.snapshot, made=made, decisions=applied.decisions, now=now
        )
    return Tick(applied, sampled)


def replicas_lost(instance_type: InstanceType) -> int:
    """Replicas with a part on a machine that has vanished end at once; what may still run of them somewhere is a stray
    that the runtime is told to stop. Returns how many ended."""
    lost = [key for (key,) in read_rows(_LOST, [instance_type.key])]
    if not lost:
        return 0
    on_lost = Replica.objects.filter(placements__instance__in=lost, state__in=sorted(HOLDING))
    found = list(on_lost.select_related("deployment").order_by("key").distinct())
    return replicas_end(found, ReplicaState.FAILED, reason="INSTANCE_LOST")


def _sample(instance_type: InstanceType, now: datetime, backend: RuntimeBackend) -> bool:
    try:
        return sample_shard(instance_type, backend, now)
    except BackendError as error:
        log.warning("the runtime could not be sampled for %s: %s", instance_type, error)
        return False
