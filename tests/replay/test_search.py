"""Search over decisions: every filter, paging, other organizations, and the number of queries."""

import html
import re
import uuid
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from console.common import clock
from console.dashboard.decision_search import place_of, reason_choices
from console.dashboard.reason_words import WORDS
from deployments.core.reasons import Reason
from deployments.models import Decision, Deployment
from deployments.replay.search import REASONS
from tests import fleet, world
from tests.cast import ApiClient, Cast

pytestmark = pytest.mark.django_db

MOVED = {"granted_code": 603, "granted_capacity_class": 2, "zone": "US-WEST-04A", "wanted_code": 502}


def decided(one: Deployment, at: datetime, bound: str = "NONE", **record: Any) -> Decision:
    """As the newest real decision of the deployment, with other numbers."""
    real = Decision.objects.filter(deployment=one).order_by("id")[0]
    return Decision.objects.create(
        deployment=one, organization=one.organization, at=at, current=1, wanted=2, granted=1, bound=bound,
        record={**real.record, **record},
    )  # fmt: skip


def found(client: ApiClient, **asked: Any) -> list[int]:
    query = urlencode({name.rstrip("_"): value for name, value in asked.items()})
    answer = client.send("GET", f"/api/v1/decisions?{query}")
    assert answer.status_code == 200, answer.content
    return [one["id"] for one in answer.json()["items"]]


def test_decisions_are_found_by_everything_that_bound_them(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 2)
    door = fleet.gateway(cast.admin.actor)
    one, other = (fleet.deployment(cast.admin.actor, door, of, name) for name in ("one", "other"))
    fleet.tick(of.instance_type)
    first = sorted(Decision.objects.values_list("id", flat=True))
    now = clock.now()
    short = decided(one, now + timedelta(minutes=1), "CAPACITY", **MOVED)
    later = decided(other, now + timedelta(minutes=2), "MAX", wanted_code=int(Reason.AT_MAX))
    api = cast.viewer.api()
    assert found(api) == [later.id, short.id, *reversed(first)]
    assert found(api, deployment=one.id) == [short.id, *(id for id in reversed(first) if id in _of(one))]
    assert found(api, bound="capacity") == [short.id]
    assert found(api, reason="POOL_EXHAUSTED") == [short.id]
    assert found(api, reason="AT_MAX") == [later.id, short.id]
    assert found(api, class_="CAPACITY_CLASS_ON_DEMAND") == [short.id]
    assert found(api, zone="us-west-04a") == [short.id]
    assert found(api, zone="US-EAST-04A", reason="POOL_EXHAUSTED") == []
    assert found(api, from_=later.at.isoformat()) == [later.id]
    assert found(api, from_=short.at.isoformat(), to=later.at.isoformat()) == [short.id]
    assert found(cast.outsider.api()) == []
    _pages(api, [later.id, short.id, *reversed(first)])
    _one_decision(cast, short, later)
    _as_many_queries(api, one)


def test_what_the_look_ahead_said_is_found_and_before_it_was_thought_of_it_was_off(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 2)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, "one")
    fleet.tick(of.instance_type)
    (first,) = Decision.objects.all()
    ahead = [decided(one, first.at + timedelta(minutes=n), ahead_code=300 + n) for n in (1, 2)]
    old = decided(one, first.at + timedelta(minutes=3))
    del old.record["ahead_code"]
    old.save(update_fields=["record"])
    api = cast.viewer.api()
    assert found(api, reason="AHEAD_UNKNOWN") == [ahead[0].id]
    assert found(api, reason="AHEAD") == [ahead[1].id]
    assert found(api, reason="AHEAD_OFF") == [old.id, first.id]
    assert f'href="/decisions/{ahead[1].id}"' in cast.viewer.browser().get("/decisions?reason=AHEAD").content.decode()


def _of(one: Deployment) -> set[int]:
    return set(Decision.objects.filter(deployment=one).values_list("id", flat=True))


def _pages(api: ApiClient, everything: list[int]) -> None:
    seen, cursor = [], ""
    for _ in everything:
        page = api.send("GET", f"/api/v1/decisions?limit=1&after={cursor}").json()
        seen += [one["id"] for one in page["items"]]
        cursor = page["nextCursor"]
    assert seen == everything
    assert cursor is None


def _one_decision(cast: Cast, short: Decision, later: Decision) -> None:
    answer = cast.viewer.api().send("GET", f"/api/v1/decisions/{short.id}").json()["decision"]
    assert answer["deploymentName"] == "one"
    assert answer["bound"] == "CAPACITY"
    for id in (short.id, later.id + 99, 2**63, "9" * 5000, "x"):
        assert cast.outsider.api().send("GET", f"/api/v1/decisions/{id}").status_code == 404
        assert cast.outsider.api().send("GET", f"/api/v1/decisions/{id}/replay").status_code == 404
    replay = cast.viewer.api().send("GET", f"/api/v1/decisions/{short.id}/replay").json()
    assert not replay["same"]  # its numbers were changed here
    assert {one["name"] for one in replay["row"]["differences"]} == {"wanted_code"}
    assert replay["pass"] is None


def _as_many_queries(api: ApiClient, one: Deployment) -> None:
    def asked() -> int:
        with CaptureQueriesContext(connection) as queries:
            found(api, bound="CAPACITY")
        return len(queries)

    few = asked()
    for minute in range(9):
        decided(one, clock.now() + timedelta(hours=1, minutes=minute), "CAPACITY", **MOVED)
    assert asked() == few


REFUSED = ("reason=NO_REASON", "reason=STOP_OUTDATED", "bound=x", "class=x", "from=yesterday", "deployment=x", "after=W10",
           "after=WzEsMV0", "limit=0", "zone=%00")  # fmt: skip


def test_a_search_for_what_there_is_none_of_is_refused(cast: Cast) -> None:
    api = cast.viewer.api()
    for query in REFUSED:
        answer = api.send("GET", f"/api/v1/decisions?{query}")
        assert answer.status_code == 400, query
        assert answer.json()["details"][0]["fieldViolations"][0]["field"] in query.replace("after", "cursor after")


def test_the_page_finds_the_same_and_leads_to_each_decision(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 2)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, "one")
    fleet.tick(of.instance_type)
    short = decided(one, clock.now() + timedelta(minutes=1), "CAPACITY", **MOVED)
    later = decided(one, clock.now() + timedelta(minutes=2), "MAX", wanted_code=int(Reason.AT_MAX))
    browser = cast.viewer.browser()

    def page(query: str) -> str:
        answer = browser.get(f"/decisions?{query}")
        assert answer.status_code == 200
        return str(answer.content.decode())

    def links(text: str) -> set[int]:
        return {row.id for row in (short, later) if f'href="/decisions/{row.id}"' in text}

    assert links(page("")) == {short.id, later.id}
    assert links(page(f"deployment={one.id}&class=ON_DEMAND&zone=US-WEST-04A&reason=POOL_EXHAUSTED")) == {short.id}
    assert links(page(f"from={later.at:%Y-%m-%dT%H:%M}&bound=MAX")) == {later.id}
    assert "3 decisions" in page("")
    assert re.search(r'<button[^>]*name="from"[^>]*>Last hour<', page("")), "sent with what is chosen"
    said = html.unescape(page("bound=CAPACITY"))
    assert said.index(" GPUs short: the on-demand pool") < said.index("to the maximum of "), (
        "what had the last word first"
    )
    assert "No decision fits" in page("bound=ZONE")
    assert "No decision fits" in page(f"deployment={uuid.uuid4()}"), "one that is deleted has none, rather than all"
    assert "is-invalid" in page("bound=NOTHING&from=x&before=nonsense")
    assert links(page(f"before={place_of(later)}")) == {short.id}
    text = browser.get(f"/decisions/{short.id}").content.decode()
    assert "Run it again" in text
    assert f'href="/decisions/{later.id}"' in text
    again = browser.get(f"/decisions/{short.id}/replay").content.decode()
    assert "It differs" in again
    assert "wanted_code" in again
    first = Decision.objects.order_by("id")[0]
    assert "The whole pass, from its record" in browser.get(f"/decisions/{first.id}/replay").content.decode()
    assert cast.outsider.browser().get(f"/decisions/{short.id}").status_code == 404
    _page_asks_as_much_for_more(browser, one)


def _page_asks_as_much_for_more(browser: Client, one: Deployment) -> None:
    def asked() -> int:
        with CaptureQueriesContext(connection) as queries:
            browser.get("/decisions")
        return len(queries)

    few = asked()
    for minute in range(9):
        decided(one, clock.now() + timedelta(hours=1, minutes=minute), "CAPACITY", **MOVED)
    assert asked() == few


def test_every_reason_that_can_be_looked_for_has_a_name_of_its_own() -> None:
    assert set(WORDS) == set(REASONS)
    assert len(set(WORDS.values())) == len(WORDS)
    (_, first), *_ = reason_choices()[1:]
    assert ("POOL_EXHAUSTED", "On-demand pool has none free (POOL_EXHAUSTED)") in first
