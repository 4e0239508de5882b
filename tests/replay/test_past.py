"""Why a deployment had no more at a time of the past: from the API and on the page."""

from datetime import timedelta

import pytest

from claims.models import CapacityClaim
from claims.services import claim_resize
from console.common import clock
from deployments.models import Decision, Deployment, TickRecord
from tests import fleet, world
from tests.cast import Cast

pytestmark = pytest.mark.django_db


def test_what_stood_in_the_way_at_a_time_of_the_past_is_told(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 1)
    world.quota(cast.organization, of, 3)
    door = fleet.gateway(cast.admin.actor)
    other = fleet.deployment(cast.admin.actor, door, of, "other", min=3, max=3)
    start = clock.now() - timedelta(minutes=10)
    for one in (other,):
        type(one).objects.filter(key=one.key).update(created_at=start)
    now = fleet.run(of.instance_type, start, 2)
    one = fleet.deployment(cast.admin.actor, door, of, "chat", min=3, max=5)
    fleet.tick(of.instance_type, now)
    then = now + timedelta(seconds=30)
    world.pool(of, 1)
    fleet.run(of.instance_type, now + timedelta(minutes=1), 2)
    short = Decision.objects.filter(deployment=one, bound="CAPACITY").order_by("id")[0]
    assert (short.granted, short.wanted) == (1, 3)
    found = asked(cast, one, then.isoformat())
    assert found["decision"]["id"] == short.id
    assert found["missing"] == {"replicas": 2, "gpus": 2}
    assert [(row["name"], row["gpus"]) for row in found["holders"]] == [("other", 3)]
    assert found["reason"] == {"code": "POOL_EXHAUSTED", "stage": "contention"}
    assert found["replay"]["same"]
    assert [(row["kind"], row["moreReplicas"]) for row in found["changes"]] == [("claim", 2)]
    assert found["grewAt"] is not None
    assert asked(cast, one, (start - timedelta(hours=1)).isoformat())["reason"] is None
    page = str(cast.viewer.browser().get(f"/deployments/{one.id}/why?at={then:%Y-%m-%dT%H:%M:%S}").content.decode())
    for text in (
        "Who held the GPUs",
        "would have helped",
        "Run again: the same",
        "What followed",
        "POOL_EXHAUSTED",
    ):
        assert text in page
    TickRecord.objects.all().delete()
    bare = asked(cast, one, then.isoformat())
    assert bare["plannedAt"] is None
    assert bare["missing"] == found["missing"]
    assert "holders" not in bare
    page = str(cast.viewer.browser().get(f"/deployments/{one.id}/why?at={then:%Y-%m-%dT%H:%M:%S}").content.decode())
    assert "who held what is not known" in page


def asked(cast: Cast, one: Deployment, at: str) -> dict:  # type: ignore[type-arg]
    answer = cast.viewer.api().send("GET", f"/api/v1/deployments/{one.id}/explanation?at={at.replace('+', '%2B')}")
    assert answer.status_code == 200, answer.content
    return dict(answer.json())


def test_a_time_that_is_none_is_refused_and_the_page_says_so(cast: Cast) -> None:
    of = world.offering()
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of)
    for at in ("yesterday", (clock.now() + timedelta(hours=1)).isoformat().replace("+", "%2B")):
        assert cast.viewer.api().send("GET", f"/api/v1/deployments/{one.id}/explanation?at={at}").status_code == 400
    page = cast.viewer.browser().get(f"/deployments/{one.id}/why?at=yesterday")
    assert page.status_code == 200
    assert "This is no time" in page.content.decode()
    ahead = cast.viewer.browser().get(
        f"/deployments/{one.id}/why?at={clock.now() + timedelta(days=1):%Y-%m-%dT%H:%M:%S}"
    )
    assert "lies in the future" in ahead.content.decode()
    assert "How it came to" not in ahead.content.decode()
    assert cast.outsider.browser().get(f"/deployments/{one.id}/why?at=2026-01-01").status_code == 404


def test_claims_are_as_large_as_they_were_then(cast: Cast) -> None:
    """What was made larger since would still have helped, and what was joining is not claimed twice."""
    of = world.offering()
    world.quota(cast.organization, of, 5)
    claim = world.claim(cast.admin.actor, of, 1, "CUSTOMER")
    world.everything_arrives()
    start = clock.now() - timedelta(minutes=3)
    CapacityClaim.objects.filter(key=claim.key).update(created_at=start)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, "chat", gpu_count=4, min=3, max=3)
    Deployment.objects.filter(key=one.key).update(created_at=start)
    now = fleet.run(of.instance_type, start, 2)
    resources = world.resources(of, 3, claim.kind)
    claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=resources)
    (change,) = [row for row in asked(cast, one, now.isoformat())["changes"] if row["kind"] == "claim"]
    assert (change["values"], change["moreReplicas"]) == ({"count": "3"}, 2)
    assert "3 gb200-4x in US-WEST-04A instead of 1" in change["text"]
