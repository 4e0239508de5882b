"""Whole lives of claims, gateways and deployments, as a polling client of the library sees them, in both codecs."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from connectrpc.code import Code
from connectrpc.errors import ConnectError

from claims.models import CapacityClaim
from console.organizations.models import AuditEvent
from deployments.models import Deployment
from deployments.services.gateways import gateways_settle
from tests import fleet, world
from tests.cast import Cast
from tests.connect import requests
from tests.connect.clients import Client, details_of

Clients = Callable[..., Client]


def refused(act: Callable[[], Any]) -> ConnectError:
    with pytest.raises(ConnectError) as caught:
        act()
    return caught.value


def gone(api: Client, name: str, id: str) -> bool:
    error = refused(lambda: api.call(name, {"id": id}))
    assert error.code == Code.NOT_FOUND
    [(kind, shown)] = details_of(error)
    return kind == "google.rpc.ResourceInfo" and shown["resourceName"] == id


def test_a_claim_lives_as_a_polling_client_sees_it(people: Cast, client: Clients, codec: str) -> None:
    api = client(people.admin, codec)
    asked = requests.claim(instanceId="GB200-4X", zones=["us-west-04a"], instanceCount=4)
    made = api.call("CreateCapacityClaim", asked)["capacityClaim"]
    id = made["spec"]["id"]
    assert made["spec"] == {"id": id, "organizationId": "cw12ab", **asked}
    assert (made["status"]["allocatedInstances"], made["status"]["pendingInstances"]) == (3, 1)
    assert made["status"]["status"] == "STATUS_CREATING"
    world.settle()
    read = api.call("GetCapacityClaim", {"id": id})["capacityClaim"]
    assert read["status"]["status"] == "STATUS_CREATING"
    world.pool(world.offering(), 1)
    world.settle()
    [ready] = api.call("ListCapacityClaims")["capacityClaims"]
    assert ready["status"]["status"] == "STATUS_READY"
    assert ready["status"]["createdAt"] == made["status"]["createdAt"]
    condition = ready["status"]["conditions"][0]
    assert condition | {"lastUpdateTime": ""} == {
        "type": "Ready", "status": "STATUS_TRUE", "reason": "AllAllocated", "message": "All instances allocated",
        "zone": "US-WEST-04A", "lastUpdateTime": "",
    }  # fmt: skip
    assert api.call("ListCapacityClaims", {"updatedAfter": ready["status"]["updatedAt"]}) == {"capacityClaims": []}
    more = api.call("UpdateCapacityClaim", {"id": id, "resources": {**asked["resources"], "instanceCount": 5}})
    assert more["capacityClaim"]["status"]["status"] == "STATUS_UPDATING"
    assert more["capacityClaim"]["spec"]["resources"]["instanceCount"] == 5
    last = api.call("DeleteCapacityClaim", {"id": id})["capacityClaim"]
    assert last["status"]["status"] == "STATUS_DELETING"
    assert api.call("GetCapacityClaim", {"id": id})["capacityClaim"]["status"]["status"] == "STATUS_DELETING"
    world.settle()
    assert gone(api, "GetCapacityClaim", id)
    assert gone(api, "DeleteCapacityClaim", id)


def test_a_gateway_lives_as_a_polling_client_sees_it(people: Cast, client: Clients, codec: str) -> None:
    api = client(people.admin, codec)
    asked = requests.gateway(zones=["us-west-04a"], id=str(uuid.uuid4()))
    made = api.call("CreateGateway", asked)["gateway"]
    assert made["spec"] == {**asked, "organizationId": "cw12ab"}
    assert made["status"]["status"] == "STATUS_CREATING"
    gateways_settle()
    [ready] = api.call("ListGateways")["items"]
    assert ready["status"]["status"] == "STATUS_READY"
    assert ready["status"]["endpoints"] == made["status"]["endpoints"] != []
    dns = {"endpointConfiguration": {"additionalDns": ["llm.example.com"]}}
    headers = {"headerBasedRouting": {"headerName": "X-Model"}}
    usage = {"weightsAndBiasesAuth": {"enableUsageReports": True}}
    changed = {"id": asked["id"], "name": "front", **headers, **usage}
    updated = api.call("UpdateGateway", {**changed, **dns})["gateway"]
    assert updated["status"]["status"] == "STATUS_UPDATING"
    kept = api.call("UpdateGateway", changed)["gateway"]["spec"]
    assert kept["headerBasedRouting"] == {"headerName": "X-Model"}
    assert kept["weightsAndBiasesAuth"]["enableUsageReports"] is True
    assert kept["endpointConfiguration"] == {"additionalDns": ["llm.example.com"]}
    assert kept["zones"] == []
    gateways_settle()
    assert api.call("GetGateway", {"id": asked["id"]})["gateway"]["status"]["status"] == "STATUS_READY"
    last = api.call("DeleteGateway", {"id": asked["id"]})["gateway"]
    assert last["status"]["status"] == "STATUS_DELETING"
    gateways_settle()
    assert gone(api, "GetGateway", asked["id"])


def test_a_deployment_lives_as_a_polling_client_sees_it(people: Cast, client: Clients, codec: str) -> None:
    api = client(people.admin, codec)
    front = api.call("CreateGateway", requests.gateway())["gateway"]["spec"]["id"]
    gateways_settle()
    asked = requests.deployment(front)
    made = api.call("CreateDeployment", asked)["deployment"]
    id = made["spec"]["id"]
    assert made["status"]["status"] == "STATUS_CREATING"
    assert made["spec"] == {
        **asked, "id": id, "organizationId": "cw12ab", "disabled": False, "traffic": {"weight": 0},
        "runtime": {**asked["runtime"], "engineConfig": {}},
        "autoscaling": {**asked["autoscaling"], "priority": 0, "concurrency": 0},
    }  # fmt: skip
    row = Deployment.objects.get(id=id)
    assert (row.engine_config, row.autoscaling.priority) == (None, None)  # what was not sent is not kept
    fleet.run(world.offering().instance_type, row.created_at, 4)
    assert api.call("GetDeployment", {"id": id})["deployment"]["status"]["status"] == "STATUS_READY"
    other = str(uuid.uuid4())
    assert api.call("ListDeployments", {"parentGatewayId": other}) == {"items": []}
    assert len(api.call("ListDeployments", {"parentGatewayId": front})["items"]) == 1
    changed = {**asked, "id": id, "model": {**asked["model"], "path": "a/c"}}
    updated = api.call("UpdateDeployment", changed)["deployment"]
    assert updated["status"]["status"] == "STATUS_UPDATING"
    assert updated["spec"]["model"]["path"] == "a/c"
    used = refused(lambda: api.call("DeleteGateway", {"id": front}))
    assert used.code == Code.FAILED_PRECONDITION
    assert [kind for kind, _ in details_of(used)] == ["google.rpc.PreconditionFailure"]
    last = api.call("DeleteDeployment", {"id": id})["deployment"]
    assert last["status"]["status"] == "STATUS_DELETING"
    fleet.run(world.offering().instance_type, row.created_at, 4)
    assert gone(api, "GetDeployment", id)


def test_parameters_say_what_may_be_asked_for(people: Cast, client: Clients, codec: str) -> None:
    api = client(people.viewer, codec)
    zones = api.call("GetGatewayParameters")["zones"]
    assert "US-WEST-04A" in zones
    claimable = api.call("GetCapacityClaimParameters")["zoneInstanceTypes"]
    assert "gb200-4x" in claimable["US-WEST-04A"]["instanceIds"]
    front = fleet.gateway(people.admin.actor, "US-WEST-04A")
    found = api.call("GetDeploymentParameters", {"gatewayIds": [str(front.id)]})
    assert found["gatewayIds"] == [str(front.id)]
    assert "0.21.0" in found["runtimeParameters"]["runtimeVersions"]["vllm"]["versions"]
    assert "VLLM_USE_FLASHINFER_MOE_FP4" in found["runtimeParameters"]["engineEnvOptions"]["vllm"]["allowedNames"]
    assert found["runtimeParameters"]["runtimeConfigOptions"]["vllm"]["allowedKeys"]
    assert "gb200-4x" in found["resourceParameters"]["instanceTypes"]
    wrong = refused(lambda: api.call("GetDeploymentParameters", {"gatewayIds": [str(uuid.uuid4())]}))
    assert wrong.code == Code.INVALID_ARGUMENT


def test_a_creation_may_be_sent_again(people: Cast, client: Clients, codec: str) -> None:
    api = client(people.admin, codec)
    keyed = [api.call("CreateCapacityClaim", requests.claim("keyed"), idempotency_key="a-key") for _ in range(2)]
    assert keyed[0]["capacityClaim"]["spec"] == keyed[1]["capacityClaim"]["spec"]
    other = refused(lambda: api.call("CreateCapacityClaim", requests.claim("other"), idempotency_key="a-key"))
    assert other.code == Code.INVALID_ARGUMENT
    chosen = {**requests.claim("chosen"), "id": str(uuid.uuid4())}
    api.call("CreateCapacityClaim", chosen)
    again = refused(lambda: api.call("CreateCapacityClaim", chosen))
    assert again.code == Code.ALREADY_EXISTS
    assert details_of(again)[0][0] == "google.rpc.ResourceInfo"
    assert CapacityClaim.objects.count() == 2


def test_a_serverless_claim_of_rest_is_managed_here(people: Cast, client: Clients, codec: str) -> None:
    made = world.claim(people.admin.actor, world.offering(), 1, kind="SERVERLESS")
    assert made.sent_capacity_type == "CAPACITY_TYPE_SERVERLESS"
    api = client(people.viewer, codec)
    [listed] = api.call("ListCapacityClaims")["capacityClaims"]
    read = api.call("GetCapacityClaim", {"id": str(made.id)})["capacityClaim"]
    assert listed["spec"]["resources"]["capacityType"] == "CAPACITY_TYPE_MANAGED"
    assert read == listed


def test_what_was_done_is_audited_with_token_and_request(people: Cast, client: Clients) -> None:
    client(people.admin).call("CreateGateway", requests.gateway(), x_request_id="a-request-of-mine")
    event = AuditEvent.objects.filter(object_type="Gateway").latest("id")
    assert (event.request_id, event.actor, event.organization) == (
        "a-request-of-mine", "token admin", people.organization
    )  # fmt: skip
