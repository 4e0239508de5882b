"""The embedded stack: time to the first page, memory, the demo's tick, the pages."""

import re
import time
import urllib.request
from typing import Any

from bench.measure import quantile
from bench.running import Stack, pss_mb, running_stack

SETTLE_S = 45
PAGES = ["/", "/deployments", "/claims", "/claims/new"]
REQUESTS = 60
TICKS, TICK_EVERY_S = 8, 5


def run() -> list[dict[str, Any]]:
    with running_stack(DEMO="1") as stack:
        rows: list[dict[str, Any]] = [
            {
                "what": "first start: first page",
                "unit": "s",
                "value": round(stack.seconds_to_page, 2),
                "bar": 10,
            },
        ]
        time.sleep(SETTLE_S)
        rows.append({"what": "memory of all processes (PSS)", "unit": "MB",
                     "value": round(pss_mb(stack.process.pid)), "bar": 550})  # fmt: skip
        rows += [page_row(stack, path) for path in PAGES]
        rows += tick_rows(stack)
    return rows


def page_row(stack: Stack, path: str) -> dict[str, Any]:
    opener = stack.sign_in()
    opener.open(stack.url + path, timeout=30).read()
    times = []
    for _ in range(REQUESTS):
        began = time.perf_counter()
        opener.open(stack.url + path, timeout=30).read()
        times.append(time.perf_counter() - began)
    return {"what": f"page {path}, p95 of {REQUESTS}", "unit": "ms",
            "value": round(1000 * quantile(times, 0.95), 1), "bar": 150}  # fmt: skip


def tick_rows(stack: Stack) -> list[dict[str, Any]]:
    """Medians over passes that the shards' loops report, five seconds apart, with nothing else asked meanwhile."""
    samples = []
    for _ in range(TICKS):
        time.sleep(TICK_EVERY_S)
        samples.append(passes(stack))
    slowest = quantile([max(one) for one in samples], 0.5)
    together = quantile([sum(one) for one in samples], 0.5)
    return [
        {"what": "demo tick, slowest shard", "unit": "ms", "value": round(1000 * slowest, 1), "bar": 150},
        {"what": f"demo tick, {len(samples[-1])} shards together", "unit": "ms", "value": round(1000 * together, 1),
         "bar": 150},
    ]  # fmt: skip


def passes(stack: Stack) -> list[float]:
    """Seconds of the last pass of each shard."""
    text = urllib.request.urlopen(f"{stack.url}/metrics", timeout=30).read().decode()
    found = re.findall(r'^headroom_loop_last_pass_seconds\{loop="scale:[^"]+"\} ([0-9.e+-]+)$', text, re.MULTILINE)
    return [float(one) for one in found]
