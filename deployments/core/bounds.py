"""Stage 5: holds and pins, schedule windows, min and max (R3, R5, R19).

The order of precedence is: disabled, pinned, frozen, no signal, load. Whatever decides, the result lies
within [min, max], or is 0 for a disabled deployment.
"""

import numpy as np

from deployments.core.columns import Int8s, Int16s, Int64s
from deployments.core.plan import Bound, Damped, Wanted
from deployments.core.reasons import Reason
from deployments.core.snapshot import Deployments, Scheduled


def bound(deployments: Deployments, damped: Damped) -> Wanted:
    """The size wanted of each deployment, why, and what bound it."""
    asked = np.where(deployments.freeze, damped.base, damped.value)
    asked = np.where(deployments.pin >= 0, deployments.pin, asked)
    value = np.minimum(np.maximum(asked, deployments.min), deployments.max)
    value = np.where(deployments.enabled, value, 0)
    code, limit = _reasons(deployments, damped, asked, value)
    return Wanted(value=value.astype(np.int32), code=code, bound=limit)


def _reasons(deployments: Deployments, damped: Damped, asked: Int64s, value: Int64s) -> tuple[Int16s, Int8s]:
    code = np.full(len(value), Reason.WITHIN_BOUNDS, np.int16)
    limit = np.full(len(value), Bound.NONE, np.int8)
    raised, lowered = value > asked, value < asked
    by_window = deployments.scheduled
    for rows, reason, kind in (
        (raised, Reason.AT_MIN, Bound.MIN),
        (lowered, Reason.AT_MAX, Bound.MAX),
        (raised & (by_window & Scheduled.MIN > 0), Reason.SCHEDULED_MIN, Bound.SCHEDULE),
        (lowered & (by_window & Scheduled.MAX > 0), Reason.SCHEDULED_MAX, Bound.SCHEDULE),
        (damped.code == Reason.HOLD_NO_SIGNAL, Reason.HELD, Bound.HOLD),
        (deployments.min == deployments.max, Reason.FIXED_SIZE, Bound.MAX),
        (deployments.freeze, Reason.FROZEN, Bound.HOLD),
        (deployments.pin >= 0, Reason.PINNED, Bound.HOLD),
        (~deployments.enabled, Reason.DISABLED, Bound.DISABLED),
    ):
        code[rows] = reason
        limit[rows] = kind
    return code, limit
