"""Traffic from a file: requests one by one, or a rate per window.

    timestamp_s[,service_s]                          a request: when it arrived, and how long it is to run
    window_start_s,requests_per_s,burstiness_cv      a window: mean rate, and CV of the time between arrivals

Times are seconds; the earliest of a file is second 0 of the run. A trace of requests is as long as its last request
says, one of rates ends with its last window. Whoever gives no service time gets lognormal ones.
"""

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from deployments.sim.demand import SERVICE_MEAN_S, Demand, RateDemand, RecordedDemand, service_times
from deployments.sim.streams import Purpose, stream
from deployments.sim.trace import RateTrace

Floats = NDArray[np.float64]

MOST_ROWS = 10_000_000
MOST_REQUESTS = 100_000_000
MOST_SCALE = 10_000
JITTER_S = 2.0
REQUESTS, RATES = "timestamp_s", "window_start_s"
RATE_COLUMNS = (RATES, "requests_per_s", "burstiness_cv")


class TraceError(ValueError):
    """What is wrong with a file, and on which line."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests over [0, span_s).

    at_first, at_most: requests that run at once where none waits, in the first minute or window and in the busiest; of
        rates, with as many more as bursts make of them (three standard deviations)
    filled: windows that were taken for holes in the recording and filled (`RateTrace.without_gaps`)
    """

    demand: Demand
    span_s: float
    at_first: float
    at_most: float
    filled: int = 0


def traffic(path: Path, *, scale: float = 1.0, mean_service_s: float = SERVICE_MEAN_S, seed: int = 0) -> Traffic:
    """Read a trace. `scale`: times the requests; the burstiness stays. Raises TraceError and OSError."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        return traffic_in(file, path.name, scale=scale, mean_service_s=mean_service_s, seed=seed, most_rows=MOST_ROWS)


def traffic_in(
    file: TextIO,
    name: str,
    *,
    scale: float = 1.0,
    mean_service_s: float = SERVICE_MEAN_S,
    seed: int = 0,
    most_rows: int = MOST_ROWS,
    most_requests: int = MOST_REQUESTS,
) -> Traffic:
    """The same of a file that is open, or of text."""
    if not 0 < scale <= MOST_SCALE:
        raise TraceError(f"The scale must be more than 0 and at most {MOST_SCALE}, not {scale}.")
    if not 0 < mean_service_s < math.inf:
        raise TraceError(f"The mean service time must be a positive number of seconds, not {mean_service_s}.")
    try:
        columns = _columns(file, most_rows)
    except (UnicodeDecodeError, csv.Error) as error:
        raise TraceError(f"{name} is no CSV in UTF-8: {error}.") from error
    count = scale * requests_in(columns)
    if count > most_requests:
        raise TraceError(f"It comes to {count:,.0f} requests; at most {most_requests:,} can be replayed.")
    if RATES in columns:
        return _rates(columns, scale, mean_service_s, seed)
    return _requests(columns, scale, mean_service_s, seed)


def requests_in(columns: dict[str, Floats]) -> float:
    """How many requests a trace comes to, at a scale of 1."""
    if RATES not in columns:
        return float(len(columns[REQUESTS]))
    starts = columns[RATES][:2]
    return float(columns["requests_per_s"].sum()) * float(abs(starts[-1] - starts[0]))


def _columns(file: TextIO, most_rows: int) -> dict[str, Floats]:
    """The columns that are known, by name; others are left out."""
    rows = csv.reader(file)
    names = [name.strip() for name in next(rows, [])]
    wanted = RATE_COLUMNS if RATES in names else (REQUESTS, "service_s") if "service_s" in names else (REQUESTS,)
    missing = [name for name in wanted if name not in names]
    if missing:
        raise TraceError(
            f"The first line has no column {', '.join(missing)}: it names timestamp_s (and service_s), or "
            f"{', '.join(RATE_COLUMNS)}."
        )
    places = [names.index(name) for name in wanted]
    values = np.fromiter(_numbers(rows, places, names, most_rows), np.float64)
    if not len(values):
        raise TraceError("There is no row in it.")
    return dict(zip(wanted, values.reshape(-1, len(wanted)).T, strict=True))


def _numbers(rows: Iterable[list[str]], places: Sequence[int], names: Sequence[str], most_rows: int) -> Iterator[float]:
    for line, row in enumerate(rows, 2):
        if not row:
            continue
        if line > most_rows + 1:
            raise TraceError(f"It has more than {most_rows:,} rows.")
        for place in places:
            try:
                value = float(row[place])
            except (IndexError, ValueError):
                value = math.nan
            if not 0 <= value < math.inf:
                said = repr(row[place][:40]) if place < len(row) else "nothing"
                raise TraceError(f"Line {line}: {names[place]} must be a number of 0 or more, not {said}.")
            yield value


def _rates(columns: dict[str, Floats], scale: float, mean_service_s: float, seed: int) -> Traffic:
    starts, rates, cv = (columns[name] for name in RATE_COLUMNS)
    if len(starts) < 2:
        raise TraceError("A trace of rates needs two windows, which say how long they are.")
    window = float(starts[1] - starts[0])
    even = np.flatnonzero(np.abs(np.diff(starts) - window) > 1e-6 * max(window, 1.0))
    if window <= 0 or len(even):
        line = 3 if window <= 0 else int(even[0]) + 3
        raise TraceError(f"Line {line}: windows must follow each other, all of one length.")
    if not rates.any():
        raise TraceError("The rate is 0 in all windows.")
    recorded = RateTrace(window, rates, cv)
    trace = recorded.without_gaps()
    demand = RateDemand(trace, scale, seed=seed, mean_service_s=mean_service_s)
    load = scale * trace.requests_per_s * mean_service_s
    filled = int((trace.requests_per_s != recorded.requests_per_s).sum())
    # The variance of a second's count is CV^2 x mean, and so is that of what runs at once, nearly.
    most = load + 3 * np.maximum(trace.burstiness_cv, 1) * np.sqrt(load)
    return Traffic(demand, trace.span_s, float(load[0]), float(most.max()), filled)


def _requests(columns: dict[str, Floats], scale: float, mean_service_s: float, seed: int) -> Traffic:
    arrivals, services = columns[REQUESTS], columns.get("service_s")
    if len(arrivals) < 2:
        raise TraceError("A trace of requests needs two of them.")
    arrivals = arrivals - arrivals.min()
    span = float(arrivals.max()) * (1 + 1 / (len(arrivals) - 1))
    if span <= 0:
        raise TraceError("All requests arrive at one moment: there is no time to scale over.")
    rng = stream(seed, Purpose.REQUESTS, 0)
    rows = _copied(len(arrivals), scale, rng)
    moved = arrivals[rows]
    if scale != 1:
        moved = np.mod(moved + rng.uniform(-JITTER_S, JITTER_S, len(rows)), span)
    seconds = service_times(rng, len(rows), mean_service_s) if services is None else services[rows]
    order = np.argsort(moved, kind="stable")
    return traffic_of(moved[order], seconds[order], span)


def traffic_of(arrivals: Floats, services: Floats, span_s: float) -> Traffic:
    """Requests that are known one by one, over [0, span_s); `arrivals` are sorted."""
    load = np.bincount((arrivals // 60).astype(np.int64), services, minlength=1) / min(60.0, span_s)
    return Traffic(RecordedDemand(arrivals, services), span_s, float(load[0]), float(load.max()))


def _copied(count: int, scale: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows of the requests there are: each as many times as `scale` has whole parts, of the rest a random share."""
    whole, share = int(scale), scale - int(scale)
    every = np.arange(count)
    return np.concatenate([np.repeat(every, whole), every[rng.random(count) < share]])
