"""Replicas that are let go so that others find room: for higher priorities (R12, R13), for a new revision (R10)."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from deployments.core.census import Census
from deployments.core.columns import Int32s
from deployments.core.givers import givers_of
from deployments.core.keeping import Entry, Keeping
from deployments.core.moves import Moves
from deployments.core.plan import Granted, Starts, Stops
from deployments.core.reasons import Reason
from deployments.core.reclaim import Cleared, Waits, concerned, reclaim
from deployments.core.requests import Asks
from deployments.core.rolling import drained_first, stuck
from deployments.core.snapshot import Snapshot
from deployments.core.states import ReplicaState
from deployments.core.victims import with_partners
from deployments.core.yard import Clearing, Yard, yard_of


@dataclass(frozen=True, slots=True)
class Scene:
    """How things stand after the contest."""

    snapshot: Snapshot
    census: Census
    moves: Moves
    asks: Asks
    starts: Starts
    kept_back: dict[int, int]  # deployment for which there is room -> the one that it is kept for
    unplaced: Int32s  # replicas that found no room, [D]
    waits: Waits
    granted: Granted
    going: Stops  # so far


def make_room(scene: Scene, kept: Keeping) -> list[Cleared]:
    """Whatever room has to be made, and can be; nothing is looked at when nobody is concerned."""
    snapshot, census = scene.snapshot, scene.census
    renewed = kept.renewed(scene.unplaced)
    waits = scene.waits.without([entry.deployment for entry in renewed])
    waiting, givers = concerned(snapshot.deployments, waits, [entry.deployment for entry in kept.entries])
    rolls = stuck(snapshot, census, scene.moves, scene.starts, scene.kept_back)
    if not len(waiting) and not len(rolls) and not renewed:
        return []
    letting_go = snapshot.replicas.state == ReplicaState.DRAINING
    letting_go[scene.going.replica] = True
    staying = ~letting_go
    staying[scene.starts.replaces[scene.starts.replaces >= 0]] = False
    yard = yard_of(snapshot, scene.starts, letting_go)
    able = givers_of(snapshot, census, staying, givers)
    done = _coming_back(scene.asks, renewed, yard)
    done += reclaim(scene.asks, waits, waiting, yard, able)
    touched = {victim.deployment for cleared in done for victim in cleared.clearing.victims}
    rolls = np.array([row for row in rolls.tolist() if row not in touched], np.int64)
    return done + drained_first(snapshot, rolls, scene.moves, scene.asks, scene.granted, yard, able)


def _coming_back(asks: Asks, renewed: Sequence[Entry], yard: Yard) -> list[Cleared]:
    """Room that deployments made for themselves is promised to nobody else."""
    make = asks.maker(np.array([entry.deployment for entry in renewed], np.int64))
    done = []
    for position, entry in enumerate(renewed):
        clearing = Clearing((entry.instance,), ())
        yard.take(clearing, make(position))
        done.append(Cleared(entry.deployment, clearing, Reason.STOP_MAKES_ROOM))
    return done


def stops_for(done: Sequence[Cleared], census: Census) -> Stops:
    """The victims, and with them what was on its way to replace them."""
    rows = [victim.row for cleared in done for victim in cleared.clearing.victims]
    codes = [cleared.reason for cleared in done for _ in cleared.clearing.victims]
    return with_partners(np.array(rows, np.int64), np.array(codes, np.int16), census)


def entries_of(done: Sequence[Cleared], now_ms: int) -> Iterator[Entry]:
    """What is to be kept, and for whom, from now on: where somebody had to go."""
    for cleared in done:
        if cleared.clearing.victims:
            for instance in cleared.clearing.instances:
                yield Entry(now_ms, instance, cleared.deployment, cleared.reason == Reason.STOP_MAKES_ROOM)


def yielded(done: Sequence[Cleared], deployments: int) -> Int32s:
    """Replicas whose scale-down delay was cut short, [D] (R12)."""
    found = np.zeros(deployments, np.int32)
    victims = (
        victim for cleared in done if cleared.reason == Reason.STOP_YIELDED for victim in cleared.clearing.victims
    )
    for row, count in Counter(victim.deployment for victim in victims).items():
        found[row] = count
    return found
