"""Ray Serve: the mean of what is ongoing and queued, acted on once it has pointed one way for long enough."""

from dataclasses import dataclass

import numpy as np

from deployments.sim.grid import Int64s, Seen
from deployments.sim.peers.rule import Floats, Policy, ceil, current, in_flight, samples
from deployments.sim.peers.sliding import Sliding, mean_of

LOOK_BACK_S = 30.0
GROWS_AFTER_S, SHRINKS_AFTER_S = 30.0, 600.0


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """requests: in flight over the look-back
    held: for how many samples in a row it has wanted more (above 0) or less (below), [L]
    """

    requests: Sliding
    held: Int64s


def ray_serve(targets: Floats) -> Policy:
    """It grows where it has wanted to for 30 s and shrinks where it has wanted to for 600 s; wanting the other way, or
    nothing, begins anew. The factors on the difference are 1, as published."""
    grows, shrinks = samples(GROWS_AFTER_S), samples(SHRINKS_AFTER_S)

    def step(state: State, seen: Seen) -> tuple[State, Int64s]:
        requests, size = state.requests.push(in_flight(seen)), current(seen)
        desired = ceil(requests.value / requests.seen / targets)
        way = np.sign(desired - size)
        held = np.where(way * state.held >= 0, state.held, 0) * np.abs(way) + way
        acts = (held > grows) | (held < -shrinks)
        return State(requests, np.where(acts, 0, held)), np.where(acts, desired, size)

    return step, State(mean_of(samples(LOOK_BACK_S)), np.zeros(len(targets), np.int64))
