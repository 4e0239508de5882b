"""Stage 4: fast up, slow down (R4).

Growth follows the load at once. Load within the tolerance of what the size is meant for changes nothing (the
rule of Kubernetes' HPA). Burst mode starts when the burst window asks for `burst_factor` times the size,
follows the larger of both windows, never shrinks, and ends a whole stable window after it was last asked for
(Knative's panic mode). Shrinking stops at the highest recommendation of the scale-down window (HPA's
stabilization).

The size it starts from is what was last wanted, not what happens to run: replicas on their way are in it
(R6), and a replica that failed is replaced instead of forgotten.
"""

import numpy as np

from deployments.core.columns import Bools, Int16s, Int64s
from deployments.core.params import MILLI, Settings
from deployments.core.plan import Ahead, Damped, Need
from deployments.core.reasons import Reason
from deployments.core.signal import LIMIT


def damp(
    need: Need,
    ahead: Ahead,
    valid: Bools,
    target: Int64s,
    base: Int64s,
    window_highest: Int64s,
    burst_until_ms: Int64s,
    settings: Settings,
    now_ms: int,
) -> Damped:
    """Turn need into a size that does not flap. All columns are per deployment.

    `base` is the size to start from, `window_highest` the highest recommendation of the scale-down window
    before this tick (-1: none).
    """
    until = _burst_until(need, valid, base, burst_until_ms, settings, now_ms)
    bursting = until > now_ms
    asked = _asked(need, base, bursting)
    kept = valid & ~bursting & (need.standing == 0) & within_tolerance(need, target, base, settings)
    looking = ahead.need_ahead > 0
    by_load = asked
    if looking.any():
        expected = _worth_growing(ahead.need_ahead, base, settings)
        kept &= expected <= base
        asked = np.maximum(by_load, expected)
    recommended = np.where(valid & ~kept, asked, base)
    lowest = np.where(bursting, base, np.minimum(base, np.maximum(recommended, window_highest)))
    value = np.where(recommended < base, lowest, recommended)
    small = np.zeros(len(base), np.bool_)
    if looking.any():
        small = looking & valid & (value < base) & _near(value, base, settings)
        value = np.where(small, base, value)
    return Damped(
        value=value,
        code=_codes(need, ahead, valid, kept, base, by_load, recommended, value, bursting, small),
        base=base,
        recommended=recommended,
        window_highest=window_highest,
        bursting=bursting,
        burst_until_ms=until,
    )


def within_tolerance(need: Need, target: Int64s, base: Int64s, settings: Settings) -> Bools:
    """Whether the stable mean is within the tolerance of `base * target`, in whole numbers."""
    meant = need.stable_span_ms * np.minimum(base * target, 2 * LIMIT)
    inside: Bools = np.abs(need.stable_load_ms - meant) * MILLI <= settings.tolerance_milli * meant
    return inside & (base > 0)


def _worth_growing(expected: Int64s, base: Int64s, settings: Settings) -> Int64s:
    """What is expected, but for growth within the tolerance of the size, which is not worth a start."""
    return np.where((expected > base) & _near(expected, base, settings), base, expected)


def _near(value: Int64s, base: Int64s, settings: Settings) -> Bools:
    near: Bools = np.abs(value - base) * MILLI <= settings.tolerance_milli * base
    return near


def _burst_need(need: Need) -> Int64s:
    return np.where(need.standing > 0, need.need_backlog, need.need_burst)


def _burst_until(
    need: Need, valid: Bools, base: Int64s, burst_until_ms: Int64s, settings: Settings, now_ms: int
) -> Int64s:
    # A clock that was set back must not make a burst last longer than one from now on would.
    until = np.minimum(burst_until_ms, now_ms + settings.stable_ms)
    asked = _burst_need(need) * MILLI >= settings.factor_milli * np.maximum(base, 1)
    begins = valid & asked & (need.need_burst > 0)
    return np.where(begins, now_ms + settings.stable_ms, until)


def _asked(need: Need, base: Int64s, bursting: Bools) -> Int64s:
    """What load asks for. While a queue stands, growth goes by R7 alone: both means hold that queue."""
    plain = np.where(bursting, np.maximum(need.need_stable, _burst_need(need)), need.need_stable)
    queued = np.maximum(need.need_backlog, np.minimum(plain, base))
    return np.where(need.standing > 0, queued, plain)


def _codes(
    need: Need,
    ahead: Ahead,
    valid: Bools,
    kept: Bools,
    base: Int64s,
    by_load: Int64s,
    recommended: Int64s,
    value: Int64s,
    bursting: Bools,
    small: Bools,
) -> Int16s:
    code = np.full(len(base), Reason.STEADY, np.int16)
    grows = recommended > base
    code[grows] = Reason.GROW
    code[grows & (need.standing > 0)] = Reason.GROW_QUEUE
    code[grows & bursting] = Reason.GROW_BURST
    if ahead.need_ahead.any():
        decides = (ahead.need_ahead > 0) & (ahead.need_ahead >= recommended) & (ahead.need_ahead > by_load)
        code[decides & (recommended == base)] = Reason.KEPT_AHEAD
        code[decides & grows] = Reason.GROW_AHEAD
    shrinks = recommended < base
    code[shrinks] = Reason.SHRINK
    code[shrinks & (value > recommended)] = Reason.SHRINK_DELAYED
    code[small] = Reason.SMALL_CHANGE
    code[shrinks & bursting] = Reason.BURST_KEEPS
    code[kept] = Reason.WITHIN_TOLERANCE
    code[~valid] = Reason.HOLD_NO_SIGNAL
    return code
