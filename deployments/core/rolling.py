"""What is done for a new revision where nothing is free beside the old one (R10).

One replica is drained first, so that one of the new revision finds its room. Only one is not ready at a time: nothing
may be on its way for the deployment, nothing draining, nothing waiting after failures, and its minimum has to be
there.
"""

from collections.abc import Collection

import numpy as np

from deployments.core.census import Census
from deployments.core.columns import Bools, Int32s, Int64s
from deployments.core.moves import Moves
from deployments.core.placement import usable
from deployments.core.plan import Bound, Granted, Starts, Stops
from deployments.core.reasons import Reason
from deployments.core.snapshot import Snapshot
from deployments.core.states import ReplicaState


def drained_first(
    snapshot: Snapshot, census: Census, moves: Moves, starts: Starts, kept_back: Collection[int], granted: Granted
) -> Stops:
    """The replicas to let go, at most one of a deployment; `granted` is told.

    `kept_back` are deployments for which room is free but kept: what they let go would be kept as well.
    """
    if not len(moves.outdated):
        return Stops.none()
    stuck = _stuck(snapshot, census, moves, starts)
    stuck[list(kept_back)] = False
    owners = snapshot.replicas.deployment[moves.outdated]
    rows = moves.outdated[stuck[owners] & _makes_room(snapshot, moves.outdated, starts)]
    owners, first = np.unique(snapshot.replicas.deployment[rows], return_index=True)
    granted.value[owners] -= 1
    granted.missing_gpus[owners] += snapshot.deployments.gpu_count[owners]
    granted.code[owners] = Reason.ROLLING_IN_PLACE
    granted.bound[owners] = Bound.CAPACITY
    return Stops.build(replica=rows[first], code=np.full(len(first), Reason.STOP_MAKES_ROOM))


def _stuck(snapshot: Snapshot, census: Census, moves: Moves, starts: Starts) -> Bools:
    """Deployments of which one has to go first, [D]."""
    deployments, replicas = snapshot.deployments, snapshot.replicas
    busy = census.starting + census.pairs + deployments.backoff > 0
    busy[starts.deployment] = True
    busy[replicas.deployment[replicas.state == ReplicaState.DRAINING]] = True
    busy[replicas.deployment[census.going.replica]] = True
    enough = census.ready >= deployments.min
    stuck: Bools = (moves.later.count > 0) & ~moves.over & ~busy & enough
    return stuck


def _makes_room(snapshot: Snapshot, rows: Int64s, starts: Starts) -> Bools:
    """Whether a replica of the newest revision would fit where each of these is now."""
    deployments, replicas, instances = snapshot.deployments, snapshot.replicas, snapshot.instances
    free: Int32s = instances.gpus - instances.gpus_used
    np.subtract.at(free, starts.instance, starts.gpus)
    at, owner = replicas.instance[rows], replicas.deployment[rows]
    there = at >= 0
    open_ = (usable(instances) | (instances.gpus_used == instances.gpus))[at] & ~instances.held[at]
    zone = deployments.zones[owner] >> instances.offering[at].astype(np.uint64) & np.uint64(1) > 0
    fits = free[at] + replicas.gpus[rows] >= deployments.gpu_count[owner]
    result: Bools = there & open_ & zone & fits
    return result
