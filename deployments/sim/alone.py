"""One deployment with room for all its replicas, as a policy of `deployments.sim.fleet`: the planner's stages 1 to 5."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deployments.core.params import Params
from deployments.core.snapshot import Deployments, history_s
from deployments.sim import stages
from deployments.sim.fleet import PolicyStep, Signal
from deployments.sim.grid import Seen
from deployments.sim.queue import Counters


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the planner remembers, and the counters of as many samples as it reaches back to."""

    planner: stages.Remembered
    counters: tuple[Counters, ...] = ()


def nothing(deployment: Deployments) -> Remembered:
    """What is known before the first sample."""
    return Remembered(stages.nothing(deployment))


def by_stages(deployment: Deployments, params: Params) -> PolicyStep[Remembered]:
    """Ask the planner for the size of a deployment, a table of one row."""
    kept, ask = int(np.ceil(history_s(deployment, params) / params.sample_s)), stages.by_stages(deployment, params)

    def step(old: Remembered, signal: Signal, now: float) -> tuple[Remembered, int]:
        counters = (*old.counters, signal.counters)[-kept:]
        queued, active, ready, starting = (
            np.array([value]) for value in (signal.queued, signal.active, signal.ready, signal.starting)
        )
        seen = Seen(now, queued, active, ready, starting, service_s(counters))
        planner, wanted = ask(old.planner, seen)
        return Remembered(planner, counters), int(wanted[0])

    return step


def service_s(counters: Sequence[Counters]) -> float:
    """The mean time that a request ran meanwhile; NaN where none ended."""
    first, last = counters[0], counters[-1]
    ended = last.finished - first.finished
    return (last.service_seconds - first.service_seconds) / ended if ended else np.nan
