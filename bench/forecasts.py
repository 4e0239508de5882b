"""Whether trend or season would forecast the load better than its level does (decision 0019): for each trace, the load
that a fleet has to be sized for where the forecast of each kind is topped up by what it is short of in 1 % of the time.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.cases import COLD_STARTS_S, DAY_S, Case, cases

Loads = NDArray[np.float64]

SEED = 1
STEP_S, LEVEL_S, LOAD_S = 5.0, 60.0, 15.0  # between samples; the stable window, and the one it is held against
DAYS = 14  # all there are
DAY, WEEK = int(DAY_S / STEP_S), int(7 * DAY_S / STEP_S)
COVERED = 0.99
LEVEL = "level"
NOTE = f"""\
What a fleet has to be sized for, over the load that comes: the forecast and what it is short of in {1 - COVERED:.0%} of
the time, one start-up time ahead; above 1 the level alone does best. The level is the mean of the last minute; the trend goes on as it went
for the last start-up time; a season grows as the same time of the day or week before did. The second week of m-large is
counted; the hours have no days. What follows from it: docs/decisions/0019.
"""


def run() -> list[dict[str, Any]]:
    return [row for case in cases(DAYS) for row in measured(case)]


def measured(case: Case) -> list[dict[str, Any]]:
    load = loads(case)
    level, later = mean_before(load, LEVEL_S), mean_before(load, LOAD_S)
    first = WEEK if len(load) > WEEK else int(3600 * case.from_hour / STEP_S)
    rows = []
    for cold_start_s in COLD_STARTS_S:
        ahead = int(cold_start_s / STEP_S)
        at = np.arange(first, len(load) - ahead)
        needs = {name: sized(forecast(level, at, ahead), later[at + ahead])
                 for name, (forecast, past) in FORECASTS.items() if first >= past}  # fmt: skip
        said = ", ".join(f"{name} {size:.3f}" for name, size in needs.items())
        best = min(size for name, size in needs.items() if name != LEVEL)
        what = f"{case.trace}, {case.size}, {cold_start_s:g} s ahead ({said}): the best other"
        rows.append({"what": what, "unit": "of the level", "value": round(best / needs[LEVEL], 3), "needs": needs})
    return rows


def loads(case: Case) -> Loads:
    """Requests in flight at every step, where none waits."""
    demand, steps = case.traffic(SEED), math.ceil(case.span_s / STEP_S)
    change = np.zeros(steps + 1, np.int64)
    for start_s in np.arange(0.0, case.span_s, 3600.0):
        arrivals, services = demand.between(start_s, min(start_s + 3600.0, case.span_s))
        for at_s, by in ((arrivals, 1), (arrivals + services, -1)):
            change += by * np.bincount(np.minimum(np.ceil(at_s / STEP_S).astype(np.int64), steps), minlength=steps + 1)
    return np.cumsum(change[:-1]).astype(np.float64)


def mean_before(load: Loads, seconds: float) -> Loads:
    """The mean of the window that ends at each step."""
    width = int(seconds / STEP_S)
    total = np.cumsum(np.concatenate([np.zeros(width), load]))
    mean: Loads = (total[width:] - total[:-width]) / width
    return mean


def sized(forecast: Loads, came: Loads) -> float:
    """The mean of the forecast with its margin over the mean of what came."""
    margin = np.quantile(came - forecast, COVERED)
    return float((forecast + margin).mean() / came.mean())


def _trend(share: float) -> Callable[[Loads, NDArray[np.int64], int], Loads]:
    return lambda level, at, ahead: np.maximum(level[at] + share * (level[at] - level[at - ahead]), 0)


def _season(period: int, share: float) -> Callable[[Loads, NDArray[np.int64], int], Loads]:
    def forecast(level: Loads, at: NDArray[np.int64], ahead: int) -> Loads:
        grew = level[at - period + ahead] / np.maximum(level[at - period], 1)
        grown: Loads = level[at] * (1 + share * (np.minimum(grew, 2) - 1))
        return grown

    return forecast


# Name -> how to forecast, and the steps of the past that it needs.
FORECASTS: dict[str, tuple[Callable[[Loads, NDArray[np.int64], int], Loads], int]] = {
    LEVEL: (lambda level, at, ahead: level[at], 0),
    "trend": (_trend(1.0), 0),
    "half the trend": (_trend(0.5), 0),
    "yesterday": (_season(DAY, 1.0), DAY),
    "half yesterday": (_season(DAY, 0.5), DAY),
    "last week": (_season(WEEK, 1.0), WEEK),
    "half last week": (_season(WEEK, 0.5), WEEK),
}
