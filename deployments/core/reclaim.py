"""Who makes room for a higher priority of the same organization (R12, R13).

A deployment that waits for GPUs gets, first, what lower priorities keep only because their scale-down delay is not
over: never below what their load asks for now, nor below their min (R12). One that lacks its min gets, then, what
lower priorities run above their min, needed or not (R13). Only as many go as help, and what drains already and will do
counts first (see yard). Deployments that an operator froze or pinned are left alone, and no organization ever evicts
another's replicas.

Those that wait are gone through in the order of R11, the mins first. Candidates go by priority, the lowest first, then
by R18.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from deployments.core.columns import Int32s, Int64s
from deployments.core.givers import Givers
from deployments.core.plan import Bound, Damped, Granted, Wanted
from deployments.core.queue import Request
from deployments.core.reasons import Reason
from deployments.core.requests import Asks, in_order
from deployments.core.snapshot import Deployments
from deployments.core.yard import Clearing, Yard


class Cleared(NamedTuple):
    """Room for one replica of a deployment, and why the victims go."""

    deployment: int
    clearing: Clearing
    reason: Reason


@dataclass(frozen=True, slots=True)
class Waits:
    """Who waits after the contest, and who could give (all columns [D])."""

    all: Int32s  # replicas that found no room and are needed now
    to_min: Int32s  # of them, those that it lacks to its min
    spare: Int32s  # replicas that only its scale-down delay keeps
    above: Int32s  # replicas above its min

    def without(self, deployments: list[int]) -> "Waits":
        """The same, had each of these deployments (one row for each replica) found its room."""
        if not deployments:
            return self
        found = np.bincount(deployments, minlength=len(self.all)).astype(np.int32)
        return replace(self, all=np.maximum(self.all - found, 0), to_min=np.maximum(self.to_min - found, 0))


def waits_of(deployments: Deployments, wanted: Wanted, damped: Damped, granted: Granted, unplaced: Int32s) -> Waits:
    """Compare what is granted so far with what is needed now, what min is, and what the delay keeps."""
    own = deployments.enabled & ~deployments.shadow & ~deployments.freeze & (deployments.pin < 0)
    delayed = own & (damped.code == Reason.SHRINK_DELAYED)
    needed = np.clip(damped.recommended, deployments.min, deployments.max)
    needed = np.where(delayed, np.minimum(needed, wanted.value), wanted.value)
    low = np.minimum(wanted.value, deployments.min)
    short = np.where(granted.bound == Bound.CAPACITY, unplaced, 0)
    waits = np.clip(needed - granted.value, 0, short)
    return Waits(
        all=waits.astype(np.int32),
        to_min=np.clip(low - granted.value, 0, waits).astype(np.int32),
        spare=np.where(delayed, np.maximum(granted.value - needed, 0), 0).astype(np.int32),
        above=np.where(own, np.maximum(granted.value - low, 0), 0).astype(np.int32),
    )


def concerned(deployments: Deployments, waits: Waits, kept_for: list[int]) -> tuple[Int64s, Int64s]:
    """Rows of those that wait and that a lower priority of their organization could help, and of those that could.

    Room may be on its way already for `kept_for`.
    """
    nobody = np.zeros(0, np.int64)
    waiting = np.flatnonzero(waits.all)
    if not len(waiting):
        return nobody, nobody
    orgs, org = np.unique(deployments.org[waiting], return_inverse=True)
    highest = np.full((2, len(orgs)), -1, np.int64)
    for row, lacks in enumerate((waits.all, waits.to_min)):
        some = lacks[waiting] > 0
        np.maximum.at(highest[row], org[some], deployments.priority[waiting[some]])
    givers = np.flatnonzero(waits.spare + waits.above)
    at = np.minimum(np.searchsorted(orgs, deployments.org[givers]), len(orgs) - 1)
    gives = (waits.spare[givers] > 0) & (deployments.priority[givers] < highest[0, at])
    gives |= (waits.above[givers] > 0) & (deployments.priority[givers] < highest[1, at])
    givers = givers[gives & (orgs[at] == deployments.org[givers])]
    helped = np.isin(deployments.org[waiting], deployments.org[givers]) | np.isin(waiting, kept_for)
    return in_order(deployments, waiting[helped]), givers


@dataclass(slots=True)
class Reclaim:
    """One pass over those that wait. `spare` and `above` are what each deployment may lose yet, by its row."""

    yard: Yard
    givers: Givers
    spare: dict[int, int]
    above: dict[int, int]
    spare_orgs: set[int]
    done: list[Cleared] = field(default_factory=list)
    _requests: list[Request] = field(default_factory=list)  # of what is done
    _failed: dict[tuple[object, ...], int] = field(default_factory=dict)  # what was sought -> the highest priority

    def run(self, make: Callable[[int], Request], to_min: list[int], growth: list[int]) -> list[Cleared]:
        """Make room as far as it goes. The lists are replicas that wait, by position, in the order of R11."""
        for position in (position for position, count in enumerate(to_min) if count):
            self._serve(make(position), to_min[position], lacks_min=True)
        for position in (position for position, count in enumerate(growth) if count):
            self._serve(make(position), growth[position], lacks_min=False)
        return [self._fewer(number) for number in reversed(range(len(self.done)))][::-1]

    def _fewer(self, number: int) -> Cleared:
        """The same room without the victims that what went for others later has made needless."""
        cleared = self.done[number]
        clearing = self.yard.fewer(cleared.clearing, self._requests[number]) if cleared.clearing.victims else None
        return cleared if clearing is None else cleared._replace(clearing=clearing)

    def _serve(self, request: Request, replicas: int, lacks_min: bool) -> None:
        for _ in range(replicas):
            found = self._yielded(request) or (self._reclaimed(request) if lacks_min else None)
            if found is None:
                return
            self.yard.take(found.clearing, request)
            self.done.append(found)
            self._requests.append(request)
            for victim in found.clearing.victims:
                if len(victim.places) > 1:  # there is more room now than what was sought
                    self._failed.clear()
                for budget in (self.spare, self.above):
                    budget[victim.deployment] = budget.get(victim.deployment, 0) - 1

    def _yielded(self, request: Request) -> Cleared | None:
        """What comes free anyway, then what only the delay keeps (R12)."""
        below = request.priority if request.org in self.spare_orgs else -1
        return self._sought(request, below, self.spare, Reason.STOP_YIELDED)

    def _reclaimed(self, request: Request) -> Cleared | None:
        """What lower priorities run above their min (R13)."""
        return self._sought(request, request.priority, self.above, Reason.STOP_RECLAIMED)

    def _sought(self, request: Request, below: int, budget: dict[int, int], reason: Reason) -> Cleared | None:
        # As long as room and budgets only shrink, what failed once fails for the same and lower priorities.
        sought = (reason, request.org, request.gpus, request.classes, request.offerings, request.avoid)
        if self._failed.get(sought, -1) >= request.priority:
            return None
        clearing = self.yard.clear(request, self.givers.willing(request.org, below), budget)
        if clearing is None:
            self._failed[sought] = request.priority
            return None
        return Cleared(request.deployment, clearing, reason)


def reclaim(asks: Asks, waits: Waits, waiting: Int64s, yard: Yard, givers: Givers) -> list[Cleared]:
    """Make room for those that are `waiting`, in their order."""
    spare, above = (_nonzero(column) for column in (waits.spare, waits.above))
    orgs = set(asks.deployments.org[list(spare)].tolist())
    growth = waits.all[waiting] - waits.to_min[waiting]
    run = Reclaim(yard, givers, spare, above, orgs)
    return run.run(asks.maker(waiting), waits.to_min[waiting].tolist(), growth.tolist())


def _nonzero(column: Int32s) -> dict[int, int]:
    """The rows that are not zero, and their values."""
    rows = np.flatnonzero(column)
    return dict(zip(rows.tolist(), column[rows].tolist(), strict=True))
