"""What every node backend keeps to, whatever world it talks to."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, timedelta

import pytest
from django.conf import settings

from claims.backends.base import NodeBackend, NodeState, node_backend
from claims.backends.simulated import QUICKEST_S, SLOWEST_S, SimulatedNodeBackend, join_seconds
from claims.models import SimulatedNode
from console.common import clock
from tests import world

pytestmark = pytest.mark.django_db


@dataclass(frozen=True)
class Implementation:
    """A backend, and how to make its world move on: machines arrive and leave, or vanish."""

    backend: NodeBackend
    time_passes: Callable[[], None]
    vanish: Callable[[int], None]


def simulated() -> Implementation:
    return Implementation(
        SimulatedNodeBackend(),
        world.nodes_arrive,
        lambda key: (SimulatedNode.objects.filter(instance_key=key).delete(), None)[1],
    )


@pytest.fixture(params=[simulated], ids=lambda make: make.__name__)
def one(request: pytest.FixtureRequest) -> Implementation:
    made: Implementation = request.param()
    return made


def test_a_machine_joins_after_it_was_asked_for_and_not_before(one: Implementation) -> None:
    asked_at = clock.now()
    expected = one.backend.join(7)
    assert expected is None or (expected > asked_at and expected.tzinfo is not None)
    assert one.backend.observe([7])[7].state == NodeState.JOINING, (
        "known at once, since what is left out counts as gone"
    )
    one.time_passes()
    assert one.backend.observe([7])[7].state == NodeState.READY
    assert one.backend.observe([7])[7].state == NodeState.READY, "looking changes nothing"


def test_asking_again_asks_for_nothing_more(one: Implementation) -> None:
    assert one.backend.join(7) == one.backend.join(7)
    assert list(one.backend.nodes()) == [7]
    one.time_passes()
    one.backend.join(7)
    assert one.backend.observe([7])[7].state == NodeState.READY
    assert list(one.backend.nodes()) == [7]


def test_a_machine_leaves_in_time_and_stays_away(one: Implementation) -> None:
    one.backend.join(7)
    one.backend.join(8)
    one.time_passes()
    gone = one.backend.leave(7)
    assert list(one.backend.nodes()) == [8], "what was asked to leave is no longer ours"
    one.time_passes()
    assert gone or one.backend.leave(7)
    assert one.backend.leave(7), "asking again says the same"
    assert one.backend.observe([7, 8]).get(7) is None or one.backend.observe([7])[7].state == NodeState.GONE
    assert one.backend.observe([8])[8].state == NodeState.READY


def test_a_machine_that_is_still_joining_can_be_taken_away(one: Implementation) -> None:
    one.backend.join(7)
    one.backend.leave(7)
    one.time_passes()
    assert one.backend.leave(7)
    assert list(one.backend.nodes()) == []


def test_what_was_never_there_is_gone(one: Implementation) -> None:
    assert one.backend.leave(99)
    assert 99 not in one.backend.observe([99]) or one.backend.observe([99])[99].state == NodeState.GONE
    assert one.backend.observe([]) == {}


def test_adopted_machines_stand_in_the_cluster_and_adopting_again_changes_nothing(one: Implementation) -> None:
    for _ in range(2):
        one.backend.adopt([3, 4], clock.now())
    assert {key: seen.state for key, seen in one.backend.observe([3, 4]).items()} == {3: "READY", 4: "READY"}
    assert sorted(one.backend.nodes()) == [3, 4]


def test_a_machine_that_vanished_is_not_seen(one: Implementation) -> None:
    one.backend.adopt([3, 4], clock.now())
    one.vanish(3)
    assert list(one.backend.nodes()) == [4]
    assert 3 not in one.backend.observe([3, 4]) or one.backend.observe([3])[3].state == NodeState.GONE
    assert one.backend.leave(3)


# --- the simulated one alone -----------------------------------------------------------------------
def test_simulated_machines_take_ten_to_twenty_minutes_divided_by_the_speed() -> None:
    times = [join_seconds(key) for key in range(2000)]
    assert QUICKEST_S <= min(times) < QUICKEST_S + 10
    assert SLOWEST_S - 10 < max(times) <= SLOWEST_S
    assert join_seconds(5) == join_seconds(5)
    before = clock.now()
    expected = SimulatedNodeBackend().join(5)
    assert expected is not None
    wanted = timedelta(seconds=join_seconds(5) / settings.SIM_SPEED)
    assert timedelta(0) <= expected.astimezone(UTC) - before - wanted < timedelta(seconds=5)


def test_the_settings_name_the_backend() -> None:
    assert isinstance(node_backend(), SimulatedNodeBackend)
    assert node_backend() is node_backend()
