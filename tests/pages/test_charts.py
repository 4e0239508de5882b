"""What charts show, and what the stream adds to them."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from claims.models import CapacityClaim
from claims.services import claim_delete, claim_resize
from console.common import clock
from console.dashboard import stream
from console.dashboard.points import FLEET, holder
from console.dashboard.series import MOST, asked_history, broken, claims_chart, milliseconds, pending_history
from console.dashboard.stream import events_of
from deployments.models import Deployment
from tests import fleet, world
from tests.cast import Cast
from tests.pages.conftest import Running

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


def minute(number: int) -> datetime:
    return NOON + timedelta(minutes=number)


def test_pending_is_what_is_asked_for_and_not_yet_allocated() -> None:
    allocated = [(minute(0), 0), (minute(5), 2), (minute(9), 3), (minute(20), 3)]
    asked = [(minute(0), 0), (minute(1), 3), (minute(12), 1)]
    assert pending_history(allocated, asked) == [
        (minute(0), 0, 0), (minute(1), 0, 3), (minute(5), 2, 1), (minute(9), 3, 0), (minute(12), 3, 0),
        (minute(20), 3, 0),
    ]  # fmt: skip


def test_no_line_is_drawn_over_a_time_without_samples() -> None:
    samples: list[tuple[int, float | None]] = [(0, 1), (5, 1), (10, 2), (60, 3), (65, 3)]
    assert broken(samples) == [(0, 1), (5, 1), (10, 2), (15, None), (60, 3), (65, 3)]
    assert broken(samples[:3]) == samples[:3]
    assert broken([]) == []


@pytest.mark.django_db
def test_what_was_asked_for_is_read_from_the_audit_trail(cast: Cast) -> None:
    of, begun = world.offering(), clock.now()
    world.pool(of, 4)
    claim = world.claim(cast.admin.actor, of, 1, name="grows")
    claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=world.resources(of, 3))
    assert [asked for _, asked in asked_history([claim], begun, clock.now())] == [0, 1, 3]
    assert [asked for _, asked in asked_history([claim], clock.now(), clock.now())] == [3]
    claim_delete(actor=cast.admin.actor, claim_id=claim.id)
    assert [asked for _, asked in asked_history([claim], begun, clock.now())] == [0, 1, 3, 0]


@pytest.mark.django_db
def test_a_claims_chart_ends_with_what_is_so_now_and_begins_with_the_claim(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 1)
    claim = world.reread(world.claim(cast.admin.actor, of, 3, name="short"))
    world.settle()
    now = clock.now()
    chart = claims_chart([claim], claim.id, now - timedelta(hours=6), now)
    assert {one["name"]: one["points"][-1][1] for one in chart["series"]} == {"Allocated": 1, "Pending": 2}
    assert (chart["from"], chart["span"]) == (milliseconds(claim.created_at), 6 * 3600 * 1000)


def charts(cast: Cast, running: Running) -> dict[str, Any]:
    browser = cast.viewer.browser()
    names = {"chart-fleet-replicas": [], "chart-fleet-queue": [], "chart-claims": [],
             "chart-replicas": [running.deployment.id], "chart-queue": [running.deployment.id],
             "chart-claim": [running.claim.id]}  # fmt: skip
    return {name: browser.get(reverse(name, args=args)).json() for name, args in names.items()}


@pytest.mark.django_db
def test_every_live_series_has_its_value_in_an_event(cast: Cast, running: Running) -> None:
    values: dict[str, int] = {}
    shown = [FLEET, str(running.deployment.id), str(running.claim.id)]
    for topic in ("deployments", "claims"):
        for event in events_of(cast.organization.key, topic, shown).values():
            values |= json.loads(event)["values"]
    for name, chart in charts(cast, running).items():
        assert {one["feed"] for one in chart["series"]} - set(values) == set(), name
        assert all(len(one["points"]) <= MOST for one in chart["series"]), name


@pytest.mark.django_db
def test_an_event_holds_nothing_of_another_organization_and_no_money(cast: Cast, running: Running) -> None:
    id = str(running.deployment.id)
    events = events_of(cast.other.key, "deployments", ["fleet", id])
    assert set(json.loads(events["fleet"])["values"].values()) == {0}
    assert json.loads(events[id])["values"] == {}
    assert "usd" not in events_of(cast.organization.key, "claims", [FLEET])[FLEET].lower()
    assert events_of(cast.organization.key, "billing", [""]) == {"": '{"topic": "billing"}'}
    assert events_of(10**6, "claims", [FLEET]) == {FLEET: '{"topic": "claims"}'}, "an organization that is gone"


@pytest.mark.django_db
def test_an_event_holds_only_what_the_page_draws(cast: Cast, running: Running) -> None:
    id, key = str(running.deployment.id), cast.organization.key

    def drawn(topic: str, of: str) -> set[str]:
        return {name.partition(".")[0] for name in json.loads(events_of(key, topic, [of])[of])["values"]}

    assert drawn("deployments", id) == {id}
    assert drawn("deployments", FLEET) == drawn("claims", FLEET) == {FLEET}
    assert drawn("deployments", "") == drawn("claims", "") == drawn("claims", id) == set()
    assert drawn("claims", str(running.claim.id)) == {str(running.claim.id)}


@pytest.mark.django_db
def test_pages_ask_for_what_they_draw(cast: Cast, running: Running) -> None:
    browser, pages = cast.viewer.browser(), {
        reverse("overview"): "?of=fleet", reverse("claims"): "?of=fleet", reverse("deployments"): "",
        reverse("deployment", args=[running.deployment.id]): f"?of={running.deployment.id}",
        reverse("claim", args=[running.claim.id]): f"?of={running.claim.id}",
    }  # fmt: skip
    for page, of in pages.items():
        assert f'data-live="/events{of}"' in browser.get(page).content.decode()


def test_what_a_page_may_ask_for() -> None:
    id = "0191f3a2-0000-7000-8000-00000000000a"
    assert [holder(one) for one in (id, id.upper(), FLEET, "", "fleets", "' OR 1", "x" * 5000)] == [
        id,
        id,
        FLEET,
        "",
        "",
        "",
        "",
    ]


@pytest.mark.django_db
def test_an_event_is_made_in_as_many_queries_whatever_the_rows(cast: Cast, running: Running) -> None:
    ids = [running.deployment.id, running.claim.id]

    def queries(topic: str) -> int:
        with CaptureQueriesContext(connection) as found:
            events_of(cast.organization.key, topic, [FLEET, "", *map(str, ids)])
        return len(found)

    before = queries("deployments"), queries("claims")
    for number in range(3):
        world.claim(cast.admin.actor, world.offering(), 1, name=f"more-{number}")
        fleet.deployment(cast.admin.actor, running.deployment.gateways.get(), world.offering(), name=f"more-{number}")
    ids += [*Deployment.objects.values_list("id", flat=True), *CapacityClaim.objects.values_list("id", flat=True)]
    fleet.tick(running.deployment.instance_type)
    assert (queries("deployments"), queries("claims")) == before


def test_changes_that_nobody_looks_at_are_not_computed() -> None:
    hub = stream.Hub()
    hub.listeners = {stream.Listener(1), stream.Listener(1), stream.Listener(2)}
    hub.note('{"topic": "claims", "organizations": [1, 3]}')
    hub.note('{"topic": "claims", "organizations": [1]}')
    assert hub.changed == {(1, "claims")}, "once, for however many browsers and changes"
    hub.note('{"topic": "deployments", "organizations": "all"}')
    assert hub.changed == {(1, "claims"), (1, "deployments"), (2, "deployments")}
