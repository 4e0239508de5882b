"""Schedule windows through API and pages, and what the scaling loop makes of them."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from console.common import clock
from console.organizations.models import AuditEvent
from deployments.core.explain import rerun
from deployments.loop.tick import shard_tick
from deployments.models import Decision, Deployment, Replica, ScheduleWindow
from deployments.schedules import loop
from tests import fleet, world
from tests.cast import ApiClient, Cast

pytestmark = pytest.mark.django_db
BODY = {"start": "2026-12-01T08:00", "durationMinutes": 600, "recurrence": "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR",
        "timeZone": "Europe/Berlin", "min": 3, "max": 4}  # fmt: skip


def chat(cast: Cast, **given: Any) -> Deployment:
    of = world.offering()
    world.pool(of, 4)
    return fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, **{"min": 1, "max": 2, **given})


def refused(api: ApiClient, address: str, **changes: Any) -> tuple[int, str]:
    answer = api.send("POST", address, {**BODY, **changes})
    details = answer.json()["details"][0]
    return answer.status_code, details.get("fieldViolations", [details])[0].get("field", details.get("violations"))


def test_a_window_is_made_read_changed_and_deleted_and_each_is_audited(cast: Cast) -> None:
    one = chat(cast)
    api, address = cast.admin.api(), f"/api/v1/deployments/{one.id}/schedules"
    made = api.send("POST", address, BODY).json()["schedule"]
    assert {**BODY, "until": None, "id": made["id"], "next": made["next"], "open": made["open"]} == made
    assert [one["id"] for one in api.send("GET", address).json()["items"]] == [made["id"]]
    changed = api.send("PATCH", f"{address}/{made['id']}", {"max": 9}).json()["schedule"]
    assert (changed["min"], changed["max"], changed["start"]) == (3, 9, BODY["start"])
    assert api.send("PATCH", f"{address}/{made['id']}", {"max": 9}).status_code == 200
    for status, client in ((403, cast.viewer.api()), (404, cast.outsider.api())):
        assert client.send("POST", address, BODY).status_code == status
        assert client.send("DELETE", f"{address}/{made['id']}").status_code == status
    assert cast.viewer.api().send("GET", f"{address}/{made['id']}").json()["schedule"]["max"] == 9
    assert api.send("DELETE", f"{address}/{made['id']}").json()["schedule"]["id"] == made["id"]
    assert api.send("GET", f"{address}/{made['id']}").status_code == 404
    actions = list(
        AuditEvent.objects.filter(action__startswith="schedule.").order_by("id").values_list("action", flat=True)
    )
    assert actions == ["schedule.create", "schedule.change", "schedule.delete"]


def test_what_cannot_be_a_window_is_refused_and_nothing_is_stored(cast: Cast) -> None:
    one = chat(cast)
    api, address = cast.admin.api(), f"/api/v1/deployments/{one.id}/schedules"
    for field, changes in (
        ("time_zone", {"timeZone": "Mars/Olympus"}), ("recurrence", {"recurrence": "FREQ=HOURLY"}),
        ("start", {"start": "2026-12-01"}), ("duration_minutes", {"durationMinutes": 0}),
        ("min", {"min": None, "max": None}), ("min", {"min": 0}), ("max", {"min": 5, "max": 4}),
        ("min", {"min": 3, "max": None}), ("recurrence", {"recurrence": "FREQ=DAILY", "durationMinutes": 1500}),
    ):  # fmt: skip
        status, said = refused(api, address, **changes)
        assert status == 400, changes
        assert said in (field, "duration"), changes
    assert not ScheduleWindow.objects.exists()
    assert api.send("POST", address, BODY).status_code == 200
    # Ten hours from eight in Berlin meet six in New York, where it is noon.
    for start, zone in (("2026-12-02T12:00", "Europe/Berlin"), ("2026-12-02T06:00", "America/New_York")):
        answer = api.send("POST", address, {**BODY, "start": start, "timeZone": zone})
        assert answer.status_code == 412
        assert "overlap" in answer.json()["message"]
    assert api.send("POST", address, {**BODY, "start": "2026-12-02T18:00", "durationMinutes": 60}).status_code == 200
    assert ScheduleWindow.objects.count() == 2
    assert AuditEvent.objects.filter(action__startswith="schedule.").count() == 2


def test_r3_the_loop_starts_replicas_ahead_and_lets_them_go_after(cast: Cast) -> None:
    one = chat(cast)
    type_ = one.instance_type
    now = fleet.run(type_, clock.now(), 3)
    Replica.objects.update(ready_at=F("created_at") + timedelta(seconds=20))
    begin = (now + timedelta(hours=2)).replace(second=0, microsecond=0)
    address = f"/api/v1/deployments/{one.id}/schedules"
    body = {
        **BODY,
        "start": f"{begin:%Y-%m-%dT%H:%M}",
        "durationMinutes": 60,
        "recurrence": "FREQ=DAILY",
        "timeZone": "UTC",
    }
    assert cast.admin.api().send("POST", address, body).status_code == 200
    fleet.run(type_, begin - timedelta(seconds=145), 23)
    assert decided(one)[0] == 1
    fleet.tick(type_, begin - timedelta(seconds=29))
    ahead = Decision.objects.order_by("id").last()
    assert ahead is not None
    assert (ahead.wanted, ahead.bound) == (3, "SCHEDULE")
    assert ahead.record["wanted_code"] == 512
    assert rerun(ahead.record).same
    assert ScheduleWindow.objects.get().opened_for == begin
    fleet.tick(type_, begin + timedelta(minutes=59))
    assert decided(one)[0] == 3
    fleet.run(type_, begin + timedelta(minutes=61), 2)
    assert ScheduleWindow.objects.get().opened_for == begin


def test_start_ups_are_measured_once_a_minute_whatever_the_number_of_windows(cast: Cast) -> None:
    one = chat(cast)
    other = fleet.deployment(cast.admin.actor, one.gateways.get(), world.offering(), name="other")
    now = fleet.run(one.instance_type, clock.now(), 3)

    def queries() -> tuple[int, int]:
        """Of a pass: those that read windows, and those that measure start-ups."""
        with CaptureQueriesContext(connection) as found:
            shard_tick(one.instance_type, now)
        asked = [query["sql"] for query in found]
        return sum("schedulewindow s" in sql for sql in asked), sum("percentile_disc" in sql for sql in asked)

    assert queries() == (1, 0), "without a window nobody measures"
    first = timedelta(days=7)
    for deployment in (one, other):
        ScheduleWindow.objects.create(deployment=deployment, first=(now + first).date(), at=now.time(), min=2,
                                      duration=timedelta(hours=1), recurrence="FREQ=DAILY", time_zone="UTC")  # fmt: skip
    now += timedelta(seconds=5)
    assert queries() == (1, 1)
    for _ in range(5):
        now += timedelta(seconds=10)
        assert queries() == (1, 0)
    Replica.objects.update(ready_at=F("created_at") + timedelta(seconds=77))
    now += timedelta(seconds=10)
    assert queries() == (1, 1)
    assert set(loop._startups(one.instance_type, [one.key], now).values()) == {timedelta(seconds=77)}


def decided(one: Deployment) -> tuple[int, str]:
    last = Decision.objects.filter(deployment=one).order_by("-id")[0]
    return last.wanted, last.bound


def test_the_page_previews_a_window_and_stores_it_when_it_is_confirmed(cast: Cast) -> None:
    one = chat(cast)
    browser, address = cast.admin.browser(), f"/deployments/{one.id}/schedules/new"
    assert browser.get(address).status_code == 200
    sent = {"min": "2", "zone": "Europe/Berlin", "start": "2026-12-01T08:00", "hours": "10", "minutes": "0",
            "repeats": "WEEKLY", "interval": "1", "days": ["MO", "FR"], "max": "", "until": ""}  # fmt: skip
    preview = browser.post(address, sent)
    assert "in the next 30 days" in preview.content.decode()
    assert not ScheduleWindow.objects.exists()
    assert not AuditEvent.objects.filter(action__startswith="schedule.").exists()
    assert browser.post(address, {**sent, "min": "9"}).status_code == 422
    assert browser.post(address, {**sent, "confirmed": "1"}).status_code == 302
    row = ScheduleWindow.objects.get()
    assert row.recurrence == "FREQ=WEEKLY;BYDAY=MO,FR"
    page = browser.get(f"/deployments/{one.id}").content.decode()
    assert "min 2" in page
    assert browser.get(f"/deployments/{one.id}/schedules/{row.id}").status_code == 200
    assert cast.viewer.browser().get(address).status_code == 403
    assert browser.post(f"/deployments/{one.id}/schedules/{row.id}/delete").status_code == 302
    assert not ScheduleWindow.objects.exists()
