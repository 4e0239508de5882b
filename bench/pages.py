"""Pages of a fleet of 1,000 deployments and 10,000 replicas, on a stack whose loops run."""

import os
import re
import subprocess
import sys
import time
from typing import Any

from bench.running import NOT_INHERITED, ROOT, Stack, running_stack
from bench.stack import page_row

SETTLE_S = 30


def run() -> list[dict[str, Any]]:
    with running_stack(DEMO="0") as stack:
        fill(stack)
        time.sleep(SETTLE_S)
        one = deployment_of(stack)
        paths = ["/", "/deployments", "/deployments?state=short", "/deployments?sort=-decided", one, f"{one}/why"]
        return [page_row(stack, path) | {"what": named(path, one)} for path in paths]


def fill(stack: Stack) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    environment |= {"HEADROOM_STATE_DIR": str(stack.state), "HEADROOM_PORT": str(stack.port)}
    subprocess.run([sys.executable, "-m", "bench.fill"], cwd=ROOT, env=environment, check=True)


def deployment_of(stack: Stack) -> str:
    """The address of one that is short of capacity."""
    page = stack.sign_in().open(f"{stack.url}/deployments?state=short", timeout=30).read().decode()
    found = re.search(r'href="(/deployments/[0-9a-f-]{36})"', page)
    assert found is not None, "no deployment is short"
    return found[1]


def named(path: str, one: str) -> str:
    return f"page {path.replace(one, '/deployments/ID')}, p95"
