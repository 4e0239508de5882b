"""The cheapest schedule that knows the future, to measure policies by.

Demand is how many slots are busy where nobody ever waits (the occupancy of M/G/inf, of the actual requests). Replica k
is needed while more than k - 1 replicas' slots are busy. It is kept over a gap between two needs that is shorter than
its cold start, since another start would cost as much, and is started one cold start ahead of a need. So every request
finds a slot the moment it comes, for the least replica-hours that do so.

It lets nobody wait, where policies are judged by 99 % of requests: so it is no bound of what they can cost. Schedules for
demand times a scale below 1 tell how much less it costs to let some wait (`scheduled`, `fewest_hours`).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deployments.sim.grid import Floats, Int64s, Load, Seen, Setup
from deployments.sim.peers.rule import Policy

SCALES = (0.8, 0.85, 0.875, 0.9, 0.95, 1.0)
"""Of demand, up to all of it; between two of them hours are interpolated."""


def most_busy(load: Load, setup: Setup) -> Int64s:
    """The most slots busy at once from each sample to the next, if nobody waits, [T]."""
    return np.maximum.reduceat(load.in_flight, np.arange(0, load.span, setup.tick))


def replicas_needed(busy: Int64s, slots: int, scale: float = 1.0) -> Int64s:
    """How many replicas cover `scale` times the demand, [T]."""
    return np.ceil(np.round(scale * busy / slots, 9)).astype(np.int64)


def schedule(needed: Int64s, setup: Setup) -> Int64s:
    """How many replicas are starting or ready from each sample to the next, [T]; those of the first are ready."""
    ahead = -(-setup.cold // setup.tick)
    there = np.zeros(len(needed) + 1, np.int64)
    for level in range(1, int(needed.max(initial=0)) + 1):
        first, last = _kept(needed >= level, ahead)
        np.add.at(there, np.maximum(first - ahead, 0), 1)
        np.add.at(there, last, -1)
    return np.cumsum(there[:-1])


def _kept(needs: NDArray[np.bool_], ahead: int) -> tuple[Int64s, Int64s]:
    """From which sample to before which a replica is ready: as long as it is needed, and over short gaps."""
    edges = np.flatnonzero(np.diff(needs, prepend=False, append=False))
    first, last = edges[::2], edges[1::2]
    parted = first[1:] - last[:-1] >= max(ahead, 1)
    return first[np.r_[True, parted]], last[np.r_[parted, True]]


def scheduled(busy: Int64s, setup: Setup, scales: Sequence[float]) -> tuple[Policy, Int64s]:
    """A policy that follows the schedules of these scales of the demand, a lane each, and how many each begins with."""
    plans = np.stack([schedule(replicas_needed(busy, setup.slots, scale), setup) for scale in scales], axis=1)

    def step(state: None, seen: Seen) -> tuple[None, Int64s]:
        return None, plans[min(round(seen.at_s / setup.sample_s), len(plans) - 1)]

    return (step, None), plans[0]


def fewest_hours(share: float, shares: Floats, hours: Floats) -> float | None:
    """The fewest hours at which settings reach a share, None where none does.

    shares, hours: what came of settings, in the order of the settings, [n]. Between two neighbours of which one reaches
    the share and the other does not, hours are interpolated by it.
    """
    reached = hours[shares >= share].tolist()
    for one in range(len(shares) - 1):
        order = sorted((one, one + 1), key=lambda setting: float(shares[setting]))
        (low, high), (cheap, dear) = shares[order].tolist(), hours[order].tolist()
        if low < share <= high:
            reached.append(cheap + (dear - cheap) * (share - low) / (high - low))
    return min(reached, default=None)
