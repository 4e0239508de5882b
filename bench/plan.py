"""`plan` on generated shards of three sizes: all stages with full reasons, contention, reclaim and placement.

Each size runs in a process of its own, so that its memory is its own. SEED chooses the shards.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

from bench import shards
from bench.measure import quantile
from bench.running import run_module
from deployments.core.planner import plan
from deployments.core.snapshot import Snapshot

SIZES = ((1_000, 3), (10_000, 100), (100_000, 300))  # deployments, organizations
RUNS = 7
BARS = {"nothing changes": None, "2 % change": 0.5, "5 % change": None, "half want more than there is": 1.0,
        "5 % change, 1 % reclaim": None}  # fmt: skip
NOTE = """\
Where the time goes: sizes (stages 1 to 5) and the census of replicas are columns, under a microsecond a deployment. The
rest is the contest for room, which is exact and therefore one replica after the other in Python, 20 to 45 us each: every
grant may change what is the tightest fit for the next and who holds least of a pool. So a pass in which much starts is
dominated by what starts. The next step would be to grant a whole group at once where it has room for all of it.
"""
SEED = int(os.environ.get("SEED", "1"))


def run() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for deployments, organizations in SIZES:
        rows += json.loads(run_module("bench.plan", deployments, organizations))
    return rows


def measured(deployments: int, organizations: int) -> list[dict[str, Any]]:
    base = shards.settled(deployments, organizations, SEED)
    cases: dict[str, Callable[[int], Snapshot]] = {
        "nothing changes": lambda seed: shards.changing(base, 0.0, seed),
        "2 % change": lambda seed: shards.changing(base, 0.02, seed),
        "5 % change": lambda seed: shards.changing(base, 0.05, seed),
        "half want more than there is": lambda seed: shards.storm(base, seed),
        "5 % change, 1 % reclaim": lambda seed: shards.reclaiming(base, seed),
    }
    return [row(name, case, base) for name, case in cases.items()]


def row(name: str, case: Callable[[int], Snapshot], base: Snapshot) -> dict[str, Any]:
    """The median of several passes, each with another change."""
    times, starts = [], []
    for number in range(RUNS):
        snapshot = case(SEED + number)
        began = time.perf_counter()
        made = plan(snapshot, shards.PARAMS, shards.NOW + shards.EVERY_S)
        times.append(time.perf_counter() - began)
        starts.append(len(made.starts))
    count = len(base.deployments)
    each = round(1e6 * quantile(times, 0.5) / count, 2)
    return {
        "what": f"{count:,} deployments, {len(base.replicas):,} replicas: {name} ({sorted(starts)[RUNS // 2]:,} start)",
        "unit": "us a deployment", "value": each, "bar": BARS[name] if count == 10_000 else None,
        "deployments": count, "us_per_deployment": each,
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(measured(int(sys.argv[1]), int(sys.argv[2]))))
