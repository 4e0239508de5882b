"""Creations of claims with quota checks: sixteen clients at once on one quota row, through the services and over HTTP."""

import http.client
import json
import multiprocessing
import time
from typing import Any

from bench.running import Stack, running_stack
from bench.stack import row

CLIENTS = 16
SECONDS = 10


def run() -> list[dict[str, Any]]:
    with running_stack(DEMO="0") as stack:
        found = json.loads(stack.run("bench.creations", CLIENTS, SECONDS))
        made = over_http(stack, found["secret"])
    return [
        row(f"creations through the services, {CLIENTS} at once on one quota row", "/s", round(found["made"] / SECONDS), 200),
        row("instances beyond quota after these", "instances", found["beyond"], 0),
        {"what": f"creations over HTTP, {CLIENTS} at once on one quota row", "unit": "/s", "value": round(made / SECONDS)},
    ]  # fmt: skip


def over_http(stack: Stack, secret: str) -> int:
    """How many claims sixteen processes make over one connection each."""
    with multiprocessing.get_context("fork").Pool(CLIENTS) as pool:
        return sum(pool.starmap(_client, [(stack.port, secret, number) for number in range(CLIENTS)]))


def _client(port: int, secret: str, number: int) -> int:
    connection, made = http.client.HTTPConnection("127.0.0.1", port, timeout=60), 0
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    until = time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        body = {"name": f"h{number}-{made}", "resources": {
            "instanceId": "gb200-4x", "instanceCount": 1, "capacityType": "CAPACITY_TYPE_CUSTOMER",
            "zones": ["US-WEST-04A"]}}  # fmt: skip
        connection.request("POST", "/v1alpha1/inference/capacityclaims", json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 200, (answer.status, text[:300])
        made += 1
    return made
