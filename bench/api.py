"""Both APIs with 1,000 claims and 1,000 deployments, over connections that are kept: reads one after the other, creations by
sixteen clients at once, and the Connect protocol beside REST."""

import http.client
import json
import multiprocessing
import time
import uuid
from collections.abc import Callable
from typing import Any

from bench.measure import quantile
from bench.pages import SETTLE_S
from bench.running import Stack, running_stack
from bench.stack import row
from console.connect.gen.coreweave.inference.v1alpha1.capacity_claim_pb import GetCapacityClaimRequest

BASE = "/v1alpha1/inference"
CONNECT = "/coreweave.inference.v1alpha1.CapacityClaimService/GetCapacityClaim"
CLAIMS = 1000
READS, LISTS, PAIRS = 300, 40, 300
CLIENTS, SECONDS = 16, 10
RATES = {16: 60, 48: 60, 96: None}  # creations a second, of all clients together, and the bar; the last is too many
NOTE = """\
Sixteen clients that each ask again as soon as they are answered wait for each other: with all of them answered within 60 ms
they would make 267 claims a second, and the services alone make no more than some 230 on both cores, without HTTP
(`claims` above). One web server makes some 65. So the bar is meant at a rate, and both are measured: see
[decisions/0023](decisions/0023-creations-are-measured-at-a-rate.md).
"""


def run() -> list[dict[str, Any]]:
    with running_stack(DEMO="0") as stack:
        made = filled(stack)
        api = Caller(stack.port, made["secret"])
        deployments = api.get(f"{BASE}/deployments")["items"]
        assert len(api.get(f"{BASE}/capacityclaims")["capacityClaims"]) == CLAIMS
        one, other = made["claim"], deployments[0]["spec"]["id"]
        rows = [
            row("GET a claim, p95", "ms", p95(lambda: api.get(f"{BASE}/capacityclaims/{one}"), READS), 25),
            row("GET a deployment, p95", "ms", p95(lambda: api.get(f"{BASE}/deployments/{other}"), READS), 25),
            row(f"list of {CLAIMS} claims, p95", "ms", p95(lambda: api.get(f"{BASE}/capacityclaims"), LISTS), 200),
            row(f"list of {len(deployments)} deployments, p95", "ms", p95(lambda: api.get(f"{BASE}/deployments"), LISTS), 200),
            row("GET a claim over Connect in binary, times REST, medians", "x", times_rest(api, one), 1.2),
        ]  # fmt: skip
        what = f"create a claim, {CLIENTS} clients at once"
        rows += [
            row(f"{what}, {rate} a second, p95", "ms", creations(stack, made["secret"], rate), bar)
            for rate, bar in RATES.items()
        ]
        rows.append(
            row(f"{what}, each as soon as its last is answered, p95", "ms", creations(stack, made["secret"]), 60)
        )
    with running_stack(DEMO="0", HEADROOM_WEB_PROCESSES="2") as stack:
        made = filled(stack)
        rows.append(row(f"{what}, two web servers, p95", "ms", creations(stack, made["secret"])))
    return rows


def filled(stack: Stack) -> Any:
    """A token, and the id of one of the claims that were made."""
    stack.run("bench.fill")
    made = json.loads(stack.run("bench.claimed", CLAIMS))
    time.sleep(SETTLE_S)
    return made


class Caller:
    """One connection that is kept, and a token."""

    def __init__(self, port: int, secret: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.headers = {"Authorization": f"Bearer {secret}"}

    def get(self, path: str) -> Any:
        return json.loads(self.send("GET", path, None, ""))

    def send(self, method: str, path: str, body: bytes | None, type_: str) -> bytes:
        headers = {**self.headers, "Content-Type": type_} if body is not None else self.headers
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        assert answer.status == 200, (answer.status, text[:300])
        return text


def seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def p95(call: Callable[[], object], times: int) -> float:
    """Milliseconds."""
    seconds(call)
    return round(1000 * quantile([seconds(call) for _ in range(times)], 0.95), 1)


def times_rest(api: Caller, claim: str) -> float:
    """How much longer the same read takes over Connect, in turns."""
    request = GetCapacityClaimRequest(id=claim).to_binary()
    rest, connect = list[float](), list[float]()
    for _ in range(PAIRS):
        rest.append(seconds(lambda: api.send("GET", f"{BASE}/capacityclaims/{claim}", None, "")))
        connect.append(seconds(lambda: api.send("POST", CONNECT, request, "application/proto")))
    return round(quantile(connect, 0.5) / quantile(rest, 0.5), 2)


def creations(stack: Stack, secret: str, rate: int | None = None) -> float:
    """Milliseconds within which 95 of 100 creations were answered; with a rate counted from when each was due, so that one
    that waits for the one before it counts as late."""
    every = CLIENTS / rate if rate else 0.0
    with multiprocessing.get_context("fork").Pool(CLIENTS) as pool:
        told = pool.starmap(_client, [(stack.port, secret, number, every) for number in range(CLIENTS)])
    return round(1000 * quantile([one for times in told for one in times], 0.95), 1)


def _client(port: int, secret: str, number: int, every: float) -> list[float]:
    """How long each creation took. Clients that keep a rate begin apart from each other."""
    api, took = Caller(port, secret), list[float]()
    first = time.perf_counter() + every * number / CLIENTS
    while time.perf_counter() < first + SECONDS:
        body = {"name": f"api-{uuid.uuid4()}", "resources": {
            "instanceId": "b200-8x", "instanceCount": 1, "capacityType": "CAPACITY_TYPE_CUSTOMER",
            "zones": ["US-EAST-01A"]}}  # fmt: skip
        began = first + every * len(took) if every else time.perf_counter()
        time.sleep(max(0.0, began - time.perf_counter()))
        api.send("POST", f"{BASE}/capacityclaims", json.dumps(body).encode(), "application/json")
        took.append(time.perf_counter() - began)
    return took
