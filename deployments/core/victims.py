"""Which replicas go when a deployment shrinks (R18).

Not ready first, then those on instances that are being drained, then on demand before reserved, then the
least active, then the newest, then the highest id.
"""

import numpy as np

from deployments.core.columns import Bools, Int16s, Int32s, Int64s
from deployments.core.plan import Stops
from deployments.core.reasons import Reason
from deployments.core.snapshot import CapacityClass, Instances, InstanceState, Replicas
from deployments.core.states import ReplicaState


def choose(replicas: Replicas, instances: Instances, live: Bools, excess: Int32s) -> Stops:
    """The replicas to let go: `excess[d]` of deployment d (int32[D]) among the `live` ones (bool[R])."""
    if not excess.any():
        return Stops.none()
    rows = np.flatnonzero(live & (excess[replicas.deployment] > 0))
    table = replicas.take(rows)
    ready = table.state == ReplicaState.READY
    staying = ~_on_draining(table, instances)
    reserved = table.capacity_class == CapacityClass.RESERVED
    newest = -np.nan_to_num(table.started_at, nan=np.inf)
    order = np.lexsort((-table.key, newest, table.active, reserved, staying, ready, table.deployment))
    chosen = order[_rank(table.deployment[order]) < excess[table.deployment[order]]]
    return Stops(replica=rows[chosen].astype(np.int32), code=_codes(ready[chosen], staying[chosen], reserved[chosen]))


def _on_draining(table: Replicas, instances: Instances) -> Bools:
    placed = table.instance >= 0
    states = instances.state[table.instance] if len(instances) else np.zeros(len(table), np.int8)
    result: Bools = placed & (states == InstanceState.DRAINING)
    return result


def _rank(groups: Int32s) -> Int64s:
    """Position of each row in its group; equal groups stand together."""
    first = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]]) if len(groups) else np.zeros(0, np.int64)
    lengths = np.diff(np.r_[first, len(groups)])
    return np.arange(len(groups)) - np.repeat(first, lengths)


def _codes(ready: Bools, staying: Bools, reserved: Bools) -> Int16s:
    code = np.where(reserved, Reason.STOP_LEAST_ACTIVE, Reason.STOP_ON_DEMAND)
    code = np.where(staying, code, Reason.STOP_ON_DRAINING)
    return np.where(ready, code, Reason.STOP_NOT_READY).astype(np.int16)
