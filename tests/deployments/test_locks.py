"""What is asked for while somebody else changes the deployment is judged by what it is after that change."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from console.common import clock
from console.common.errors import FailedPrecondition, InvalidArgument
from deployments.core.rules import Autoscaling
from deployments.models import AutoscalingPolicy, Deployment, Hold, HoldKind, ScheduleWindow
from deployments.schedules.services import ScheduleAsked, schedule_create
from deployments.services import autoscaling_update, gateway_delete, hold_create, priorities_set
from tests import fleet, world
from tests.cast import Cast, make_cast
from tests.waiting import meanwhile

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    return make_cast()


@pytest.fixture
def one(cast: Cast) -> Deployment:
    return fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), world.offering(), min=1, max=4)


def bounds(cast: Cast, one: Deployment, low: int, high: int, priority: int = 0) -> Callable[[], Deployment]:
    block = Autoscaling(min=low, max=high, priority=priority)
    return lambda: autoscaling_update(actor=cast.admin.actor, deployment_id=one.id, block=block)


def test_bounds_that_were_there_before_another_change_are_a_change_after_it(cast: Cast, one: Deployment) -> None:
    meanwhile(bounds(cast, one, 3, 4), bounds(cast, one, 1, 4))
    assert AutoscalingPolicy.objects.get(deployment=one).min == 1


def test_a_pin_is_held_against_the_bounds_that_it_waited_for(cast: Cast, one: Deployment) -> None:
    def pin() -> Hold:
        return hold_create(actor=cast.admin.actor, kind=HoldKind.PIN, reason="a test", deployment_id=one.id, size=3)

    refusal = meanwhile(bounds(cast, one, 1, 2), pin)
    assert isinstance(refusal, FailedPrecondition)
    assert refusal.kind == "PIN_OUTSIDE_BOUNDS"
    assert not Hold.objects.exists()


def test_a_schedule_is_held_against_the_bounds_that_it_waited_for(cast: Cast, one: Deployment) -> None:
    def schedule() -> ScheduleWindow:
        start = clock.now().replace(tzinfo=None, second=0, microsecond=0) + timedelta(days=1)
        asked = ScheduleAsked(start, timedelta(hours=1), "FREQ=DAILY", "UTC", min=3)
        return schedule_create(actor=cast.admin.actor, deployment_id=one.id, asked=asked)

    refusal = meanwhile(bounds(cast, one, 1, 2), schedule)
    assert isinstance(refusal, InvalidArgument)
    assert not ScheduleWindow.objects.exists()


def test_a_priority_that_was_changed_while_one_waited_is_not_the_one_seen(cast: Cast, one: Deployment) -> None:
    def prioritise() -> list[Deployment]:
        return priorities_set(actor=cast.admin.actor, deployment_ids=[one.id], priority=7, seen={one.id: 0})

    refusal = meanwhile(bounds(cast, one, 1, 4, priority=5), prioritise)
    assert isinstance(refusal, FailedPrecondition)
    assert refusal.kind == "CHANGED_MEANWHILE"
    assert AutoscalingPolicy.objects.get(deployment=one).priority == 5


def test_a_deployment_does_not_begin_at_a_gateway_that_goes_meanwhile(cast: Cast) -> None:
    actor, of = cast.admin.actor, world.offering()
    at = fleet.gateway(actor)
    refusal = meanwhile(lambda: gateway_delete(actor=actor, gateway_id=at.id), lambda: fleet.deployment(actor, at, of))
    assert isinstance(refusal, InvalidArgument)
    assert not Deployment.objects.exists()
