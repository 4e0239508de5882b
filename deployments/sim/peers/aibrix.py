"""AIBrix's APA: the mean of a window outside a band, with limits on a step."""

from dataclasses import dataclass, replace

import numpy as np

from deployments.sim.grid import Int64s, Seen
from deployments.sim.peers.rule import Floats, Policy, ceil, current, due, in_flight, samples
from deployments.sim.peers.sliding import Sliding, highest_of, mean_of

EVERY_S = 10.0
WINDOW_S = 180.0
SHRINKS_AFTER_S = 300.0
BAND = 0.1
MOST_UP, MOST_DOWN = 2, 2


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """requests: in flight over the window
    recommended: sizes of the cooldown
    """

    requests: Sliding
    recommended: Sliding


def apa(targets: Floats) -> Policy:
    """Every 10 s: the replicas times the ratio of what each has to the target, at most twice and at least half of them;
    within 10 % of 1 they stay. The highest recommendation of the last 300 s counts."""

    def step(state: State, seen: Seen) -> tuple[State, Int64s]:
        state = replace(state, requests=state.requests.push(in_flight(seen)))
        if not due(seen, EVERY_S):
            return state, current(seen)
        mean = state.requests.value / state.requests.seen
        recommended = state.recommended.push(_recommended(mean, current(seen), targets))
        return replace(state, recommended=recommended), recommended.value

    cooldown = highest_of(samples(SHRINKS_AFTER_S, EVERY_S))
    return step, State(mean_of(samples(WINDOW_S)), cooldown)


def _recommended(mean: Floats, size: Int64s, targets: Floats) -> Int64s:
    ratio = mean / np.maximum(size, 1) / targets
    wanted = np.clip(ceil(mean / targets), size // MOST_DOWN, MOST_UP * np.maximum(size, 1))
    return np.where(np.abs(ratio - 1) <= BAND, size, wanted)
