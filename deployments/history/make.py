"""Hours of history from a description: the live planner and the simulator, all shards and several hours side by side.

Nothing is read or written here. The same description and hour give the same history, made alone or with others.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from deployments.backends.simulated import demand_of
from deployments.core import explain
from deployments.core.record import Row, decision_records
from deployments.core.snapshot import MAX_OFFERINGS, Deployments, Instances, Offerings
from deployments.core.waits import counted_by_row
from deployments.history.hours import HOUR, WARM_UP, Hour
from deployments.loop.points import Points, from_samples
from deployments.loop.tick import PARAMS
from deployments.sim.demand import RecordedDemand, Requests
from deployments.sim.lanes import Lane, side_by_side
from deployments.sim.shard import Step, World, run
from deployments.sim.startup import load_seconds

Json = dict[str, Any]
Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.uint32]

LOOK_BACK = 600  # seconds before a run whose requests say how many replicas it begins with
LONGEST_REQUEST = 120  # seconds that a request of the traces runs at most
BEAT_EVERY = 24  # passes
# Numbers of the replicas of a deployment in an hour: there are fewer passes.
STARTS_EACH = 4096
SAMPLED = ("queued", "active", "arrived", "finished", "service_seconds", "waited_le_1s", "waited_le_5s")


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision as its row will have it. `at` is in unix seconds."""

    deployment: int
    at: int
    current: int
    wanted: int
    granted: int
    bound: str
    record: Row


@dataclass(frozen=True, slots=True)
class Made:
    """An hour: points of 5 s by key of the deployment, and decisions in the order of time."""

    hour: Hour
    points: dict[int, Points]
    decisions: list[Decided]


def most_hours(description: Json) -> int:
    """How many hours fit side by side."""
    return max(1, MAX_OFFERINGS // max(1, sum(len(shard["offerings"]) for shard in description["shards"])))


def make(description: Json, hours: Sequence[Hour], beat: Callable[[float], None]) -> list[Made]:
    """The hours, side by side; they follow each other, newest first. `beat` is told the share that is done, often."""
    tapes = _tapes(description, hours)
    shards = [(hour, shard) for hour in hours for shard in description["shards"]]
    worlds = [_world(shard, hour, tapes, description["speed"]) for hour, shard in shards]
    whole, lanes = side_by_side(worlds)
    reel = _Reel([(hour, lane, shard) for (hour, shard), lane in zip(shards, lanes, strict=True)])
    initial = [size for world in worlds for size in _likely_sizes(world)]
    last = HOUR - PARAMS.sample_s
    for number, step in enumerate(run(whole, PARAMS, -WARM_UP, last, epoch_s=hours[0].begins, initial=initial)):
        reel.add(step)
        if number % BEAT_EVERY == 0:
            beat(number * PARAMS.sample_s / (WARM_UP + last))
    return [reel.made(hour) for hour in hours]


class _Reel:
    """What is kept of the passes: of each deployment its samples and decisions, by the time of its own hour."""

    def __init__(self, parts: Sequence[tuple[Hour, Lane, Json]]) -> None:
        self._parts = parts
        self._of_row = [part for part in parts for _ in part[2]["slots"]]
        self._at: list[float] = []
        self._samples: list[Floats] = []
        self._waits: list[Counts] = []
        self._decisions: dict[int, list[Decided]] = {hour.begins: [] for hour, _, _ in parts}

    def add(self, step: Step) -> None:
        # Counters go on from the last pass of the warm-up.
        if step.at_s < -PARAMS.sample_s:
            return
        columns = [getattr(step.sample, name) for name in SAMPLED]
        self._at.append(step.at_s)
        self._samples.append(np.array([*columns[:2], step.plan.ready, step.plan.starting, *columns[2:]], np.float64))
        self._waits.append(counted_by_row(step.waits).astype(np.uint32))
        rows = np.flatnonzero(step.plan.changed).tolist()
        rows = [row for row in rows if _covers(self._of_row[row][0], step.at_s)]
        if rows:
            self._decide(step, rows)

    def made(self, hour: Hour) -> Made:
        samples, waits = np.array(self._samples), np.array(self._waits)
        points: dict[int, Points] = {}
        for of, lane, shard in self._parts:
            if of == hour:
                for row, key in zip(range(lane.rows.start, lane.rows.stop), shard["deployments"]["key"], strict=True):
                    made = from_samples(np.array(self._at) + hour.begins, samples[:, :4, row], samples[:, 4:, row],
                                        int(PARAMS.sample_s), np.cumsum(waits[:, row], axis=0, dtype=np.int64))  # fmt: skip
                    points[key] = made.between(hour.start, hour.end)
        return Made(hour, points, self._decisions[hour.begins])

    def _decide(self, step: Step, rows: list[int]) -> None:
        plan = step.plan
        for row, record in zip(rows, decision_records(plan, step.snapshot, rows), strict=True):
            hour, lane, shard = self._of_row[row]
            own = lane.own(record, round(1000 * (hour.begins + step.at_s - plan.now)))
            if (offering := own["granted_offering"]) != -1:
                own["granted_offering"] = shard["offerings"][offering]["row"]
            self._decisions[hour.begins].append(
                Decided(
                    deployment=int(shard["deployments"]["key"][row - lane.rows.start]),
                    at=round(hour.begins + step.at_s),
                    current=int(plan.current[row]),
                    wanted=int(plan.wanted.value[row]),
                    granted=int(plan.granted.value[row]),
                    bound=explain.bound_name(own),
                    record={**own, "stale": 0},
                )
            )


def _covers(hour: Hour, at_s: float) -> bool:
    return at_s >= 0 and hour.start <= hour.begins + at_s < hour.end


def _tapes(description: Json, hours: Sequence[Hour]) -> dict[int, Requests]:
    """The requests of each deployment over all the hours, made once. In seconds since the demand's own beginning."""
    start, end = hours[-1].begins - WARM_UP - LOOK_BACK, hours[0].begins + HOUR
    tapes = {}
    for shard in description["shards"]:
        for key, one in zip(shard["deployments"]["key"], shard["workloads"], strict=True):
            demand = demand_of(one["trace"], one["scale"], one["seed"], one["phase_s"])
            tapes[key] = demand.between(start - one["origin"], end - one["origin"])
    return tapes


def _world(shard: Json, hour: Hour, tapes: dict[int, Requests], speed: float) -> World:
    """A shard at an hour; second 0 is where the hour begins."""
    keys = shard["deployments"]["key"]
    offerings = shard["offerings"]
    return World(
        deployments=_deployments(shard),
        slots=np.array(shard["slots"], np.int64),
        instances=_instances(shard),
        offerings=Offerings(
            key=np.array([one["key"] for one in offerings], np.int64),
            zone=tuple(one["zone"] for one in offerings),
            gpus_per_instance=np.full(len(offerings), shard["gpus"], np.int32),
        ),
        demands=[RecordedDemand(*tapes[key], one["origin"] - hour.begins)
                 for key, one in zip(keys, shard["workloads"], strict=True)],
        loads=[partial(_load_seconds, key, hour.begins, speed) for key in keys],
    )  # fmt: skip


def _load_seconds(deployment: int, hour: int, speed: float, number: int) -> float:
    """As the simulated runtime draws it. Keys of replicas that never were are negative, so that no other has them."""
    return load_seconds(deployment, -(hour * STARTS_EACH + number)) / speed


def _deployments(shard: Json) -> Deployments:
    columns = {name: np.array(values, np.float64) if None in values else values
               for name, values in shard["deployments"].items()}  # fmt: skip
    rows = [one["row"] for one in shard["offerings"]]
    zones = [sum(1 << place for place, row in enumerate(rows) if bits >> row & 1) for bits in columns["zones"]]
    return Deployments.build(**{**columns, "zones": zones})


def _instances(shard: Json) -> Instances:
    place = {one["row"]: row for row, one in enumerate(shard["offerings"])}
    machines = [group for group in shard["machines"] for _ in range(group["count"])]
    return Instances.build(
        key=range(1, len(machines) + 1),
        offering=[place[one["offering"]] for one in machines],
        gpus=[shard["gpus"]] * len(machines),
        **{name: [one[name] for one in machines] for name in ("org", "claim", "source")},
    )


def _likely_sizes(world: World) -> list[int]:
    """Replicas that the autoscaler would have wanted by then: the highest mean load of the scale-down window, had
    nothing waited. A run that begins near where it goes forgets its beginning sooner."""
    settings = world.deployments.settings(PARAMS)
    sizes = []
    for demand, target, stable_ms, window_ms in zip(
        world.demands, world.deployments.concurrency.tolist(), settings.stable_ms.tolist(),
        settings.scale_down_ms.tolist(), strict=True,
    ):  # fmt: skip
        arrivals, services = demand.between(-WARM_UP - LOOK_BACK, -WARM_UP)
        means = max(1, round(stable_ms / 1000 / PARAMS.sample_s))
        reach = min((stable_ms + window_ms) / 1000, LOOK_BACK - LONGEST_REQUEST)
        grid = -WARM_UP - PARAMS.sample_s * np.arange(max(means, round(reach / PARAMS.sample_s)))
        active = np.searchsorted(arrivals, grid) - np.searchsorted(np.sort(arrivals + services), grid)
        load = np.convolve(active, np.full(means, 1 / means), "valid").max()
        sizes.append(math.ceil(load / target))
    return sizes
