"""R19: what somebody set comes first in the answer, with who, until when and how it ends; and why there are not fewer."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from claims.models import Offering
from console.common import clock
from console.dashboard.templatetags.headroom import change_address
from deployments.core.plan import Bound
from deployments.core.reasons import Reason
from deployments.models import Decision, Deployment, ScheduleWindow
from deployments.replay.past import Then, explanation_at, to_its_end
from deployments.schedules.services import ScheduleAsked, schedule_create
from deployments.services import hold_create, hold_end
from deployments.shortage.load import asked_for, why_not_fewer
from tests import fleet, world
from tests.cast import Cast
from tests.deployments.test_shortage import changes, explained

pytestmark = pytest.mark.django_db


def busy(cast: Cast, of: Offering, **settings: Any) -> tuple[Deployment, datetime]:
    """One that wants more than the four GPUs of the pool, and the time of its next pass."""
    world.pool(of, 1)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor, "US-WEST-04A"), of, min=1, **settings)
    fleet.workload(one, scale=2.0)
    return one, fleet.run(of.instance_type, clock.now(), 30)


def then(one: Deployment, at: datetime) -> Then:
    found = explanation_at(fleet.reread(one), at)
    assert found is not None
    return found


def window(cast: Cast, one: Deployment, most: int) -> ScheduleWindow:
    start = (clock.now() - timedelta(hours=2)).replace(tzinfo=None, second=0, microsecond=0)
    asked = ScheduleAsked(start, timedelta(hours=6), "FREQ=DAILY", "UTC", max=most)
    made = schedule_create(actor=cast.admin.actor, deployment_id=one.id, asked=asked)
    ScheduleWindow.objects.update(created_at=clock.now() - timedelta(hours=2))
    return made


def test_r19_a_freeze_comes_first_where_gpus_are_short_as_well(cast: Cast) -> None:
    of = world.offering()
    one, now = busy(cast, of, max=9)
    freeze = hold_create(actor=cast.admin.actor, kind="FREEZE", reason="an incident", deployment_id=one.id)
    fleet.run(of.instance_type, now, 2)
    found = explained(one)
    assert (found.code, found.bound, found.granted, found.wanted) == (Reason.FROZEN, Bound.HOLD, 4, 9)
    assert found.text.startswith("Held at 9 replicas: frozen by token admin since ")
    assert " 4 of 9 are there: 5 more replicas need 5 GPUs, 1 each." in found.text
    assert found.changes[0].text == "end the freeze by token admin (an incident)"
    assert found.changes[0].id == freeze.id
    assert found.holders, "who holds the GPUs is told as well"
    said = cast.viewer.api().get(f"/api/v1/deployments/{one.id}/explanation").json()
    assert (said["reason"]["code"], said["bound"], said["holds"][0]["id"]) == ("FROZEN", "HOLD", str(freeze.id))
    page = cast.admin.browser().get(f"/deployments/{one.id}/why").content.decode()
    assert f'href="/deployments/{one.id}#holds"' in page


def test_r19_a_freeze_of_the_past_is_told_with_its_record_and_without(cast: Cast) -> None:
    of = world.offering()
    one, now = busy(cast, of, max=9)
    before = Decision.objects.order_by("id").last()
    assert before is not None
    freeze = hold_create(actor=cast.admin.actor, kind="FREEZE", reason="an incident", deployment_id=one.id)
    now = fleet.run(of.instance_type, now, 2)
    hold_end(actor=cast.admin.actor, hold_id=freeze.id)
    freeze.ended_at = now
    freeze.save(update_fields=["ended_at"])
    fleet.run(of.instance_type, now, 2)
    found = then(one, now - timedelta(seconds=1))
    assert found.why is not None
    assert (found.why.code, found.reason, found.bound) == (Reason.FROZEN, Reason.FROZEN, Bound.HOLD)
    Decision.objects.filter(id__gt=before.id).delete()  # as if nothing had been written when it began
    bare = then(one, now - timedelta(seconds=1))
    assert bare.decision.id == before.id
    assert (bare.reason, bare.bound) == (Reason.FROZEN, Bound.HOLD)
    assert bare.told.startswith("Held at 9 replicas: frozen by token admin")
    assert bare.helped == ("hold", "end the freeze by token admin (an incident)")
    assert then(one, now + timedelta(seconds=1)).reason != Reason.FROZEN


def test_r19_a_freeze_that_began_after_the_last_pass_is_told_too(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 1)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of)
    fleet.tick(of.instance_type)
    hold_create(actor=cast.admin.actor, kind="FREEZE", reason="an incident", deployment_id=one.id)
    found = then(one, clock.now())
    assert found.why is not None
    assert found.held.startswith("Held at 1 replica: frozen by token admin")


def test_r19_the_max_of_a_window_is_named_and_changed_where_it_is_set(cast: Cast) -> None:
    of = world.offering()
    one, now = busy(cast, of, max=20)
    top = window(cast, one, 2)
    fleet.run(of.instance_type, now, 8)
    found = explained(one)
    assert (found.code, found.bound, found.wanted) == (Reason.SCHEDULED_MAX, Bound.SCHEDULE, 2)
    assert "made by token admin, allows at most 2 until " in found.text
    assert found.text.endswith("without it, its own max is 20.")
    assert "max" not in changes(found)
    raised, gone = (change for change in found.changes if change.kind == "window")
    assert raised.text.startswith(f"max {found.wishes} instead of 2 in the window ")
    assert (raised.id, raised.values, raised.replicas) == (top.id, {"max": str(found.wishes)}, 2)
    assert (gone.id, gone.replicas) == (top.id, 2)
    address = change_address(raised, one)
    assert address == f"/deployments/{one.id}/schedules/{top.id}?max={found.wishes}"
    assert f'value="{found.wishes}"' in cast.admin.browser().get(address).content.decode()
    assert change_address(gone, one) == f"/deployments/{one.id}#schedules"
    said = cast.viewer.api().get(f"/api/v1/deployments/{one.id}/explanation").json()
    assert [(row["id"], row["max"]) for row in said["windows"]] == [(str(top.id), 2)]


def test_what_keeps_more_than_load_asks_for_is_told_with_its_end(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 4)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, max=9)
    fleet.workload(one, scale=1.0)
    now = fleet.run(of.instance_type, clock.now(), 24)
    fleet.workload_stops(one)
    fleet.run(of.instance_type, now, 16)
    found = explained(one)
    assert found.asks == 0
    assert found.granted > 1
    assert found.text == f"Nothing holds it back: load asks for 0 replicas now, and it has {found.granted}."
    assert f"{found.granted} stay until " in found.fewer
    assert "were asked for within the last 300 s." in found.fewer
    assert (found.queued, found.running) == (0, 0)
    said = cast.viewer.api().get(f"/api/v1/deployments/{one.id}/explanation").json()
    assert said["loadAsksFor"] == 0 or said["loadAsksFor"] is None  # the clock of the API is behind the passes
    past = then(one, now + timedelta(seconds=75))
    assert past.load is not None
    assert past.load.queued == 0


ROW: dict[str, Any] = {
    "damped_code": 402, "damped_recommended": 5, "damped_value": 5, "damped_window_highest": 5, "need_stable": 4,
    "wanted_value": 5, "wanted_code": 500, "min": 1, "scale_down_ms": 300_000, "tolerance_milli": 100,
    "damped_burst_until_ms": 1_790_000_000_000,
}  # fmt: skip


@pytest.mark.parametrize(("changed", "asks", "said"), [
    ({}, 4, "Load asks for 4 now; 5 stay, since that is within 10 % of them."),
    ({"damped_code": 400}, None, ""),
    ({"ahead_need_ahead": 6, "damped_code": 401}, 6, ""),
    ({"damped_code": 408, "damped_recommended": 2, "damped_window_highest": 6}, 2,
     "Load asks for 2 now; 5 stay, since 6 were asked for within the last 300 s."),
    ({"damped_code": 406, "damped_recommended": 3}, 3,
     "Load asks for 3 now; 5 stay while burst mode lasts, until 2026-09-21 14:13:20 UTC at least."),
    ({"damped_code": 407, "damped_recommended": 1, "damped_value": 1, "wanted_code": 501, "wanted_value": 2}, 1,
     "Load asks for 1 now; its min keeps 2."),
    ({"damped_code": 408, "damped_recommended": 1, "damped_value": 2, "wanted_code": 510, "wanted_value": 3}, 1,
     "Load asks for 1 now; 2 stay, since 5 were asked for within the last 300 s; objective mode keeps at least 3."),
    ({"wanted_code": 506}, 4, ""),
])  # fmt: skip
def test_why_not_fewer_says_what_keeps_them(changed: dict[str, int], asks: int | None, said: str) -> None:
    row = {**ROW, **changed}
    assert asked_for(row) == asks
    assert why_not_fewer(row) == said


def test_where_gpus_were_short_a_higher_max_is_not_said_to_have_helped(cast: Cast) -> None:
    of = world.offering()
    one, _ = busy(cast, of, max=6)
    short = Decision.objects.filter(deployment=one, bound="CAPACITY").order_by("id").last()
    assert short is not None
    assert (short.record["wanted_code"], short.granted) == (Reason.AT_MAX, 4)
    found = then(one, short.at)
    assert found.helped is None
    short.wanted = 4
    short.record["granted_code"] = int(Reason.GRANTED)
    short.save(update_fields=["wanted", "record"])
    assert then(one, short.at).helped == ("max", f"max {found.wishes}")


def test_a_time_in_whole_seconds_means_that_second_to_its_end(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 1)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of)
    fleet.tick(of.instance_type, clock.now() - timedelta(minutes=1))
    decision = Decision.objects.get(deployment=one)
    decision.at = decision.at.replace(microsecond=800_000)
    decision.save(update_fields=["at"])
    second, api = f"{decision.at:%Y-%m-%dT%H:%M:%S}", cast.viewer.api()
    for at, reason in ((f"{second}Z", True), (f"{second}.799999Z", False), (f"{second}.8Z", True)):
        said = api.get(f"/api/v1/deployments/{one.id}/explanation?at={at}").json()
        assert (said["reason"] is not None) is reason, at
    browser = cast.viewer.browser()
    assert f"decision {decision.id}" in browser.get(f"/deployments/{one.id}/why?at={second}").content.decode()
    assert "Nothing had been" in browser.get(f"/deployments/{one.id}/why?at={second}.7").content.decode()
    page = browser.get(f"/decisions/{decision.id}").content.decode()
    assert f'href="/deployments/{one.id}/why?at={second}.800000%2B00:00"' in page
    assert to_its_end(decision.at, "10:42:00.8") == decision.at
