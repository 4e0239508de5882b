"""Sums, highest and lowest values over the last so many samples, a lane each."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from deployments.sim.grid import Int64s

Samples = tuple[Int64s, "Samples"] | None
"""The newest, and those before it."""


@dataclass(frozen=True, slots=True, eq=False)
class Sliding:
    """An operation (`np.add`, `np.maximum`, `np.minimum`) over the last `size` samples, or over all while there are fewer.

    The samples are cut into blocks of `size`. A window is the end of the block before and the beginning of this one:
    `older[i]` is the operation from sample i of the block before to its end, `newer` the one over this block so far.
    So a sample costs about as much whatever the size.
    """

    operation: np.ufunc
    size: int
    older: Int64s | None = None
    newer: Int64s | None = None
    samples: Samples = None
    count: int = 0

    @property
    def value(self) -> Int64s:
        """Over the samples of the window, of which there is at least one."""
        if self.older is None or self.newer is None:
            only = self.older[0] if self.older is not None else self.newer
            assert only is not None, "no sample yet"
            return only
        return self.operation(self.older[self.count], self.newer)  # type: ignore[no-any-return]

    @property
    def seen(self) -> int:
        """How many samples the window has."""
        return self.count if self.older is None else self.size

    def push(self, sample: Int64s) -> Self:
        newer = sample if self.newer is None else self.operation(self.newer, sample)
        samples, count = (sample, self.samples), self.count + 1
        if count < self.size:
            return type(self)(self.operation, self.size, self.older, newer, samples, count)
        older = self.operation.accumulate(np.stack(_newest_first(samples)), axis=0)[::-1]
        return type(self)(self.operation, self.size, older)


def _newest_first(samples: Samples) -> list[Int64s]:
    found = []
    while samples is not None:
        sample, samples = samples
        found.append(sample)
    return found


def mean_of(size: int) -> Sliding:
    """The sum over `size` samples; divided by `seen` it is their mean."""
    return Sliding(np.add, size)


def highest_of(size: int) -> Sliding:
    return Sliding(np.maximum, size)


def lowest_of(size: int) -> Sliding:
    return Sliding(np.minimum, size)
