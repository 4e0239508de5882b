"""Stages 6 and 7 as columns: from sizes wanted to sizes granted, GPUs to take and replicas to let go."""

from dataclasses import dataclass, replace

import numpy as np

from deployments.core.autoscaler_state import AutoscalerState, Kept, Memory
from deployments.core.census import Census
from deployments.core.clearing import Scene, entries_of, make_room, stops_for, yielded
from deployments.core.columns import Bools, Int16s, Int32s, Int64s, UInt64s
from deployments.core.contention import Contest, Grant
from deployments.core.granting import before_contention, say_cleared, say_moving, say_short
from deployments.core.keeping import Keeping, keeping, remembered
from deployments.core.moves import Moves, moves_of
from deployments.core.placement import NOBODY, build_room, usable
from deployments.core.plan import Damped, Granted, Starts, Stops, Wanted
from deployments.core.queue import Phase
from deployments.core.reach import Reach, hopeless, impossible, reach_of, shortage
from deployments.core.reasons import Reason
from deployments.core.reclaim import waits_of
from deployments.core.requests import Asks, in_order, queues
from deployments.core.rolling import at_stake
from deployments.core.shares import dealt_again
from deployments.core.snapshot import Deployments, Instances, Snapshot, Source
from deployments.core.victims import choose, rank, together


@dataclass(frozen=True, slots=True)
class Allocation:
    """What `allocate` answers."""

    granted: Granted
    starts: Starts
    stops: Stops
    unplaced: Int32s
    free_since_ms: Int64s
    kept: Kept
    yielded: Int32s  # replicas whose scale-down delay was cut short (R12)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the contest. `got` and `replaced` are replicas that start per deployment (int32[D])."""

    starts: Starts
    got: Int32s  # beside what there is
    replaced: Int32s  # instead of what there is
    kept_back: dict[int, int]  # deployment for which there is room -> the one for whose min it is kept


def allocate(
    snapshot: Snapshot, wanted: Wanted, damped: Damped, census: Census, old: AutoscalerState, now_ms: int
) -> Allocation:
    """Share out the capacity there is, and choose who goes and who is replaced. `old` is what is remembered."""
    deployments, current = snapshot.deployments, census.ready + census.starting
    acting = ~deployments.shadow
    excess = np.where(acting, np.maximum(current - wanted.value, 0), 0).astype(np.int32)
    lacks = np.where(acting, np.maximum(wanted.value - current, 0), 0).astype(np.int32)
    asked = np.maximum(lacks - deployments.backoff, 0)
    shrunk = choose(snapshot.replicas, census, excess)
    moves = moves_of(snapshot, census, shrunk, np.maximum(deployments.backoff - lacks, 0), old.memory, now_ms)
    granted = before_contention(deployments, wanted, current, asked)
    asks = _asks(snapshot, census, asked, wanted, moves, old.memory, now_ms)
    kept = keeping(old.kept, snapshot, asks.to_min + asks.growth > 0, now_ms)
    outcome = _contend(snapshot, asks, asked, moves, kept, wanted, granted)
    say_moving(granted, census, moves, outcome.replaced)
    unplaced = (asked - outcome.got).astype(np.int32)
    waits = waits_of(deployments, wanted, damped, granted, unplaced)
    going = together(census.going, shrunk)
    scene = Scene(snapshot, census, moves, asks, outcome.starts, outcome.kept_back, unplaced, waits, granted, going)
    done = make_room(scene, kept)
    say_cleared(granted, deployments, done)
    return Allocation(
        granted=granted,
        starts=outcome.starts,
        stops=together(going, stops_for(done, census)),
        unplaced=unplaced,
        free_since_ms=moves.free_since_ms,
        kept=remembered([*kept.still(unplaced), *entries_of(done, now_ms)], snapshot),
        yielded=yielded(done, len(deployments)),
    )


def _asks(
    snapshot: Snapshot, census: Census, asked: Int32s, wanted: Wanted, moves: Moves, memory: Memory, now_ms: int
) -> Asks:
    """What leaves its instance is as good as missing, so it is asked for within min or growth."""
    deployments = snapshot.deployments
    total = asked + moves.leaving.count
    have = np.minimum(census.ready + census.starting, wanted.value)
    staying = have - moves.leaving.count
    to_min = np.clip(np.minimum(wanted.value, deployments.min) - staying, 0, total).astype(np.int32)
    since = np.where(memory.short_since_ms > 0, memory.short_since_ms, now_ms)
    renewals = at_stake(snapshot, census, moves, have)
    later = (moves.later.count - renewals).astype(np.int32)
    return Asks(deployments, to_min, total - to_min, renewals, later, moves.over, since)


def _contend(
    snapshot: Snapshot, asks: Asks, asked: Int32s, moves: Moves, kept: Keeping, wanted: Wanted, granted: Granted
) -> Outcome:
    """Run the contest and write what came of it into `granted`."""
    rows = np.flatnonzero(asks.to_min + asks.growth + asks.renewals + asks.moves)
    if not len(rows):
        return Outcome(Starts.none(), np.zeros_like(asked), np.zeros_like(asked), {})
    deployments, offerings = snapshot.deployments, snapshot.offerings
    instances = kept.held_for(snapshot.instances, deployments)
    reach = reach_of(deployments, rows, offerings)
    machines = np.flatnonzero(usable(instances))
    never = impossible(reach, instances, offerings)
    lost = hopeless(reach, instances.take(machines), offerings)
    places = kept.places(instances, asks)
    room = build_room(instances, machines, offerings, reach.orgs, _zones_asked(deployments, reach), places)
    playing = rows[(never == 0) & ~lost]
    contest = Contest(queues(asks, playing), room, _holds(instances, reach.orgs))
    waiting = in_order(deployments, rows[(never == 0) & lost & (asks.to_min[rows] > 0)])
    make = asks.maker(waiting)
    grants = contest.run([make(position) for position in range(len(waiting))])
    outcome = _outcome(grants, asks, asked, moves, contest.kept_back)
    _write(replace(snapshot, instances=instances), reach, machines, never, outcome, wanted, granted)
    return outcome


def _zones_asked(deployments: Deployments, reach: Reach) -> UInt64s:
    """Offerings in which each organization of the reach asks (bits)."""
    zones = np.zeros(len(reach.orgs), np.uint64)
    np.bitwise_or.at(zones, reach.org, deployments.zones[reach.rows])
    return zones


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


def _outcome(grants: list[Grant], asks: Asks, asked: Int32s, moves: Moves, kept_back: dict[int, int]) -> Outcome:
    """Rows of all grants; several replicas of one grant are so many rows.

    What a deployment gets is first what it lacks, then stands in for what leaves an instance.
    """
    table = [
        (part == 0, grant.replicas, grant.phase, grant.exclusive, grant.deployment, *taken, grant.capacity_class)
        for grant in grants
        for part, taken in enumerate(grant.taken)
    ]
    rows = np.array(table, np.int64).reshape(-1, 8)
    begins, _, phase, exclusive, deployment, instance, gpus, capacity_class = np.repeat(rows, rows[:, 1], axis=0).T
    replica = np.cumsum(begins) - 1
    first = begins > 0
    owners = dealt_again(asks, deployment[first], phase[first], exclusive[first] > 0)
    later = np.isin(phase[first], (Phase.RENEW, Phase.MOVE))
    replaces = np.where(
        later,
        moves.later.of(owners, _places(owners, later)),
        moves.leaving.of(owners, _places(owners, ~later) - asked[owners]),
    )
    starts = Starts.build(
        replica=replica,
        deployment=owners[replica],
        instance=instance,
        gpus=gpus,
        capacity_class=capacity_class,
        replaces=replaces[replica],
    )
    got, replaced = (
        np.bincount(owners[which], minlength=len(asked)).astype(np.int32) for which in (replaces < 0, replaces >= 0)
    )
    return Outcome(starts, got, replaced, kept_back)


def _places(owners: Int64s, among: Bools) -> Int64s:
    """How many of the same owner come before each row, of those that are `among`; the others' numbers mean nothing."""
    order = np.lexsort((np.arange(len(owners)), ~among, owners))
    places = np.empty(len(owners), np.int64)
    places[order] = rank(owners[order])
    return places


def _write(
    snapshot: Snapshot,
    reach: Reach,
    machines: Int64s,
    never: Int16s,
    outcome: Outcome,
    wanted: Wanted,
    granted: Granted,
) -> None:
    """Put the outcome into `granted`: what was got, what is missing and why."""
    deployments, rows = snapshot.deployments, reach.rows
    granted.value[rows] += outcome.got[rows]
    granted.missing_gpus[rows] -= (outcome.got * deployments.gpu_count)[rows]
    full = rows[(granted.value[rows] == wanted.value[rows]) & (outcome.got[rows] > 0)]
    granted.code[full] = Reason.GRANTED
    short = granted.value[rows] + deployments.backoff[rows] < wanted.value[rows]
    if not short.any():
        return
    free = snapshot.instances.gpus - snapshot.instances.gpus_used
    np.subtract.at(free, outcome.starts.instance, outcome.starts.gpus)
    reach, never = reach.take(short), never[short]
    usable = snapshot.instances.take(machines)
    code, offering = shortage(reach, usable, free[machines], snapshot.offerings, snapshot.instances)
    code = np.where(never > 0, never, code)
    kept = np.isin(reach.rows, list(outcome.kept_back))
    code[kept] = Reason.KEPT_FOR_PRIORITY
    say_short(reach, code, offering, granted)
    at = reach.rows[kept]
    granted.other[at] = deployments.key[[outcome.kept_back[row] for row in at.tolist()]]
