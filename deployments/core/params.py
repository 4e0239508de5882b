"""Settings of the planner: the fleet's defaults, and what an operator set for one deployment."""

from dataclasses import dataclass

import numpy as np

from deployments.core.columns import Bools, Floats, Int64s

# Exact decisions need whole numbers: times are milliseconds, ratios are thousandths.
MILLI = 1000
NO_BURSTS = 1000.0  # as burst factor: of one that looks ahead, whose margin has bursts in it


@dataclass(frozen=True, slots=True)
class Params:
    """Defaults of the fleet. Times are seconds; factor and tolerance are ratios."""

    stable_s: float = 60.0  # window of the mean that the size normally follows
    burst_s: float = 15.0  # window that notices a burst
    burst_factor: float = 2.0  # burst mode starts when the burst window asks for this many times the size
    tolerance: float = 0.1  # no change while load is within this share of what the size is meant for
    scale_down_s: float = 300.0  # shrinking takes the highest recommendation of this long
    drain_s: float = 10.0  # a standing queue is to be gone after this long
    stale_s: float = 30.0  # a sample older than this says nothing about now
    ahead: float = 0.99  # share of the time that the look-ahead's margin is to suffice; 0 = it is off
    sample_s: float = 5.0  # time between samples; the first one ever seen stands for this long


@dataclass(frozen=True, slots=True)
class Settings:
    """One value per deployment, in milliseconds and thousandths (int64[D])."""

    stable_ms: Int64s
    burst_ms: Int64s
    factor_milli: Int64s
    tolerance_milli: Int64s
    scale_down_ms: Int64s
    drain_ms: Int64s
    startup_ms: Int64s  # 0 where unknown
    service_ms: Int64s  # 0 where unknown
    ahead_milli: Int64s  # share of the time that stage 3's margin is to suffice; 0 = it does not look ahead

    def take(self, rows: Int64s | slice) -> "Settings":
        """The settings of some deployments."""
        return Settings(**{name: getattr(self, name)[rows] for name in self.__slots__})


def milliseconds(seconds: float) -> int:
    """Seconds as whole milliseconds, to the nearest."""
    return round(seconds * MILLI)


def or_default(values: Floats, default: float) -> Int64s:
    """Thousandths of each value, of `default` where it is NaN; never negative."""
    unset: Bools = np.isnan(values)
    filled = np.where(unset, default, values)
    whole: Int64s = np.rint(np.maximum(filled, 0.0) * MILLI).astype(np.int64)
    return whole
