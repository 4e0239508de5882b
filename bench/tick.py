"""The scaling loop's whole pass over one shard with a real PostgreSQL: sample, read, plan, record and act.

A database and a state folder of their own; no other part of the stack runs meanwhile. SEED chooses the load, and
BENCH_DEPLOYMENTS the sizes.
"""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from bench.running import own_environment, run_module
from console.stack.postgres import Postgres
from console.stack.supervisor import POSTGRES_SETTINGS

SIZES = tuple(int(count) for count in os.environ.get("BENCH_DEPLOYMENTS", "1000,10000").split(","))
BARS = {10_000: {"2 % change": 0.25, "half want more": 0.4}, 100_000: {"2 % change": 1.0, "half want more": 2.0}}

NOTE = """\
Where the time goes: rows of hot tables are kept between passes and only what changed is read
([decisions/0021](decisions/0021-hot-rows-are-kept-between-passes.md)); PostgreSQL still looks through all of a shard's rows
for it, which is most of what a quiet pass reads. Acting is the rest: each start is a lease, a placement and usage in one
transaction with the conditions under which it was planned, and statuses are judged in Python where something looks otherwise
than when they were right. The next limit is this writing. Shards (instance types) run side by side, each in processes and
connections of its own.
"""


def run() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for deployments in SIZES:
        rows += measured(deployments)
    return rows


def measured(deployments: int) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="hr-bench-") as folder:
        os.chmod(folder, 0o755)  # the account that runs PostgreSQL has to pass through
        postgres = Postgres(Path(folder), POSTGRES_SETTINGS)
        postgres.prepare()
        postgres.start()
        try:
            postgres.wait()
            environment = own_environment(
                Path(folder), DATABASE_URL=postgres.url, CELERY_BROKER_URL="memory://", HEADROOM_SECRET_KEY="bench"
            )
            run_module("bench.ticks", "make", deployments, environment=environment)
            told = run_module("bench.ticks", "run", deployments, environment=environment)
        finally:
            postgres.stop()
    return [row(deployments, case) for case in json.loads(told)]


def row(deployments: int, case: dict[str, Any]) -> dict[str, Any]:
    bar = next((bar for name, bar in BARS.get(deployments, {}).items() if case["what"].startswith(name)), None)
    parts = ", ".join(f"{name} {round(1000 * seconds)}" for name, seconds in case["parts"].items())
    return case | {"what": f"{deployments:,} deployments: {case['what']} ({parts} ms; {case['peak_mb']} MB)",
                   "unit": "s", "value": case["seconds"], "bar": bar, "deployments": deployments}  # fmt: skip
