"""An operator has a replica started anew."""

from typing import Any

import pytest

from console.common import clock
from console.organizations.models import AuditEvent
from deployments.models import Deployment, Replica
from deployments.services import deployment_delete, replica_restart
from tests import fleet, world
from tests.cast import ApiClient, Cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def one(cast: Cast) -> Deployment:
    of = world.offering()
    world.pool(of, 2)
    made = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, min=2)
    fleet.run(of.instance_type, clock.now(), 3)
    return fleet.reread(made)


def address(one: Deployment, key: object) -> str:
    return f"/api/v1/deployments/{one.id}/replicas/{key}/restart"


def stored() -> list[dict[str, Any]]:
    return [dict(row) for row in Replica.objects.order_by("key").values()]


def test_a_replica_is_marked_to_be_replaced_and_the_list_says_so(cast: Cast, one: Deployment) -> None:
    replica, other = Replica.objects.order_by("key")
    answer = cast.admin.api().post(address(one, replica.key))
    assert answer.status_code == 200, answer.content
    assert answer.json()["replica"]["restartRequested"] is True
    listed = {row["id"]: row for row in cast.viewer.api().get(f"/api/v1/deployments/{one.id}/replicas").json()["items"]}
    marked, left = listed[str(replica.key)], listed[str(other.key)]
    assert (marked["revision"], marked["restartRequested"]) == (0, True)
    assert (left["revision"], left["restartRequested"], left["replaces"], left["reason"], left["lastError"]) == (
        1, False, None, None, None,
    )  # fmt: skip
    event = AuditEvent.objects.get(action="replica.restart")
    assert (event.object_id, event.before) == (str(one.id), {"replica": replica.key, "revision": 1})
    assert cast.admin.api().post(address(one, replica.key)).status_code == 200
    assert AuditEvent.objects.filter(action="replica.restart").count() == 1


def test_who_may_not_changes_nothing(cast: Cast, one: Deployment) -> None:
    key, before = Replica.objects.order_by("key")[0].key, stored()
    for api, status in ((cast.viewer.api(), 403), (cast.billing.api(), 403), (cast.outsider.api(), 404),
                        (ApiClient(None), 401)):  # fmt: skip
        assert api.post(address(one, key)).status_code == status
    assert stored() == before


def test_what_is_not_there_or_ends_already_is_refused(cast: Cast, one: Deployment) -> None:
    two = fleet.deployment(cast.admin.actor, one.gateways.get(), world.offering(), name="two")
    Replica.objects.filter(key=Replica.objects.order_by("key")[0].key).update(state=3)
    draining, ready = Replica.objects.order_by("key")
    before, api = stored(), cast.admin.api()
    assert api.post(address(two, ready.key)).status_code == 404, "another deployment's"
    other_digits = str(ready.key).translate({ord("0") + digit: 0x660 + digit for digit in range(10)})
    for key in ("x", "-1", 2**63, 10**30, "9" * 5000, other_digits, 0):
        assert api.post(address(one, key)).status_code == 404, key
    refused = api.post(address(one, draining.key))
    assert (refused.status_code, refused.json()["code"]) == (412, 9)
    assert "is DRAINING" in refused.json()["message"]
    deployment_delete(actor=cast.admin.actor, deployment_id=one.id)
    assert api.post(address(one, ready.key)).status_code == 404
    assert stored() == before


def test_the_service_is_what_pages_call(cast: Cast, one: Deployment) -> None:
    replica = Replica.objects.order_by("key")[0]
    assert replica_restart(actor=cast.admin.actor, deployment_id=one.id, replica_key=replica.key).revision == 0
