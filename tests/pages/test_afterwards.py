"""History that was made afterwards: labelled wherever it is shown, its progress on the pages, an end to it."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from console.dashboard.afterwards import TEXT
from console.organizations.models import AuditEvent
from deployments.history.chunks import store
from deployments.history.hours import hours_before
from deployments.history.make import Made
from deployments.loop.points import Points, unknown_waits
from deployments.models import Decision, HistoryRun, HistoryState
from tests.cast import Cast
from tests.pages.conftest import Running

pytestmark = pytest.mark.django_db


@pytest.fixture
def past(cast: Cast, running: Running) -> HistoryRun:
    """The two hours before the deployment: the newest is made, with a decision."""
    of = running.deployment
    Decision.objects.update(id=1_000_000)  # as if the ids below had been kept for it
    end = of.created_at.replace(microsecond=0) - timedelta(seconds=of.created_at.second % 5)
    run = HistoryRun.objects.create(
        organization=cast.organization, starts_at=end - timedelta(hours=2), ends_at=end, made_from=end - timedelta(hours=1),
        world={}, first_decision=1, state=HistoryState.WORKING, progress=0.5,
    )  # fmt: skip
    run.deployments.add(of)
    for hour in hours_before(end.timestamp(), run.made_from.timestamp()):
        at = np.arange(int(hour.start), int(hour.end), 5)
        gauges = np.tile(np.array([1.0, 6.0, 3.0, 0.0])[:, None], (len(at), 1, 3))
        points = Points(at, np.ones(len(at), np.int64), gauges, np.full((len(at), 6), 2.0), unknown_waits(len(at)))
        store(Made(hour, {of.key: points}, []), {of.key})
    newest = Decision.objects.filter(deployment=of).latest("id")
    Decision.objects.create(id=17, deployment=of, organization=of.organization, at=end - timedelta(minutes=3),
                            current=2, wanted=3, granted=3, bound="NONE", record=newest.record, made_afterwards=True)  # fmt: skip
    return run


def page(browser: Client, name: str, *args: Any) -> str:
    answer = browser.get(reverse(name, args=args))
    assert answer.status_code == 200
    return answer.content.decode()


def test_charts_reach_back_into_it_and_say_so(cast: Cast, running: Running, past: HistoryRun) -> None:
    browser, of = cast.viewer.browser(), running.deployment
    for name in ("chart-replicas", "chart-queue", "chart-waits"):
        chart = browser.get(reverse(name, args=[of.id]), {"range": "6h"}).json()
        made = chart["made"]
        assert (made["from"], made["to"]) == (past.made_from.timestamp() * 1000, past.ends_at.timestamp() * 1000)
        assert made["text"] == TEXT
        assert chart["from"] == made["from"], "it is shown from there on"
        points = chart["series"][0]["points"]
        assert any(made["from"] <= at < made["to"] for at, _ in points), name


def test_the_fleets_charts_go_back_too(cast: Cast, running: Running, past: HistoryRun) -> None:
    chart = cast.viewer.browser().get(reverse("chart-fleet-replicas")).json()
    assert chart["made"]["to"] == past.ends_at.timestamp() * 1000
    ready = [value for at, value in chart["series"][0]["points"] if at < chart["made"]["to"] - 10_000]
    assert len(ready) > 300
    assert set(ready) == {3.0}


def test_decisions_made_afterwards_carry_a_badge_and_the_others_none(
    cast: Cast, running: Running, past: HistoryRun
) -> None:
    for name, args in (("deployment", [running.deployment.id]), ("overview", [])):
        assert page(cast.viewer.browser(), name, *args).count("made afterwards</span>") == 1
    Decision.objects.filter(made_afterwards=True).delete()
    assert "made afterwards</span>" not in page(cast.viewer.browser(), "overview")


def test_the_newest_decision_stays_that_of_the_live_run(cast: Cast, running: Running, past: HistoryRun) -> None:
    items = cast.viewer.api().get(f"/api/v1/deployments/{running.deployment.id}/decisions").json()["items"]
    assert [one["madeAfterwards"] for one in items] == [False, True]


def test_signals_say_what_was_made_afterwards(cast: Cast, running: Running, past: HistoryRun) -> None:
    address = f"/api/v1/deployments/{running.deployment.id}/signals"
    start = past.ends_at - timedelta(minutes=5)
    items = cast.viewer.api().get(address, {"start": start.isoformat()}).json()["items"]
    made = [one["madeAfterwards"] for one in items]
    assert made[:60] == [True] * 60
    assert not any(made[60:])


def test_progress_is_shown_while_it_is_made_and_ends_by_omission(
    cast: Cast, running: Running, past: HistoryRun
) -> None:
    for name, args in (("overview", []), ("deployment", [running.deployment.id]), ("afterwards", [])):
        text = page(cast.viewer.browser(), name, *args)
        assert "Simulated history is being made" in text
        assert 'value="50"' in text
        assert "Make no more of it" not in text, "a viewer changes nothing"
    HistoryRun.objects.update(state=HistoryState.DONE)
    assert "Simulated history" not in page(cast.viewer.browser(), "afterwards")


def test_one_that_failed_says_so_and_why_to_the_platform(cast: Cast, running: Running, past: HistoryRun) -> None:
    HistoryRun.objects.update(state=HistoryState.FAILED, last_error="RuntimeError: no room on the device")
    assert "could not be made up but for 50 %" in page(cast.admin.browser(), "overview")
    assert "no room" not in page(cast.admin.browser(), "overview")
    assert "no room" in page(cast.platform.browser(), "afterwards")


def test_an_admin_makes_an_end_to_it_once(cast: Cast, running: Running, past: HistoryRun) -> None:
    browser, address = cast.admin.browser(), reverse("afterwards-cancel", args=[past.id])
    assert "Make no more of it" in page(browser, "overview")
    said = browser.post(address, follow=True).content.decode()
    assert "No more history is made" in said
    past.refresh_from_db()
    assert past.state == HistoryState.CANCELLED
    assert "Make no more of it" not in said
    browser.post(address)
    assert AuditEvent.objects.filter(action="history.cancel").count() == 1


def test_others_cannot_end_it(cast: Cast, running: Running, past: HistoryRun) -> None:
    address = reverse("afterwards-cancel", args=[past.id])
    assert cast.viewer.browser().post(address).status_code == 403
    assert cast.outsider.browser().post(address).status_code == 404
    past.refresh_from_db()
    assert past.state == HistoryState.WORKING
    assert not AuditEvent.objects.filter(action="history.cancel").exists()


def test_another_organization_sees_nothing_of_it(cast: Cast, running: Running, past: HistoryRun) -> None:
    assert "Simulated history" not in page(cast.outsider.browser(), "overview")
    assert "made" not in cast.outsider.browser().get(reverse("chart-fleet-replicas")).json()


def test_a_chart_takes_as_many_queries_with_it_as_without(cast: Cast, running: Running, past: HistoryRun) -> None:
    browser, address = cast.viewer.browser(), reverse("chart-replicas", args=[running.deployment.id])

    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            browser.get(address, {"range": "6h"})
        return len(found)

    queries()
    with_it = queries()
    HistoryRun.objects.all().delete()
    assert queries() == with_it


def test_without_a_history_nothing_is_said(cast: Cast, running: Running) -> None:
    assert "made" not in cast.viewer.browser().get(reverse("chart-replicas", args=[running.deployment.id])).json()
