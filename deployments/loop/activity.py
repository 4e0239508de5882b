"""What each replica of a shard ran at the last sample: one packed row a shard, written anew by every sample.

Of 100,000 replicas nearly all run another number of requests every few seconds: as a column of theirs that would be as
many rows to write in every pass, and as many dead ones for autovacuum.
"""

import logging
from datetime import datetime

import numpy as np
import numpy.typing as npt
from django.db import connection

from deployments.loop.columns import places, read_rows
from deployments.replay.packing import UnreadableError, pack, unpack

log = logging.getLogger(__name__)

Int64s = npt.NDArray[np.int64]

# A pass that comes late does not hide what a later one saw.
_NOTE = """
    INSERT INTO deployments_replicaactivity AS a (instance_type_id, at, payload) VALUES (%s, %s, %s)
    ON CONFLICT (instance_type_id) DO UPDATE SET at = excluded.at, payload = excluded.payload WHERE a.at < excluded.at"""


def activity_note(instance_type_key: int, at: datetime, key: Int64s, active: Int64s) -> None:
    """Keep how many requests each replica (by key) ran at `at`."""
    order = np.argsort(key, kind="stable")
    with connection.cursor() as cursor:
        cursor.execute(_NOTE, [instance_type_key, at, pack({"key": key[order], "active": active[order]}, {})])


def active_of(instance_type_key: int, keys: Int64s) -> Int64s:
    """Requests that each of the replicas `keys` ran at the last sample of the shard; 0 where it was not in it."""
    found = read_rows(
        "SELECT at, payload FROM deployments_replicaactivity WHERE instance_type_id = %s", [instance_type_key]
    )
    active = np.zeros(len(keys), np.int64)
    for at, payload in found:
        try:
            columns, _ = unpack(bytes(payload))
        except UnreadableError as error:
            log.warning("the activity of %s is left out: %s", at, error)
            continue
        row = places(columns["key"], keys)
        active[row >= 0] = columns["active"][row[row >= 0]]
    return active
