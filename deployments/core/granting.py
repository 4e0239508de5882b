"""The answer as columns: what was granted, what is missing and why."""

from collections.abc import Sequence

import numpy as np

from deployments.core.census import Census
from deployments.core.columns import Int16s, Int32s
from deployments.core.moves import Moves
from deployments.core.plan import Bound, Granted, Wanted, bounds_by_code
from deployments.core.reach import BOUND_OF, Reach
from deployments.core.reasons import Reason
from deployments.core.reclaim import Cleared
from deployments.core.snapshot import CapacityClass, Deployments


def before_contention(deployments: Deployments, wanted: Wanted, current: Int32s, asked: Int32s) -> Granted:
    """The answer as far as capacity has no say. `asked` are the replicas that room is asked for (int32[D])."""
    code = np.full(len(current), Reason.NOTHING_ASKED, np.int16)
    bound = wanted.bound.copy()
    code[wanted.value < current] = Reason.RELEASED
    waits = wanted.value > current + asked
    code[waits] = Reason.BACKING_OFF
    bound[waits] = Bound.BACKOFF
    code[deployments.shadow] = Reason.SHADOW
    bound[deployments.shadow] = Bound.SHADOW
    lacks = np.where(deployments.shadow, 0, np.maximum(wanted.value - current, 0))
    return Granted(
        value=np.where(deployments.shadow, wanted.value, np.minimum(current, wanted.value)).astype(np.int32),
        code=code,
        bound=bound,
        missing_gpus=(lacks * deployments.gpu_count).astype(np.int32),
        offering=np.full(len(current), -1, np.int32),
        capacity_class=np.zeros(len(current), np.int8),
        other=np.full(len(current), -1, np.int64),
        coming=np.zeros(len(current), np.int32),
        moves=np.zeros(len(current), np.int32),
        moves_short=np.zeros(len(current), np.int32),
    )


def say_short(reach: Reach, code: Int16s, offering: Int32s, granted: Granted) -> None:
    """Why the deployments of the reach got no more."""
    granted.code[reach.rows] = code
    granted.bound[reach.rows] = _BOUNDS[code]
    granted.offering[reach.rows] = offering
    last = np.where(reach.on_demand, CapacityClass.ON_DEMAND, CapacityClass.RESERVED)
    granted.capacity_class[reach.rows] = last


def say_moving(granted: Granted, census: Census, moves: Moves, replaced: Int32s) -> None:
    """Replicas being replaced, and those that find no room to be; going over to claims can wait."""
    asked = moves.leaving.count + np.where(moves.over, 0, moves.later.count)
    granted.moves[:] = census.pairs + replaced
    granted.moves_short[:] = np.maximum(asked - replaced, 0)
    told = (granted.code == Reason.NOTHING_ASKED) & (granted.moves + granted.moves_short > 0)
    granted.code[told] = Reason.MOVING


def say_cleared(granted: Granted, deployments: Deployments, done: Sequence[Cleared]) -> None:
    """Whose replicas go for whom, and who waits for them."""
    for cleared in done:
        owner = cleared.deployment
        for victim in cleared.clearing.victims:
            _lower(granted, deployments, victim.deployment)
            if owner == victim.deployment:
                granted.code[owner], granted.bound[owner] = Reason.ROLLING_IN_PLACE, Bound.CAPACITY
                continue
            code = Reason.RECLAIMED if cleared.reason == Reason.STOP_RECLAIMED else Reason.YIELDED
            if granted.code[victim.deployment] != Reason.RECLAIMED:
                granted.code[victim.deployment] = code
                granted.other[victim.deployment] = deployments.key[owner]
            granted.bound[victim.deployment] = Bound.PRIORITY
    for cleared in done:
        if all(victim.deployment != cleared.deployment for victim in cleared.clearing.victims):
            _waits(granted, deployments, cleared)


def _lower(granted: Granted, deployments: Deployments, row: int) -> None:
    granted.value[row] -= 1
    granted.missing_gpus[row] += deployments.gpu_count[row]


def _waits(granted: Granted, deployments: Deployments, cleared: Cleared) -> None:
    row = cleared.deployment
    granted.coming[row] += 1
    if granted.code[row] in (Reason.RECLAIMED, Reason.YIELDED):
        return
    granted.code[row] = Reason.WAITS_FOR_RELEASE
    if cleared.reason == Reason.STOP_MAKES_ROOM:
        granted.other[row] = deployments.key[row]
    elif cleared.clearing.victims and granted.other[row] < 0:
        granted.other[row] = deployments.key[cleared.clearing.victims[0].deployment]


_BOUNDS = bounds_by_code(BOUND_OF)
