"""The embedded stack: time to the first page, the day of history that is made then, memory, the demo's tick, the pages."""

import re
import time
import urllib.request
from typing import Any

from bench.measure import quantile
from bench.running import Stack, pss_mb, running_stack

MADE_WITHIN_S, LOOK_EVERY_S = 400, 5
PAGES = ["/", "/deployments", "/claims", "/claims/new"]
REQUESTS = 60
TICKS, TICK_EVERY_S = 8, 5


def run() -> list[dict[str, Any]]:
    with running_stack(DEMO="1") as stack:
        rows = [row("first start: first page", "s", round(stack.seconds_to_page, 2), 10), *history_rows(stack)]
        rows += [page_row(stack, path) for path in PAGES]
        rows += tick_rows(stack)
    return rows


def row(what: str, unit: str, value: float, bar: float | None = None) -> dict[str, Any]:
    return {"what": what, "unit": unit, "value": value, "bar": bar}


def history_rows(stack: Stack) -> list[dict[str, Any]]:
    """How long after the first page the day before the demo is there, and what that takes meanwhile."""
    began = time.perf_counter() - (stack.seconds_to_ready - stack.seconds_to_page)
    opener, memory, pages = stack.sign_in(), [pss_mb(stack.process.pid)], list[float]()
    while is_being_made(opener, stack) or not pages:
        time.sleep(LOOK_EVERY_S)
        memory.append(pss_mb(stack.process.pid))
        pages.append(seconds(opener, stack, "/"))
        if time.perf_counter() - began > MADE_WITHIN_S:
            raise TimeoutError(f"the history was not made within {MADE_WITHIN_S} s")
    return [
        row("first start: a day of history, after the first page", "s", round(time.perf_counter() - began), 90),
        row("memory of all processes (PSS), most of that time", "MB", round(max(memory)), 550),
        row("page / meanwhile, median", "ms", round(1000 * quantile(pages, 0.5), 1), 150),
        row("memory of all processes (PSS), afterwards", "MB", round(pss_mb(stack.process.pid)), 550),
    ]


def is_being_made(opener: urllib.request.OpenerDirector, stack: Stack) -> bool:
    """Whether a history is being made; one that failed is an error."""
    text = opener.open(f"{stack.url}/afterwards", timeout=30).read().decode()
    if "the worker gave up" in text:
        raise RuntimeError("the history could not be made")
    return "% of the time" in text


def seconds(opener: urllib.request.OpenerDirector, stack: Stack, path: str) -> float:
    began = time.perf_counter()
    opener.open(stack.url + path, timeout=30).read()
    return time.perf_counter() - began


def page_row(stack: Stack, path: str) -> dict[str, Any]:
    opener = stack.sign_in()
    seconds(opener, stack, path)
    times = [seconds(opener, stack, path) for _ in range(REQUESTS)]
    return row(f"page {path}, p95 of {REQUESTS}", "ms", round(1000 * quantile(times, 0.95), 1), 150)


def tick_rows(stack: Stack) -> list[dict[str, Any]]:
    """Medians over passes that the shards' loops report, five seconds apart, with nothing else asked meanwhile."""
    samples = []
    for _ in range(TICKS):
        time.sleep(TICK_EVERY_S)
        samples.append(passes(stack))
    slowest = quantile([max(seconds for _, seconds in one) for one in samples], 0.5)
    # Shards run side by side; a round that was read while it went on is left out.
    rounds = [begun_to_ended(one) for one in samples]
    whole = quantile([seconds for seconds in rounds if seconds < TICK_EVERY_S / 2], 0.5)
    return [
        row("demo tick, slowest shard", "ms", round(1000 * slowest, 1), 150),
        row(f"demo tick, {len(samples[-1])} shards, first begin to last end", "ms", round(1000 * whole, 1), 150),
    ]


def begun_to_ended(passes: list[tuple[float, float]]) -> float:
    return max(ended for ended, _ in passes) - min(ended - seconds for ended, seconds in passes)


def passes(stack: Stack) -> list[tuple[float, float]]:
    """(when it ended, how long it took), in seconds, of the last pass of each shard."""
    text = urllib.request.urlopen(f"{stack.url}/metrics", timeout=30).read().decode()
    ended, took = (dict(re.findall(rf'^{name}\{{loop="(scale:[^"]+)"\}} ([0-9.e+-]+)$', text, re.MULTILINE))
                   for name in ("headroom_loop_last_end_timestamp_seconds", "headroom_loop_last_pass_seconds"))  # fmt: skip
    return [(float(ended[loop]), float(took[loop])) for loop in ended]
