"""What the rules have in common."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deployments.sim.grid import Int64s, PolicyStep, Seen

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

Policy = tuple[PolicyStep[Any], Any]
"""A step and the state it begins with."""
Maker = Callable[[Floats], Policy]
"""A policy of one lane a target, in requests in flight a replica."""

SAMPLE_S = 5.0


def samples(window_s: float, every_s: float = SAMPLE_S) -> int:
    """How many samples, one each `every_s`, are younger than `window_s`."""
    return math.ceil(window_s / every_s)


def due(seen: Seen, every_s: float) -> bool:
    """Whether a rule that looks each `every_s` looks at this sample."""
    return (seen.at_s + SAMPLE_S / 2) % every_s < SAMPLE_S


def in_flight(seen: Seen) -> Int64s:
    return seen.queued + seen.active


def current(seen: Seen) -> Int64s:
    """Replicas that were asked for and are not draining."""
    return seen.ready + seen.starting


def ceil(values: Floats) -> Int64s:
    return np.ceil(values).astype(np.int64)
