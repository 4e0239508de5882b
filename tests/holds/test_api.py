"""`/api/v1/holds`: list, create, end."""

from datetime import timedelta
from typing import Any

import pytest

from console.common import clock
from deployments.models import Deployment, Hold
from deployments.services import hold_create
from tests import fleet, world
from tests.cast import ApiClient, Cast

pytestmark = pytest.mark.django_db
HOLDS = "/api/v1/holds"


@pytest.fixture
def chat(cast: Cast) -> Deployment:
    return fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), world.offering(), min=2, max=6)


def test_r19_a_hold_is_made_listed_and_ended(cast: Cast, chat: Deployment) -> None:
    api, until = cast.admin.api(), (clock.now() + timedelta(hours=1)).isoformat()
    body = {"kind": "PIN", "deploymentId": str(chat.id), "size": 4, "reason": "launch", "expiresAt": until}
    made = api.send("POST", HOLDS, body).json()
    assert (made["kind"], made["scope"], made["size"], made["inForce"]) == ("PIN", "DEPLOYMENT", 4, True)
    assert (made["createdBy"], made["deploymentId"], made["endedAt"]) == ("token admin", str(chat.id), None)
    assert cast.viewer.api().get(HOLDS).json() == {"items": [made], "nextCursor": None}
    assert cast.outsider.api().get(HOLDS).json()["items"] == []
    ended = api.delete(f"{HOLDS}/{made['id']}").json()
    assert (ended["inForce"], ended["endedBy"]) == (False, "token admin")
    assert api.get(HOLDS).json()["items"] == []
    assert api.get(HOLDS, {"state": "all"}).json()["items"] == [ended]
    assert api.get(f"{HOLDS}/{made['id']}").json() == ended


def test_r19_holds_are_paged_newest_first(cast: Cast, chat: Deployment) -> None:
    actor = cast.admin.actor
    made = [
        str(hold_create(actor=actor, kind="FREEZE", reason="organization").id),
        str(hold_create(actor=actor, kind="FREEZE", reason="deployment", deployment_id=chat.id).id),
        str(hold_create(actor=actor, kind="PIN", reason="pin", deployment_id=chat.id, size=3).id),
    ]
    api = cast.viewer.api()
    first = api.get(HOLDS, {"limit": 2}).json()
    rest = api.get(HOLDS, {"limit": 2, "after": first["nextCursor"]}).json()
    assert [one["id"] for one in first["items"] + rest["items"]] == made[::-1]
    assert rest["nextCursor"] is None


@pytest.mark.parametrize(("changes", "status", "field"), [
    ({"reason": ""}, 400, "reason"),
    ({"reason": None}, 400, "reason"),
    ({"kind": "STOP"}, 400, "kind"),
    ({"size": "many"}, 400, "size"),
    ({"deploymentId": "chat"}, 400, "deployment_id"),
    ({"expiresAt": "2020-01-01T00:00:00Z"}, 400, "expires_at"),
    ({"expiresAt": "tomorrow"}, 400, "expires_at"),
    ({"size": 7}, 412, ""),
    ({"fleet": True, "deploymentId": None, "kind": "FREEZE", "size": None}, 400, "size"),
])  # fmt: skip
def test_r19_what_is_refused_names_its_field_and_stores_nothing(
    cast: Cast, chat: Deployment, changes: dict[str, Any], status: int, field: str
) -> None:
    body = {"kind": "PIN", "deploymentId": str(chat.id), "size": 4, "reason": "launch", **changes}
    answer = cast.admin.api().send("POST", HOLDS, body)
    assert answer.status_code == status, answer.content
    if field:
        assert field in [one["field"] for one in answer.json()["details"][0]["fieldViolations"]]
    assert not Hold.objects.exists()


def test_r19_who_may_come_in(cast: Cast, chat: Deployment) -> None:
    hold = hold_create(actor=cast.admin.actor, kind="FREEZE", reason="x", deployment_id=chat.id)
    body = {"kind": "FREEZE", "reason": "y"}
    assert cast.viewer.api().send("POST", HOLDS, body).status_code == 403
    assert cast.viewer.api().delete(f"{HOLDS}/{hold.id}").status_code == 403
    assert cast.outsider.api().get(f"{HOLDS}/{hold.id}").status_code == 404
    assert cast.outsider.api().delete(f"{HOLDS}/{hold.id}").status_code == 404
    assert ApiClient(None).send("POST", HOLDS, body).status_code == 401
    assert cast.admin.api().send("POST", HOLDS, {**body, "fleet": True}).status_code == 403
    assert cast.admin.api().get(f"{HOLDS}/nonsense").status_code == 404
    assert cast.admin.api().get(HOLDS, {"after": "nonsense"}).status_code == 400
    assert cast.admin.api().get(HOLDS, {"state": "old"}).status_code == 400
    assert list(Hold.objects.values_list("id", "ended_at")) == [(hold.id, None)]
