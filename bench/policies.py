"""Autoscaling policies on real traces: how long requests wait, and for how many GPU-hours.

All policies and settings of a case, a cold start and a seed run side by side (`deployments.sim.grid`); a row is the mean
over the seeds. All of it takes some four hours of a core. `BENCH_SEEDS` and `BENCH_DAYS` make a shorter run of it: how
many seeds, and how many days of the trace of rates; `BENCH_WORKERS` is how many processes share it.
"""

import multiprocessing
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.cases import COLD_STARTS_S, DAYS, SEEDS, SLOTS, Case, cases
from bench.contestants import CONTESTANTS, Contestant, Field
from bench.policies_charts import charts
from bench.policies_page import page
from deployments.sim import grid, oracle
from deployments.sim.grid import Load, Setup
from deployments.sim.peers.abreast import abreast
from deployments.sim.peers.rule import Policy

__all__ = ["charts", "page", "run"]

LOWEST, OF_THE_PEAK = 1, 2  # min, and max as a multiple of the most that is needed
BEGINS_AT = 0.7  # of the slots in use, as the run begins
# What is measured of a run, and to how many digits it is told.
MEASURES = {"share_le_1s": 4, "share_le_5s": 4, "wait_p50_s": 2, "wait_p95_s": 2, "wait_p99_s": 2, "gpu_hours": 2, "ratio": 4,
            "changes_per_hour": 2}  # fmt: skip

Column = dict[str, float]


def run() -> list[dict[str, Any]]:
    seeds = SEEDS[: int(os.environ.get("BENCH_SEEDS", len(SEEDS)))]
    days = int(os.environ.get("BENCH_DAYS", DAYS))
    pieces = [(days, case, cold, seed) for seed in seeds for case in range(len(cases(days))) for cold in COLD_STARTS_S]
    made: list[dict[str, Any]] = []
    with multiprocessing.get_context("fork").Pool(int(os.environ.get("BENCH_WORKERS", os.cpu_count() or 1))) as pool:
        for piece, found in zip(pieces, pool.imap(_piece, pieces), strict=True):
            made += found
            says = f"{found[0]['trace']}, {found[0]['size']}, cold start {piece[2]:g} s, seed {piece[3]}"
            print(says, flush=True)
    return over_seeds(made)


def _piece(piece: tuple[int, int, float, int]) -> list[dict[str, Any]]:
    days, case, cold_start_s, seed = piece
    return rows_of_a_seed(cases(days)[case], cold_start_s, seed)


def rows(
    chosen: Sequence[Case],
    cold_starts_s: Sequence[float],
    seeds: Sequence[int],
    contestants: Sequence[Contestant] = CONTESTANTS,
) -> list[dict[str, Any]]:
    """A row for each case, cold start, policy and setting, and for each scale of the oracle."""
    made = [
        rows_of_a_seed(case, cold, seed, contestants) for case in chosen for cold in cold_starts_s for seed in seeds
    ]
    return over_seeds([row for found in made for row in found])


def rows_of_a_seed(
    case: Case, cold_start_s: float, seed: int, contestants: Sequence[Contestant] = CONTESTANTS
) -> list[dict[str, Any]]:
    """The rows of one draw, not rounded."""
    columns = _scored(case.load(seed), Setup(SLOTS, cold_start_s), case.from_hour, contestants)
    common = {"trace": case.trace, "size": case.size, "smooth": case.smooth, "cold_start_s": cold_start_s}
    common |= {"scored_hours": round(case.span_s / grid.HOUR_S - case.from_hour, 1)}
    labels = [("oracle", scale) for scale in oracle.SCALES]
    labels += [(one.name, setting) for one in contestants for setting in one.settings]
    return [
        common | {"policy": policy, "setting": round(setting, 4)} | column
        for (policy, setting), column in zip(labels, columns, strict=True)
    ]


def over_seeds(made: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for all draws of the same: the mean of what was measured, and how many there were."""
    alike: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in made:
        alike.setdefault(
            tuple(row[name] for name in ("trace", "size", "cold_start_s", "policy", "setting")), []
        ).append(row)
    return [
        {name: value for name, value in found[0].items() if name not in MEASURES}
        | {"seeds": len(found)}
        | {name: round(float(np.mean([row[name] for row in found])), digits) for name, digits in MEASURES.items()}
        for found in alike.values()
    ]


def _scored(load: Load, setup: Setup, from_hour: int, contestants: Sequence[Contestant]) -> list[Column]:
    """The measures of each lane: those of the oracle, then those of the contestants."""
    busy = oracle.most_busy(load, setup)
    field = Field(setup, int(oracle.replicas_needed(busy, setup.slots).max()), load)
    known, begun = oracle.scheduled(busy, setup, oracle.SCALES)
    policies: list[Policy] = [known, *(one.make(one.settings, field) for one in contestants)]
    counts = [len(begun), *(len(one.settings) for one in contestants)]
    low = np.full(sum(counts), LOWEST)
    low[: len(begun)] = 0
    others = max(LOWEST, int(np.ceil(busy[0] / (BEGINS_AT * setup.slots))))
    begun = np.concatenate([begun, np.full(sum(counts[1:]), others)])
    high = np.full(sum(counts), OF_THE_PEAK * field.peak)
    step, state = abreast(policies, counts)
    came = grid.run(load, step, state, setup, begun, low, high, from_hour)
    return _measures(came, len(oracle.SCALES))


def _measures(came: grid.GridRun, known: int) -> list[Column]:
    shares, hours = came.share_le_1s, came.replica_hours
    whole = hours[known - 1]  # what the schedule of all the demand costs
    columns = {
        "share_le_1s": np.maximum(shares, 0.0),
        "share_le_5s": came.share_le_5s,
        "wait_p50_s": came.wait_s(0.5),
        "wait_p95_s": came.wait_s(0.95),
        "wait_p99_s": came.wait_s(0.99),
        "gpu_hours": hours,
        "ratio": hours / whole,
        "changes_per_hour": came.changes_per_hour,
    }
    return [{name: float(column[lane]) for name, column in columns.items()} for lane in range(len(hours))]
