"""The deployments and gateways API by the cast: life cycles, echoes, refusals that leave nothing behind."""

import uuid
from typing import Any

import pytest

from claims.models import Instance
from console.common import clock
from deployments.models import AutoscalingPolicy, Deployment, Gateway
from deployments.services.gateways import gateways_settle
from tests import fleet, world
from tests.cast import ApiClient, Cast

pytestmark = pytest.mark.django_db

DEPLOYMENTS, GATEWAYS = "/v1alpha1/inference/deployments", "/v1alpha1/inference/gateways"


def gateway_body(name: str = "front", **changes: Any) -> dict[str, Any]:
    return {"name": name, "coreWeaveAuth": {}, "bodyBasedRouting": {"apiType": "API_TYPE_OPENAI"}, **changes}


def deployment_body(gateway: str, name: str = "chat", **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "gatewayIds": [gateway],
        "runtime": {"engine": "vllm", "version": "0.21.0", "engineEnv": {"VLLM_USE_FLASHINFER_MOE_FP4": "1"}},
        "resources": {"instanceType": "GB200-4X", "gpuCount": 2},
        "model": {"name": "llama-4", "bucket": "weights", "path": "a/b"},
        "autoscaling": {"min": 1, "max": 4, "capacityClasses": ["CAPACITY_CLASS_ON_DEMAND", "CAPACITY_CLASS_RESERVED"]},
        "traffic": {"weight": 0},
        **changes,
    }


@pytest.fixture
def api(cast: Cast) -> ApiClient:
    world.pool(world.offering(), 2)
    return cast.admin.api()


@pytest.fixture
def gateway(api: ApiClient) -> str:
    made = api.send("POST", GATEWAYS, gateway_body())
    assert made.status_code == 200, made.content
    id: str = made.json()["gateway"]["spec"]["id"]
    return id


def stored() -> tuple[Any, ...]:
    return Deployment.objects.count(), Gateway.objects.count(), list(AutoscalingPolicy.objects.values())


def test_a_gateway_lives_as_a_polling_client_sees_it(api: ApiClient) -> None:
    made = api.send("POST", GATEWAYS, gateway_body(zones=["us-west-04a"])).json()["gateway"]
    assert made["status"]["status"] == "STATUS_CREATING"
    assert made["spec"]["zones"] == ["us-west-04a"]
    assert made["spec"]["coreWeaveAuth"] == {}
    assert "endpointConfiguration" not in made["spec"]
    path = f"{GATEWAYS}/{made['spec']['id']}"
    gateways_settle()
    ready = api.get(path).json()["gateway"]
    assert ready["status"]["status"] == "STATUS_READY"
    assert ready["status"]["conditions"][0]["zone"] == "US-WEST-04A"
    assert ready["status"]["endpoints"] == made["status"]["endpoints"] != []
    changed = api.send("PATCH", path, gateway_body(endpointConfiguration={"additionalDns": ["llm.example.com"]}))
    assert changed.json()["gateway"]["status"]["status"] == "STATUS_UPDATING"
    kept = api.send("PATCH", path, gateway_body()).json()["gateway"]["spec"]
    assert kept["endpointConfiguration"] == {"additionalDns": ["llm.example.com"]}
    assert api.delete(path).json()["gateway"]["status"]["status"] == "STATUS_DELETING"
    assert api.send("PATCH", path, gateway_body(zones=["RNO2A"])).status_code == 404, "it is not brought back"
    assert api.get(path).json()["gateway"]["status"]["status"] == "STATUS_DELETING"
    gateways_settle()
    assert api.get(path).status_code == 404


def test_a_deployment_lives_as_a_polling_client_sees_it(api: ApiClient, gateway: str) -> None:
    made = api.send("POST", DEPLOYMENTS, deployment_body(gateway)).json()["deployment"]
    assert made["status"]["status"] == "STATUS_CREATING"
    assert made["spec"]["autoscaling"] == {
        "min": 1, "max": 4, "capacityClasses": ["CAPACITY_CLASS_ON_DEMAND", "CAPACITY_CLASS_RESERVED"],
    }  # fmt: skip
    assert made["spec"]["resources"] == {"instanceType": "GB200-4X", "gpuCount": 2}
    assert "engineConfig" not in made["spec"]["runtime"]
    assert all(one["zone"] for one in made["status"]["conditions"])
    path, type_ = f"{DEPLOYMENTS}/{made['spec']['id']}", world.offering().instance_type
    fleet.run(type_, clock.now(), 3)
    ready = api.get(path).json()["deployment"]
    assert (ready["status"]["status"], ready["spec"]) == ("STATUS_READY", made["spec"])
    block = {**deployment_body(gateway)["autoscaling"], "max": 9, "priority": 3}
    grown = api.send("PATCH", path, deployment_body(gateway, autoscaling=block)).json()["deployment"]
    assert grown["status"]["status"] == "STATUS_READY", "autoscaling alone changes nothing that runs (R9)"
    off = api.send("PATCH", path, deployment_body(gateway, disabled=True)).json()["deployment"]
    assert off["status"]["status"] == "STATUS_UPDATING"
    for _ in range(3):
        fleet.tick(type_)
    disabled = api.get(path).json()["deployment"]["status"]
    assert (disabled["status"], disabled["conditions"][0]["reason"]) == ("STATUS_READY", "Disabled")
    assert api.delete(path).json()["deployment"]["status"]["status"] == "STATUS_DELETING"
    fleet.tick(type_)
    fleet.tick(type_)
    assert api.get(path).status_code == 404


@pytest.mark.parametrize(("changes", "field"), [
    ({"autoscaling": {"min": 0, "max": 4}}, "autoscaling.min"),
    ({"autoscaling": {"min": 3, "max": 2}}, "autoscaling"),
    ({"autoscaling": {"min": 1, "max": 2, "priority": 1001}}, "autoscaling.priority"),
    ({"autoscaling": {"min": 1, "max": 2, "capacityClasses": ["CAPACITY_CLASS_GOLD"]}}, "autoscaling.capacity_classes[0]"),
    ({"autoscaling": {"min": 1}}, "autoscaling.max"),
    ({"gatewayIds": ["01a20dca-a309-74f3-b21d-ab240dad0385"]}, "gateway_ids[0]"),
    ({"gatewayIds": ["x"]}, "gateway_ids[0]"),
    ({"gatewayIds": []}, "gateway_ids"),
    ({"resources": {"instanceType": "gb200-4x", "gpuCount": 3}}, "resources.gpu_count"),
    ({"resources": {"instanceType": "abacus", "gpuCount": 1}}, "resources.instance_type"),
    ({"runtime": {"engine": "magic"}}, "runtime.engine"),
    ({"runtime": {"engine": "vllm", "version": "9.9.9"}}, "runtime.version"),
    ({"runtime": {"engine": "vllm", "engineEnv": {"LD_PRELOAD": "x"}}}, 'runtime.engine_env["LD_PRELOAD"]'),
    ({"runtime": {"engine": "vllm", "engineConfig": {"dtype": "$(id)"}}}, 'runtime.engine_config["dtype"]'),
    ({"model": {"name": "ab", "bucket": "weights", "path": "p"}}, "model.name"),
    ({"model": {"name": "llama", "bucket": "weights", "path": "../p"}}, "model.path"),
    ({"traffic": {"weight": 1001}}, "traffic.weight"),
    ({"name": "-x"}, "name"),
    ({"traffic": None}, "traffic"),
])  # fmt: skip
def test_a_wrong_field_is_named_and_nothing_stored(
    api: ApiClient, gateway: str, changes: dict[str, Any], field: str
) -> None:
    before = stored()
    answer = api.send("POST", DEPLOYMENTS, deployment_body(gateway, **changes))
    assert answer.status_code == 400, answer.content
    fields = [one["field"] for one in answer.json()["details"][0]["fieldViolations"]]
    assert field in fields
    assert stored() == before


@pytest.mark.parametrize(("changes", "field"), [
    ({"coreWeaveAuth": None}, "core_weave_auth"),
    ({"pathBasedRouting": {}}, "routing"),
    ({"zones": ["MOON"]}, "zones[0]"),
    ({"zones": ["EU-NORTH-01A"]}, "zones[0]"),
    ({"zones": ["RNO2A", "rno2a"]}, "zones"),
    ({"bodyBasedRouting": {"apiType": "API_TYPE_OTHER"}}, "body_based_routing.api_type"),
    ({"name": "a" * 64}, "name"),
    ({"endpointConfiguration": {"additionalDns": ["not a host"]}}, "endpoint_configuration.additional_dns[0]"),
])  # fmt: skip
def test_a_wrong_gateway_is_refused_on_its_field(api: ApiClient, changes: dict[str, Any], field: str) -> None:
    before = stored()
    answer = api.send("POST", GATEWAYS, gateway_body(**changes))
    assert answer.status_code == 400, answer.content
    assert field in [one["field"] for one in answer.json()["details"][0]["fieldViolations"]]
    assert stored() == before


def test_names_are_unique_whatever_their_case(api: ApiClient, gateway: str) -> None:
    api.send("POST", DEPLOYMENTS, deployment_body(gateway))
    before = stored()
    for path, body in ((DEPLOYMENTS, deployment_body(gateway, "CHAT")), (GATEWAYS, gateway_body("Front"))):
        answer = api.send("POST", path, body)
        assert (answer.status_code, answer.json()["code"]) == (409, 6)
    assert stored() == before


def test_a_gateway_in_use_stays(api: ApiClient, gateway: str) -> None:
    api.send("POST", DEPLOYMENTS, deployment_body(gateway))
    answer = api.delete(f"{GATEWAYS}/{gateway}")
    said = answer.json()
    assert (answer.status_code, said["code"]) == (412, 9)
    assert said["details"][0]["@type"].endswith("PreconditionFailure")
    assert Gateway.objects.get().status != "STATUS_DELETING"


def test_who_may_come_in(cast: Cast, api: ApiClient, gateway: str) -> None:
    id = api.send("POST", DEPLOYMENTS, deployment_body(gateway)).json()["deployment"]["spec"]["id"]
    before = stored()
    for path, body in ((f"{DEPLOYMENTS}/{id}", deployment_body(gateway)), (f"{GATEWAYS}/{gateway}", gateway_body())):
        assert cast.viewer.api().get(path).status_code == 200
        for send in (("PATCH", path, body), ("DELETE", path)):
            assert cast.viewer.api().send(*send).status_code == 403
            assert cast.outsider.api().send(*send).status_code in (404, 400)
            assert ApiClient(None).send(*send).status_code == 401
        assert cast.outsider.api().get(path).status_code == 404
    for kind in ("decisions", "signals", "replicas"):
        assert cast.viewer.api().get(f"/api/v1/deployments/{id}/{kind}").status_code == 200
        assert cast.outsider.api().get(f"/api/v1/deployments/{id}/{kind}").status_code == 404
    assert cast.outsider.api().get(DEPLOYMENTS).json() == {"items": []}
    assert stored() == before


def test_an_outsiders_gateway_cannot_be_used(cast: Cast, api: ApiClient, gateway: str) -> None:
    answer = cast.outsider.api().send("POST", DEPLOYMENTS, deployment_body(gateway))
    assert answer.status_code == 400
    assert answer.json()["details"][0]["fieldViolations"][0]["field"] == "gateway_ids[0]"
    assert not Deployment.objects.exists()


def test_parameters_follow_the_zones_that_gateways_have_in_common(api: ApiClient, gateway: str) -> None:
    said = api.get(f"{DEPLOYMENTS}/parameters", {"gatewayIds": [gateway]}).json()
    assert said["gatewayIds"] == [gateway]
    assert "0.21.0" in said["runtimeParameters"]["runtimeVersions"]["vllm"]["versions"]
    names = said["runtimeParameters"]["engineEnvOptions"]["vllm"]["allowedNames"]
    assert "VLLM_USE_FLASHINFER_MOE_FP4" in names
    assert "gb200-4x" in said["resourceParameters"]["instanceTypes"]
    assert api.get(f"{GATEWAYS}/parameters").json() == {"zones": ["RNO2A", "US-EAST-01A", "US-WEST-04A"]}
    assert api.get(f"{DEPLOYMENTS}/parameters", {"gatewayIds": [str(uuid.uuid4())]}).status_code == 400


def test_decisions_signals_and_replicas_are_told(api: ApiClient, gateway: str) -> None:
    id = api.send("POST", DEPLOYMENTS, deployment_body(gateway)).json()["deployment"]["spec"]["id"]
    fleet.run(world.offering().instance_type, clock.now(), 3)
    root = f"/api/v1/deployments/{id}"
    decisions = api.get(f"{root}/decisions", {"limit": 1}).json()
    first = decisions["items"][0]
    assert first["granted"] == 1
    assert {one["stage"] for one in first["reasons"]} == {
        "signal", "need", "look-ahead", "damping", "bounds", "contention",
    }  # fmt: skip
    (replica,) = api.get(f"{root}/replicas").json()["items"]
    assert (replica["state"], replica["capacityClass"], replica["zone"]) == (
        "READY", "CAPACITY_CLASS_ON_DEMAND", "US-WEST-04A",
    )  # fmt: skip
    assert replica["placements"] == [{"instance": Instance.objects.get(gpus_used=2).name, "gpus": 2}]
    assert api.get(f"{root}/signals", {"resolution": "1m"}).status_code == 200
    assert api.get(f"{root}/signals", {"resolution": "1y"}).status_code == 400
    assert api.get(f"{root}/decisions", {"after": "nonsense"}).status_code == 400
    assert api.get(f"{root}/decisions", {"limit": "many"}).status_code == 400
