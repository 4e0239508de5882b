"""Recorded decisions run again: from their rows, and with the pass they were made in."""

import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from console.common import clock
from deployments.core.plan import Bound
from deployments.loop.rollup import roll_up
from deployments.models import Decision, TickRecord
from deployments.replay.again import decision_replay
from deployments.replay.records import ticks_drop
from tests import fleet, world
from tests.cast import Cast

pytestmark = pytest.mark.django_db


def contended(cast: Cast) -> None:
    """Two deployments for one machine of four GPUs, one of which makes the other give way, and passes of both."""
    of = world.offering()
    world.pool(of, 1)
    door = fleet.gateway(cast.admin.actor)
    low = fleet.deployment(cast.admin.actor, door, of, "low", min=1, max=6, concurrency=2)
    fleet.workload(low, scale=2.0)
    now = fleet.run(of.instance_type, clock.now(), 25)
    fleet.deployment(cast.admin.actor, door, of, "high", min=2, max=4, priority=7)
    fleet.run(of.instance_type, now, 8)


def replayed(*args: str) -> tuple[str, int]:
    out = io.StringIO()
    try:
        call_command("replay_decision", *args, stdout=out)
    except SystemExit as ended:
        return out.getvalue(), int(str(ended.code))
    return out.getvalue(), 0


def test_every_decision_of_contended_passes_comes_out_again_whole(cast: Cast) -> None:
    contended(cast)
    decisions = list(Decision.objects.order_by("id"))
    assert {one.bound for one in decisions} >= {"CAPACITY", "PRIORITY"}
    for one in decisions:
        replay = decision_replay(one)
        assert replay.same, replay
        assert replay.compared > 25
        assert replay.whole is not None
        assert replay.whole.compared > 60
    assert any(replay_others(one) for one in decisions)
    _a_difference_is_told(decisions[-1])
    _a_record_that_is_broken_or_gone_is_told(decisions[-1])


def replay_others(one: Decision) -> int:
    replay = decision_replay(one)
    return replay.whole.others if replay.whole else 0


def _a_difference_is_told(one: Decision) -> None:
    text, code = replayed(str(one.id))
    assert code == 0
    assert "agree" in text
    assert "differ" not in text
    kept = dict(one.record)
    one.record = {**kept, "damped_recommended": kept["damped_recommended"] + 1, "granted_bound": int(Bound.ZONE)}
    one.save(update_fields=["record"])
    text, code = replayed(str(one.id), "--json")
    found: dict[str, Any] = json.loads(text)
    assert code == 1
    assert not found["same"]
    assert [row["name"] for row in found["row"]["differences"]] == ["damped_recommended"]
    assert {row["name"] for row in found["pass"]["differences"]} == {"damped_recommended", "granted_bound"}
    one.record = kept
    one.save(update_fields=["record"])


def _a_record_that_is_broken_or_gone_is_told(one: Decision) -> None:
    before = Decision.objects.count()
    tick = TickRecord.objects.get(at=one.at)
    tick.payload = bytes(tick.payload)[:-3]
    tick.save(update_fields=["payload"])
    text, code = replayed(str(one.id))
    assert code == 1
    assert "cannot be read" in text
    tick.delete()
    text, code = replayed(str(one.id))
    assert code == 0
    assert "not recorded" in text
    assert Decision.objects.count() == before
    with pytest.raises(CommandError, match="no decision"):
        replayed("99999999")


def test_what_turned_out_stale_is_run_again_as_it_was_carried_out(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    of = world.offering()
    world.pool(of, 1)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, min=3, max=4)
    monkeypatch.setattr("deployments.loop.apply.gpus_take", lambda *, takes, now: {takes[0].replica_key})
    fleet.tick(of.instance_type)
    decision = Decision.objects.get(deployment=one)
    assert (decision.granted, decision.record["stale"]) == (1, 2)
    replay = decision_replay(decision)
    assert replay.same
    assert replay.whole is not None


def test_a_pass_is_recorded_only_where_a_decision_changed(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 1)
    fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of)
    fleet.run(of.instance_type, clock.now(), 6)
    times = set(Decision.objects.values_list("at", flat=True))
    assert set(TickRecord.objects.values_list("at", flat=True)) == times
    assert len(times) < 6


def test_records_are_kept_for_a_day_and_the_oldest_go_first(cast: Cast) -> None:
    type_, now = world.offering().instance_type, clock.now()
    for hours in (25, 23, 2, 1):
        at = now - timedelta(hours=hours)
        TickRecord.objects.create(instance_type=type_, at=at, decisions=1, bytes=100, payload=b"x" * 100)
    roll_up(now)
    assert TickRecord.objects.count() == 3
    ticks_drop(now=now, most_bytes=200)
    assert [(now - one.at) // timedelta(hours=1) for one in TickRecord.objects.all()] == [1, 2]
