"""What capacity a deployment can reach at all, for many deployments at once.

Used twice: before contention, to leave out those that cannot get anything (in a storm most of them, so that
the exact loop stays short), and after it, to say why somebody is short.
"""

from dataclasses import dataclass

import numpy as np

from deployments.core.columns import Bools, Int16s, Int32s, Int64s
from deployments.core.placement import NOBODY, usable
from deployments.core.plan import Bound
from deployments.core.reasons import Reason
from deployments.core.snapshot import CapacityClass, Deployments, Instances, InstanceState, Offerings, Snapshot

BOUND_OF: dict[Reason, Bound] = {
    Reason.POOL_EXHAUSTED: Bound.CAPACITY,
    Reason.CLAIM_EXHAUSTED: Bound.CAPACITY,
    Reason.FRAGMENTED: Bound.CAPACITY,
    Reason.NO_WHOLE_INSTANCES: Bound.CAPACITY,
    Reason.NO_CLAIM: Bound.CLASS,
    Reason.NO_ZONE: Bound.ZONE,
    Reason.NOT_ON_ONE_INSTANCE: Bound.SIZE,
    Reason.KEPT_FOR_PRIORITY: Bound.PRIORITY,
    Reason.BACKING_OFF: Bound.BACKOFF,
}


@dataclass(frozen=True, slots=True)
class Reach:
    """What the deployments `rows` may use: masks and tables of [n, P]."""

    rows: Int64s  # of the deployments
    gpus: Int32s
    allowed: Bools  # offering is in an allowed zone
    reserved: Bools  # class is allowed, [n]
    on_demand: Bools
    orgs: Int64s  # distinct organizations of the deployments, ascending
    org: Int64s  # row of `orgs`, [n]

    def take(self, which: Bools) -> "Reach":
        """Only some of the deployments."""
        allowed, reserved, on_demand = self.allowed[which], self.reserved[which], self.on_demand[which]
        return Reach(self.rows[which], self.gpus[which], allowed, reserved, on_demand, self.orgs, self.org[which])


def reach_of(deployments: Deployments, rows: Int64s, offerings: Offerings) -> Reach:
    """Where and in which class the given deployments may run (R15, R16)."""
    bits = np.arange(len(offerings), dtype=np.uint64)
    order = deployments.class_order[rows]
    unset = (order == CapacityClass.NONE).all(axis=1)
    orgs, org = np.unique(deployments.org[rows], return_inverse=True)
    return Reach(
        rows=rows,
        gpus=deployments.gpu_count[rows],
        allowed=np.asarray((deployments.zones[rows, None] >> bits) & np.uint64(1) > 0),
        reserved=np.asarray(unset | (order == CapacityClass.RESERVED).any(axis=1)),
        on_demand=np.asarray(unset | (order == CapacityClass.ON_DEMAND).any(axis=1)),
        orgs=orgs,
        org=org,
    )


def impossible(reach: Reach, instances: Instances, offerings: Offerings) -> Int16s:
    """Reason why a deployment cannot run anywhere whatever is free (int16[n]); 0 where it can."""
    size = offerings.gpus_per_instance
    wanted = reach.gpus[:, None]
    holds = np.logical_or(wanted <= size, wanted % np.maximum(size, 1) == 0)
    code = np.zeros(len(reach.rows), np.int16)
    if not reach.on_demand.all():
        claimed = (instances.claim != 0) & (instances.state == InstanceState.READY)
        claims = _table(reach, instances, claimed, instances.gpus, np.maximum)[reach.org] > 0
        code[~(reach.allowed & claims).any(axis=1) & ~reach.on_demand] = Reason.NO_CLAIM
    code[~(reach.allowed & holds).any(axis=1)] = Reason.NOT_ON_ONE_INSTANCE
    code[~reach.allowed.any(axis=1)] = Reason.NO_ZONE
    return code


def claim_room(snapshot: Snapshot, acting: Bools) -> Bools:
    """Deployments for which claim GPUs are free that they prefer to the pool, of those that are `acting` (bool[D])."""
    deployments, instances, offerings = snapshot.deployments, snapshot.instances, snapshot.offerings
    found = np.zeros(len(deployments), np.bool_)
    claims = np.flatnonzero(usable(instances) & (instances.claim != 0))
    if not len(claims):
        return found
    free = instances.gpus[claims] - instances.gpus_used[claims]
    orgs, org = np.unique(instances.org[claims], return_inverse=True)
    most = np.zeros(len(orgs), np.int32)
    np.maximum.at(most, org, free)
    rows = np.flatnonzero(acting & _prefers_claims(deployments) & np.isin(deployments.org, orgs))
    wanted = np.minimum(deployments.gpu_count[rows], offerings.gpus_per_instance.max(initial=0))
    rows = rows[most[np.searchsorted(orgs, deployments.org[rows])] >= wanted]
    reach = reach_of(deployments, rows, offerings)
    table = instances.take(claims)
    room = _table(reach, table, np.ones(len(claims), np.bool_), free, np.maximum)[reach.org]
    wanted_at = np.minimum(reach.gpus[:, None], offerings.gpus_per_instance)
    found[rows] = np.any((room >= wanted_at) & reach.allowed, axis=1)
    return found


def _prefers_claims(deployments: Deployments) -> Bools:
    order = deployments.class_order
    both = (order[:, 0] == CapacityClass.RESERVED) & (order[:, 1] == CapacityClass.ON_DEMAND)
    result: Bools = both | (order == CapacityClass.NONE).all(axis=1)
    return result


def hopeless(reach: Reach, instances: Instances, offerings: Offerings) -> Bools:
    """Deployments for which none of the instances, all usable, has enough GPUs free now (bool[n])."""
    room = _reachable(reach, instances, instances.gpus - instances.gpus_used, np.maximum)
    wanted = np.minimum(reach.gpus[:, None], offerings.gpus_per_instance)
    found: Bools = np.any((room >= wanted) & reach.allowed, axis=1)
    return ~found


def shortage(
    reach: Reach, instances: Instances, free: Int32s, offerings: Offerings, every: Instances
) -> tuple[Int16s, Int32s]:
    """Reason and offering for deployments that capacity left short.

    `instances` are the usable ones, `free` is what is left of them (int32[I]); `every` are all there are. The offering is
    the allowed one with the most GPUs left for it, of several that with the most there are in its classes, whoever uses
    them: where nothing is left anywhere, that is where something comes free. Of several of those it is the lowest key.
    """
    room = np.where(reach.allowed, _reachable(reach, instances, free, np.add), -1)
    enough = room.max(axis=1, initial=0) >= reach.gpus
    several = reach.gpus > offerings.gpus_per_instance.max(initial=0)
    code = np.where(reach.on_demand, Reason.POOL_EXHAUSTED, Reason.CLAIM_EXHAUSTED)
    code = np.where(enough, np.where(several, Reason.NO_WHOLE_INSTANCES, Reason.FRAGMENTED), code)
    there = _serving(reach, every)
    most = int(there.max(initial=0)) + 1
    return code.astype(np.int16), _by_key(np.where(room >= 0, room * most + there, -1), offerings)


def _serving(reach: Reach, instances: Instances) -> Int64s:
    """GPUs of all instances per deployment and offering that serve its classes, free or not: the pool's, and those of its
    organization's claims."""
    claimed = instances.claim != 0
    pool = np.bincount(instances.offering[~claimed], instances.gpus[~claimed], reach.allowed.shape[1]).astype(np.int64)
    own = _table(reach, instances, claimed, instances.gpus, np.add)[reach.org]
    found: Int64s = pool * reach.on_demand[:, None] + own * reach.reserved[:, None]
    return found


def _by_key(worth: Int64s, offerings: Offerings) -> Int32s:
    """The offering that is worth most, the lowest key of several; -1 where none is allowed."""
    if len(offerings) == 0:
        return np.full(len(worth), -1, np.int32)
    order = np.argsort(offerings.key)
    best = order[np.argmax(worth[:, order], axis=1)]
    return np.where(worth.max(axis=1) >= 0, best, -1).astype(np.int32)


def _reachable(reach: Reach, instances: Instances, free: Int32s, combine: np.ufunc) -> Int64s:
    """Free GPUs per deployment and offering in its classes: their sum, or the most of one instance."""
    claimed = instances.claim != 0
    pool = np.zeros(reach.allowed.shape[1], np.int64)
    of_nobody = ~claimed & (instances.org == NOBODY)
    combine.at(pool, instances.offering[of_nobody], free[of_nobody])
    own = _table(reach, instances, ~claimed, free, combine)[reach.org]
    reserved = _table(reach, instances, claimed, free, combine)[reach.org]
    on_demand = combine(own, pool) * reach.on_demand[:, None]
    result: Int64s = combine(on_demand, reserved * reach.reserved[:, None])
    return result


def _table(reach: Reach, instances: Instances, rows: Bools, values: Int32s, combine: np.ufunc) -> Int64s:
    """Combine `values` of the instances `rows` per organization of the reach and offering, [orgs, P]."""
    table = np.zeros((len(reach.orgs), reach.allowed.shape[1]), np.int64)
    at = np.flatnonzero(rows & (instances.org != NOBODY))
    org = np.searchsorted(reach.orgs, instances.org[at])
    org[org == len(reach.orgs)] = 0
    mine = reach.orgs[org] == instances.org[at] if len(reach.orgs) else np.zeros(len(at), np.bool_)
    combine.at(table, (org[mine], instances.offering[at[mine]]), values[at[mine]])
    return table
