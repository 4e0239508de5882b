"""The replicas of a shard that hold GPUs, and where they lie, as columns that are kept between passes (`kept`)."""

from datetime import datetime, timedelta

import numpy as np

from claims.models import InstanceType
from deployments.loop.columns import places, read_columns, read_rows
from deployments.loop.kept import Array, Columns, KeptRows

# Every column costs, so the smallest numbers come as one.
_REPLICAS = KeptRows(
    """SELECT key, deployment_id AS deployment, revision, coalesce(replaces_id, -1) AS replaces,
              state + 8 * capacity_class + 64 * gpus AS packed, created_at AS started_at, age(xmin) AS age
       FROM deployments_replica WHERE instance_type_id = %s AND state IN (1, 2, 3)""",
    {"key": "bigint", "deployment": "bigint", "revision": "int", "replaces": "bigint", "packed": "int", "started_at": "time"},
)  # fmt: skip
_ENDED = "SELECT key FROM deployments_replica WHERE instance_type_id = %s AND stopped_at > %s"
# Those that ended since the last pass are among them; where one is not, all replicas are read.
_LATELY = timedelta(minutes=1)

_PLACEMENTS = "SELECT replica_id AS replica, instance_id AS instance, gpus FROM deployments_replicaplacement WHERE "
_ALL = f"""{_PLACEMENTS} instance_id IN (
        SELECT i.key FROM claims_instance i JOIN claims_offering o ON o.key = i.offering_id WHERE o.instance_type_id = %s)
    ORDER BY replica_id, id"""  # noqa: S608 - our own text
_OF_THESE = f"{_PLACEMENTS} replica_id = ANY(%s) ORDER BY replica_id, id"
_PLACED = {"replica": "bigint", "instance": "bigint", "gpus": "int"}
# By shard: the series of reads of replicas, and the placements of those that were last read in it.
_placed: dict[int, tuple[object, Columns]] = {}


def replicas_read(instance_type: InstanceType, now: datetime) -> Columns:
    """Columns `key` (ascending), `deployment`, `revision`, `replaces` (-1: none), `state`, `capacity_class`, `gpus` and
    `started_at`."""
    ended = read_rows(_ENDED, [instance_type.key, now - _LATELY])
    columns = _REPLICAS.read(instance_type.key, np.array(ended, np.int64).reshape(-1))
    packed = columns.pop("packed")
    return columns | {"state": packed & 7, "capacity_class": packed >> 3 & 7, "gpus": packed >> 6}


def placements_read(instance_type: InstanceType, replicas: Array) -> Columns:
    """Columns `replica` (ascending), `instance` and `gpus`, of the replicas (keys) that were read just now.

    Placements are made with their replica, never change (a trigger sees to it) and go with it: read are those of replicas
    that are new.
    """
    shard, series = instance_type.key, _REPLICAS.series(instance_type.key)
    known, placed = _placed.get(shard, (None, {}))
    if series is None or known is not series:
        placed = read_columns(_ALL, _PLACED, [shard])
    else:
        placed = _of_replicas(placed, replicas)
    if series is not None:
        _placed[shard] = series, placed
    return placed


def _of_replicas(placed: Columns, replicas: Array) -> Columns:
    """What is known of them, and read of the others."""
    new = replicas[places(placed["replica"], replicas) < 0]
    stay = places(replicas, placed["replica"]) >= 0
    if not len(new) and stay.all():
        return placed
    read = read_columns(_OF_THESE, _PLACED, [new.tolist()])
    found = {name: np.concatenate([column[stay], read[name]]) for name, column in placed.items()}
    order = np.argsort(found["replica"], kind="stable")
    return {name: column[order] for name, column in found.items()}
