"""Pages of a fleet of 1,000 deployments and 10,000 replicas, on a stack whose loops run."""

import re
import time
from typing import Any

from bench.running import Stack, running_stack
from bench.stack import page_row

SETTLE_S = 30


def run() -> list[dict[str, Any]]:
    with running_stack(DEMO="0") as stack:
        stack.run("bench.fill")
        time.sleep(SETTLE_S)
        one = deployment_of(stack)
        paths = ["/", "/deployments", "/deployments?state=short", "/deployments?sort=-decided", one, f"{one}/why"]
        return [page_row(stack, path) | {"what": named(path, one)} for path in paths]


def deployment_of(stack: Stack) -> str:
    """The address of one that is short of capacity."""
    page = stack.sign_in().open(f"{stack.url}/deployments?state=short", timeout=30).read().decode()
    found = re.search(r'href="(/deployments/[0-9a-f-]{36})"', page)
    assert found is not None, "no deployment is short"
    return found[1]


def named(path: str, one: str) -> str:
    return f"page {path.replace(one, '/deployments/ID')}, p95"
