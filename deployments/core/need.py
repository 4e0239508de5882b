"""Stage 2: how many replicas the load needs (R2, R7).

Need is `ceil(mean in flight / target)` over the stable and the burst window (the rule of Knative's pod
autoscaler). A queue that stood through the whole burst window is taken out of that mean and put back as what
it really asks for: the part that starting replicas will take up counts whole; what will remain after them is
work of `service` time each, to be done within max(drain goal, start-up time), so it asks for `remaining *
service / max(drain, start-up)` slots (Little's law). Without measured times this is the plain rule, R2.
"""

import numpy as np

from deployments.core.columns import Bools, Int32s, Int64s
from deployments.core.params import Settings
from deployments.core.plan import Need
from deployments.core.reasons import Reason
from deployments.core.signal import Windows

# Targets above this act as this, so that no product of a decision can leave 64 bits.
MAX_TARGET = 10**6


def ceil_div(numerator: Int64s, denominator: Int64s) -> Int64s:
    """Exact `ceil(n / d)` of non-negative whole numbers; 0 where the denominator is 0."""
    safe = np.maximum(denominator, 1)
    result: Int64s = np.where(denominator > 0, (numerator + safe - 1) // safe, 0)
    return result


def target_of(concurrency: Int32s) -> Int64s:
    """Requests per replica that the size aims at."""
    return np.clip(concurrency.astype(np.int64), 1, MAX_TARGET)


def measure(windows: Windows, valid: Bools, target: Int64s, starting: Int32s, settings: Settings) -> Need:
    """Replicas needed, per deployment; where `valid` is false the numbers stand but are not gone by."""
    standing, remaining, asked = _backlog(windows.standing, target, starting, settings)
    burst_load = windows.burst_load_ms - windows.burst_span_ms * (standing - asked)
    queue = standing > 0
    code = np.where(queue, Reason.NEED_QUEUE, Reason.NEED_MEAN)
    return Need(
        code=np.where(valid, code, Reason.NEED_UNKNOWN).astype(np.int16),
        stable_load_ms=windows.stable_load_ms,
        stable_span_ms=windows.stable_span_ms,
        burst_load_ms=windows.burst_load_ms,
        burst_span_ms=windows.burst_span_ms,
        need_stable=ceil_div(windows.stable_load_ms, windows.stable_span_ms * target),
        need_burst=ceil_div(windows.burst_load_ms, windows.burst_span_ms * target),
        standing=standing,
        remaining=remaining,
        backlog_extra=ceil_div(asked, target),
        need_backlog=np.where(queue, ceil_div(burst_load, windows.burst_span_ms * target), 0),
    )


def _backlog(standing: Int64s, target: Int64s, starting: Int32s, settings: Settings) -> tuple[Int64s, Int64s, Int64s]:
    """Requests that stand, of them those that will remain, and the slots that they ask for."""
    taken_up = np.minimum(standing, starting * target)
    remaining = standing - taken_up
    horizon = np.maximum(np.maximum(settings.drain_ms, settings.startup_ms), 1)
    service = np.where(settings.service_ms > 0, settings.service_ms, settings.drain_ms)
    service = np.minimum(np.where(service > 0, service, horizon), horizon)
    return standing, remaining, taken_up + ceil_div(remaining * service, horizon)
