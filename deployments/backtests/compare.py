"""Several settings under one demand, side by side (`deployments.sim.grid`): measures, series and a curve. Pure.

Settings whose replicas are alike (slots and start-up time) share a run; each other kind of replica is one more run.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deployments.backtest.running import PARAMS, Machine
from deployments.backtests.baselines import CLAIRVOYANT, FRAMES, HEADROOM, OBJECTIVE, PEERS, STATIC_PEAK
from deployments.backtests.by_objective import by_objective
from deployments.core.columns import Int64s
from deployments.core.snapshot import Deployments
from deployments.sim import oracle, stages
from deployments.sim.grid import HOUR_S, STEP_S, Grid, Load, Setup
from deployments.sim.peers.abreast import abreast
from deployments.sim.peers.rule import Policy
from deployments.sim.peers.static import static

Floats = NDArray[np.float64]
Int32s = NDArray[np.int32]

UTILISATIONS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # of the slots, that the curve is drawn over
MOST_POINTS = 600
UNBOUNDED = 2**31 - 1
SAMPLE_STEPS = round(PARAMS.sample_s / STEP_S)


@dataclass(frozen=True, slots=True)
class Lane:
    """One policy and the replicas that it sizes.

    policy: HEADROOM, or the name of a baseline
    low, high: min and max; frames have none
    settings: of the planner (`scale_down_s` and its like); what is left out is as for the fleet
    room: replicas that find GPUs, whatever is wanted; None: all
    share: of requests that are to wait at most a second, for OBJECTIVE
    """

    policy: str
    machine: Machine
    low: int
    high: int
    concurrency: int
    settings: Mapping[str, float]
    room: int | None = None
    share: float = 0.99


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of a lane; shares and waits are None where no request came.

    short_s: seconds in which it wanted more replicas than found room
    replicas, queued: float64 [P], mean replicas (starting and ready) and most requests waiting of each point
    """

    requests: int
    share_le_1s: float | None
    share_le_5s: float | None
    wait_p50_s: float | None
    wait_p95_s: float | None
    wait_p99_s: float | None
    replica_hours: float
    replicas_most: int
    changes_per_hour: float
    short_s: float
    replicas: Floats
    queued: Floats


@dataclass(frozen=True, eq=False)
class Compared:
    """outcomes: as the lanes were given; curve: (lane, outcome) over target utilisation
    step_s: seconds of a point of a series
    in_flight: float64 [P], mean requests that would run if nobody waited
    """

    outcomes: list[Outcome]
    curve: list[tuple[Lane, Outcome]]
    step_s: float
    in_flight: Floats


def compare(
    load: Load, lanes: Sequence[Lane], *, skip_s: float = 0.0, curve_of: Lane | None = None,
    beat: Callable[[float], None] = lambda share: None,
) -> Compared:  # fmt: skip
    """Run all of them. The first `skip_s` seconds (whole hours) are run and not counted. `beat` hears the share that is
    done, often; what it raises ends the run."""
    every = [*lanes, *(curve_lanes(curve_of) if curve_of else [])]
    order = sorted(range(len(every)), key=lambda place: _kind(every[place]))
    groups = [list(places) for _, places in groupby(order, key=lambda place: _kind(every[place]))]
    found: dict[int, Outcome] = {}
    step_s = point_s(load, skip_s)
    for number, places in enumerate(groups):

        def part(share: float, number: int = number) -> None:
            beat((number + share) / len(groups))

        outcomes = _run(load, [every[place] for place in places], skip_s, step_s, part)
        found |= dict(zip(places, outcomes, strict=True))
    done = [found[place] for place in range(len(every))]
    drawn = list(zip(every[len(lanes) :], done[len(lanes) :], strict=True))
    return Compared(done[: len(lanes)], drawn, step_s, _points(load.in_flight[::SAMPLE_STEPS], skip_s, step_s, np.mean))


def curve_lanes(one: Lane) -> list[Lane]:
    """The same lane with other target concurrencies."""
    slots = one.machine.slots
    targets = dict.fromkeys(max(1, math.floor(share * slots)) for share in UTILISATIONS)
    return [replace(one, concurrency=target) for target in targets]


def point_s(load: Load, skip_s: float) -> float:
    """Seconds of a point: a multiple of the time between samples, so that there are few enough."""
    samples = max(1, (load.span * STEP_S - skip_s) / PARAMS.sample_s)
    return PARAMS.sample_s * math.ceil(samples / MOST_POINTS)


def _kind(lane: Lane) -> tuple[int, float]:
    return lane.machine.slots, lane.machine.cold_start_s


def _run(
    load: Load, lanes: Sequence[Lane], skip_s: float, step_s: float, beat: Callable[[float], None]
) -> list[Outcome]:
    slots, cold_start_s = _kind(lanes[0])
    setup = Setup(slots, cold_start_s, PARAMS.sample_s)
    busy = oracle.most_busy(load, setup)
    policy, order = _policy(lanes, load, busy, setup)
    lanes = [lanes[place] for place in order]
    low, high, begun = _bounds(lanes, load, busy, setup)
    grid = Grid(load, setup, begun, round(skip_s / HOUR_S))
    samples = math.ceil(load.span / setup.tick)
    replicas, queued = (np.zeros((samples, len(lanes)), np.int32) for _ in range(2))
    short = np.zeros(len(lanes), np.int64)
    most = np.array([lane.high if lane.room is not None else 0 for lane in lanes])  # others always find room
    (step, state), first = policy, round(skip_s / PARAMS.sample_s)
    for sample in range(samples):
        seen = grid.advance()
        state, wanted = step(state, seen)
        granted = np.clip(wanted, low, high)
        grid.resize(granted)
        replicas[sample], queued[sample] = seen.ready + seen.starting, seen.queued
        if sample >= first:
            short += np.minimum(wanted, most) > granted
        beat((sample + 1) / samples)
    outcomes = _outcomes(grid, lanes, replicas, queued, short, skip_s, step_s)
    return [outcomes[order.index(place)] for place in range(len(lanes))]


def _policy(lanes: Sequence[Lane], load: Load, busy: Int64s, setup: Setup) -> tuple[Policy, list[int]]:
    """One policy over all lanes, and which lane each of its lanes is: those of the planner first, as one table."""
    planned = [place for place, lane in enumerate(lanes) if lane.policy == HEADROOM]
    others = [place for place, lane in enumerate(lanes) if lane.policy != HEADROOM]
    policies = [_planner([lanes[place] for place in planned])] if planned else []
    policies += [_baseline(lanes[place], load, busy, setup) for place in others]
    return abreast(policies, [*([len(planned)] if planned else []), *(1 for _ in others)]), [*planned, *others]


def _planner(lanes: Sequence[Lane]) -> Policy:
    count = len(lanes)
    names = sorted({name for lane in lanes for name in lane.settings})
    table = Deployments.build(
        key=range(1, count + 1), org=[1] * count, min=[lane.low for lane in lanes], max=[lane.high for lane in lanes],
        concurrency=[lane.concurrency for lane in lanes], startup_s=[lane.machine.cold_start_s for lane in lanes],
        slots=[lane.machine.slots for lane in lanes],
        **{name: [lane.settings.get(name, math.nan) for lane in lanes] for name in names},
    )  # fmt: skip
    return stages.by_stages(table, PARAMS), stages.nothing(table)


def _baseline(lane: Lane, load: Load, busy: Int64s, setup: Setup) -> Policy:
    if lane.policy == OBJECTIVE:
        begun = min(lane.high, max(lane.low, _first(lane, load, busy, setup)))
        return by_objective(load, setup, lane.low, lane.high, begun, lane.share)
    if lane.policy == CLAIRVOYANT:
        return oracle.scheduled(busy, setup, [1.0])[0]
    if lane.policy in FRAMES:
        return static(np.array([_fixed(lane.policy, busy, setup)], np.float64))
    return PEERS[lane.policy].maker(np.array([PEERS[lane.policy].target(setup.slots, lane.concurrency)]))


def _fixed(policy: str, busy: Int64s, setup: Setup) -> int:
    """A fixed size known in hindsight."""
    needed = float(busy.max()) if policy == STATIC_PEAK else float(busy.mean())
    return max(1, math.ceil(needed / setup.slots))


def _bounds(lanes: Sequence[Lane], load: Load, busy: Int64s, setup: Setup) -> tuple[Int64s, Int64s, Int64s]:
    """Fewest and most replicas of each lane, and those that are there when the run begins: what its first minute needs,
    as if it had run before."""
    room = np.array([UNBOUNDED if lane.room is None else lane.room for lane in lanes])
    high = np.minimum([UNBOUNDED if lane.policy in FRAMES else lane.high for lane in lanes], room)
    low = np.minimum([0 if lane.policy in FRAMES else lane.low for lane in lanes], high)
    return low, high, np.clip([_first(lane, load, busy, setup) for lane in lanes], low, high)


def _first(lane: Lane, load: Load, busy: Int64s, setup: Setup) -> int:
    if lane.policy == CLAIRVOYANT:
        return int(oracle.schedule(oracle.replicas_needed(busy, setup.slots), setup)[0])
    if lane.policy in FRAMES:
        return _fixed(lane.policy, busy, setup)
    minute = min(load.span, round(60 / STEP_S))
    requests = float(load.worked[load.arrived[minute]]) / minute
    return math.ceil(requests / lane.concurrency)


def _outcomes(
    grid: Grid, lanes: Sequence[Lane], replicas: Int32s, queued: Int32s, short: Int64s, skip_s: float, step_s: float
) -> list[Outcome]:
    run, first = grid.result(), round(skip_s / PARAMS.sample_s)
    hours = (grid.load.span * STEP_S - skip_s) / HOUR_S
    changes = run.changes[run.from_hour :].sum(axis=0) / hours
    waits = [run.wait_s(quantile) for quantile in (0.5, 0.95, 0.99)]
    drawn = _points(replicas, skip_s, step_s, np.mean), _points(queued, skip_s, step_s, np.max)

    def known(value: Any) -> float | None:
        return None if math.isnan(value) else float(value)

    def waited(lane: int, at: int) -> float | None:
        return float(waits[at][lane]) if run.requests[lane] else None

    return [
        Outcome(
            requests=int(run.requests[lane]), share_le_1s=known(run.share_le_1s[lane]),
            share_le_5s=known(run.share_le_5s[lane]), wait_p50_s=waited(lane, 0), wait_p95_s=waited(lane, 1),
            wait_p99_s=waited(lane, 2), replica_hours=float(run.replica_hours[lane]),
            replicas_most=int(replicas[first:, lane].max(initial=0)), changes_per_hour=float(changes[lane]),
            short_s=float(short[lane] * PARAMS.sample_s), replicas=drawn[0][:, lane], queued=drawn[1][:, lane],
        )
        for lane in range(len(lanes))
    ]  # fmt: skip


def _points(samples: NDArray[Any], skip_s: float, step_s: float, of: Callable[..., Any]) -> Floats:
    """Samples of what is counted, so many seconds to a point: [T, ...] -> [P, ...]; the last may have fewer."""
    first, width = round(skip_s / PARAMS.sample_s), round(step_s / PARAMS.sample_s)
    counted = samples[first:]
    cuts = range(0, len(counted), width)
    if not len(counted):
        return np.zeros(samples.shape, np.float64)[:0]
    return np.stack([of(counted[at : at + width], axis=0) for at in cuts]).astype(np.float64)
