"""Stage 1: what the samples say, and whether the later stages may go by it (R2, R5).

A sample stands for the time since the one before it. After a gap longer than `stale_s`, and when there is
none before it, it stands for `sample_s`. A window ends at the newest usable sample, so a late pass shortens
nothing. All sums are int64 of requests x milliseconds: the same samples give the same answer on any machine.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from deployments.core.columns import Bools, Int16s, Int64s
from deployments.core.params import MILLI, Params, Settings, milliseconds
from deployments.core.plan import Signal
from deployments.core.reasons import Reason
from deployments.core.snapshot import Signals

MISSING = -1
IMPOSSIBLE = -2
LIMIT = 10**9  # more requests in flight than any deployment has: a broken counter
LONG_AGO = -(2**61)
# A window counts as seen once samples stand for nine tenths of it, since passes do not come to the
# millisecond.
SEEN_TENTHS = 9


# Counts up to twice LIMIT fit into 32 bits; every sum of them is made in 64.
Whole = npt.NDArray[np.int32] | npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples as whole numbers, one row per pass.

    `load` is queued + active, or MISSING or IMPOSSIBLE.
    """

    at_ms: Int64s  # [S]
    queued: Whole  # [S, D]
    load: Whole  # [S, D]


@dataclass(frozen=True, slots=True)
class Windows:
    """Sums over both windows, per deployment: load x time, time, and the least that was queued."""

    stable_load_ms: Int64s
    stable_span_ms: Int64s
    burst_load_ms: Int64s
    burst_span_ms: Int64s
    standing: Int64s

    @classmethod
    def zero(cls, deployments: int) -> "Windows":
        """Nothing summed yet."""
        sums = np.zeros((4, deployments), np.int64)
        return cls(sums[0], sums[1], sums[2], sums[3], np.full(deployments, LIMIT, np.int64))

    def put(self, rows: Int64s, other: "Windows") -> None:
        """Replace the sums of some deployments."""
        for name in self.__slots__:
            getattr(self, name)[rows] = getattr(other, name)


def decode(signals: Signals) -> Samples:
    """Samples as whole numbers; fractions are rounded to the nearest."""
    at_ms = np.rint(signals.at * MILLI).astype(np.int64)
    queued, active = _whole(signals.queued), _whole(signals.active)
    if queued.size == 0 or min(queued.min(), active.min()) >= 0:
        return Samples(at_ms, queued, queued + active)
    impossible = (queued == IMPOSSIBLE) | (active == IMPOSSIBLE)
    missing = (queued == MISSING) | (active == MISSING)
    load = np.where(impossible, IMPOSSIBLE, np.where(missing, MISSING, queued + active))
    return Samples(at_ms, queued, load)


def assess(samples: Samples, settings: Settings, params: Params, now_ms: int) -> tuple[Signal, Windows]:
    """Judge the signal of each deployment and sum its windows."""
    deployments = samples.load.shape[1]
    if len(samples.at_ms) == 0:
        return _nothing(deployments), Windows.zero(deployments)
    usable = _usable(samples, now_ms)
    last = _last_row(usable)
    newest = last if usable[-1].all() else _last_row(samples.load != MISSING)
    windows = _windows(samples, usable, last, settings, params)
    age = np.where(newest >= 0, now_ms - samples.at_ms[newest], -1)
    code = _codes(samples, newest, age, windows, settings, params)
    columns = np.arange(deployments)
    return (
        Signal(
            code=code,
            valid=code == Reason.SIGNAL_FRESH,
            in_flight=np.where(last >= 0, samples.load[last, columns], -1),
            queued=np.where(last >= 0, samples.queued[last, columns], -1),
            age_ms=age,
            covered_ms=windows.stable_span_ms,
        ),
        windows,
    )


def _usable(samples: Samples, now_ms: int) -> Bools:
    if samples.at_ms[-1] <= now_ms and samples.load.min(initial=0) >= 0:
        return np.broadcast_to(np.True_, samples.load.shape)
    return (samples.load >= 0) & (samples.at_ms <= now_ms)[:, None]


def _whole(values: npt.NDArray[Any]) -> Whole:
    if values.dtype == np.int32 and values.size and values.min() >= MISSING and values.max() <= LIMIT:
        return values
    if values.dtype.kind == "f":
        known = np.where(np.isnan(values), MISSING, values)
        negative = (known < 0) & (known != MISSING)
        whole: Int64s = np.rint(np.clip(known, IMPOSSIBLE, LIMIT + 1)).astype(np.int64)
        whole[negative] = IMPOSSIBLE
    else:
        whole = values.astype(np.int64)
    if whole.size and (whole.min() < MISSING or whole.max() > LIMIT):
        whole[(whole < MISSING) | (whole > LIMIT)] = IMPOSSIBLE
    return whole


def _nothing(deployments: int) -> Signal:
    none = np.full(deployments, -1, np.int64)
    return Signal(
        code=np.full(deployments, Reason.SIGNAL_MISSING, np.int16),
        valid=np.zeros(deployments, np.bool_),
        in_flight=none,
        queued=none,
        age_ms=none,
        covered_ms=np.zeros(deployments, np.int64),
    )


def _last_row(present: Bools) -> Int64s:
    """Row of each deployment's last present sample; -1 for none."""
    passes, deployments = present.shape
    if present[-1].all():
        return np.full(deployments, passes - 1, np.int64)
    last: Int64s = passes - 1 - np.argmax(present[::-1], axis=0)
    last[~present.any(axis=0)] = -1
    return last


def _codes(
    samples: Samples, newest: Int64s, age: Int64s, windows: Windows, settings: Settings, params: Params
) -> Int16s:
    load = samples.load[newest, np.arange(len(newest))]
    unseen = windows.stable_span_ms * 10 < settings.stable_ms * SEEN_TENTHS
    code: Int16s = np.where(unseen, Reason.SIGNAL_WARMING, Reason.SIGNAL_FRESH).astype(np.int16)
    code[age > milliseconds(params.stale_s)] = Reason.SIGNAL_STALE
    code[load == IMPOSSIBLE] = Reason.SIGNAL_IMPOSSIBLE
    code[age < 0] = Reason.SIGNAL_FUTURE
    code[newest < 0] = Reason.SIGNAL_MISSING
    return code


def _windows(samples: Samples, usable: Bools, last: Int64s, settings: Settings, params: Params) -> Windows:
    """Sum all deployments as if every sample were there, then again those for which some are not."""
    at_ms, load, queued = samples.at_ms, samples.load, samples.queued
    odd = np.flatnonzero(~usable.all(axis=0)) if usable.strides[0] else np.zeros(0, np.int64)
    sums = _sum(at_ms, load, queued, None, np.full(len(last), at_ms[-1]), settings, params)
    if len(odd):
        end = np.where(last[odd] >= 0, at_ms[last[odd]], LONG_AGO)
        there = usable[:, odd]
        sums.put(odd, _sum(at_ms, load[:, odd], queued[:, odd], there, end, settings.take(odd), params))
    return sums


def _sum(
    at_ms: Int64s,
    load: Whole,
    queued: Whole,
    usable: Bools | None,
    end: Int64s,
    settings: Settings,
    params: Params,
) -> Windows:
    """All passes of all deployments at once.

    Where every sample is usable the time a sample stands for is the same for all deployments, and where the
    windows are too, so are the weights: those columns then have length 1 and numpy spreads them.
    """
    stable_from, burst_from = _starts(end, settings, usable is None)
    at = at_ms[:, None]
    stands, inside = _stands(at, usable, params), at > burst_from
    if usable is not None:
        stands, inside = np.where(usable, stands, 0), inside & usable
    stable_load, stable_span = _weighted(load, at - stable_from, stands)
    burst_load, burst_span = _weighted(load, at - burst_from, stands)
    standing = np.where(inside, queued, LIMIT).min(axis=0).astype(np.int64)
    return Windows(
        stable_load_ms=stable_load,
        stable_span_ms=stable_span,
        burst_load_ms=burst_load,
        burst_span_ms=burst_span,
        standing=np.where(burst_span == 0, 0, standing),
    )


def _stands(at: Int64s, usable: Bools | None, params: Params) -> Int64s:
    """Time that each sample stands for, if it is usable (int64[S, D or 1]); None: all of them are."""
    last = at if usable is None else np.maximum.accumulate(np.where(usable, at, LONG_AGO), axis=0)
    gap = at - np.concatenate([np.full_like(last[:1], LONG_AGO), last[:-1]])
    return np.where(gap > milliseconds(params.stale_s), milliseconds(params.sample_s), gap)


def _starts(end: Int64s, settings: Settings, even: bool) -> tuple[Int64s, Int64s]:
    """Start of each deployment's windows; of length 1 where they are all the same."""
    starts = (end - settings.stable_ms, end - settings.burst_ms)
    if even and len(end) and all(np.all(start == start[0]) for start in starts):
        return starts[0][:1], starts[1][:1]
    return starts


def _weighted(load: Whole, inside_ms: Int64s, stands_ms: Int64s) -> tuple[Int64s, Int64s]:
    """Load x time and time of a window: of each sample that part of its time that lies inside the window."""
    weight = np.maximum(np.minimum(inside_ms, stands_ms), 0)
    spans: Int64s = np.broadcast_to(weight.sum(axis=0), load.shape[1:]).copy()
    sums: Int64s = np.einsum("sd,sd->d", load, np.broadcast_to(weight, load.shape))
    return sums, spans
