"""The scaling loop goes by what objective mode chose: target, delay, floor and ceiling, within min and max."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from console.common import clock
from deployments.core import explain
from deployments.core.params import NO_BURSTS, Params
from deployments.core.planner import plan
from deployments.core.reasons import SENTENCES, Reason
from deployments.core.record import decision_record
from deployments.core.snapshot import Deployments, Instances, Offerings, Parts, Replicas, Signals, Snapshot
from deployments.loop.sampling import targets_of
from deployments.loop.snapshot import read_shard
from deployments.loop.tick import PARAMS
from deployments.models import Deployment, DeploymentObjective, Replica
from deployments.objective.services import objective_clear, objective_set
from tests import fleet, world
from tests.cast import Cast


def decided(in_flight: float, **columns: Any) -> dict[str, Any]:
    """The decision on one deployment of min 2 and max 10 with eight requests a replica, after a window of that load."""
    given = {"min": 2, "max": 10, "ahead": 0.0, **columns}
    table = Deployments.build(key=[1], org=[1], **{name: [value] for name, value in given.items()})
    at = np.arange(0.0, 125.0, 5.0)
    load = np.full((len(at), 1), in_flight)
    signals = Signals(at, np.where(np.isnan(load), load, 0), load)
    empty = Offerings(np.zeros(0, np.int64), (), np.zeros(0, np.int32))
    snapshot = Snapshot(table, signals, Replicas.none(), Instances.none(), empty, parts=Parts.none())
    row = decision_record(plan(snapshot, Params(), 120.0), snapshot, 0)
    assert explain.rerun(row).same
    bounds = explain.steps(row)[3]
    return {"wanted": row["wanted_value"], "code": bounds["code"], "text": bounds["text"]}


@pytest.mark.parametrize(
    ("in_flight", "columns", "wanted", "code"),
    [
        (20, {}, 3, "WITHIN_BOUNDS"),
        (20, {"floor": 5}, 5, "OBJECTIVE_FLOOR"),
        (20, {"floor": 2}, 3, "WITHIN_BOUNDS"),
        (1, {"floor": 1}, 2, "AT_MIN"),
        (20, {"floor": 50}, 10, "OBJECTIVE_FLOOR"),
        (20, {"floor": 5, "ceiling": 4}, 4, "OBJECTIVE_FLOOR"),
        (60, {"ceiling": 4}, 4, "PRICE_CEILING"),
        (60, {"ceiling": 1}, 2, "PRICE_CEILING"),
        (200, {"ceiling": 10}, 10, "AT_MAX"),
        (200, {"ceiling": 50}, 10, "AT_MAX"),
        (60, {"pin": 9, "ceiling": 4}, 4, "PINNED"),
        (20, {"pin": 3, "floor": 5}, 3, "PINNED"),
        (60, {"enabled": False, "ceiling": 4}, 0, "DISABLED"),
    ],
)
def test_r3_floor_and_ceiling_of_an_objective_lie_within_min_and_max(
    in_flight: float, columns: dict[str, Any], wanted: int, code: str
) -> None:
    found = decided(in_flight, **columns)
    assert (found["wanted"], found["code"]) == (wanted, code)
    assert "?" not in found["text"]


def test_r5_a_floor_moves_nothing_while_no_load_is_known() -> None:
    assert decided(np.nan, floor=5) == {"wanted": 2, "code": "HELD", "text": "The size is held at 2."}


def test_old_decisions_without_floor_and_ceiling_are_read_and_run_again() -> None:
    table = Deployments.build(key=[1], org=[1], min=[2], max=[10])
    snapshot = Snapshot(table, Signals.none(1), Replicas.none(), Instances.none(),
                        Offerings(np.zeros(0, np.int64), (), np.zeros(0, np.int32)), parts=Parts.none())  # fmt: skip
    row = decision_record(plan(snapshot, Params(), 120.0), snapshot, 0)
    old = {name: value for name, value in row.items() if name not in ("floor", "ceiling")}
    assert explain.rerun(old).same
    assert explain.steps(old) == explain.steps(row)


def test_every_reason_has_its_sentence() -> None:
    assert set(SENTENCES) == set(Reason)


@pytest.fixture
def chat(cast: Cast) -> Deployment:
    of = world.offering()
    world.pool(of, 3)
    return fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, max=8, concurrency=8)


def column(chat: Deployment, name: str) -> float:
    return float(getattr(read_shard(chat.instance_type, PARAMS, clock.now()).snapshot.deployments, name)[0])


@pytest.mark.django_db
def test_the_shard_is_read_with_what_was_chosen_and_by_hand_again_afterwards(cast: Cast, chat: Deployment) -> None:
    names = ("concurrency", "scale_down_s", "floor", "ceiling", "min", "max", "ahead", "slots")
    by_hand = [column(chat, name) for name in names]
    objective_set(actor=cast.admin.actor, deployment_id=chat.id, share=0.99)
    DeploymentObjective.objects.update(
        target=11, scale_down_delay=timedelta(seconds=900), floor=3, ceiling=5, ahead=0.9
    )
    assert [column(chat, name) for name in names] == [11, 900, 3, 5, 1, 8, 0.9, 11]
    assert column(chat, "burst_factor") == NO_BURSTS
    objective_clear(actor=cast.admin.actor, deployment_id=chat.id)
    assert np.array_equal([column(chat, name) for name in names], by_hand, equal_nan=True)


@pytest.mark.django_db
def test_r10_another_setting_rolls_no_replica_and_leaves_slots_alone(cast: Cast, chat: Deployment) -> None:
    slots = [target.slots for target in targets_of(chat.instance_type)]
    fleet.workload(chat, 0.3)
    objective_set(actor=cast.admin.actor, deployment_id=chat.id, share=0.99)
    now = fleet.run(chat.instance_type, clock.now(), 3)
    before = set(Replica.objects.values_list("key", "revision"))
    assert before
    DeploymentObjective.objects.update(target=4, floor=3, ahead=0)
    fleet.run(chat.instance_type, now, 16)
    after = Replica.objects.filter(stopped_at__isnull=True)
    assert before <= set(after.values_list("key", "revision")), "none of those that ran was replaced"
    assert len(after) == 3, "the floor"
    assert [target.slots for target in targets_of(chat.instance_type)] == slots
    assert fleet.reread(chat).revision == 1
