"""What of a plan could no longer be done when it was to be done (W2)."""

from dataclasses import replace

import numpy as np

from deployments.core.plan import Bound, Plan
from deployments.core.reasons import Reason


def without(plan: Plan, lost: dict[int, int]) -> Plan:
    """The plan as it was carried out: `lost` replicas by row of the deployment could not be placed any more.

    Decision and memory say what was really granted, so that the next pass sees its own grant as a change.
    """
    if not lost:
        return plan
    rows = np.array(sorted(lost), np.int64)
    value, code = plan.granted.value.copy(), plan.granted.code.copy()
    bound, changed = plan.granted.bound.copy(), plan.changed.copy()
    value[rows] -= np.array([lost[row] for row in rows.tolist()], value.dtype)
    code[rows], bound[rows], changed[rows] = Reason.STALE, Bound.CAPACITY, True
    memory = plan.state.memory
    now_ms = plan.state.at_ms
    since = memory.short_since_ms.copy()
    since[rows] = np.where(since[rows] > 0, since[rows], now_ms)
    known = replace(memory, granted=value, bound=bound, short_since_ms=since)
    granted = replace(plan.granted, value=value, code=code, bound=bound)
    return replace(plan, granted=granted, changed=changed, state=replace(plan.state, memory=known))
