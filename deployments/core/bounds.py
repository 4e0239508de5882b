"""Stage 5: holds and pins, schedule windows, min and max (R3, R5, R19).

The order of precedence is: disabled, pinned, frozen, no signal, load. Whatever decides, the result lies
within [min, max], or is 0 for a disabled deployment.
"""

import numpy as np

from deployments.core.columns import Bools, Int8s, Int16s, Int64s
from deployments.core.plan import Bound, Damped, Wanted, bounds_by_code
from deployments.core.reasons import Reason
from deployments.core.snapshot import Deployments, Scheduled

BY_OPERATOR = (Reason.FROZEN, Reason.PINNED)


def bound(deployments: Deployments, damped: Damped) -> Wanted:
    """The size wanted of each deployment, why, and what bound it."""
    asked = np.where(deployments.freeze, damped.base, damped.value)
    asked = np.where(deployments.pin >= 0, deployments.pin, asked)
    low, high = _floor(deployments, damped), _paid_for(deployments)
    value = np.minimum(np.maximum(np.maximum(asked, low), deployments.min), high)
    value = np.where(deployments.enabled, value, 0)
    code, limit = _reasons(deployments, damped, asked, value)
    return Wanted(value=value.astype(np.int32), code=code, bound=limit)


def by_operator(wanted: Wanted) -> Bools:
    """Where a freeze or a pin sets the size."""
    held: Bools = (wanted.code == Reason.FROZEN) | (wanted.code == Reason.PINNED)
    return held


def _floor(deployments: Deployments, damped: Damped) -> Int64s:
    """What objective mode keeps; nothing where no load is gone by, which holds the size (R5, R19)."""
    held = deployments.freeze | (deployments.pin >= 0) | (damped.code == Reason.HOLD_NO_SIGNAL)
    floor: Int64s = np.where(held, 0, deployments.floor).astype(np.int64)
    return floor


def _paid_for(deployments: Deployments) -> Int64s:
    """The highest size: max, or what a price ceiling pays for, but never less than min (R3)."""
    paid = np.where(deployments.ceiling >= 0, deployments.ceiling, deployments.max)
    high: Int64s = np.minimum(np.maximum(paid, deployments.min), deployments.max).astype(np.int64)
    return high


def _reasons(deployments: Deployments, damped: Damped, asked: Int64s, value: Int64s) -> tuple[Int16s, Int8s]:
    raised, lowered = value > asked, value < asked
    by_floor = raised & (value > deployments.min)
    by_price = (deployments.ceiling >= 0) & (value < deployments.max) & (value >= _paid_for(deployments))
    by_window = deployments.scheduled
    fixed = (deployments.min == deployments.max) & (by_window & Scheduled.AHEAD == 0)
    code = np.full(len(value), Reason.WITHIN_BOUNDS, np.int16)
    for rows, reason in (
        (raised, Reason.AT_MIN),
        (lowered, Reason.AT_MAX),
        (raised & (by_window & Scheduled.MIN > 0), Reason.SCHEDULED_MIN),
        (raised & (by_window & Scheduled.AHEAD > 0), Reason.SCHEDULED_AHEAD),
        (lowered & (by_window & Scheduled.MAX > 0), Reason.SCHEDULED_MAX),
        (by_floor, Reason.OBJECTIVE_FLOOR),
        (by_price & lowered, Reason.PRICE_CEILING),
        (damped.code == Reason.HOLD_NO_SIGNAL, Reason.HELD),
        (fixed & (by_window == 0), Reason.FIXED_SIZE),
        (fixed & (by_window > 0), Reason.SCHEDULED_SIZE),
        (deployments.freeze, Reason.FROZEN),
        (deployments.pin >= 0, Reason.PINNED),
        (~deployments.enabled, Reason.DISABLED),
    ):
        code[rows] = reason
    return code, _LIMITS[code]


_LIMITS = bounds_by_code(
    {
        Reason.WITHIN_BOUNDS: Bound.NONE,
        Reason.AT_MIN: Bound.MIN,
        Reason.AT_MAX: Bound.MAX,
        Reason.SCHEDULED_MIN: Bound.SCHEDULE,
        Reason.SCHEDULED_AHEAD: Bound.SCHEDULE,
        Reason.SCHEDULED_MAX: Bound.SCHEDULE,
        Reason.OBJECTIVE_FLOOR: Bound.FLOOR,
        Reason.PRICE_CEILING: Bound.PRICE,
        Reason.HELD: Bound.HOLD,
        Reason.FIXED_SIZE: Bound.MAX,
        Reason.SCHEDULED_SIZE: Bound.SCHEDULE,
        Reason.FROZEN: Bound.HOLD,
        Reason.PINNED: Bound.HOLD,
        Reason.DISABLED: Bound.DISABLED,
    }
)
