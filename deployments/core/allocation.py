"""Stages 6 and 7 as columns: from sizes wanted to sizes granted, GPUs to take and replicas to let go."""

from dataclasses import dataclass

import numpy as np

from deployments.core.autoscaler_state import Memory
from deployments.core.columns import Bools, Int16s, Int32s, Int64s
from deployments.core.contention import Contest, Grant
from deployments.core.placement import NOBODY, build_room, usable
from deployments.core.plan import Bound, Granted, Starts, Stops, Wanted
from deployments.core.reach import BOUND_OF, Reach, hopeless, impossible, reach_of, shortage
from deployments.core.reasons import Reason
from deployments.core.requests import Asks, queues
from deployments.core.snapshot import CapacityClass, Deployments, Instances, Snapshot, Source
from deployments.core.victims import choose


@dataclass(frozen=True, slots=True)
class Allocation:
    """What `allocate` answers."""

    granted: Granted
    starts: Starts
    stops: Stops
    unplaced: Int32s


def allocate(
    snapshot: Snapshot, wanted: Wanted, current: Int32s, live: Bools, memory: Memory, now_ms: int
) -> Allocation:
    """Share out the capacity there is and choose who goes. `live` marks the replicas that count (bool[R])."""
    deployments, instances = snapshot.deployments, snapshot.instances
    acting = ~deployments.shadow
    excess = np.where(acting, np.maximum(current - wanted.value, 0), 0).astype(np.int32)
    asked = np.where(acting, np.maximum(wanted.value - current - deployments.backoff, 0), 0).astype(np.int32)
    granted = _before_contention(deployments, wanted, current, asked)
    rows = np.flatnonzero(asked)
    starts = Starts.none()
    if len(rows):
        starts = _contend(snapshot, rows, asked, wanted, current, memory, now_ms, granted)
    stops = choose(snapshot.replicas, instances, live, excess)
    got = np.bincount(_one_per_replica(starts), minlength=len(asked))
    return Allocation(granted, starts, stops, (asked - got).astype(np.int32))


def _before_contention(deployments: Deployments, wanted: Wanted, current: Int32s, asked: Int32s) -> Granted:
    """The answer as far as capacity has no say."""
    code = np.full(len(current), Reason.NOTHING_ASKED, np.int16)
    bound = wanted.bound.copy()
    code[wanted.value < current] = Reason.RELEASED
    waits = wanted.value > current + asked
    code[waits] = Reason.BACKING_OFF
    bound[waits] = Bound.BACKOFF
    code[deployments.shadow] = Reason.SHADOW
    bound[deployments.shadow] = Bound.SHADOW
    lacks = np.where(deployments.shadow, 0, np.maximum(wanted.value - current, 0))
    return Granted(
        value=np.where(deployments.shadow, wanted.value, np.minimum(current, wanted.value)).astype(np.int32),
        code=code,
        bound=bound,
        missing_gpus=(lacks * deployments.gpu_count).astype(np.int32),
        offering=np.full(len(current), -1, np.int32),
        capacity_class=np.zeros(len(current), np.int8),
        other=np.full(len(current), -1, np.int64),
        coming=np.zeros(len(current), np.int32),
        moves=np.zeros(len(current), np.int32),
        moves_short=np.zeros(len(current), np.int32),
    )


def _contend(
    snapshot: Snapshot,
    rows: Int64s,
    asked: Int32s,
    wanted: Wanted,
    current: Int32s,
    memory: Memory,
    now_ms: int,
    granted: Granted,
) -> Starts:
    """Run the contest for the deployments `rows` and write what came of it into `granted`."""
    deployments, instances, offerings = snapshot.deployments, snapshot.instances, snapshot.offerings
    reach = reach_of(deployments, rows, offerings)
    machines = np.flatnonzero(usable(instances))
    never = impossible(reach, instances, offerings)
    lost = hopeless(reach, instances.take(machines), offerings)
    asks = _asks(deployments, asked, wanted, current, memory, now_ms)
    room = build_room(instances, machines, offerings, reach.orgs)
    playing = rows[(never == 0) & ~lost]
    contest = Contest(queues(asks, playing), room, _holds(instances, reach.orgs))
    waiting = rows[(never == 0) & lost & (asks.to_min[rows] > 0)]
    make = asks.maker(waiting)
    starts = _starts(contest.run([make(position) for position in range(len(waiting))]))
    _write(snapshot, reach, machines, never, starts, contest.kept_back, wanted, granted)
    return starts


def _asks(
    deployments: Deployments, asked: Int32s, wanted: Wanted, current: Int32s, memory: Memory, now_ms: int
) -> Asks:
    to_min = np.clip(np.minimum(wanted.value, deployments.min) - current, 0, asked).astype(np.int32)
    since = np.where(memory.short_since_ms > 0, memory.short_since_ms, now_ms)
    return Asks(deployments, to_min, asked - to_min, since)


def _holds(instances: Instances, orgs: Int64s) -> dict[tuple[int, int], int]:
    """On-demand GPUs that each of the organizations uses, per offering (R14)."""
    pool = (instances.claim == 0) & (instances.source == Source.POOL) & (instances.gpus_used > 0)
    rows = np.flatnonzero(pool & (instances.org != NOBODY))
    rows = rows[np.isin(instances.org[rows], orgs)]
    org = np.searchsorted(orgs, instances.org[rows])
    offerings = int(instances.offering.max(initial=0)) + 1
    cells = np.bincount(org * offerings + instances.offering[rows], instances.gpus_used[rows])
    used = np.flatnonzero(cells)
    keys = zip(orgs[used // offerings].tolist(), (used % offerings).tolist(), strict=True)
    return dict(zip(keys, cells[used].astype(np.int64).tolist(), strict=True))


def _starts(grants: list[Grant]) -> Starts:
    """Rows of all grants; several replicas of one grant are so many rows."""
    if not grants:
        return Starts.none()
    table = [
        (part == 0, grant.replicas, grant.deployment, taken.instance, taken.gpus, grant.capacity_class)
        for grant in grants
        for part, taken in enumerate(grant.taken)
    ]
    rows = np.array(table, np.int64)
    first, _, deployment, instance, gpus, capacity_class = np.repeat(rows, rows[:, 1], axis=0).T
    return Starts.build(
        replica=np.cumsum(first) - 1,
        deployment=deployment,
        instance=instance,
        gpus=gpus,
        capacity_class=capacity_class,
    )


def _one_per_replica(starts: Starts) -> Int32s:
    """Deployment of each replica that starts, a replica on several instances once."""
    return starts.deployment[np.diff(starts.replica, prepend=-1) > 0]


def _write(
    snapshot: Snapshot,
    reach: Reach,
    machines: Int64s,
    never: Int16s,
    starts: Starts,
    kept_back: list[int],
    wanted: Wanted,
    granted: Granted,
) -> None:
    """Put the outcome into `granted`: what was got, what is missing and why."""
    deployments, rows = snapshot.deployments, reach.rows
    got = np.bincount(_one_per_replica(starts), minlength=len(deployments))
    granted.value[rows] += got[rows].astype(np.int32)
    granted.missing_gpus[rows] -= (got * deployments.gpu_count)[rows].astype(np.int32)
    full = rows[granted.value[rows] == wanted.value[rows]]
    granted.code[full] = Reason.GRANTED
    free = snapshot.instances.gpus - snapshot.instances.gpus_used
    np.subtract.at(free, starts.instance, starts.gpus)
    code, offering = shortage(reach, snapshot.instances.take(machines), free[machines], snapshot.offerings)
    code = np.where(never > 0, never, code)
    code[np.isin(rows, kept_back)] = Reason.KEPT_FOR_PRIORITY
    short = granted.value[rows] + deployments.backoff[rows] < wanted.value[rows]
    _write_short(reach, short, code, offering, granted)


def _write_short(reach: Reach, short: Bools, code: Int16s, offering: Int32s, granted: Granted) -> None:
    at = reach.rows[short]
    granted.code[at] = code[short]
    granted.bound[at] = _BOUNDS[code[short]]
    granted.offering[at] = offering[short]
    last = np.where(reach.on_demand, CapacityClass.ON_DEMAND, CapacityClass.RESERVED)
    granted.capacity_class[at] = last[short]


_BOUNDS = np.zeros(max(BOUND_OF) + 1, np.int8)
for _reason, _bound in BOUND_OF.items():
    _BOUNDS[_reason] = _bound
