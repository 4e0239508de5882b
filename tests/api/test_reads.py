"""Reads of the vendor's API, which clients that wait ask again and again: what they say is what the console says, they are in
order, and how many queries they take does not grow."""

from itertools import product

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from claims.core.states import InstanceState
from claims.models import CapacityClaim, Instance, Work
from claims.selectors import claims_of, claims_shown
from console.common import clock
from tests import fleet, world
from tests.cast import Cast

pytestmark = pytest.mark.django_db
BASE = "/v1alpha1/inference"


def counts(claim: CapacityClaim) -> tuple[int, int, int]:
    return claim.allocated, claim.counting, claim.held  # type: ignore[attr-defined]


def test_counts_of_a_claim_are_those_of_the_console_whatever_becomes_of_a_machine(cast: Cast) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=2)
    claim = world.claim(cast.admin.actor, of, 2, "CUSTOMER")
    world.everything_arrives()
    one, seen = Instance.objects.filter(claim=claim).order_by("key")[0], set[tuple[int, int, int]]()
    for state, work, lost_at in product(InstanceState, ["", *Work.values], (None, clock.now())):
        try:
            with transaction.atomic():
                Instance.objects.filter(key=one.key).update(state=state, work=work, lost_at=lost_at)
                (shown,), console = claims_shown(cast.organization), claims_of(cast.organization).get()
                assert counts(shown) == counts(console), (state, work, lost_at)
                seen.add(counts(shown))
                transaction.set_rollback(True)
        except DatabaseError:
            continue  # no machine can be so
    assert seen >= {(2, 2, 2), (1, 1, 2), (1, 2, 2)}


def test_lists_are_in_the_order_of_creation(cast: Cast) -> None:
    of, api = world.offering(), cast.admin.api()
    world.pool(of, 4)
    names = [f"{letter}-one" for letter in "fbdace"]
    at = fleet.gateway(cast.admin.actor)
    for name in names:
        world.claim(cast.admin.actor, of, 1, name=name)
        fleet.deployment(cast.admin.actor, at, of, name=name)
    world.settle()
    claims, models = (api.get(f"{BASE}/{word}").json() for word in ("capacityclaims", "deployments"))
    assert [one["spec"]["name"] for one in claims["capacityClaims"]] == names
    assert [one["spec"]["name"] for one in models["items"]] == names
    assert {one["spec"]["organizationId"] for one in claims["capacityClaims"] + models["items"]} == {
        cast.organization.id
    }


def test_a_read_takes_a_query_each_for_the_token_and_the_answer(cast: Cast) -> None:
    of, api = world.offering(), cast.admin.api()
    world.pool(of, 4)
    at = fleet.gateway(cast.admin.actor)
    claims = [world.claim(cast.admin.actor, of, 1, name=f"claim-{n}") for n in range(3)]
    models = [fleet.deployment(cast.admin.actor, at, of, name=f"model-{n}") for n in range(3)]
    api.get(f"{BASE}/capacityclaims")  # notes that the token is used, once a minute
    for path in (f"/capacityclaims/{claims[0].id}", "/capacityclaims", f"/deployments/{models[0].id}", "/deployments",
                 f"/deployments?parentGatewayId={at.id}", f"/gateways/{at.id}", "/gateways"):  # fmt: skip
        with CaptureQueriesContext(connection) as queries:
            assert api.get(BASE + path).status_code == 200, path
        assert len(queries) == 2, (path, [one["sql"] for one in queries])


def test_a_creation_takes_as_many_queries_whatever_there_is(cast: Cast) -> None:
    of, api = world.offering(), cast.admin.api()
    world.quota(cast.organization, of, limit=8)
    taken = []
    for name in ("first", "second", "third"):
        resources = {"instanceId": of.instance_type.name, "instanceCount": 1, "capacityType": "CAPACITY_TYPE_CUSTOMER",
                     "zones": [of.zone.name]}  # fmt: skip
        with CaptureQueriesContext(connection) as queries:
            answer = api.send("POST", f"{BASE}/capacityclaims", {"name": name, "resources": resources})
        assert answer.status_code == 200, answer.content
        taken.append(len(queries))
    assert taken[1:] == [6, 6], taken
