"""What of a plan could no longer be done when it was to be done (W2)."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from deployments.core.plan import Bound, Plan
from deployments.core.reasons import Reason


def without(plan: Plan, lost: Mapping[int, int], moves: Mapping[int, int]) -> Plan:
    """The plan as it was carried out: `lost` replicas by row of the deployment could not be placed any more, and
    `moves` replacements, which leaves those that they were to replace alone.

    Decision and memory say what was really granted, so that the next pass sees its own grant as a change.
    """
    return _without_grants(_without_moves(plan, moves), lost)


def _without_moves(plan: Plan, moves: Mapping[int, int]) -> Plan:
    rows, counts = np.array(sorted(moves), np.int64), np.array([moves[row] for row in sorted(moves)], np.int32)
    under_way, short = plan.granted.moves.copy(), plan.granted.moves_short.copy()
    under_way[rows] -= counts
    short[rows] += counts
    return replace(plan, granted=replace(plan.granted, moves=under_way, moves_short=short))


def _without_grants(plan: Plan, lost: Mapping[int, int]) -> Plan:
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
