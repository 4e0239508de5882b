"""The Kubernetes horizontal autoscaler (HPA), and KEDA, which gives it a metric from outside."""

from dataclasses import dataclass, replace

import numpy as np

from deployments.sim.grid import Int64s, Seen
from deployments.sim.peers.rule import Bools, Floats, Policy, ceil, current, due, in_flight, samples
from deployments.sim.peers.sliding import Sliding, highest_of

EVERY_S = 15.0
TOLERANCE = 0.1
SHRINKS_AFTER_S = 300.0
POLL_S = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """recommended: sizes of the last 300 s"""

    recommended: Sliding


@dataclass(frozen=True, slots=True, eq=False)
class Polled:
    """recommended: sizes of the last 300 s
    requests: in flight as of the last poll, [L]
    """

    recommended: Sliding
    requests: Int64s


def hpa(targets: Floats) -> Policy:
    """Every 15 s, by what the ready replicas have in flight each: that of the replicas times its ratio to the target.

    Replicas not ready count as idle where it would grow and as having their target where it would shrink; it stays
    where the ratio is within 10 % of 1 or they turn it round. The highest recommendation of the last 300 s counts.
    """

    def step(state: State, seen: Seen) -> tuple[State, Int64s]:
        if not due(seen, EVERY_S):
            return state, current(seen)
        recommended = state.recommended.push(by_replica(in_flight(seen), seen, targets))
        return State(recommended), recommended.value

    return step, State(stabilised())


def keda(targets: Floats) -> Policy:
    """HPA with an external metric, polled every 30 s: what is in flight in all over the target, whoever is ready."""

    def step(state: Polled, seen: Seen) -> tuple[Polled, Int64s]:
        if due(seen, POLL_S):
            state = replace(state, requests=in_flight(seen))
        if not due(seen, EVERY_S):
            return state, current(seen)
        recommended = state.recommended.push(in_all(state.requests, seen, targets))
        return replace(state, recommended=recommended), recommended.value

    return step, Polled(stabilised(), np.zeros(len(targets), np.int64))


def by_replica(requests: Int64s, seen: Seen, targets: Floats) -> Int64s:
    """What HPA recommends by a metric of each replica; without a ready one there is none, and it stays."""
    size, ready = current(seen), np.maximum(seen.ready, 1)
    ratio = requests / ready / targets
    with_starting = (requests + np.where(ratio > 1, 0, targets * seen.starting)) / np.maximum(size, 1) / targets
    stays = _tolerated(with_starting) | ((with_starting > 1) != (ratio > 1)) | (seen.ready == 0)
    # Without any starting the two ratios are one.
    return np.where(stays, size, ceil(with_starting * size))


def in_all(requests: Int64s, seen: Seen, targets: Floats) -> Int64s:
    """What HPA recommends by a metric of the whole."""
    size = current(seen)
    stays = _tolerated(requests / np.maximum(size, 1) / targets)
    return np.where(stays, size, ceil(requests / targets))


def _tolerated(ratio: Floats) -> Bools:
    tolerated: Bools = np.abs(ratio - 1) <= TOLERANCE
    return tolerated


def stabilised() -> Sliding:
    """The recommendations of which the highest counts."""
    return highest_of(samples(SHRINKS_AFTER_S, EVERY_S))
