"""Knative's pod autoscaler (KPA): the mean in flight of a stable window, and panic over a short one beside it."""

from dataclasses import dataclass, replace

import numpy as np

from deployments.sim.grid import Int64s, PolicyStep, Seen
from deployments.sim.peers.rule import Bools, Floats, Policy, ceil, in_flight, samples
from deployments.sim.peers.sliding import Sliding, mean_of

PANIC_AT = 2.0
MOST_UP, MOST_DOWN = 1000, 2


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """stable, panic: in flight over the two windows
    left: samples until panic ends, 0 where there is none, [L]
    most: the most wanted since panic began, [L]
    """

    stable: Sliding
    panic: Sliding
    left: Int64s
    most: Int64s


def kpa(targets: Floats, *, stable_s: float = 60.0, panic_share: float = 0.10) -> Policy:
    """It looks every 2 s, which here is at each sample.

    Wanted is the mean in flight over the target, within [floor(ready / 2), ceil(1000 x ready)]. Panic begins where the
    panic window wants at least twice the ready replicas, and ends a whole stable window after it last did; meanwhile
    the larger of both is wanted, and never less than before.
    """
    begun = np.zeros(len(targets), np.int64)
    state = State(mean_of(samples(stable_s)), mean_of(samples(stable_s * panic_share)), begun, begun)
    return _step(targets, samples(stable_s)), state


def kpa_gpu(targets: Floats) -> Policy:
    """The values once published for GPUs: a stable window of 180 s, panic over 13 % of it."""
    return kpa(targets, stable_s=180.0, panic_share=0.13)


def _step(targets: Floats, lasts: int) -> PolicyStep[State]:
    def step(state: State, seen: Seen) -> tuple[State, Int64s]:
        requests = in_flight(seen)
        state = replace(state, stable=state.stable.push(requests), panic=state.panic.push(requests))
        ready = np.maximum(seen.ready, 1)
        sudden = ceil(state.panic.value / state.panic.seen / targets)
        left = np.where(sudden >= PANIC_AT * ready, lasts, np.maximum(state.left - 1, 0))
        steady = _limited(ceil(state.stable.value / state.stable.seen / targets), ready)
        return _panicking(state, left, steady, _limited(sudden, ready))

    return step


def _panicking(state: State, left: Int64s, steady: Int64s, sudden: Int64s) -> tuple[State, Int64s]:
    panics: Bools = left > 0
    most = np.where(panics, np.maximum(state.most, np.maximum(steady, sudden)), 0)
    return replace(state, left=left, most=most), np.where(panics, most, steady)


def _limited(wanted: Int64s, ready: Int64s) -> Int64s:
    return np.clip(wanted, ready // MOST_DOWN, MOST_UP * ready)
