"""What is done for a new revision where nothing is free beside the old one (R10).

One replica is drained first, so that one of the new revision finds its room; of a new revision that needs more GPUs
than the old one, as many as it takes. Only one is not ready at a time: nothing may be on its way for the deployment,
nothing draining, nothing waiting after failures, and its minimum has to be there. Where room comes free anyway, it is
waited for. Where one of the minimum would have to go, the replacement is asked for before anybody of the organization
grows, like a minimum that is short: it would be.
"""

from collections.abc import Collection

import numpy as np

from deployments.core.census import Census
from deployments.core.columns import Bools, Int32s, Int64s
from deployments.core.givers import Givers
from deployments.core.moves import Moves
from deployments.core.plan import Granted, Starts
from deployments.core.queue import Request
from deployments.core.reasons import Reason
from deployments.core.reclaim import Cleared
from deployments.core.requests import Asks
from deployments.core.snapshot import Snapshot
from deployments.core.states import ReplicaState
from deployments.core.yard import Clearing, Yard


def stuck(snapshot: Snapshot, census: Census, moves: Moves, starts: Starts, kept_back: Collection[int]) -> Int64s:
    """Rows of the deployments of which one has to go first.

    `kept_back` are those for which room is free but kept: what they let go would be kept as well.
    """
    if not len(moves.outdated):
        return np.zeros(0, np.int64)
    able = _able(snapshot, census, moves)
    able[starts.deployment] = False
    able[list(kept_back)] = False
    return np.flatnonzero(able)


def at_stake(snapshot: Snapshot, census: Census, moves: Moves, have: Int32s) -> Int32s:
    """One renewal of each deployment of whose minimum one would have to go first; of those that it would `have`, [D]."""
    if not len(moves.outdated):
        return np.zeros(len(have), np.int32)
    return (_able(snapshot, census, moves) & (have <= snapshot.deployments.min)).astype(np.int32)


def _able(snapshot: Snapshot, census: Census, moves: Moves) -> Bools:
    """Deployments that could let one go for a new revision: all there, and nothing under way, [D]."""
    deployments, replicas = snapshot.deployments, snapshot.replicas
    busy = census.starting + census.pairs + deployments.backoff > 0
    busy[replicas.deployment[replicas.state == ReplicaState.DRAINING]] = True
    busy[replicas.deployment[census.going.replica]] = True
    able: Bools = (moves.later.count > 0) & ~moves.over & ~busy & (census.ready >= deployments.min)
    return able


def drained_first(
    snapshot: Snapshot, rows: Int64s, moves: Moves, asks: Asks, granted: Granted, yard: Yard, givers: Givers
) -> list[Cleared]:
    """Room for one replica of each of the deployments `rows`, made by its own of older revisions."""
    owners = snapshot.replicas.deployment[moves.outdated]
    make = asks.maker(rows)
    done = []
    for position, deployment in enumerate(rows.tolist()):
        request = make(position)
        own = moves.outdated[owners == deployment]
        above = int(granted.value[deployment] - snapshot.deployments.min[deployment])
        clearing = _own_room(request, own, max(above, 1), yard, givers)
        if clearing is not None:
            yard.take(clearing, request)
            done.append(Cleared(deployment, clearing, Reason.STOP_MAKES_ROOM))
    return done


def _own_room(request: Request, own: Int64s, most: int, yard: Yard, givers: Givers) -> Clearing | None:
    """At first without going further below the minimum than by one, then however many it takes."""
    candidates = givers.candidates(own)
    for budget in (most, len(own)):
        clearing = yard.clear(request, candidates, {request.deployment: budget})
        if clearing is not None:
            return clearing
    return None
