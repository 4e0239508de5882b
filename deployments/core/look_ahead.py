"""Stage 3: what may be in flight by the time that a replica started now would be ready.

The forecast is the mean of the stable window, and the margin is what such forecasts have been short of: after every
pass what is in flight at its sample is held against the mean of one start-up time ago. Where it asks for more than that
mean and the margin, the margin grows by `RATE`; where not, it shrinks by as much less as makes it short in `1 - ahead`
of the time. So it is a quantile of the deployment's own past errors, followed by multiplying (the scale-free form of
stochastic approximation, Robbins and Monro 1951): steady traffic comes to a small margin, traffic in bursts to a large
one, and a longer start-up time to a larger one. It is a floor below which nothing shrinks, and never makes anything
smaller.

Short is what makes requests wait longer than they may. Beyond all slots a queue forms, and who joins it waits in time
while it holds no more than `IN_TIME_MS / service` of the slots (Little's law): so many may be in flight beyond the slots,
a fifth of them at most (docs/decisions/0020).

What was the mean is remembered in SPANS spans of time, each a fifteenth of the start-up time long.
"""

from dataclasses import replace

import numpy as np

from deployments.core.autoscaler_state import SPANS, Forecasts
from deployments.core.columns import Bools, Int32s, Int64s
from deployments.core.need import ceil_div
from deployments.core.params import MILLI, Params, Settings, milliseconds
from deployments.core.plan import Ahead, Need, Signal
from deployments.core.reasons import Reason

MICRO = MILLI * MILLI
RATE_MILLI = 30  # growth of a margin that was too small, in thousandths, for each `sample_s`
LEAST = MICRO // 2  # half a request: a margin of nothing could not grow by multiplying
FIRST_SHARE = 5  # before anything is known: the slots of a replica, and a fifth of the load
IN_TIME_MS = 1000  # how long requests may wait
MOST_WAITING_MILLI = 200  # and how many of them at most, in thousandths of the slots
UNKNOWN = -1


def off(count: int) -> Ahead:
    """The stage where no deployment looks ahead; costs nothing for any number of them."""
    none = np.broadcast_to(np.int64(UNKNOWN), (count,))
    return Ahead(
        code=np.broadcast_to(np.int16(Reason.AHEAD_OFF), (count,)),
        margin_micro=none,
        expected_micro=none,
        need_ahead=np.broadcast_to(np.int64(0), (count,)),
    )


def look_ahead(
    need: Need, valid: Bools, target: Int64s, slots: Int32s, margin_micro: Int64s, settings: Settings
) -> Ahead:
    """Replicas for what is expected at the end of a start-up time. `margin_micro`: as remembered, in millionths of a
    request; -1 where nothing is."""
    count = len(target)
    if not settings.ahead_milli.any():
        return off(count)
    on = (settings.ahead_milli > 0) & valid
    room = slots_of(target, slots)
    level = MILLI * level_milli(need.stable_load_ms, need.stable_span_ms)
    margin = np.where(margin_micro >= 0, margin_micro, MICRO * room + level // FIRST_SHARE)
    expected = np.where(on, level + margin, UNKNOWN)
    code = np.where(settings.ahead_milli > 0, Reason.AHEAD_UNKNOWN, Reason.AHEAD_OFF)
    return Ahead(
        code=np.where(on, Reason.AHEAD, code).astype(np.int16),
        margin_micro=np.where(on, margin, UNKNOWN),
        expected_micro=expected,
        need_ahead=np.where(on, ceil_div(np.maximum(expected, 0), MICRO * room), 0),
    )


def slots_of(target: Int64s, slots: Int32s) -> Int64s:
    """Requests that a replica runs at once; where not known, `ceil(target / 0.7)` (R2)."""
    return np.where(slots > 0, np.maximum(slots, target), (10 * target + 6) // 7)


def level_milli(load_ms: Int64s, span_ms: Int64s) -> Int64s:
    """A mean in thousandths of a request, rounded down."""
    level: Int64s = MILLI * load_ms // np.maximum(span_ms, 1)
    return level


def remembered(known: Forecasts, keys: Int64s, settings: Settings) -> Forecasts:
    """What is known of the deployments that look ahead, in their order; a row for each of them alone."""
    wanted = keys[settings.ahead_milli > 0]
    if np.array_equal(known.key, wanted):
        return known
    fresh = Forecasts.build(key=wanted)
    _, old, new = np.intersect1d(known.key, wanted, assume_unique=True, return_indices=True)
    for name, values in fresh.items():
        values[new] = getattr(known, name)[old]
    return fresh


def spread(known: Forecasts, settings: Settings) -> Int64s:
    """The margin of every deployment, -1 of those that do not look ahead."""
    margins = np.full(len(settings.ahead_milli), UNKNOWN, np.int64)
    margins[settings.ahead_milli > 0] = known.margin_micro
    return margins


def learn(
    known: Forecasts,
    ahead: Ahead,
    need: Need,
    signal: Signal,
    settings: Settings,
    params: Params,
    at_ms: int,
    now_ms: int,
) -> Forecasts:
    """What is known after a pass: the mean of now is noted, and the margin held against the mean of a start-up time ago.

    `at_ms` is the time of the pass before (0: there was none). After a pause of the loop what was noted is forgotten.
    """
    on = settings.ahead_milli > 0
    if not on.any():
        return known
    rows = slice(None) if on.all() else np.flatnonzero(on)  # no copy of what is the same
    own = settings.take(rows)
    seen = _aged(known, own, now_ms, forget=now_ms - at_ms > milliseconds(params.stale_s))
    level = level_milli(need.stable_load_ms[rows], need.stable_span_ms[rows])
    load = _slots_in_time(MILLI * signal.in_flight[rows], own.service_ms)
    before = _a_startup_ago(seen)
    usable = signal.valid[rows] & (ahead.margin_micro[rows] >= 0)
    margin = np.where(usable, ahead.margin_micro[rows], seen.margin_micro)
    elapsed_ms = min(max(now_ms - at_ms, 0), milliseconds(params.stale_s))
    moved = _moved(margin, MILLI * (load - before), own.ahead_milli, elapsed_ms, milliseconds(params.sample_s))
    return replace(
        seen,
        margin_micro=np.where(usable & (before >= 0), moved, margin),
        level_milli=_noted(seen, level, signal.valid[rows]),
    )


def _slots_in_time(flight_milli: Int64s, service_ms: Int64s) -> Int64s:
    """The slots with which so many in flight wait no longer than they may; one for each where service is not known."""
    waiting = np.where(service_ms > 0, MILLI * IN_TIME_MS // np.maximum(service_ms, 1), 0)
    slots: Int64s = MILLI * flight_milli // (MILLI + np.minimum(waiting, MOST_WAITING_MILLI))
    return slots


def _moved(margin: Int64s, short: Int64s, ahead_milli: Int64s, elapsed_ms: int, sample_ms: int) -> Int64s:
    """The margin one step on: up where the load was more than expected, down where not."""
    per_mille = RATE_MILLI * elapsed_ms
    up = margin // MILLI * per_mille // sample_ms
    down = up * (MILLI - ahead_milli) // np.maximum(ahead_milli, 1)
    return np.maximum(np.where(short > margin, margin + up, margin - down), LEAST)


def _aged(known: Forecasts, own: Settings, now_ms: int, forget: bool) -> Forecasts:
    """Without the spans that are over; without any where another start-up time makes them unreadable."""
    width = np.maximum(-(-(own.startup_ms + own.burst_ms) // (SPANS - 1)), 1)
    span = now_ms // width
    elapsed = span - known.span
    unreadable = (known.width_ms != width) | (elapsed < 0) | (elapsed >= SPANS) | forget
    levels = known.level_milli.copy()
    if unreadable.any():
        levels[unreadable] = UNKNOWN
    for step in range(1, int(elapsed[~unreadable].max(initial=0)) + 1):
        rows = np.flatnonzero(~unreadable & (elapsed >= step))
        levels[rows, (known.span[rows] + step) % SPANS] = UNKNOWN
    return replace(known, width_ms=width, span=span, level_milli=levels)


def _a_startup_ago(seen: Forecasts) -> Int64s:
    """The mean noted in the oldest span, which is a start-up time and the burst window ago; -1 where none was."""
    rows = np.arange(len(seen))
    oldest: Int64s = seen.level_milli[rows, (seen.span + 1) % SPANS]
    return oldest


def _noted(seen: Forecasts, level: Int64s, rows: Bools) -> Int64s:
    """The first mean of a span is kept, so that none is noted later than a start-up time before it is asked for. Written
    into what `_aged` made, which is this pass's own."""
    levels, span = seen.level_milli, seen.span % SPANS
    at = np.flatnonzero(rows & (levels[np.arange(len(seen)), span] < 0))
    levels[at, span[at]] = level[at]
    return levels
