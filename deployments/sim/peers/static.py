"""A fixed size."""

import numpy as np

from deployments.sim.grid import Int64s, Seen
from deployments.sim.peers.rule import Floats, Policy


def static(sizes: Floats) -> Policy:
    """As many replicas as its lane says, whatever comes."""
    fixed = sizes.astype(np.int64)
    fixed.setflags(write=False)

    def step(state: None, seen: Seen) -> tuple[None, Int64s]:
        return None, fixed

    return step, None
