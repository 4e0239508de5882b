"""C12 over /api/v1: windows of a claim, their previews, and the calendars of claims and pools."""

from datetime import UTC, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from claims import metering
from claims.calendar import days_of, pool_calendar, window_spans
from claims.core.windows import DAY
from claims.models import CapacityClaim, ClaimWindow, Instance, SimulatedNode
from claims.selectors import claims_of, quotas_of
from claims.services import pool_resize
from console.common import clock
from tests import world
from tests.cast import Cast, Member
from tests.claims.test_window_claims import HOUR, asked, create, customer, everything, later, serverless

pytestmark = pytest.mark.django_db
UTC_ZONE = ZoneInfo("UTC")
MINUTE = timedelta(minutes=1)
OFFERING = "/api/v1/capacity/US-WEST-04A/gb200-4x/calendar"


def body(hours: float = 2, **more: Any) -> dict[str, Any]:
    return {"start": f"{later(hours):%Y-%m-%dT%H:%M}", "durationMinutes": 60, "recurrence": "FREQ=DAILY", "timeZone": "UTC",
            "instanceCount": 3, **more}  # fmt: skip


def send(who: Member, method: str, claim: CapacityClaim, rest: str = "", data: Any = None) -> Any:
    return who.api().send(method, f"/api/v1/claims/{claim.id}/windows{rest}", data)


def test_c12_windows_are_created_read_changed_and_deleted(cast: Cast) -> None:
    claim, sent = serverless(cast), body(until="2099-12-31")
    made = send(cast.admin, "POST", claim, data=sent)
    assert made.status_code == 200, made.content
    window = made.json()["window"]
    assert {name: window[name] for name in sent} == sent
    assert window["next"]["start"].startswith(sent["start"])
    assert send(cast.viewer, "GET", claim).json()["items"] == [window]
    changed = send(cast.admin, "PATCH", claim, f"/{window['id']}", {"instanceCount": 5, "until": None}).json()["window"]
    assert (changed["instanceCount"], changed["until"], changed["start"]) == (5, None, sent["start"])
    assert send(cast.viewer, "GET", claim, f"/{window['id']}").json()["window"] == changed
    gone = send(cast.admin, "DELETE", claim, f"/{window['id']}")
    assert (gone.status_code, gone.json()["window"]["id"]) == (200, window["id"])
    assert send(cast.admin, "DELETE", claim, f"/{window['id']}").status_code == 404
    assert send(cast.viewer, "GET", claim).json() == {"items": [], "nextCursor": None}


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"start": "2026-12-01"}, "start"), ({"start": "2026-12-01T08:00Z"}, "start"), ({"start": 5}, "start"),
        ({"durationMinutes": 0}, "duration_minutes"), ({"durationMinutes": 10**30}, "duration_minutes"),
        ({"durationMinutes": 1441}, "duration"), ({"recurrence": "FREQ=YEARLY"}, "recurrence"),
        ({"timeZone": "Berlin"}, "time_zone"), ({"instanceCount": 0}, "instance_count"),
        ({"until": "soon"}, "until"), ({"until": "2020-01-01"}, "until"),
    ],
)  # fmt: skip
def test_c12_what_is_wrong_is_refused_by_field_and_nothing_changes(
    cast: Cast, wrong: dict[str, Any], field: str
) -> None:
    claim = serverless(cast)
    before = everything()
    answer = send(cast.admin, "POST", claim, data=body(**wrong))
    assert (answer.status_code, everything()) == (400, before)
    assert field in answer.content.decode()
    anything: list[Any] = [[], "x", None, {}]
    for nonsense in anything:
        assert send(cast.admin, "POST", claim, data=nonsense).status_code == 400


def test_c12_who_may_change_windows_over_the_api(cast: Cast) -> None:
    claim = serverless(cast)
    row = create(cast, claim, asked(later(2)))
    before = everything()
    for who, status in ((cast.viewer, 403), (cast.billing, 403), (cast.outsider, 404)):
        assert send(who, "POST", claim, data=body(5)).status_code == status
        assert send(who, "POST", claim, "?preview=true", body(5)).status_code == status
        assert send(who, "PATCH", claim, f"/{row.id}", {"instanceCount": 2}).status_code == status
        assert send(who, "DELETE", claim, f"/{row.id}").status_code == status
    for path in ("", f"/{row.id}"):
        assert send(cast.outsider, "GET", claim, path).status_code == 404
    assert cast.outsider.api().send("GET", f"/api/v1/claims/{claim.id}/calendar").status_code == 404
    assert everything() == before


def machines_joined(claim: CapacityClaim) -> None:
    """Machines of the claim's kind took 10 minutes to join, or 20: median and 90th percentile."""
    Instance.objects.filter(claim=claim).update(joining_at=None)
    for number, took in enumerate([10] * 5 + [20] * 4):
        at = clock.now() - DAY + number * HOUR
        Instance.objects.create(
            name=f"was-{number}", offering=claim.offering, source="POOL", state="RELEASED", gpus=4, created_at=at,
            joining_at=at + MINUTE, ready_at=at + took * MINUTE, backend=settings.NODE_BACKEND,
        )  # fmt: skip


def test_c12_a_preview_says_what_is_promised_and_changes_nothing(cast: Cast) -> None:
    claim = customer(cast, 1, limit=6)
    machines_joined(claim)
    start = later(2)
    before = everything()
    found = send(cast.admin, "POST", claim, "?preview=true", body(2, instanceCount=4)).json()["preview"]
    assert everything() == before
    assert (found["promisedBefore"], found["promisedAfter"]) == (1, 4)
    assert (found["now"]["instanceCountBefore"], found["now"]["instanceCountAfter"]) == (1, 1)
    assert found["now"]["quota"]["committedAfter"] == 4
    assert found["next"]["start"].startswith(f"{start:%Y-%m-%dT%H:%M}")
    # Thirty days of one instance, and three more for an hour on each of them.
    assert Decimal(found["thirtyDaysBefore"]["instanceHours"]) == 720
    assert Decimal(found["thirtyDaysAfter"]["instanceHours"]) == 720 + 3 * 30
    # Asked for 20 minutes before, and ready, so paid for, in 10 of these.
    assert found["opensEarlySeconds"] == 1200
    assert Decimal(found["thirtyDaysBefore"]["earlyInstanceHours"]) == 0
    assert Decimal(found["thirtyDaysAfter"]["earlyInstanceHours"]) == 3 * 30 * 10 / Decimal(60)
    open_now = send(cast.admin, "POST", claim, "?preview=true", body(-0.25, instanceCount=4)).json()["preview"]
    assert (open_now["now"]["instanceCountAfter"], open_now["now"]["added"]) == (4, 3)
    refused = send(cast.admin, "POST", claim, "?preview=true", body(2, instanceCount=7))
    assert (refused.status_code, everything()) == (412, before)


@pytest.mark.parametrize("kind", ["SERVERLESS", "CUSTOMER"])
def test_c12_a_previewed_window_costs_what_is_billed_with_the_time_before_it_begins(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A window of three more instances for an hour, every day: what a day of it costs in the ledger, with joins that take as
    long as they usually do."""
    claim = serverless(cast, 1) if kind == "SERVERLESS" else customer(cast, 1)
    machines_joined(claim)
    found = send(cast.admin, "POST", claim, "?preview=true", body(2, instanceCount=4)).json()["preview"]
    more = Decimal(found["thirtyDaysAfter"]["usd"]) - Decimal(found["thirtyDaysBefore"]["usd"])
    create(cast, claim, asked(later(2), count=4))
    start = later(2)
    opens, ends, end = start - 20 * MINUTE, start + HOUR, start + 2 * HOUR
    for at in (opens, opens + MINUTE / 2, opens + 10 * MINUTE, ends, ends + MINUTE / 2):
        monkeypatch.setattr(clock, "now", lambda at=at: at)
        world.settle(2)
        SimulatedNode.objects.filter(ready_at__gt=opens).update(ready_at=opens + 10 * MINUTE)
    rows = metering.usage(cast.organization, opens, end, end)
    spent = metering.total(rows) - 4 * Decimal("10.50") * Decimal((end - opens).total_seconds()) / 3600
    minutes = 80 if kind == "SERVERLESS" else 70
    assert more == 30 * 3 * 4 * Decimal("10.50") * minutes / 60
    assert float(spent) == pytest.approx(float(more / 30), rel=0.01), "what one day of it is billed"


def test_c12_a_previewed_deletion_says_what_goes(cast: Cast) -> None:
    claim = serverless(cast, 1)
    row = create(cast, claim, asked(later(-0.25), count=4))
    found = send(cast.admin, "DELETE", claim, f"/{row.id}?preview=true").json()["preview"]
    assert (len(found["now"]["givenUp"]), found["promisedAfter"], found["next"]) == (3, 1, None)
    assert ClaimWindow.objects.count() == 1


def test_c12_the_calendar_of_a_claim_is_base_and_windows(cast: Cast) -> None:
    claim = serverless(cast, 2, pool=4)
    start = (clock.now() + DAY).replace(hour=8, minute=0, second=0, microsecond=0)
    create(cast, claim, asked(start, 2 * HOUR, count=4))
    found = cast.viewer.api().send("GET", f"/api/v1/claims/{claim.id}/calendar?timeZone=UTC").json()
    assert (found["available"], found["timeZone"], len(found["items"])) == (4, "UTC", 2 * 13 + 1)
    tomorrow = f"{start:%Y-%m-%d}"
    assert found["items"][1] == {
        "start": f"{tomorrow}T08:00:00Z", "end": f"{tomorrow}T10:00:00Z", "instances": 4, "lacking": 0,
    }  # fmt: skip
    assert cast.viewer.api().send("GET", f"/api/v1/claims/{claim.id}/calendar?timeZone=Mars").status_code == 400


def test_c12_what_the_pool_cannot_give_is_flagged_for_those_who_come_later(cast: Cast) -> None:
    claim = serverless(cast, 1, pool=6)
    start = (clock.now() + DAY).replace(hour=8, minute=0, second=0, microsecond=0)
    later_one = world.claim(cast.admin.actor, claim.offering, 2, name="later")
    create(cast, claim, asked(start, 2 * HOUR, count=4))
    create(cast, later_one, asked(start + HOUR, 2 * HOUR, count=5))
    api = cast.viewer.api()
    first = api.send("GET", f"/api/v1/claims/{claim.id}/calendar").json()["items"]
    second = api.send("GET", f"/api/v1/claims/{later_one.id}/calendar").json()["items"]
    assert all(one["lacking"] == 0 for one in first)
    # From nine to ten both are open: 4 and 5 of 6; bases 1 and 2 are held, the older window takes 3 more, none is left.
    assert [(one["start"][11:16], one["instances"], one["lacking"]) for one in second[:4]] == [
        ("00:00", 2, 0), ("09:00", 5, 3), ("10:00", 5, 0), ("11:00", 2, 0),
    ]  # fmt: skip
    pool = cast.outsider.api().send("GET", OFFERING).json()
    assert [(one["start"][11:16], one["instances"], one["lacking"]) for one in pool["items"][:5]] == [
        ("00:00", 3, 0), ("08:00", 6, 0), ("09:00", 9, 3), ("10:00", 6, 0), ("11:00", 3, 0),
    ]  # fmt: skip
    pool_resize(actor=world.PLATFORM, offering=claim.offering, size=3)
    first = api.send("GET", f"/api/v1/claims/{claim.id}/calendar").json()["items"]
    assert (first[1]["instances"], first[1]["lacking"]) == (4, 3)


def test_c13_what_a_lowered_quota_does_not_cover_is_flagged(cast: Cast) -> None:
    claim = customer(cast, 1, limit=6)
    create(cast, claim, asked(later(5), count=5))
    world.quota(cast.organization, claim.offering, limit=3)
    found = cast.viewer.api().send("GET", f"/api/v1/claims/{claim.id}/calendar").json()
    assert (found["available"], max(one["lacking"] for one in found["items"])) == (3, 2)


def test_the_calendars_ask_as_much_whatever_the_number_of_claims(cast: Cast) -> None:
    claim = serverless(cast, 1, pool=8)
    customer(cast, 1)
    counts = []
    for number in range(2):
        create(cast, claim, asked(later(2 + 2 * number), count=3))
        world.claim(cast.admin.actor, claim.offering, 1, name=f"more-{number}")
        quotas = {row.offering.key: row for row in quotas_of(cast.organization)}
        claims, now = list(claims_of(cast.organization)), clock.now()
        with CaptureQueriesContext(
            connection,
        ) as asked_for:
            spans = window_spans(claims, quotas, now, UTC_ZONE)
        counts.append(len(asked_for))
        assert set(spans) == {one.key for one in claims}
        with CaptureQueriesContext(connection) as asked_for:
            pool_calendar(claim.offering, now, UTC_ZONE)
        counts.append(len(asked_for))
    assert counts == [3, 2, 3, 2]


def test_c12_a_day_of_the_calendar_is_on_the_clock_of_its_zone(cast: Cast) -> None:
    claim = serverless(cast, 1)
    start = (clock.now() + 2 * DAY).astimezone(UTC).replace(hour=23, minute=0, second=0, microsecond=0)
    create(cast, claim, asked(start, 2 * HOUR, until=start.date()))
    spans = window_spans([world.reread(claim)], {}, clock.now(), UTC_ZONE)[claim.key]
    days = days_of(spans, UTC_ZONE)
    assert [len(one.bars) for one in days] == [1, 1, 2, 2] + [1] * 10
    assert [(one.begin, one.length, one.count) for one in days[2].bars] == [(0, 1380, 1), (1380, 60, 3)]
    assert [(one.begin, one.length, one.count) for one in days[3].bars] == [(0, 60, 3), (60, 1380, 1)]
    assert sum((one.end - one.start for one in spans), timedelta()) == 14 * DAY
