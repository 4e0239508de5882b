"""What is refused over Connect: the protocol's error, with details, and nothing stored."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from connectrpc.code import Code
from connectrpc.errors import ConnectError

from claims.models import CapacityClaim
from claims.services import quota_set
from tests import fleet, world
from tests.cast import Cast
from tests.connect import requests
from tests.connect.clients import METHODS, PACKAGE, Client, Wire, details_of, fields_of, message, packed, path_of

Clients = Callable[..., Client]
Stored = Callable[[], list[Any]]
LARGEST = 1024 * 1024
CREATE_CLAIM = path_of("CreateCapacityClaim")


def refusal(api: Client, name: str, fields: dict[str, Any]) -> ConnectError:
    with pytest.raises(ConnectError) as caught:
        api.call(name, fields)
    return caught.value


def test_a_wrong_field_is_named_and_nothing_stored(people: Cast, client: Clients, codec: str, stored: Stored) -> None:
    api, before = client(people.admin, codec), stored()
    right = requests.claim()
    for fields, wrong in [
        ({**right, "name": ""}, ["name"]),
        ({**right, "name": "Upper"}, ["name"]),
        ({**right, "name": "nul\x00"}, ["name"]),
        ({**right, "id": "7"}, ["id"]),
        ({"name": "mine"}, ["resources"]),
        (requests.claim(instanceCount=0), ["resources.instance_count"]),
        (requests.claim(instanceId="nul\x00"), ["resources.instance_id"]),
        (requests.claim(instanceId="", zones=[]), ["resources.instance_id", "resources.zones"]),
        (requests.claim(zones=["US-WEST-04A", "RNO2A"]), ["resources.zones"]),
        (requests.claim(zones=["US-NORTH-01A"]), ["resources.zones[0]"]),
        (requests.claim(zones=["nul\x00"]), ["resources.zones[0]"]),
        (requests.claim(instanceId="gd-8xabacus"), ["resources.instance_id"]),
        (requests.claim(capacityType=0), ["resources.capacity_type"]),
        (requests.claim(capacityType=1), ["resources.capacity_type"]),
        (requests.claim(capacityType=99), ["resources.capacity_type"]),
    ]:
        error = refusal(api, "CreateCapacityClaim", fields)
        assert error.code == Code.INVALID_ARGUMENT, fields
        assert fields_of(error) == wrong
    assert stored() == before


def test_the_rules_of_gateways_and_deployments_hold_too(
    people: Cast, client: Clients, codec: str, stored: Stored
) -> None:
    front = str(fleet.gateway(people.admin.actor).id)
    api, before = client(people.admin, codec), stored()
    right = requests.deployment(front)

    def part(block: str, /, **changes: Any) -> dict[str, Any]:
        return {**right, block: {**right[block], **changes}}

    for fields, wrong in [
        ({}, ["runtime", "resources", "model", "autoscaling", "traffic"]),
        ({**right, "gatewayIds": []}, ["gateway_ids"]),
        (part("runtime", version=""), ["runtime.version"]),
        (part("runtime", version="1.0"), ["runtime.version"]),
        (part("runtime", engineEnv={"1A": "x"}), ['runtime.engine_env["1A"]']),
        (part("resources", gpuCount=3), ["resources.gpu_count"]),
        (part("model", name="abc", path="a/../b"), ["model.name", "model.path"]),
        (part("autoscaling", min=0), ["autoscaling.min"]),
        (part("autoscaling", min=5), ["autoscaling"]),
        (part("autoscaling", capacityClasses=[1, 99]), ["autoscaling.capacity_classes[1]"]),
        (part("traffic", weight=1001), ["traffic.weight"]),
    ]:
        error = refusal(api, "CreateDeployment", fields)
        assert (error.code, fields_of(error)) == (Code.INVALID_ARGUMENT, wrong), fields
    for fields, wrong in [
        ({"name": "front2"}, ["auth", "routing"]),
        (requests.gateway("a b"), ["name"]),
        (requests.gateway("front2", bodyBasedRouting={}), ["body_based_routing.api_type"]),
        (requests.gateway("front2", bodyBasedRouting={"apiType": 7}), ["body_based_routing.api_type"]),
        (requests.gateway("front2", zones=["RNO2A", "rno2a"]), ["zones"]),
        (requests.gateway("front2", endpointConfiguration={"additionalDns": ["a b"]}),
         ["endpoint_configuration.additional_dns[0]"]),
    ]:  # fmt: skip
        error = refusal(api, "CreateGateway", fields)
        assert (error.code, fields_of(error)) == (Code.INVALID_ARGUMENT, wrong), fields
    assert stored() == before


def test_an_id_that_is_none_is_a_wrong_field(people: Cast, client: Clients, codec: str, stored: Stored) -> None:
    api, before = client(people.admin, codec), stored()
    for name in [name for name in METHODS if name.startswith(("Get", "Delete")) and "Parameters" not in name]:
        for id in ["", "7", "nul\x00", "x" * 5000]:
            error = refusal(api, name, {"id": id})
            assert (error.code, fields_of(error)) == (Code.INVALID_ARGUMENT, ["id"]), name
    assert stored() == before


def test_what_a_claim_may_not_change(people: Cast, client: Clients, codec: str, stored: Stored) -> None:
    api = client(people.admin, codec)
    made = api.call("CreateCapacityClaim", requests.claim())["capacityClaim"]
    before = stored()
    block = requests.claim(zones=["RNO2A"], capacityType="CAPACITY_TYPE_CUSTOMER")["resources"]
    error = refusal(api, "UpdateCapacityClaim", {"id": made["spec"]["id"], "resources": block})
    assert error.code == Code.INVALID_ARGUMENT
    assert fields_of(error) == ["resources.capacity_type", "resources.zones"]
    assert stored() == before


def test_a_quota_refusal_says_precondition_first(people: Cast, client: Clients, codec: str, stored: Stored) -> None:
    quota_set(actor=world.PLATFORM, organization=people.organization, offering=world.offering(), limit=1,
              reserved=0, other_usage=0)  # fmt: skip
    api, before = client(people.admin, codec), stored()
    error = refusal(api, "CreateCapacityClaim", requests.claim(capacityType="CAPACITY_TYPE_CUSTOMER"))
    assert error.code == Code.FAILED_PRECONDITION
    assert [kind for kind, _ in details_of(error)] == ["google.rpc.PreconditionFailure", "google.rpc.QuotaFailure"]
    assert stored() == before


def test_what_belongs_to_others_is_not_there(people: Cast, client: Clients, codec: str, stored: Stored) -> None:
    claim = world.claim(people.admin.actor, world.offering(), 1)
    front = fleet.gateway(people.admin.actor)
    chat = fleet.deployment(people.admin.actor, front, world.offering())
    own = fleet.gateway(people.outsider.actor)
    api, before = client(people.outsider, codec), stored()
    ours = {
        "CapacityClaim": {"id": str(claim.id), "resources": requests.claim()["resources"]},
        "Gateway": {"id": str(front.id), **requests.gateway()},
        "Deployment": {"id": str(chat.id), **requests.deployment(str(own.id))},
    }
    for kind, fields in ours.items():
        for name in (f"Get{kind}", f"Delete{kind}"):
            assert refusal(api, name, {"id": fields["id"]}).code == Code.NOT_FOUND, name
        assert refusal(api, f"Update{kind}", fields).code == Code.NOT_FOUND, kind
    assert api.call("ListCapacityClaims") == {"capacityClaims": []}
    assert [one["spec"]["id"] for one in api.call("ListGateways")["items"]] == [str(own.id)]
    assert api.call("ListDeployments") == {"items": []}
    assert api.call("ListDeployments", {"parentGatewayId": str(front.id)}) == {"items": []}
    error = refusal(api, "GetDeploymentParameters", {"gatewayIds": [str(front.id)]})
    assert fields_of(error) == ["gateway_ids[0]"]
    error = refusal(api, "CreateDeployment", requests.deployment(str(front.id), "theirs"))
    assert (error.code, fields_of(error)) == (Code.INVALID_ARGUMENT, ["gateway_ids[0]"])
    assert stored() == before


def test_roles_are_those_of_rest(people: Cast, client: Clients, codec: str, stored: Stored) -> None:
    before = stored()
    for member in (people.viewer, people.billing):
        api = client(member, codec)
        for name in METHODS:
            if name.startswith(("Create", "Update", "Delete")):
                assert refusal(api, name, {}).code == Code.PERMISSION_DENIED, name
        assert api.call("ListCapacityClaims") == {"capacityClaims": []}
    assert stored() == before


def test_who_has_no_token_is_asked_for_one_before_the_body_is_read(
    people: Cast, address: str, wire: Wire, stored: Stored
) -> None:
    before = stored()
    for secret in (None, "hr_nothing", "\xff\xfe"):
        nobody = Wire(address, None)
        headers = {"authorization": f"Bearer {secret}"} if secret else {}
        for name in METHODS:
            answer = nobody.send(path_of(name), b"\xff not a message", **headers)
            assert (answer.status, answer.json["code"]) == (401, "unauthenticated"), name
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["www-authenticate"] == "Bearer"
        nobody.close()
    basic = wire.send(CREATE_CLAIM, message("CreateCapacityClaim", requests.claim()), authorization="Basic YTpi")
    assert basic.status == 401
    assert stored() == before


def test_bodies_that_cannot_be_read(wire: Wire, stored: Stored) -> None:
    before = stored()
    right = message("CreateCapacityClaim", requests.claim())
    for body, headers in [
        (b"\xff", {}),
        (right[:-3], {}),
        (b"\x12\x02\xff\xfe", {}),  # a name that is no UTF-8
        (b"\x0b" * 5000, {}),  # groups in groups
        (packed(right)[:-5], {"content_encoding": "gzip"}),
        (packed(right) + b"more", {"content_encoding": "gzip"}),
        (right, {"content_encoding": "gzip"}),
        (packed(b"\x00" * 50_000_000), {"content_encoding": "gzip"}),
        (packed(right + b"\x7a\xff\xff\x3f" + b"x" * LARGEST), {"content_encoding": "gzip"}),
        (b"\x00" * (LARGEST + 1), {}),
    ]:
        answer = wire.send(CREATE_CLAIM, body, **headers)
        wire.close()
        assert (answer.status, answer.json["code"]) == (400, "invalid_argument"), (body[:20], headers, answer)
        assert answer.json["details"][0]["debug"]["fieldViolations"][0]["field"] == "body"
    for text in ["", "{", "[]", "null", '"x"', '{"name": 5}', '{"name": "\\ud800"}', "\xff", '{"resources": {"instanceCount": NaN}}',
                 '{"resources": {"instanceCount": 1.5}}', '{"resources": {"instanceCount": -1}}', '{"a": ' + "[" * 90_000,
                 '{"resources": {"capacityType": "CAPACITY_TYPE_SERVERLESS"}}', '{"resources": []}']:  # fmt: skip
        answer = wire.send(CREATE_CLAIM, text.encode("latin-1"), type="application/json; charset=utf-8")
        assert (answer.status, answer.json["code"]) == (400, "invalid_argument"), text[:40]
    assert stored() == before


def test_unknown_fields_are_passed_over(wire: Wire, people: Cast) -> None:
    right = message("CreateCapacityClaim", requests.claim("binary"))
    answer = wire.send(CREATE_CLAIM, right + b"\xfa\x3f\x03abc")  # number 1023
    assert answer.status == 200, answer.body
    body = requests.claim("json", newer={"a": [1]}) | {"hotLoad": True}
    answer = wire.send(CREATE_CLAIM, json.dumps(body).encode(), type="application/json")
    assert answer.status == 200, answer.body
    assert {claim.name for claim in CapacityClaim.objects.all()} == {"binary", "json"}


def test_a_name_of_an_enum_that_there_is_not_is_refused_even_in_a_list(
    people: Cast, wire: Wire, stored: Stored
) -> None:
    front = fleet.gateway(people.admin.actor)
    before = stored()
    body = requests.deployment(str(front.id))
    body["autoscaling"]["capacityClasses"] = ["CAPACITY_CLASS_RESERVED", "CAPACITY_CLASS_SPOT"]
    answer = wire.send(path_of("CreateDeployment"), json.dumps(body).encode(), type="application/json")
    assert (answer.status, answer.json["code"]) == (400, "invalid_argument")
    assert stored() == before


def test_what_is_no_call_has_an_empty_answer(wire: Wire, stored: Stored) -> None:
    before = stored()
    right = message("CreateCapacityClaim", requests.claim())
    cases: list[tuple[int, str, dict[str, Any]]] = [
        (404, f"/{PACKAGE}.CapacityClaimService/CreateEverything", {}),
        (404, f"/{PACKAGE}.HotLoadService/CreateHotLoad", {}),
        (404, "/grpc.health.v1.Health/Check", {}),
        *[(405, CREATE_CLAIM, {"method": method}) for method in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD")],
        (405, CREATE_CLAIM + "?message=&encoding=proto&connect=v1", {"method": "GET"}),
        *[(415, CREATE_CLAIM, {"type": type}) for type in (
            None, "text/plain", "application/xml", "application/grpc", "application/grpc+proto", "application/grpc-web",
            "application/connect+proto", "proto", "application/x-www-form-urlencoded",
        )],
    ]  # fmt: skip
    for status, path, extra in cases:
        answer = wire.send(path, right, **extra)
        assert (answer.status, answer.body) == (status, b""), (path, extra)
        assert "x-request-id" in answer.headers
        if status == 405:
            assert answer.headers["allow"] == "POST"
        if status == 415:
            assert answer.headers["accept-post"] == "application/proto, application/json"
    assert stored() == before


def test_headers_that_are_wrong(wire: Wire, stored: Stored) -> None:
    before = stored()
    right = message("CreateCapacityClaim", requests.claim())
    for status, code, headers in [
        (400, "invalid_argument", {"connect_protocol_version": "2"}),
        (400, "invalid_argument", {"connect_timeout_ms": "soon"}),
        (400, "invalid_argument", {"connect_timeout_ms": "-1"}),
        (400, "invalid_argument", {"connect_timeout_ms": "12345678901"}),
        (501, "unimplemented", {"content_encoding": "br"}),
        (504, "deadline_exceeded", {"connect_timeout_ms": "0"}),
        (400, "invalid_argument", {"idempotency_key": "x" * 201}),
    ]:
        answer = wire.send(CREATE_CLAIM, right, **headers)
        assert (answer.status, answer.json["code"]) == (status, code), headers
    assert stored() == before


@pytest.mark.thorough
def test_times_that_no_calendar_has(people: Cast, wire: Wire) -> None:
    for name in ("ListCapacityClaims", "ListDeployments", "ListGateways"):
        number = b"\x1a" if name == "ListDeployments" else b"\x12"
        far = number + b"\x0a\x08" + b"\xff" * 9 + b"\x01"  # a length that is wrong
        assert wire.send(path_of(name), far).status == 400
        seconds = b"\x08" + b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f"
        late = number + bytes([len(seconds)]) + seconds
        answer = wire.send(path_of(name), late)
        assert (answer.status, answer.json["code"]) == (400, "invalid_argument"), answer
        assert answer.json["details"][0]["debug"]["fieldViolations"][0]["field"] == "updated_after"
