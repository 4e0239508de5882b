"""Several policies in one run of the grid, each with lanes of its own."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from deployments.sim.grid import Int64s, Seen
from deployments.sim.peers.rule import Policy


def abreast(policies: Sequence[Policy], lanes: Sequence[int]) -> Policy:
    """One policy over the lanes of all, in their order; `lanes`: how many each has."""
    cuts = [slice(first, last) for first, last in pairwise(accumulate(lanes, initial=0))]
    steps = [step for step, _ in policies]

    def step(states: tuple[Any, ...], seen: Seen) -> tuple[tuple[Any, ...], Int64s]:
        told = [ask(state, _of(seen, cut)) for ask, state, cut in zip(steps, states, cuts, strict=True)]
        return tuple(state for state, _ in told), np.concatenate([wanted for _, wanted in told])

    return step, tuple(state for _, state in policies)


def _of(seen: Seen, cut: slice) -> Seen:
    return Seen(seen.at_s, seen.queued[cut], seen.active[cut], seen.ready[cut], seen.starting[cut], seen.service_s)
