"""The work on a backtest: demand, runs side by side, and the result as JSON (W4).

Killed anywhere, the lease runs out and whoever takes it up begins anew; the same request gives the same result.
"""

import logging
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from console.common import clock
from console.common.leases import LeaseLost
from console.common.money import plain, to_cents
from deployments.backtest.recorded import NoDemandError, Recorded, recorded_demand
from deployments.backtest.running import Machine
from deployments.backtest.traces import TraceError
from deployments.backtests.compare import Compared, Floats, Lane, Outcome, compare
from deployments.backtests.services import (
    backtest_beat,
    backtest_fail,
    backtest_finish,
    backtest_give_back,
    backtest_lease,
    trace_of,
)
from deployments.core.objective import Objective
from deployments.models import Backtest, Deployment
from deployments.sim.grid import HOUR_S, STEP_S, Load

log = logging.getLogger(__name__)

Json = dict[str, Any]

BEAT_S = 1.0
WARM_UP = timedelta(hours=1)  # of recorded demand, run before the range and not counted
READ = 0.05  # share of the work that reading demand is


@dataclass(frozen=True, eq=False)
class Demand:
    """What is replayed: `skip_s` seconds that are not counted come first; `told` says what it is."""

    load: Load
    skip_s: float
    told: Json


class Gone(Exception):
    """What it was to be about is not there any more."""


def backtest_pass(*, now: datetime) -> bool:
    """Take up one backtest and work until it is done, cancelled or somebody else's; False where there is none."""
    run = backtest_lease(now=now)
    if run is None:
        return False
    try:
        backtest_finish(run=run, result=result_of(run, Beats(run)), now=clock.now())
    except LeaseLost:
        log.info("the backtest %s is no longer this worker's", run.pk)
    except (NoDemandError, TraceError, Gone) as error:
        backtest_fail(run=run, why=str(error), now=clock.now())
    except Exception as error:
        backtest_give_back(run=run, error=error, now=clock.now())
        raise
    return True


class Beats:
    """Says how far it is, at most once a second."""

    def __init__(self, run: Backtest) -> None:
        self.run, self._last = run, time.monotonic()

    def __call__(self, share: float) -> None:
        if time.monotonic() - self._last >= BEAT_S:
            backtest_beat(run=self.run, progress=READ + (1 - READ) * min(share, 1.0), now=clock.now())
            self._last = time.monotonic()


def result_of(run: Backtest, beat: Beats) -> Json:
    """All of it. Raises LeaseLost, NoDemandError, TraceError, Gone."""
    began = time.perf_counter()
    demand = _demand(run)
    beat(0.0)
    sides = run.request["sides"]
    lanes = [lane_of(side) for side in sides]
    found = compare(demand.load, lanes, skip_s=demand.skip_s, curve_of=lanes[0], beat=beat)
    span_s = demand.load.span * STEP_S - demand.skip_s
    return {
        "demand": demand.told | {"requests": found.outcomes[0].requests, "span_s": span_s},
        "sides": [measured(side, one, span_s) for side, one in zip(sides, found.outcomes, strict=True)],
        "series": series_of(found),
        "curve": [
            {"concurrency": lane.concurrency, "utilisation": round(lane.concurrency / lane.machine.slots, 3),
             **measured(sides[0], one, span_s)}
            for lane, one in found.curve
        ],
        "seconds": round(time.perf_counter() - began, 2),
    }  # fmt: skip


def _demand(run: Backtest) -> Demand:
    source = run.request["source"]
    if source["kind"] == "trace":
        traffic = trace_of(run)
        load = Load.of(*traffic.demand.between(0.0, traffic.span_s), traffic.span_s)
        return Demand(load, 0.0, {"kind": "trace", "start": None, "end": None, "resolution_s": None, "paused_s": 0.0,
                                  "missing_s": 0.0, "warm_up_s": 0.0, "filled_windows": traffic.filled})  # fmt: skip
    if run.deployment is None:
        raise Gone("The deployment was deleted meanwhile, and what is recorded of it with it.")
    start, end = (datetime.fromisoformat(source[name]) for name in ("start", "end"))
    return _recorded(run, run.deployment, start, end)


def _recorded(run: Backtest, deployment: Deployment, start: datetime, end: datetime) -> Demand:
    """With an hour before it, where there are records of all of that: so the range begins as if it had gone on."""

    def read(since: datetime) -> Recorded:
        return recorded_demand(deployment, since, end, run.created_at, seed=run.request["seed"])

    found = read(start - WARM_UP)
    warm = found.start == start - WARM_UP
    if not warm:
        found = read(start)
    skip_s = WARM_UP.total_seconds() if warm else 0.0
    began = found.start + timedelta(seconds=skip_s)
    told = {"kind": "history", "start": began.isoformat(), "end": found.end.isoformat(),
            "resolution_s": found.resolution_s, "paused_s": found.paused_s, "missing_s": found.missing_s,
            "warm_up_s": skip_s, "filled_windows": 0}  # fmt: skip
    return Demand(found.load, skip_s, told)


def lane_of(side: Json) -> Lane:
    machine = Machine(side["slots"], side["start_up_s"], side["gpus"])
    return Lane(
        side["policy"], machine, low=side["min"], high=side["max"], concurrency=side["concurrency"],
        settings=side["settings"], room=side["room"], share=side["objective"] or Objective().share,
    )  # fmt: skip


def measured(side: Json, one: Outcome, span_s: float) -> Json:
    """A side's measures; money as text of a decimal, to the cent."""
    gpu_hours = one.replica_hours * side["gpus"]
    paid = side["claim_gpus"] * span_s / HOUR_S if side["claim_gpus"] is not None else gpu_hours
    price = side["usd_per_gpu_hour"]
    cost = None if price is None else plain(to_cents(Decimal(repr(paid)) * Decimal(price)))
    return {
        "requests": one.requests, "share_within_1s": one.share_le_1s, "share_within_5s": one.share_le_5s,
        "wait_p50_s": one.wait_p50_s, "wait_p95_s": one.wait_p95_s, "wait_p99_s": one.wait_p99_s,
        "gpu_hours": round(gpu_hours, 4), "cost": cost, "changes_per_hour": round(one.changes_per_hour, 3),
        "replicas_most": one.replicas_most, "short_s": one.short_s,
    }  # fmt: skip


def series_of(found: Compared) -> Json:
    """Columns over one time axis: point n is of the seconds from n x step_s after the range's beginning."""
    return {
        "step_s": found.step_s,
        "in_flight": rounded(found.in_flight),
        "replicas": [rounded(one.replicas) for one in found.outcomes],
        "queued": [rounded(one.queued) for one in found.outcomes],
    }


def rounded(values: Floats) -> list[float]:
    found: list[float] = np.round(values, 2).tolist()
    return found
