"""Which replicas go when a deployment shrinks (R18).

Not ready first, then those on instances that are being drained, then those of an older revision (they would be
replaced next), then on demand before reserved, then the least active, then the newest, then the highest id. A pair
(see census) goes whole.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from deployments.core.census import Census
from deployments.core.columns import Int16s, Int32s, Int64s
from deployments.core.plan import Stops
from deployments.core.reasons import Reason
from deployments.core.snapshot import CapacityClass, Replicas
from deployments.core.states import ReplicaState


def choose(replicas: Replicas, census: Census, excess: Int32s) -> Stops:
    """The replicas to let go: `excess[d]` units of deployment d (int32[D])."""
    if not excess.any():
        return Stops.none()
    rows = np.flatnonzero(census.counted & (excess[replicas.deployment] > 0))
    rows = rows[first_to_go(replicas, census, rows, [replicas.deployment[rows]])]
    deployments = replicas.deployment[rows]
    chosen = rows[rank(deployments) < excess[deployments]]
    return with_partners(chosen, _codes(replicas, census, chosen), census)


def first_to_go(
    replicas: Replicas, census: Census, rows: Int64s, groups: Sequence[npt.NDArray[np.generic]] = ()
) -> Int64s:
    """Positions of `rows` in the order of R18; `groups` are compared before, the first of them first."""
    table = replicas.take(rows)
    newest = -np.nan_to_num(table.started_at, nan=np.inf)
    reserved = table.capacity_class == CapacityClass.RESERVED
    ready = table.state == ReplicaState.READY
    moving = (~census.outdated[rows], ~census.draining[rows])
    order: Int64s = np.lexsort((-table.key, newest, table.active, reserved, *moving, ready, *reversed(groups)))
    return order


def rank(groups: Int32s | Int64s) -> Int64s:
    """Position of each row in its group; equal groups stand together."""
    first = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]]) if len(groups) else np.zeros(0, np.int64)
    lengths = np.diff(np.r_[first, len(groups)])
    return np.arange(len(groups)) - np.repeat(first, lengths)


def with_partners(rows: Int64s, codes: Int16s, census: Census) -> Stops:
    """The rows, and after them the replacements on their way for them."""
    partners = census.partner[rows]
    partners = partners[partners >= 0]
    more = np.full(len(partners), Reason.STOP_NOT_READY, np.int16)
    return Stops(np.concatenate([rows, partners]).astype(np.int32), np.concatenate([codes, more]))


def together(*parts: Stops) -> Stops:
    """All of them."""
    return Stops(np.concatenate([one.replica for one in parts]), np.concatenate([one.code for one in parts]))


def _codes(replicas: Replicas, census: Census, rows: Int64s) -> Int16s:
    reserved = replicas.capacity_class[rows] == CapacityClass.RESERVED
    code = np.where(reserved, Reason.STOP_LEAST_ACTIVE, Reason.STOP_ON_DEMAND)
    code = np.where(census.outdated[rows], Reason.STOP_OUTDATED, code)
    code = np.where(census.draining[rows], Reason.STOP_ON_DRAINING, code)
    ready = replicas.state[rows] == ReplicaState.READY
    return np.where(ready, code, Reason.STOP_NOT_READY).astype(np.int16)
