"""From columns to the requests and queues of contention."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from deployments.core.columns import Bools, Int32s, Int64s
from deployments.core.queue import Queue, Request
from deployments.core.snapshot import CapacityClass, Deployments

_CODES = len(CapacityClass)
_BOTH = (int(CapacityClass.RESERVED), int(CapacityClass.ON_DEMAND))
# Classes to try by first * 3 + second of the order; unset means all, reserved first (R15).
CLASSES = [
    tuple(each for each in (first, second) if each) or _BOTH for first in range(_CODES) for second in range(_CODES)
]


@dataclass(frozen=True, slots=True)
class Asks:
    """What deployments ask for (all columns [D]). What has to leave its instance is asked for like what is missing."""

    deployments: Deployments
    to_min: Int32s  # replicas that it lacks to its min
    growth: Int32s  # replicas that it lacks above
    renewals: Int32s  # replacements that come before growth (R10)
    moves: Int32s  # replacements that take what growth leaves (R10, R15)
    over: Bools  # they are over to claims, so nothing else will do
    since_ms: Int64s  # since when it has been short

    def mover(self, rows: Int64s, replacements: Int32s) -> Callable[[int], Request]:
        """What makes the request for the `replacements` ([D]) of the deployment at a position of `rows`."""
        make = self.maker(rows)
        moves, over = replacements[rows].tolist(), self.over[rows].tolist()

        def make_move(position: int) -> Request:
            request = make(position)
            request.min_left, request.growth = 0, moves[position]
            if over[position]:
                request.classes = (int(CapacityClass.RESERVED),)
            return request

        return make_move

    def maker(self, rows: Int64s) -> Callable[[int], Request]:
        """What makes the request of the deployment at a position of `rows`."""
        table = self.deployments
        codes = table.class_order[rows].astype(np.int64) @ np.array([_CODES, 1])
        columns = (
            rows,
            table.org[rows],
            table.priority[rows],
            table.gpu_count[rows],
            codes,
            table.zones[rows],
            table.avoid[rows],
            self.since_ms[rows],
            self.to_min[rows],
            self.growth[rows],
        )
        made = list(zip(*(column.tolist() for column in columns), strict=True))

        def make(position: int) -> Request:
            deployment, org, priority, gpus, classes, *rest = made[position]
            return Request(deployment, org, priority, gpus, CLASSES[classes], *rest)

        return make


def in_order(deployments: Deployments, rows: Int64s) -> Int64s:
    """The same rows by organization, and in it in the order of R11: priority, creation, id."""
    order = (deployments.key, deployments.created_at, -deployments.priority, deployments.org)
    return rows[np.lexsort([column[rows] for column in order])]


def queues(asks: Asks, rows: Int64s) -> dict[int, Queue]:
    """A queue per organization, the requests of `rows` in the order of R11."""
    table = asks.deployments
    rows = in_order(table, rows)
    priorities = table.priority[rows].tolist()
    orgs = np.unique(table.org[rows])
    phases = [
        _split(np.flatnonzero(lacks[rows] > 0), table.org[rows], orgs)
        for lacks in (asks.to_min, asks.renewals, asks.growth, asks.moves)
    ]
    make = asks.maker(rows)
    renew, move = (
        asks.mover(rows, lacks) if any(listed) else make
        for lacks, listed in ((asks.renewals, phases[1]), (asks.moves, phases[3]))
    )
    return {
        org: Queue(mins, renewals, growth, moves, make, renew, move, priorities.__getitem__)
        for org, mins, renewals, growth, moves in zip(orgs.tolist(), *phases, strict=True)
    }


def _split(positions: Int64s, orgs_of_rows: Int64s, orgs: Int64s) -> list[list[int]]:
    """Positions of each organization; rows come sorted by organization."""
    ends = np.searchsorted(orgs_of_rows[positions], orgs, side="right").tolist()
    listed = positions.tolist()
    return [listed[first:last] for first, last in zip([0, *ends], ends, strict=False)]
