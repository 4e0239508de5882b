"""The protocol itself: forms of answers, compression, request ids, threads and connections, and what must not get out."""

import asyncio
import gzip
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import pytest
from django.db import connections

from claims.models import CapacityClaim
from console.connect import application as connect
from console.connect.calls import READS
from tests import fleet, world
from tests.cast import Cast
from tests.connect import requests
from tests.connect.clients import METHODS, Client, Wire, message, packed, path_of

CREATE_CLAIM, LIST_CLAIMS = path_of("CreateCapacityClaim"), path_of("ListCapacityClaims")
POOL = 12


def test_an_answer_is_exactly_of_the_type_that_was_asked_in(wire: Wire) -> None:
    right = message("CreateCapacityClaim", requests.claim())
    binary = wire.send(CREATE_CLAIM, right, connect_protocol_version="1")
    assert (binary.status, binary.headers["content-type"]) == (200, "application/proto")
    json_ = wire.send(LIST_CLAIMS, b"{}", type="application/json")
    assert (json_.status, json_.headers["content-type"]) == (200, "application/json")
    assert len(json_.json["capacityClaims"]) == 1
    assert "set-cookie" not in binary.headers


def test_an_empty_message_is_a_body_of_no_bytes(wire: Wire, people: Cast) -> None:
    CapacityClaim.objects.all().delete()
    answer = wire.send(LIST_CLAIMS, b"")
    assert (answer.status, answer.body) == (200, b"")


def test_zero_values_are_left_out_of_json(wire: Wire, people: Cast) -> None:
    front = fleet.gateway(people.admin.actor)
    fleet.deployment(people.admin.actor, front, world.offering())
    [item] = wire.send(path_of("ListDeployments"), b"{}", type="application/json").json["items"]
    assert item["spec"]["traffic"] == {}
    assert "disabled" not in item["spec"]
    assert item["spec"]["autoscaling"].keys() == {"min", "max"}


@pytest.mark.parametrize("type", ["application/proto", "application/json"])
def test_gzip_in_and_out(wire: Wire, type: str) -> None:
    fields = requests.claim()
    body = message("CreateCapacityClaim", fields) if type.endswith("proto") else json.dumps(fields).encode()
    answer = wire.send(CREATE_CLAIM, packed(body), type=type, content_encoding="gzip", accept_encoding="gzip")
    assert (answer.status, answer.headers["content-encoding"]) == (200, "gzip")
    assert answer.headers["vary"].lower() == "accept-encoding"
    answered = METHODS["CreateCapacityClaim"].output.type
    plain = gzip.decompress(answer.body)
    found: Any = answered.from_binary(plain) if type.endswith("proto") else answered.from_json(plain)
    assert found.capacity_claim.spec.name == "mine"
    plainly = wire.send(CREATE_CLAIM, body, type=type)
    assert plainly.headers.get("content-encoding", "identity") == "identity"
    errors = wire.send(path_of("GetCapacityClaim"), packed(b""), content_encoding="gzip", accept_encoding="gzip")
    assert errors.status == 400
    assert errors.json["code"] == "invalid_argument"


def test_the_callers_request_id_comes_back_or_a_new_one(wire: Wire) -> None:
    assert wire.send(LIST_CLAIMS, x_request_id="mine-000001").headers["x-request-id"] == "mine-000001"
    for given in ["", "short", "with space in it", "x" * 200]:
        made = wire.send(LIST_CLAIMS, x_request_id=given).headers["x-request-id"]
        assert made != given
        assert len(made) == 36
    assert wire.send("/v1alpha1/inference/gateways", method="GET", type=None).headers["x-request-id"]


def test_rest_and_connect_show_the_same(wire: Wire, people: Cast) -> None:
    """Field by field: but for what API.md says is only of REST, and zero values."""
    front = fleet.gateway(people.admin.actor, "US-WEST-04A")
    fleet.deployment(
        people.admin.actor, front, world.offering(), priority=7, capacity_classes=("CAPACITY_CLASS_RESERVED",)
    )
    world.claim(people.admin.actor, world.offering(), 4, kind="MANAGED")
    world.settle()
    for name, address in [
        ("ListCapacityClaims", "capacityclaims"), ("ListGateways", "gateways"), ("ListDeployments", "deployments"),
        ("GetCapacityClaimParameters", "capacityclaims/parameters"), ("GetGatewayParameters", "gateways/parameters"),
        ("GetDeploymentParameters", "deployments/parameters"),
    ]:  # fmt: skip
        rest = wire.send(f"/v1alpha1/inference/{address}", method="GET", type=None).json
        here = wire.send(path_of(name), b"{}", type="application/json").json
        assert here == bare(rest), name


def bare(value: Any) -> Any:
    """JSON of REST as proto3 would have it: no zero values, no field of REST alone, times without zeros at the end."""
    if isinstance(value, dict):
        kept = {name: bare(part) for name, part in value.items() if name != "pendingChanges"}
        return {name: part for name, part in kept.items() if part not in (0, False, "", [])}
    if isinstance(value, list):
        return [bare(part) for part in value]
    return value


def test_more_calls_than_connections_are_all_served(people: Cast, client: Callable[..., Client]) -> None:
    """Each call gives its connection back, one after another and side by side (trap 3 of the library)."""
    api = client(people.admin)
    for _ in range(POOL + 3):
        api.call("ListCapacityClaims")
    with ThreadPoolExecutor(POOL * 2) as threads:
        made = list(threads.map(lambda n: api.call("CreateGateway", requests.gateway(f"g{n}")), range(POOL * 2)))
    assert len({one["gateway"]["spec"]["id"] for one in made}) == POOL * 2
    assert len(api.call("ListGateways")["items"]) == POOL * 2


def test_calls_do_not_wait_for_one_another(people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two calls that can only end together: with one thread for all, the second would never begin."""
    meeting = threading.Barrier(2, timeout=30)

    def meet(call: Any) -> dict[str, Any]:
        meeting.wait()
        return {"zones": ["RNO2A"]}

    monkeypatch.setitem(READS, "GetGatewayParameters", meet)
    answers = inside(people.viewer.secret, "GetGatewayParameters", times=2)
    assert [status for status, _, _ in answers] == [200, 200]


@pytest.mark.parametrize(
    "error", [RuntimeError("the password is hunter2"), KeyError("hunter2"), TimeoutError("hunter2")]
)
def test_a_defect_tells_the_client_a_number_and_nothing_else(
    people: Cast, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def fail(call: Any) -> dict[str, Any]:
        raise error

    monkeypatch.setitem(READS, "GetGatewayParameters", fail)
    [(status, headers, body)] = inside(people.viewer.secret, "GetGatewayParameters")
    said = json.loads(body)
    assert (status, said["code"]) == (500, "internal")
    assert "hunter2" not in body.decode()
    assert headers["x-request-id"] in said["message"]
    assert "hunter2" in caplog.text  # the log has everything


def inside(secret: str, name: str, times: int = 1) -> list[tuple[int, dict[str, str], bytes]]:
    """Status, headers and body of calls at once to the application in this process, where a test can break things."""
    application = connect.beside(nobody)
    scope = {
        "type": "http", "method": "POST", "path": path_of(name), "root_path": "", "scheme": "http", "client": None,
        "headers": [(b"content-type", b"application/proto"), (b"authorization", f"Bearer {secret}".encode())],
    }  # fmt: skip

    async def one() -> tuple[int, dict[str, str], bytes]:
        sent: list[Any] = []
        body = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> Any:
            found = next(body, None)
            if found is None:
                await asyncio.Event().wait()  # the client stays
            return found

        async def send(event: Any) -> None:
            sent.append(event)

        await application(scope, receive, send)
        headers = {key.decode(): value.decode() for key, value in sent[0]["headers"]}
        return sent[0]["status"], headers, b"".join(event.get("body", b"") for event in sent[1:])

    async def all_at_once() -> list[tuple[int, dict[str, str], bytes]]:
        return await asyncio.gather(*[one() for _ in range(times)])

    with mock.patch.dict(connections.settings["default"], CONN_MAX_AGE=0):  # as the pool has it
        return asyncio.run(all_at_once())


async def nobody(*_: Any) -> None:
    raise AssertionError("this is not Django's")


def test_the_path_below_a_mount_is_found() -> None:
    for path, root, found in [
        (LIST_CLAIMS, "", LIST_CLAIMS),
        ("/gpus" + LIST_CLAIMS, "/gpus", LIST_CLAIMS),
        ("/v1alpha1/inference/gateways", "", None),
        ("/static/vendor/a.b.C/d", "", None),
        ("/admin/", "", None),
    ]:
        assert connect.procedure({"type": "http", "path": path, "root_path": root}) == found
    assert connect.procedure({"type": "websocket", "path": LIST_CLAIMS}) is None
