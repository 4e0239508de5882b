"""Which replicas have to be replaced by others, and how many at a time (R10, R15, C10).

A serving replica has to move when its instance is being drained (C10), when its revision is older than its
deployment's (R10), or when it runs on demand although claim GPUs that it could use have been free for ten minutes
(R15). Whatever the cause, its replacement starts first; once that is ready the old one goes (see census).

What leaves an instance competes for room like a replica that is missing, for it soon will be. The other two take what
growth leaves: a new revision up to one replica, or a tenth of max, at a time (the first of them before growth, where
the minimum is at stake: see rolling); moving over to claims one in a pass.
"""

from dataclasses import dataclass

import numpy as np

from deployments.core.autoscaler_state import Memory
from deployments.core.census import Census
from deployments.core.columns import Bools, Int32s, Int64s
from deployments.core.plan import Stops
from deployments.core.reach import claim_room
from deployments.core.snapshot import CapacityClass, Snapshot
from deployments.core.states import ReplicaState
from deployments.core.victims import first_to_go, rank

SURGE_SHARE = 10  # a tenth of max
FREE_MS = 600_000  # how long claim GPUs have to be free before replicas move over


@dataclass(frozen=True, slots=True)
class Waiting:
    """Rows of Replicas that wait for a replacement, by deployment and then in the order in which they get one."""

    rows: Int64s
    count: Int32s  # [D]

    @classmethod
    def none(cls, deployments: int) -> "Waiting":
        """Nobody waits."""
        return cls(np.zeros(0, np.int64), np.zeros(deployments, np.int32))

    @classmethod
    def build(cls, owners: Int32s, rows: Int64s, deployments: int) -> "Waiting":
        """Rows that come sorted by their owners, the deployments."""
        return cls(rows, np.bincount(owners, minlength=deployments).astype(np.int32))

    def first(self, most: Int32s) -> "Waiting":
        """Only so many of each deployment."""
        if not len(self.rows):
            return self
        owners = np.repeat(np.arange(len(self.count), dtype=np.int32), self.count)
        kept = rank(owners) < most[owners]
        return Waiting.build(owners[kept], self.rows[kept], len(self.count))

    def of(self, owners: Int64s, places: Int64s) -> Int32s:
        """The row at a place of each of the given deployments; -1 where none waits there."""
        there = (places >= 0) & (places < self.count[owners])
        if not there.any():
            return np.full(len(owners), -1, np.int32)
        firsts = np.cumsum(self.count) - self.count
        return np.where(there, self.rows[np.where(there, firsts[owners] + places, 0)], -1).astype(np.int32)


@dataclass(frozen=True, slots=True)
class Moves:
    """For whom room is asked in this pass."""

    leaving: Waiting  # instances that are being drained
    later: Waiting  # what takes what growth leaves: to a newer revision, or over to claims
    over: Bools  # `later` of the deployment is over to claims, [D]
    outdated: Int64s  # rows of all that wait for a newer revision
    free_since_ms: Int64s  # since when claim GPUs have been free for what runs on demand, [D]; 0 = they are not


def moves_of(
    snapshot: Snapshot, census: Census, shrunk: Stops, backing_off: Int32s, memory: Memory, now_ms: int
) -> Moves:
    """Who has to move; not those that are let go in this pass (`shrunk`).

    `backing_off` replacements of a deployment wait after failures (int32[D], R8): so many fewer are asked for.
    """
    deployments = snapshot.deployments
    acting = deployments.enabled & ~deployments.shadow
    free = claim_room(snapshot, acting)
    if not free.any() and not census.draining.any() and not census.outdated.any():
        nobody, size = Waiting.none(len(deployments)), len(deployments)
        return Moves(nobody, nobody, np.zeros(size, np.bool_), nobody.rows, np.zeros(size, np.int64))
    movable = census.counted & (snapshot.replicas.state == ReplicaState.READY) & (census.partner < 0)
    movable &= acting[snapshot.replicas.deployment]
    movable[shrunk.replica] = False
    return _of(snapshot, census, movable, free, backing_off, memory, now_ms)


def _of(
    snapshot: Snapshot, census: Census, movable: Bools, free: Bools, backing_off: Int32s, memory: Memory, now_ms: int
) -> Moves:
    replicas, size = snapshot.replicas, len(snapshot.deployments)
    leaving = _leaving(snapshot, census, np.flatnonzero(movable & census.draining))
    rolling = _rolling(snapshot, census, np.flatnonzero(movable & census.outdated & ~census.draining))
    on_demand = movable & (replicas.capacity_class == CapacityClass.ON_DEMAND) & free[replicas.deployment]
    could = np.bincount(replicas.deployment[on_demand], minlength=size) > 0
    since = np.where(could, np.where(memory.free_since_ms > 0, memory.free_since_ms, now_ms), 0)
    due = could & (now_ms - since >= FREE_MS) & (leaving.count + rolling.count + backing_off == 0)
    over = _over(snapshot, census, np.flatnonzero(on_demand & due[replicas.deployment]))
    surge = np.maximum(snapshot.deployments.max // SURGE_SHARE, 1) - census.pairs
    rest = np.maximum(backing_off - leaving.count, 0)
    later = _merged(rolling.first(np.maximum(surge - rest, 0)), over.first(np.ones(size, np.int32)))
    return Moves(leaving.first(np.maximum(leaving.count - backing_off, 0)), later, due, rolling.rows, since)


def _leaving(snapshot: Snapshot, census: Census, rows: Int64s) -> Waiting:
    """The nearest deadline first, then the order of R18."""
    replicas, instances = snapshot.replicas, snapshot.instances
    until = np.full(len(rows), np.inf)
    placed = replicas.instance[rows] >= 0
    until[placed] = np.nan_to_num(instances.drain_until[replicas.instance[rows[placed]]], nan=np.inf)
    owners = replicas.deployment[rows]
    order = first_to_go(replicas, census, rows, [owners, until])
    return Waiting.build(owners[order], rows[order], len(snapshot.deployments))


def _rolling(snapshot: Snapshot, census: Census, rows: Int64s) -> Waiting:
    """The oldest revision first (a restart that an operator asked for is revision 0), then the order of R18."""
    owners = snapshot.replicas.deployment[rows]
    order = first_to_go(snapshot.replicas, census, rows, [owners, snapshot.replicas.revision[rows]])
    return Waiting.build(owners[order], rows[order], len(snapshot.deployments))


def _over(snapshot: Snapshot, census: Census, rows: Int64s) -> Waiting:
    owners = snapshot.replicas.deployment[rows]
    order = first_to_go(snapshot.replicas, census, rows, [owners])
    return Waiting.build(owners[order], rows[order], len(snapshot.deployments))


def _merged(one: Waiting, two: Waiting) -> Waiting:
    """Both; a deployment waits in one of them only."""
    size = np.arange(len(one.count))
    owners = np.concatenate([np.repeat(size, one.count), np.repeat(size, two.count)])
    order = np.argsort(owners, kind="stable")
    return Waiting(np.concatenate([one.rows, two.rows])[order], one.count + two.count)
