"""`/api/v1/instances`: machines of the pools and of the own claims, and of what others hold only that they do."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from claims.models import CapacityClaim, Instance
from tests import world
from tests.cast import Cast, Member

pytestmark = pytest.mark.django_db

ADDRESS = "/api/v1/instances"


@pytest.fixture
def claim(cast: Cast) -> CapacityClaim:
    """Of a pool of three one is ours and one another organization's; of each organization one joins for a claim."""
    of = world.offering()
    world.pool(of, 3)
    for who in (cast.admin, cast.outsider):
        world.quota(who.actor.require_organization(), of, limit=4)
        world.claim(who.actor, of, 1, name="pooled")
        world.claim(who.actor, of, 1, kind="CUSTOMER", name="joined")
    world.settle()
    return CapacityClaim.objects.get(name="pooled", organization=cast.organization)


def listed(who: Member, **query: str) -> list[dict[str, Any]]:
    answer = who.api().get(ADDRESS, query)
    assert answer.status_code == 200, answer.content
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def test_pools_and_own_machines_are_listed_and_others_own_are_not(cast: Cast, claim: CapacityClaim) -> None:
    found = listed(cast.viewer)
    assert sorted((one["source"], one["holder"]) for one in found) == [
        ("CUSTOMER", "OURS"), ("POOL", "NOBODY"), ("POOL", "OTHERS"), ("POOL", "OURS"),
    ]  # fmt: skip
    [ours] = [one for one in found if one["holder"] == "OURS" and one["source"] == "POOL"]
    assert (ours["claimId"], ours["state"], ours["gpus"], ours["gpusUsed"]) == (str(claim.id), "READY", 4, 0)
    [other] = [one for one in found if one["holder"] == "OTHERS"]
    assert (other["claimId"], other["gpusUsed"]) == (None, None)
    [coming] = [one for one in found if one["source"] == "CUSTOMER"]
    assert coming["readyAt"] is None
    assert cast.viewer.api().get(f"{ADDRESS}/{ours['name']}").json() == ours


def test_what_is_not_there_or_anothers_own_is_not_found(cast: Cast, claim: CapacityClaim) -> None:
    theirs = Instance.objects.get(source="CUSTOMER", organization=cast.other)
    gone = world.gone(world.offering())
    for name in (theirs.name, gone.name, "nothing", "nul%00"):
        assert cast.admin.api().get(f"{ADDRESS}/{name}").status_code == 404, name
    assert cast.outsider.api().get(f"{ADDRESS}/{theirs.name}").status_code == 200


def test_filters_look_at_what_may_be_known(cast: Cast, claim: CapacityClaim) -> None:
    others = CapacityClaim.objects.get(name="pooled", organization=cast.other)
    for query, count in (
        ({"holder": "OTHERS"}, 1), ({"holder": "OURS"}, 2), ({"holder": "NOBODY"}, 1), ({"claimId": str(claim.id)}, 1),
        ({"claimId": str(others.id)}, 0), ({"zone": "us-west-04a"}, 4), ({"zone": "RNO2A"}, 0), ({"source": "CUSTOMER"}, 1),
        ({"state": "READY", "instanceId": "GB200-4X"}, 3),
    ):  # fmt: skip
        assert len(listed(cast.viewer, **query)) == count, query
    assert {len(one) for one in listed(cast.viewer, fields="name,state")} == {2}
    for query, field in (
        ({"holder": "me"}, "holder"),
        ({"claimId": "x"}, "claim_id"),
        ({"state": "RELEASED"}, "state"),
    ):
        wrong = cast.viewer.api().get(ADDRESS, query)
        assert (wrong.status_code, wrong.json()["details"][0]["fieldViolations"][0]["field"]) == (400, field)


def test_queries_do_not_grow_with_machines(cast: Cast, claim: CapacityClaim) -> None:
    taken = []
    for _ in range(3):
        with CaptureQueriesContext(connection) as queries:
            listed(cast.viewer)
        taken.append(len(queries))
        world.pool(world.offering(), 5)
    assert taken[1] == taken[2] <= taken[0]
