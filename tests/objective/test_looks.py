"""When another setting is chosen: daily, and once bounds, start-ups or what comes have changed."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from console.common import clock
from console.loops.models import Loop
from deployments import tasks
from deployments.loop.blocks import Block
from deployments.models import (
    AutoscalingPolicy,
    Deployment,
    DeploymentObjective,
    ObjectiveChoice,
    Replica,
    SignalBlock,
    Trigger,
    Why,
)
from deployments.objective.looks import look_pass
from deployments.objective.selectors import objective_get
from deployments.objective.services import objective_set
from tests import fleet, world
from tests.cast import Cast
from tests.objective.worlds import recorded, started

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


@pytest.fixture
def chat(cast: Cast) -> Deployment:
    """In objective mode, its setting chosen two hours ago under start-ups of 100 s."""
    of = world.offering()
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, max=8, concurrency=8)
    started(one, 100)
    row = objective_set(actor=cast.admin.actor, deployment_id=one.id, share=0.99)
    row.choice = chosen(one)
    row.due = row.due_at = None
    row.save()
    return one


def chosen(one: Deployment, ago: timedelta = 2 * HOUR, **changes: Any) -> ObjectiveChoice:
    fields: dict[str, Any] = {
        "deployment": one, "at": clock.now() - ago, "trigger": Trigger.SET, "why": Why.CHEAPEST, "objective": 0.99,
        "goal": 0.992, "target": 9, "scale_down_delay": timedelta(seconds=900), "changed": True, "slots": 12, "min": 1,
        "max": 8, "gpu_count": 1, "startup": timedelta(seconds=100), "hours": 24,
    }  # fmt: skip
    return ObjectiveChoice.objects.create(**{**fields, **changes})


def sampled(one: Deployment, at: datetime, arrived: int, in_time: int, queued: int = 0) -> None:
    def column(value: int) -> Any:
        return np.array([value])

    block = Block(
        key=column(one.key), queued=column(queued), active=column(0), ready=column(1), starting=column(0),
        arrived=column(arrived), finished=column(arrived), service_seconds=np.array([1.0]),
        waited_le_1s=column(in_time), waited_le_5s=column(in_time),
    )  # fmt: skip
    SignalBlock.objects.create(instance_type=one.instance_type, at=at, payload=block.to_bytes())


def due(one: Deployment) -> Trigger | None:
    look_pass(now=clock.now())
    found = objective_get(one).due
    return None if found is None else Trigger(found)


def test_nothing_is_due_while_nothing_changes(chat: Deployment) -> None:
    assert due(chat) is None
    assert look_pass(now=clock.now()) == 0


@pytest.mark.parametrize(
    ("changes", "trigger"),
    [({"max": 9}, Trigger.POLICY), ({"min": 2}, Trigger.POLICY), ({"slots": 20}, Trigger.POLICY),
     ({"concurrency": 16}, Trigger.POLICY), ({"priority": 5}, None)],
)  # fmt: skip
def test_bounds_and_slots_that_changed_are_chosen_for_anew(
    chat: Deployment, changes: dict[str, int], trigger: Trigger | None
) -> None:
    AutoscalingPolicy.objects.update(**changes)
    assert due(chat) == trigger


def test_start_ups_that_changed_by_a_quarter_are_chosen_for_anew(chat: Deployment) -> None:
    started(chat, 120, times=20)
    assert due(chat) is None
    started(chat, 126, times=60)
    assert due(chat) == Trigger.STARTUP


def test_a_start_up_time_known_at_last_is_chosen_by(chat: Deployment) -> None:
    DeploymentObjective.objects.update(choice=chosen(chat, why=Why.PRESET, lacks="STARTUPS", startup=None))
    assert due(chat) == Trigger.STARTUP


def test_a_day_later_it_is_chosen_anew(chat: Deployment) -> None:
    DeploymentObjective.objects.update(choice=chosen(chat, ago=23 * HOUR))
    assert due(chat) is None
    DeploymentObjective.objects.update(choice=chosen(chat, ago=24 * HOUR))
    assert due(chat) == Trigger.DAILY


@pytest.mark.parametrize(
    ("arrived", "in_time", "queued", "reached", "trigger"),
    [
        (1000, 985, 0, 0.985, Trigger.SHORT),
        (1000, 995, 0, 0.995, None),
        (1000, 990, 8, 990 / 992, None),  # those that still wait have not started
        (90, 10, 0, None, None),  # too few to tell
        (-200, 0, 0, None, None),  # the counter began anew
    ],
)
def test_an_hour_that_falls_short_is_chosen_for_anew(
    chat: Deployment, arrived: int, in_time: int, queued: int, reached: float | None, trigger: Trigger | None
) -> None:
    now = clock.now()
    sampled(chat, now - timedelta(minutes=90), 0, 0)
    sampled(chat, now - timedelta(minutes=59), 5000, 4000)
    sampled(chat, now - timedelta(minutes=30), 5100, 4020)
    sampled(chat, now - timedelta(seconds=5), 5000 + arrived, 4000 + in_time, queued)
    assert due(chat) == trigger
    assert objective_get(chat).reached == (None if reached is None else pytest.approx(reached))


def test_it_is_not_chosen_anew_every_minute_while_it_falls_short(chat: Deployment) -> None:
    DeploymentObjective.objects.update(choice=chosen(chat, ago=timedelta(minutes=50)))
    sampled(chat, clock.now() - timedelta(minutes=50), 0, 0)
    sampled(chat, clock.now(), 1000, 500)
    assert due(chat) is None


def test_a_preset_is_left_once_enough_is_seen(chat: Deployment) -> None:
    DeploymentObjective.objects.update(choice=chosen(chat, why=Why.PRESET))
    assert due(chat) is None
    recorded(chat, 13)
    assert due(chat) == Trigger.ENOUGH


def test_the_ceiling_follows_prices_and_the_floor_the_last_day(cast: Cast, chat: Deployment) -> None:
    recorded(chat, 3, per_s=6.0, ran_s=6.0)  # 36 in flight: three replicas with all slots in use
    DeploymentObjective.objects.update(price_ceiling=Decimal("31.50"), ceiling=99, floor_share=1.5, floor=1)
    DeploymentObjective.objects.update(choice=chosen(chat, max=3))
    assert due(chat) is None
    row = objective_get(chat)
    assert row.ceiling == 3, "10.50 USD each"
    assert row.floor == 3, "1.5 times three, and no more than the ceiling pays for"


def test_the_preset_keeps_more_of_what_was_needed_the_longer_a_start_up_takes(cast: Cast, chat: Deployment) -> None:
    recorded(chat, 3, per_s=14.0, ran_s=6.0)  # 84 in flight: seven replicas with all slots in use
    DeploymentObjective.objects.update(choice=None)
    look_pass(now=clock.now())
    row = objective_get(chat)
    assert (row.floor_share, row.floor) == (0.1, 1), "replicas started within 100 s"
    Replica.objects.all().delete()
    started(chat, 700)
    look_pass(now=clock.now())
    row = objective_get(chat)
    assert (row.floor_share, row.floor) == (0.7, 5), "of seven, rounded up"
    DeploymentObjective.objects.update(floor=1)
    soon = clock.now() + timedelta(minutes=10)
    look_pass(now=soon)
    assert objective_get(chat).floor == 5, "every ten minutes"
    DeploymentObjective.objects.update(choice=chosen(chat), floor_share=0.0, floor=0)
    look_pass(now=soon + timedelta(minutes=10))
    assert objective_get(chat).floor == 0, "what was chosen has none"


def test_w4_it_is_looked_once_a_minute_and_in_few_queries(cast: Cast, chat: Deployment) -> None:
    tasks.objectives()
    tasks.objectives()
    assert Loop.objects.get(name="objectives").passes == 1
    with CaptureQueriesContext(
        connection,
    ) as one:
        look_pass(now=clock.now())
    other = fleet.deployment(cast.admin.actor, chat.gateways.get(), world.offering(), name="two", max=8, concurrency=8)
    row = objective_set(actor=cast.admin.actor, deployment_id=other.id, share=0.99)
    DeploymentObjective.objects.filter(pk=row.pk).update(choice=chosen(other), due=None, due_at=None)
    with CaptureQueriesContext(connection) as two:
        look_pass(now=clock.now())
    assert len(two) == len(one) + 1, "one UPDATE each"
