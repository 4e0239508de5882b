"""`/api/v1/events`: what happened to claims and deployments by itself, merged in order of time."""

from itertools import pairwise
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from claims.models import ClaimEvent
from console.common import clock
from console.organizations.api.errors import snake_case
from deployments.models import Decision
from tests import fleet, world
from tests.cast import Cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def lived(cast: Cast) -> Cast:
    of = world.offering()
    world.pool(of, 4)
    claim = world.claim(cast.admin.actor, of, 2, name="prod")
    world.settle()
    front = fleet.gateway(cast.admin.actor)
    fleet.deployment(cast.admin.actor, front, of, name="chat", min=2)
    fleet.run(of.instance_type, clock.now(), 2)
    world.claim(cast.outsider.actor, of, 9, name="theirs")
    world.settle()
    assert ClaimEvent.objects.filter(claim_id=claim.id).exists()
    assert Decision.objects.exists()
    return cast


def events(cast: Cast, **query: Any) -> dict[str, Any]:
    answer = cast.viewer.api().get("/api/v1/events", query)
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = answer.json()
    return found


def test_claims_and_deployments_are_told_in_one_order_page_by_page(lived: Cast) -> None:
    whole = events(lived)["items"]
    assert {one["kind"] for one in whole} == {"CLAIM", "SCALING"}
    assert {one["objectName"] for one in whole} == {"prod", "chat"}
    assert all(a["at"] >= b["at"] for a, b in pairwise(whole))
    found, after = [], None
    for _ in whole:
        answer = events(lived, limit=1, **({"after": after} if after else {}))
        found += answer["items"]
        after = answer["nextCursor"]
    assert (found, after) == (whole, None)
    [grown] = [one for one in whole if one["kind"] == "SCALING"]
    assert (grown["what"], grown["before"], grown["after"]) == ("Replicas", 0, 2)


def test_filters_and_chosen_members(lived: Cast) -> None:
    whole = events(lived)["items"]
    of_claims = [one for one in whole if one["kind"] == "CLAIM"]
    assert events(lived, kind="CLAIM")["items"] == of_claims
    assert events(lived, objectId=of_claims[0]["objectId"])["items"] == of_claims
    assert events(lived, since=whole[0]["at"], fields="at")["items"] == [
        {"at": one["at"]} for one in whole if one["at"] >= whole[0]["at"]
    ]
    assert events(lived, until=whole[-1]["at"])["items"] == []


@pytest.mark.parametrize("query", [{"kind": "X"}, {"objectId": "x"}, {"since": "x"}, {"after": "x"}, {"fields": "x"}])
def test_what_is_asked_for_wrongly_is_refused(lived: Cast, query: dict[str, str]) -> None:
    answer = lived.viewer.api().get("/api/v1/events", query)
    assert answer.status_code == 400
    assert [one["field"] for one in answer.json()["details"][0]["fieldViolations"]] == list(map(snake_case, query))


def test_queries_do_not_grow_with_events(lived: Cast) -> None:
    events(lived)
    counts = []
    for limit in (1, 100):
        with CaptureQueriesContext(connection) as queries:
            events(lived, limit=limit)
        counts.append(len(queries))
    assert counts[0] == counts[1]
