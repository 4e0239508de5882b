"""Hosted services: Baseten, Fireworks and SageMaker's target tracking, as far as they say what they do."""

from dataclasses import dataclass

import numpy as np

from deployments.sim.grid import Int64s, Seen
from deployments.sim.peers.rule import Floats, Policy, ceil, current, in_flight, samples
from deployments.sim.peers.sliding import Sliding, highest_of, lowest_of, mean_of

BASETEN_WINDOW_S, BASETEN_SHRINKS_AFTER_S = 60.0, 900.0
FIREWORKS_GROWS_AFTER_S, FIREWORKS_SHRINKS_AFTER_S = 30.0, 600.0
SAGEMAKER_PERIOD_S, SAGEMAKER_COOLDOWN_S = 60.0, 300.0


@dataclass(frozen=True, slots=True, eq=False)
class Averaged:
    """requests: in flight over the window
    recommended: sizes of the delay
    """

    requests: Sliding
    recommended: Sliding


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """lowest, highest: sizes of the window before it grows, and of that before it shrinks"""

    lowest: Sliding
    highest: Sliding


@dataclass(frozen=True, slots=True, eq=False)
class Cooling:
    """requests: in flight over the period of the metric
    left: samples until it may shrink again, [L]
    """

    requests: Sliding
    left: Int64s


def baseten(targets: Floats) -> Policy:
    """The mean of 60 s over the target; the highest of the last 900 s counts."""

    def step(state: Averaged, seen: Seen) -> tuple[Averaged, Int64s]:
        requests = state.requests.push(in_flight(seen))
        recommended = state.recommended.push(ceil(requests.value / requests.seen / targets))
        return Averaged(requests, recommended), recommended.value

    return step, Averaged(mean_of(samples(BASETEN_WINDOW_S)), highest_of(samples(BASETEN_SHRINKS_AFTER_S)))


def fireworks(targets: Floats) -> Policy:
    """It grows to the least that 30 s have wanted and shrinks to the most that 600 s have wanted. Of the load targets
    there is one, requests in flight, so that it is the largest."""

    def step(state: Settled, seen: Seen) -> tuple[Settled, Int64s]:
        wanted, size = ceil(in_flight(seen) / targets), current(seen)
        state = Settled(state.lowest.push(wanted), state.highest.push(wanted))
        return state, np.clip(size, state.lowest.value, state.highest.value)

    up, down = samples(FIREWORKS_GROWS_AFTER_S), samples(FIREWORKS_SHRINKS_AFTER_S)
    return step, Settled(lowest_of(up), highest_of(down))


def sagemaker(targets: Floats) -> Policy:
    """The metric of a minute over the target; 300 s lie between one shrinking and the next, and it grows at once."""
    cooldown = samples(SAGEMAKER_COOLDOWN_S)

    def step(state: Cooling, seen: Seen) -> tuple[Cooling, Int64s]:
        requests, size = state.requests.push(in_flight(seen)), current(seen)
        left = np.maximum(state.left - 1, 0)
        wanted = ceil(requests.value / requests.seen / targets)
        wanted = np.where((wanted < size) & (left > 0), size, wanted)
        return Cooling(requests, np.where(wanted < size, cooldown, left)), wanted

    return step, Cooling(mean_of(samples(SAGEMAKER_PERIOD_S)), np.zeros(len(targets), np.int64))
