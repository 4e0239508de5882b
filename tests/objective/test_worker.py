"""The worker on recorded demand: it replays, chooses, stores once, and the scaling loop goes by what was chosen."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from console.common import clock
from console.common.errors import NotFound
from console.common.leases import LeaseLost
from deployments import tasks
from deployments.backtest.portfolio import Setting
from deployments.core import explain
from deployments.core.objective import Choice, Chosen
from deployments.loop.points import Points
from deployments.models import Decision, Deployment, DeploymentObjective, ObjectiveChoice, SignalChunk, Trigger
from deployments.objective import looks, work
from deployments.objective.demand import MOST_REQUESTS, came, demand_of
from deployments.objective.replay import Found, Terms
from deployments.objective.selectors import choices_of, objective_get, objective_of
from deployments.objective.services import objective_clear, objective_set
from tests import fleet, world
from tests.cast import Cast, make_cast
from tests.objective.worlds import recorded, started

HOURS = 3  # that are recorded; the first is not chosen by


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hours are enough to choose by."""
    monkeypatch.setattr(work, "KNOWN", 2)


def deployment(cast: Cast, **changes: Any) -> Deployment:
    of = world.offering()
    world.pool(of, 3)
    return fleet.deployment(
        cast.admin.actor, fleet.gateway(cast.admin.actor), of, **{"max": 8, "concurrency": 8, **changes}
    )


def wanted(cast: Cast, one: Deployment, share: float = 0.99) -> None:
    objective_set(actor=cast.admin.actor, deployment_id=one.id, share=share)


class Replays:
    """In the place of the replay: what it would have found, and what happens meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, why: Choice = Choice.CHEAPEST, **meanwhile: Any) -> None:
        self.made, self.meanwhile, self.why = 0, meanwhile.get("meanwhile", lambda: None), why
        monkeypatch.setattr(work, "_replayed", self)

    def __call__(self, row: DeploymentObjective, demand: Any, terms: Terms, real: Any) -> tuple[Found, list[Any]]:
        self.made += 1
        self.meanwhile()
        chosen = Chosen(self.why, 3, 0.992, 0.995)
        return Found(chosen, Setting(9, 900.0), 0, demand.hours, len(demand.arrivals), (0.994, 40.0), None), []


@pytest.mark.django_db(transaction=True)
def test_the_loop_goes_by_what_was_chosen_from_recorded_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the rows of signals to the decisions of the loop, nothing in between replaced."""
    cast = make_cast()
    one = deployment(cast)
    recorded(one, HOURS, ran_s=11)  # a load that the preset keeps 4 for and others 3, however requests are drawn
    started(one, 30, times=3)
    wanted(cast, one)
    locked: list[bool] = []
    beat = work._beat

    def watched(row: DeploymentObjective, hours: int) -> Callable[[float], None]:
        def beats(done: float) -> None:
            locked.append(connection.in_atomic_block)
            beat(row, hours)(done)

        return beats

    monkeypatch.setattr(work, "_beat", watched)
    tasks.objectives()
    tasks.objective_choose()
    assert len(locked) >= HOURS
    assert not any(locked), "no transaction is open while it replays"
    (made,) = choices_of(one, 10)
    assert (made.trigger, made.why, made.changed) == (Trigger.SET, Choice.CHEAPEST, True)
    assert (made.hours, made.startup, made.slots, made.min, made.max) == (HOURS, timedelta(seconds=30), 12, 1, 8)
    assert made.requests == pytest.approx(HOURS * 7200, rel=0.05)
    assert made.share is not None
    assert made.share >= made.goal == pytest.approx(0.992)
    assert made.expected_gpu_hours is not None
    assert made.before_gpu_hours is not None
    assert made.expected_gpu_hours < made.before_gpu_hours, "the preset was gone by until then"
    row = objective_get(one)
    assert (row.target, row.scale_down_delay, row.choice) == (made.target, made.scale_down_delay, made)
    assert (row.due, row.lease, row.attempts) == (None, None, 0)
    fleet.workload(one, 0.3)
    fleet.run(one.instance_type, clock.now(), 16)
    record = Decision.objects.latest("id").record
    assert (record["concurrency"], record["slots"]) == (made.target, made.slots)
    assert record["ahead_milli"] == round(1000 * made.ahead) > 0
    assert record["scale_down_ms"] == made.scale_down_delay.total_seconds() * 1000
    assert explain.rerun(record).same
    tasks.objective_choose()
    assert ObjectiveChoice.objects.count() == 1, "nothing is due"


@pytest.mark.django_db
def test_w4_one_that_is_being_chosen_for_is_left_alone(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    one = deployment(cast)
    recorded(one, HOURS)
    started(one, 30)
    wanted(cast, one)
    replays = Replays(monkeypatch, meanwhile=lambda: seen.append(work.choose_pass(now=clock.now())))
    seen: list[bool] = []
    assert work.choose_pass(now=clock.now())
    assert (seen, replays.made, ObjectiveChoice.objects.count()) == ([False], 1, 1)


@pytest.mark.django_db
def test_w4_a_worker_that_was_taken_for_dead_stores_nothing(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    one = deployment(cast)
    recorded(one, HOURS)
    started(one, 30)
    wanted(cast, one)

    def overtaken() -> None:
        if replays.made == 1:
            DeploymentObjective.objects.update(leased_until=clock.now())
            assert work.choose_pass(now=clock.now())

    replays = Replays(monkeypatch, meanwhile=overtaken)
    assert work.choose_pass(now=clock.now())
    assert (replays.made, ObjectiveChoice.objects.count()) == (2, 1)
    assert objective_get(one).due is None


@pytest.mark.django_db
@pytest.mark.parametrize("change", ["set anew", "cleared", "deleted"])
def test_what_is_chosen_for_an_objective_that_is_gone_is_dropped(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    one = deployment(cast)
    recorded(one, HOURS)
    started(one, 30)
    wanted(cast, one)

    def meanwhile() -> None:
        if change == "set anew":
            wanted(cast, one, share=0.95)
        elif change == "cleared":
            objective_clear(actor=cast.admin.actor, deployment_id=one.id)
        else:
            DeploymentObjective.objects.all().delete()

    Replays(monkeypatch, meanwhile=meanwhile)
    work.choose_pass(now=clock.now())
    assert not ObjectiveChoice.objects.exists()
    left = objective_of(one)
    assert left is None or (left.share, left.due, left.target) == (0.95, Trigger.SET, 12)


@pytest.mark.django_db
def test_one_that_fails_is_tried_again_later_and_says_why(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    one = deployment(cast)
    recorded(one, HOURS)
    started(one, 30)
    wanted(cast, one)

    def broken() -> None:
        raise RuntimeError("out of memory")

    Replays(monkeypatch, meanwhile=broken)
    with pytest.raises(RuntimeError):
        work.choose_pass(now=clock.now())
    row = objective_get(one)
    assert (row.due, row.attempts, row.last_error) == (Trigger.SET, 1, "RuntimeError: out of memory")
    assert not work.choose_pass(now=clock.now())
    Replays(monkeypatch)
    assert work.choose_pass(now=clock.now() + timedelta(minutes=3))
    assert objective_get(one).last_error == ""


@pytest.mark.django_db
def test_before_enough_is_seen_the_preset_stays_and_nothing_is_replayed(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, replays = deployment(cast), Replays(monkeypatch)
    started(one, 30)
    wanted(cast, one)
    assert work.choose_pass(now=clock.now())
    row = objective_get(one)
    assert (row.choice, row.due, row.lease, replays.made) == (None, Trigger.SET, None, 0)
    assert row.due_at is not None
    assert row.due_at - clock.now() > timedelta(minutes=50), "it is looked again in an hour"


@pytest.mark.django_db
@pytest.mark.parametrize("lacks", ["STARTUPS", "COUNTERS"])
def test_what_cannot_be_replayed_is_said_and_sized_by_the_preset(cast: Cast, lacks: str) -> None:
    one = deployment(cast)
    recorded(one, HOURS, in_time=1.0)
    if lacks == "COUNTERS":
        started(one, 30)
        for chunk in SignalChunk.objects.all():
            points = Points.from_bytes(chunk.payload)
            nothing = Points(points.at, points.samples, points.gauges, points.counters * float("nan"), points.waits)
            SignalChunk.objects.filter(pk=chunk.pk).update(payload=nothing.to_bytes())
    wanted(cast, one)
    assert work.choose_pass(now=clock.now())
    (made,) = choices_of(one, 10)
    assert (made.why, made.lacks, made.target, made.share) == (Choice.PRESET, lacks, 12, None)


@pytest.mark.django_db
def test_demand_is_that_which_was_counted_and_the_newest_that_fits(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    one = deployment(cast)
    end = recorded(one, 3, per_s=2.0, in_time=0.97)
    found = demand_of(one, end + timedelta(minutes=1))
    counted = sum(int(Points.from_bytes(row.payload).counters[:, 0].sum()) for row in SignalChunk.objects.all())
    assert (found.hours, len(found.arrivals)) == (3, counted)
    assert found.services.mean() == pytest.approx(4.0, rel=0.1)
    assert len(found.last(1).arrivals) == pytest.approx(counted / 3, rel=0.1)
    real = came(one, end - timedelta(hours=3), end)
    assert real.share == pytest.approx(0.97, abs=1e-3)
    assert real.gpu_hours == pytest.approx(2 * 24)
    assert came(one, end - timedelta(minutes=30), end).share is None, "half an hour says too little"
    assert counted < MOST_REQUESTS
    monkeypatch.setattr("deployments.objective.demand.MOST_REQUESTS", counted // 2)
    assert demand_of(one, end + timedelta(minutes=1)).hours == 1


@pytest.mark.django_db
def test_a_replay_that_would_take_too_long_is_cut_to_the_newest_hours_that_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(work, "LONGEST", timedelta(0))
    row = DeploymentObjective(pk=1, lease="0198c0de-0000-7000-8000-000000000000")
    monkeypatch.setattr(work, "SHORTEST_HOURS", 0)
    with pytest.raises(work.TooSlow) as slow:
        work._beat(row, 100)(0.01)
    assert slow.value.hours == 0
    with pytest.raises(LeaseLost):
        work._beat(row, 0)(0.01)


@pytest.mark.django_db
def test_nobody_else_sees_it(cast: Cast) -> None:
    one = deployment(cast)
    with pytest.raises(NotFound):
        objective_get(one)
    assert looks.look_pass(now=clock.now()) == 0
