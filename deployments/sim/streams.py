"""Random numbers that depend only on what they are for.

A counter-based generator gives every (seed, purpose, index, part) its own stream, so any piece of simulated
time can be made without the pieces before it, twice over and in any order, and comes out the same. The
numbers of a stream are those of numpy's `Generator`, which may differ between numpy releases.
"""

from enum import IntEnum

import numpy as np

_MASK = (1 << 64) - 1


class Purpose(IntEnum):
    """What the numbers are for; the same seed serves all of them without correlation."""

    REQUESTS = 1
    RATES = 2
    LOADING = 3
    RECORDED = 4


def stream(seed: int, purpose: Purpose, index: int, part: int = 0) -> np.random.Generator:
    """The generator of one index (a block of time, a replica) and part (a copy) of it, any integers."""
    key = np.array([seed & _MASK, purpose], dtype=np.uint64)
    # The generator counts up in the low words; index and part sit in the high ones, out of its reach.
    counter = np.array([0, 0, index & _MASK, part & _MASK], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))
