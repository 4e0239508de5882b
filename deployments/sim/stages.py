"""The planner's stages 1 to 5 as a policy of lanes: one row of its table a lane, each with settings of its own."""

from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from deployments.core.autoscaler_state import Forecasts, Memory
from deployments.core.columns import Int64s
from deployments.core.params import MILLI, Params
from deployments.core.planner import size_alone
from deployments.core.signal import Samples
from deployments.core.snapshot import Deployments, history_s
from deployments.sim.grid import PolicyStep, Seen

T = TypeVar("T")

EPOCH_MS = 1_000_000  # second 0 of a run as unix time: 0 stands for "never" in what the planner remembers


@dataclass(frozen=True, slots=True)
class Remembered:
    """The planner's memory of each lane, and the samples that its windows reach back to, oldest first."""

    memory: Memory
    forecasts: Forecasts = field(default_factory=Forecasts.none)
    at_ms: tuple[int, ...] = ()
    queued: tuple[Int64s, ...] = ()
    load: tuple[Int64s, ...] = ()


def nothing(deployments: Deployments) -> Remembered:
    """What is known before the first sample."""
    return Remembered(Memory.build(key=deployments.key))


def by_stages(deployments: Deployments, params: Params) -> PolicyStep[Remembered]:
    """Ask the planner for the size of every lane."""
    kept = int(np.ceil(history_s(deployments, params) / params.sample_s))
    settings = deployments.settings(params)

    def step(old: Remembered, seen: Seen) -> tuple[Remembered, Int64s]:
        now_ms = EPOCH_MS + round(seen.at_s * MILLI)
        at_ms = _last(old.at_ms, now_ms, kept)
        queued = _last(old.queued, seen.queued, kept)
        load = _last(old.load, seen.queued + seen.active, kept)
        service_ms = 0 if np.isnan(seen.service_s) else round(seen.service_s * MILLI)
        memory, forecasts, wanted = size_alone(
            old.memory, old.forecasts, old.at_ms[-1] if old.at_ms else 0, Samples(np.array(at_ms), np.array(queued), np.array(load)),
            deployments, replace(settings, service_ms=np.full(len(deployments), service_ms)), params,
            ready=seen.ready.astype(np.int32), starting=seen.starting.astype(np.int32), now_ms=now_ms,
        )  # fmt: skip
        return Remembered(memory, forecasts, at_ms, queued, load), wanted.value.astype(np.int64)

    return step


def _last(values: tuple[T, ...], value: T, kept: int) -> tuple[T, ...]:
    return (*values, value)[-kept:]
