"""Which replicas count, and which are let go whatever the size (R6, R10, C10).

A replica and the one that replaces it are one *unit*: both hold GPUs for a while, and the size counts them once. The
old one stands for the unit as long as it serves alone. The pair ends when the new one is ready (the old one goes),
when the new one has to go itself (the old one stays), or when the time of the old one's instance is up.

What loads on an instance that is being drained, or loads an older revision, serves nobody and would have to move: it
is withdrawn, and asked for anew like any replica that is missing.
"""

from dataclasses import dataclass

import numpy as np

from deployments.core.columns import Bools, Int16s, Int32s, Int64s
from deployments.core.params import MILLI
from deployments.core.plan import Stops
from deployments.core.reasons import Reason
from deployments.core.snapshot import InstanceState, Replicas, Snapshot
from deployments.core.states import ReplicaState


@dataclass(frozen=True, slots=True)
class Census:
    """Units, and what is let go without a change of size."""

    ready: Int32s  # units that serve, [D]
    starting: Int32s  # units that will, [D]
    pairs: Int32s  # of them, those with a replacement on its way, [D]
    counted: Bools  # the row stands for a unit, [R]
    partner: Int32s  # row of the replacement on its way for a counted row, [R]; -1 = none
    draining: Bools  # lies on an instance that is being drained, [R]
    outdated: Bools  # has an older revision than its deployment, [R]
    going: Stops


def census(snapshot: Snapshot, now_ms: int) -> Census:
    """Count the replicas of a shard."""
    replicas, deployments = snapshot.replicas, snapshot.deployments
    ready = replicas.state == ReplicaState.READY
    counted = ready | (replicas.state == ReplicaState.STARTING)
    draining, late = _leaving(snapshot, now_ms)
    outdated = counted & (replicas.revision < deployments.revision[replicas.deployment])
    book = _Book(snapshot, ready, draining, outdated, late, np.zeros(len(replicas), np.int16))
    old, new = _pairs(replicas, counted)
    alone = counted.copy()
    alone[old] = alone[new] = False
    book.singles(alone)
    stays = book.pairs(old, new)
    partner = np.full(len(replicas), -1, np.int32)
    partner[old[stays]] = new[stays]
    counted[new[stays]] = False
    going = np.flatnonzero(book.codes)
    counted[going] = False
    size = len(deployments)
    return Census(
        ready=_sum(replicas.deployment[counted & ready], size),
        starting=_sum(replicas.deployment[counted & ~ready], size),
        pairs=_sum(replicas.deployment[old[stays]], size),
        counted=counted,
        partner=partner,
        draining=draining,
        outdated=outdated,
        going=Stops(going.astype(np.int32), book.codes[going]),
    )


@dataclass(frozen=True, slots=True)
class _Book:
    """Who goes, as reason codes by row of Replicas; 0 = stays. A shadow deployment is left alone until it is late."""

    snapshot: Snapshot
    ready: Bools
    draining: Bools
    outdated: Bools
    late: Bools
    codes: Int16s

    def singles(self, alone: Bools) -> None:
        """Judge the replicas that are in no pair."""
        leaves = np.flatnonzero(alone & (self.draining | self.outdated))
        self._withdraw(leaves[~self.ready[leaves]])
        late = leaves[self.late[leaves]]
        self.codes[late[self.codes[late] == 0]] = Reason.STOP_NO_ROOM

    def pairs(self, old: Int64s, new: Int64s) -> Bools:
        """Judge each pair; which of them stay pairs."""
        over = self._acting(old) & (self.ready[new] | ~self.ready[old])
        self.codes[old[over]] = Reason.STOP_REPLACED
        self._withdraw(new[~over & (self.draining | self.outdated)[new]])
        self.codes[old[~over & self.late[old]]] = Reason.STOP_DEADLINE
        stays: Bools = (self.codes[old] == 0) & (self.codes[new] == 0)
        return stays

    def _withdraw(self, rows: Int64s) -> None:
        rows = rows[self._acting(rows)]
        codes = np.where(self.draining[rows], Reason.STOP_ON_DRAINING, Reason.STOP_OUTDATED)
        self.codes[rows] = codes.astype(np.int16)

    def _acting(self, rows: Int64s) -> Bools:
        return ~self.snapshot.deployments.shadow[self.snapshot.replicas.deployment[rows]]


def _sum(rows: Int32s, size: int) -> Int32s:
    return np.bincount(rows, minlength=size).astype(np.int32)


def _leaving(snapshot: Snapshot, now_ms: int) -> tuple[Bools, Bools]:
    """Replicas on instances that are being drained, and those of them whose time is up, [R]."""
    replicas, instances, parts = snapshot.replicas, snapshot.instances, snapshot.parts
    nothing = np.zeros(len(replicas), np.bool_)
    drained = instances.state == InstanceState.DRAINING
    if not drained.any():
        return nothing, nothing
    up = drained & (np.nan_to_num(instances.drain_until * MILLI, nan=np.inf) <= now_ms)
    found = []
    for marked in (drained, up):
        rows = marked[replicas.instance] & (replicas.instance >= 0)
        np.logical_or.at(rows, parts.replica, marked[parts.instance])
        found.append(rows)
    return found[0], found[1]


def _pairs(replicas: Replicas, live: Bools) -> tuple[Int64s, Int64s]:
    """Rows of the replicas that are replaced and of those that replace them, each of them live, each once."""
    new = np.flatnonzero(replicas.replaces >= 0)
    if not len(new):
        return new, new
    old = replicas.replaces[new].astype(np.int64)
    same = replicas.deployment[old] == replicas.deployment[new]
    fits = live[new] & live[old] & same & (old != new)
    old, new = old[fits], new[fits]
    first = ~np.isin(old, new)  # what is itself a replacement is not replaced as long as it is one
    old, new = old[first], new[first]
    order = np.lexsort((replicas.key[new], replicas.state[new] != ReplicaState.READY, old))
    old, new = old[order], new[order]
    distinct = np.diff(old, prepend=-1) > 0
    return old[distinct], new[distinct]
