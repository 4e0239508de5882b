"""The claims API by the cast: what is sent comes back as sent, what is refused leaves nothing behind."""

import uuid
from datetime import timedelta
from typing import Any

import pytest

from claims.models import CapacityClaim, Instance
from console.common import clock
from console.organizations.models import ApiToken, IdempotencyKey
from tests import world
from tests.cast import ApiClient, Cast

pytestmark = pytest.mark.django_db

ROOT = "/v1alpha1/inference/capacityclaims"


def body(name: str = "mine", **changes: Any) -> dict[str, Any]:
    block = {"instanceId": "gb200-4x", "instanceCount": 2, "capacityType": "CAPACITY_TYPE_SERVERLESS",
             "zones": ["US-WEST-04A"], **changes}  # fmt: skip
    return {"name": name, "resources": block}


@pytest.fixture(autouse=True)
def catalogue(cast: Cast) -> None:
    world.pool(world.offering(), 1)


def stored() -> tuple[int, int, int]:
    return CapacityClaim.objects.count(), Instance.objects.count(), IdempotencyKey.objects.count()


def test_a_life_as_a_polling_client_sees_it(cast: Cast) -> None:
    api = cast.admin.api()
    made = api.send("POST", ROOT, body()).json()["capacityClaim"]
    path = f"{ROOT}/{made['spec']['id']}"
    assert made["spec"]["organizationId"] == "cw12ab"
    assert made["status"]["status"] == "STATUS_CREATING"
    assert (made["status"]["allocatedInstances"], made["status"]["pendingInstances"]) == (1, 1)
    world.settle()
    assert api.get(path).json()["capacityClaim"]["status"]["status"] == "STATUS_CREATING"
    world.pool(world.offering(), 1)
    world.settle()
    ready = api.get(path).json()["capacityClaim"]
    assert ready["status"]["status"] == "STATUS_READY"
    assert ready["status"]["conditions"][0] | {"lastUpdateTime": ""} == {
        "type": "Ready", "status": "STATUS_TRUE", "reason": "AllAllocated", "message": "All instances allocated",
        "zone": "US-WEST-04A", "lastUpdateTime": "",
    }  # fmt: skip
    assert ready["status"]["createdAt"] == made["status"]["createdAt"]
    changed = api.send("PATCH", path, {"resources": body(instanceCount=3)["resources"]}).json()["capacityClaim"]
    assert changed["status"]["status"] == "STATUS_UPDATING"
    assert changed["spec"]["resources"]["instanceCount"] == 3
    gone = api.delete(path)
    assert (gone.status_code, gone.json()["capacityClaim"]["status"]["status"]) == (200, "STATUS_DELETING")
    world.settle()
    assert api.get(path).status_code == 404
    assert api.delete(path).status_code == 404


@pytest.mark.parametrize(("sent", "shown"), [
    ({"zones": ["us-west-04a"], "instanceId": "GB200-4X"}, {"zones": ["us-west-04a"], "instanceId": "GB200-4X"}),
    ({"capacityType": "CAPACITY_TYPE_MANAGED"}, {"capacityType": "CAPACITY_TYPE_MANAGED"}),
    ({"capacityType": 3}, {"capacityType": "CAPACITY_TYPE_MANAGED"}),
    ({"instanceCount": "3"}, {"instanceCount": 3}),
])  # fmt: skip
def test_what_is_sent_comes_back_as_it_was_sent(cast: Cast, sent: dict[str, Any], shown: dict[str, Any]) -> None:
    made = cast.admin.api().send("POST", ROOT, body(**sent))
    assert made.status_code == 200, made.content
    assert made.json()["capacityClaim"]["spec"]["resources"].items() >= shown.items()


@pytest.mark.parametrize(("changes", "field"), [
    ({"instanceCount": 0}, "resources.instance_count"),
    ({"instanceCount": 2**32}, "resources.instance_count"),
    ({"instanceCount": -1}, "resources.instance_count"),
    ({"instanceCount": 1.5}, "resources.instance_count"),
    ({"instanceCount": True}, "resources.instance_count"),
    ({"instanceCount": None}, "resources.instance_count"),
    ({"zones": ["US-WEST-04A", "RNO2A"]}, "resources.zones"),
    ({"zones": []}, "resources.zones"),
    ({"zones": ["US-NORTH-01A"]}, "resources.zones[0]"),
    ({"zones": [7]}, "resources.zones[0]"),
    ({"instanceId": "gd-8xabacus"}, "resources.instance_id"),
    ({"instanceId": ""}, "resources.instance_id"),
    ({"capacityType": 1}, "resources.capacity_type"),
    ({"capacityType": 99}, "resources.capacity_type"),
    ({"capacityType": "FREE"}, "resources.capacity_type"),
])  # fmt: skip
def test_a_wrong_field_is_named_and_nothing_stored(cast: Cast, changes: dict[str, Any], field: str) -> None:
    before = stored()
    answer = cast.admin.api().send("POST", ROOT, body(**changes))
    assert answer.status_code == 400, answer.content
    said = answer.json()
    assert said["code"] == 3
    assert said["details"][0]["@type"] == "type.googleapis.com/google.rpc.BadRequest"
    assert [one["field"] for one in said["details"][0]["fieldViolations"]] == [field]
    assert stored() == before


@pytest.mark.parametrize("name", ["", "Upper", "-a", "a-", "a_b", "x" * 101, "nul\x00"])
def test_a_wrong_name_is_refused(cast: Cast, name: str) -> None:
    before = stored()
    answer = cast.admin.api().send("POST", ROOT, body(name))
    assert answer.status_code == 400
    assert {one["field"] for one in answer.json()["details"][0]["fieldViolations"]} == {"name"}
    assert stored() == before


@pytest.mark.parametrize("text", ["{", "[]", "null", '"x"', "", '{"name": 5}', "\xff"])
def test_a_body_that_is_no_claim_is_refused(cast: Cast, text: str) -> None:
    before = stored()
    answer = cast.admin.api().post(ROOT, data=text.encode("latin-1"), content_type="application/json")
    assert answer.status_code == 400, answer.content
    assert answer.json()["code"] == 3
    assert stored() == before


def test_beyond_quota_is_412_with_the_precondition_first(cast: Cast) -> None:
    world.quota(cast.organization, world.offering(), limit=2, other_usage=1)
    before = stored()
    answer = cast.admin.api().send("POST", ROOT, body(capacityType="CAPACITY_TYPE_CUSTOMER"))
    said = answer.json()
    assert (answer.status_code, said["code"]) == (412, 9)
    assert [one["@type"].rsplit(".", 1)[1] for one in said["details"]] == ["PreconditionFailure", "QuotaFailure"]
    assert "2 more instances requested, 1 free (limit 2, 1 in other use, 0 committed" in said["message"]
    assert stored() == before


def test_who_may_come_in(cast: Cast) -> None:
    made = cast.admin.api().send("POST", ROOT, body()).json()["capacityClaim"]["spec"]["id"]
    path, patch = f"{ROOT}/{made}", {"resources": body(instanceCount=5)["resources"]}
    before = CapacityClaim.objects.values().get()
    viewer, outsider, nobody, wrong = cast.viewer.api(), cast.outsider.api(), ApiClient(None), ApiClient("hr_wrong")
    assert viewer.get(path).status_code == 200
    assert viewer.get(ROOT).json()["capacityClaims"][0]["spec"]["id"] == made
    assert outsider.get(ROOT).json() == {"capacityClaims": []}
    for send in (("POST", ROOT, body("other")), ("PATCH", path, patch), ("DELETE", path)):
        assert viewer.send(*send).status_code == 403, send
        assert nobody.send(*send).status_code == 401, send
        assert wrong.send(*send).status_code == 401, send
    for send in (("GET", path), ("PATCH", path, patch), ("DELETE", path)):
        answer = outsider.send(*send)
        assert (answer.status_code, answer.json()["code"]) == (404, 5), send
    assert nobody.get(ROOT).headers["WWW-Authenticate"] == "Bearer"
    assert CapacityClaim.objects.values().get() == before


def test_an_expired_token_is_nobody(cast: Cast) -> None:
    ApiToken.objects.update(expires_at=clock.now() - timedelta(seconds=1))
    answer = cast.admin.api().get(ROOT)
    assert (answer.status_code, answer.json()["code"]) == (401, 16)


def test_a_chosen_id_and_a_key_make_creations_safe_to_repeat(cast: Cast) -> None:
    api, id = cast.admin.api(), str(uuid.uuid4())
    assert api.send("POST", ROOT, {**body("with-id"), "id": id}).json()["capacityClaim"]["spec"]["id"] == id
    again = api.send("POST", ROOT, {**body("with-id"), "id": id})
    assert (again.status_code, again.json()["code"]) == (409, 6)
    key = {"headers": {"Idempotency-Key": "once-1"}}
    first = api.send("POST", ROOT, body("with-key"), **key).json()
    assert (
        api.send("POST", ROOT, body("with-key"), **key).json()["capacityClaim"]["spec"]
        == first["capacityClaim"]["spec"]
    )
    other = api.send("POST", ROOT, body("another"), **key)
    assert (other.status_code, other.json()["details"][0]["fieldViolations"][0]["field"]) == (400, "idempotency_key")
    assert CapacityClaim.objects.count() == 2


def test_the_list_keeps_what_was_updated_after(cast: Cast) -> None:
    api = cast.admin.api()
    made = api.send("POST", ROOT, body()).json()["capacityClaim"]
    after = made["status"]["updatedAt"]
    assert api.get(ROOT, {"updatedAfter": after}).json() == {"capacityClaims": []}
    assert len(api.get(ROOT, {"updatedAfter": "2020-01-01T00:00:00Z"}).json()["capacityClaims"]) == 1
    wrong = api.get(ROOT, {"updatedAfter": "yesterday"})
    assert (wrong.status_code, wrong.json()["code"]) == (400, 3)


def test_parameters_name_every_zone_with_what_can_be_claimed(cast: Cast) -> None:
    said = cast.viewer.api().get(f"{ROOT}/parameters").json()["zoneInstanceTypes"]
    assert "gb200-4x" in said["US-WEST-04A"]["instanceIds"]
    assert set(said) == {"US-WEST-04A", "US-EAST-01A", "RNO2A"}


def test_a_verb_that_is_not_served_is_refused_as_json(cast: Cast) -> None:
    answer = cast.admin.api().send("PUT", ROOT, body())
    assert (answer.status_code, answer.json()["code"]) == (405, 12)


def test_quota_capacity_and_usage(cast: Cast) -> None:
    world.quota(cast.organization, world.offering(), limit=16, reserved=8, other_usage=4)
    cast.admin.api().send("POST", ROOT, body(instanceCount=3, capacityType="CAPACITY_TYPE_CUSTOMER"))
    assert cast.viewer.api().get("/api/v1/quota").json() == {
        "items": [{"zone": "US-WEST-04A", "instanceId": "gb200-4x", "limit": 16, "reserved": 8, "otherUsage": 4,
                   "committed": 3, "free": 9, "unusedReserved": 4}],
        "nextCursor": None,
    }  # fmt: skip
    pools = cast.viewer.api().get("/api/v1/capacity").json()["items"]
    west = next(one for one in pools if (one["zone"], one["instanceId"]) == ("US-WEST-04A", "gb200-4x"))
    assert west["pool"] == {"instances": 1, "free": 1, "claimed": 0, "onDemand": 0}
    assert (west["gpusPerInstance"], west["gpusFree"], west["pendingClaims"]) == (4, 4, 0)
    assert cast.viewer.api().get("/api/v1/usage").status_code == 403
    usage = cast.billing.api().get("/api/v1/usage", {"by": "claim"}).json()
    assert (usage["currency"], usage["items"]) == ("USD", [])
    wrong = cast.billing.api().get("/api/v1/usage", {"by": "moon"})
    assert wrong.json()["details"][0]["fieldViolations"][0]["field"] == "by"
