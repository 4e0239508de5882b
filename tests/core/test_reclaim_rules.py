"""R12 and R13: lower priorities make room, on shards small enough to read."""

from dataclasses import replace
from typing import Any

import pytest

from deployments.core.autoscaler_state import Kept
from deployments.core.plan import Bound, Plan
from deployments.core.reasons import Reason
from deployments.core.snapshot import CapacityClass, InstanceState, Parts, Snapshot
from tests.core.fleet import (
    DRAINING,
    NOW,
    STARTING,
    decide,
    deployments,
    instances,
    offerings,
    replicas,
    seen,
    shard,
    steady,
)

FULL = {"org": 1, "gpus_used": 8}
HIGH = {"priority": 9}


def stopped(answer: Plan) -> dict[int, Reason]:
    return {row: Reason(code) for row, code in zip(answer.stops.replica, answer.stops.code, strict=True)}


def on(*places: int, deployment: int = 1, **more: Any) -> list[dict[str, Any]]:
    """A replica of one GPU on each of these instances."""
    return [{"deployment": deployment, "instance": place, **more} for place in places]


def delayed(before: Snapshot, highest: int, deployment: int = 1) -> Snapshot:
    """As if so many replicas of the deployment had been recommended a while ago."""
    before = seen(before)
    before.state.memory.highest[deployment, :] = highest
    before.state.memory.wanted[deployment] = highest
    return before


# R13


def lacking(low: dict[str, Any], *have: dict[str, Any], high: dict[str, Any] | None = None, **more: Any) -> Plan:
    """Deployment 0 (priority 9, min 1) has nothing; deployment 1 needs all it has, on one full instance."""
    fleet = deployments({**HIGH, **(high or {})}, low)
    loads = [8, 8 * len([row for row in have if row["deployment"] == 1])]
    machines = more.get("machines", instances({**FULL, "gpus": len(have), "gpus_used": len(have)}))
    return decide(seen(shard(fleet, steady(loads), replicas(*have), machines, offerings(8))))


def test_r13_what_is_above_its_min_makes_room_for_the_min_of_a_higher_priority() -> None:
    answer = lacking({}, *on(0, 0, 0, 0))
    assert stopped(answer) == {3: Reason.STOP_RECLAIMED}
    assert answer.granted.value.tolist() == [0, 3]
    assert answer.granted.code.tolist() == [Reason.WAITS_FOR_RELEASE, Reason.RECLAIMED]
    assert answer.granted.bound.tolist() == [Bound.CAPACITY, Bound.PRIORITY]
    assert answer.granted.other.tolist() == [2, 1]
    assert answer.granted.coming.tolist() == [1, 0]
    assert answer.granted.missing_gpus.tolist() == [1, 1]


@pytest.mark.parametrize(
    "low",
    [
        {"min": 4},
        {"priority": 9},
        {"priority": 10},
        {"org": 2},
        {"freeze": True},
        {"pin": 4},
        {"shadow": True},
    ],
)
def test_r13_nothing_goes_that_is_within_its_min_as_important_held_or_of_another_organization(
    low: dict[str, Any],
) -> None:
    machines = instances({**FULL, "gpus": 4, "gpus_used": 4, "org": low.get("org", 1)})
    answer = lacking(low, *on(0, 0, 0, 0), machines=machines)
    assert stopped(answer) == {}
    assert answer.granted.code[0] == Reason.POOL_EXHAUSTED


def test_r13_nothing_goes_for_growth() -> None:
    fleet = deployments(HIGH, {})
    have = replicas({"deployment": 0, "instance": 0}, *on(0, 0, 0))
    machines = instances({"org": 1, "gpus": 4, "gpus_used": 4})
    answer = decide(seen(shard(fleet, steady([80, 24]), have, machines, offerings(4))))
    assert stopped(answer) == {}


def test_r13_a_set_that_frees_no_usable_place_is_no_victim_set() -> None:
    machines = instances({"org": 1, "gpus_used": 8, "gpus": 8}, {"org": 1, "gpus_used": 2})
    spread = [*on(0, 1, 1), {"deployment": 2, "instance": 0, "gpus": 7}]
    fleet = deployments({**HIGH, "gpu_count": 8}, {}, {"priority": 20, "gpu_count": 7})
    answer = decide(seen(shard(fleet, steady([8, 24, 8]), replicas(*spread), machines)))
    assert stopped(answer) == {1: Reason.STOP_RECLAIMED, 2: Reason.STOP_RECLAIMED}
    none = deployments({**HIGH, "gpu_count": 8}, {"min": 2}, {"priority": 20, "gpu_count": 7})
    assert stopped(decide(seen(shard(none, steady([8, 24, 8]), replicas(*spread), machines)))) == {}


def test_r13_of_the_victims_none_could_stay() -> None:
    """By R18 the small one goes before the large one, which then suffices alone."""
    machines = instances({"org": 1, "gpus": 5, "gpus_used": 5})
    fleet = deployments({**HIGH, "gpu_count": 4}, {}, {"gpu_count": 4})
    have = [
        {"deployment": 1, "instance": 0, "key": 9, "active": 0},
        {"deployment": 1, "instance": -1, "key": 8, "active": 9},
        {"deployment": 2, "instance": 0, "key": 7, "gpus": 4, "active": 5},
        {"deployment": 2, "instance": -1, "key": 6, "gpus": 4, "active": 9},
    ]
    answer = decide(seen(shard(fleet, steady([8, 16, 16]), replicas(*have), machines, offerings(5))))
    assert stopped(answer) == {2: Reason.STOP_RECLAIMED}


def test_r13_nobody_goes_for_one_whose_room_is_left_over_from_what_goes_for_the_next() -> None:
    """The small one would do for 0; but of the large one that has to go for 1, enough is left for 0 as well."""
    fleet = deployments(HIGH, {"priority": 8, "gpu_count": 4}, {"priority": 0}, {"priority": 1, "gpu_count": 8})
    have = replicas(
        *on(0, -1, deployment=2, gpus=1), {"deployment": 3, "instance": 1, "gpus": 8}, *on(-1, deployment=3, gpus=8)
    )
    machines = instances({"org": 1, "gpus": 8, "gpus_used": 8}, {**FULL})
    answer = decide(seen(shard(fleet, steady([8, 8, 16, 16]), have, machines)))
    assert stopped(answer) == {2: Reason.STOP_RECLAIMED}
    assert answer.granted.coming.tolist() == [1, 1, 0, 0]


def test_r13_a_pair_on_one_instance_frees_what_it_holds_and_no_more() -> None:
    have = (
        {"deployment": 1, "instance": 0, "gpus": 2},
        {"deployment": 1, "instance": 0, "gpus": 2, "state": STARTING, "replaces": 0, "revision": 2},
        *on(-1, -1, gpus=2, revision=2),
    )
    machines = instances({"org": 1, "gpus": 8, "gpus_used": 8})
    low = {"gpu_count": 2, "revision": 2}
    enough = lacking(low, *have, high={"gpu_count": 4}, machines=machines)
    assert stopped(enough) == {0: Reason.STOP_RECLAIMED, 1: Reason.STOP_NOT_READY}
    assert stopped(lacking(low, *have, high={"gpu_count": 8}, machines=machines)) == {}


def test_r13_the_lowest_priority_goes_first_then_the_order_of_r18() -> None:
    fleet = deployments(HIGH, {"priority": 5}, {"priority": 2}, {"priority": 2})
    have = [*on(0, 0), *on(0, 0, deployment=2, active=3), *on(0, 0, deployment=3, active=4)]
    have[4]["active"] = 1
    machines = instances({"org": 1, "gpus": 6, "gpus_used": 6})
    answer = decide(seen(shard(fleet, steady([8, 16, 16, 16]), replicas(*have), machines, offerings(6))))
    assert stopped(answer) == {4: Reason.STOP_RECLAIMED}


def test_r13_what_is_not_ready_goes_before_what_serves() -> None:
    have = on(0, 0, 0)
    have[0]["state"] = STARTING
    assert stopped(lacking({}, *have)) == {0: Reason.STOP_RECLAIMED}


def test_r13_what_drains_already_counts_first() -> None:
    have = [*on(0, 0, 0), *on(0, state=DRAINING)]
    answer = lacking({}, *have)
    assert stopped(answer) == {}
    two = lacking({}, *have, high={"min": 2})
    assert stopped(two) == {2: Reason.STOP_RECLAIMED}
    assert two.granted.coming[0] == 2


def test_r13_what_shrinks_in_the_same_pass_counts_too() -> None:
    fleet = deployments(HIGH, {"max": 2}, {})
    have = [*on(0, 0, 0), *on(0, 0, deployment=2)]
    machines = instances({"org": 1, "gpus": 5, "gpus_used": 5})
    answer = decide(seen(shard(fleet, steady([8, 80, 16]), replicas(*have), machines, offerings(5))))
    assert stopped(answer) == {2: Reason.STOP_ON_DEMAND}


@pytest.mark.parametrize(
    ("high", "machine"),
    [
        ({"zones": 2}, {}),
        ({"class_order": (CapacityClass.RESERVED, CapacityClass.NONE)}, {}),
        ({"class_order": (CapacityClass.ON_DEMAND, CapacityClass.NONE)}, {"claim": 7}),
        ({"avoid": 0}, {}),
        ({}, {"held": True}),
        ({}, {"state": InstanceState.OTHER}),
    ],
)
def test_r13_only_gpus_that_it_could_really_use_are_reclaimed(high: dict[str, Any], machine: dict[str, Any]) -> None:
    machines = instances({"org": 1, "gpus": 4, "gpus_used": 4, **machine}, {"claim": 8, "org": 1, "gpus_used": 8})
    answer = lacking({}, *on(0, 0, 0, 0), high=high, machines=machines)
    assert stopped(answer) == {}


def test_r13_no_more_go_of_a_deployment_than_are_above_its_min() -> None:
    answer = lacking({"min": 2}, *on(0, 0, 0, 0), high={"min": 3})
    assert len(stopped(answer)) == 2
    assert answer.granted.value.tolist() == [0, 2]
    assert answer.granted.coming[0] == 2


def test_r13_several_whole_instances_are_cleared_for_one_on_several() -> None:
    machines = instances({"org": 1, "gpus_used": 2}, {"org": 1, "gpus_used": 1}, {"org": 1, "gpus_used": 1})
    have = [*on(0, 0, 1), *on(2, active=9), *on(-1)]
    fleet = deployments({**HIGH, "gpu_count": 16}, {})
    answer = decide(seen(shard(fleet, steady([8, 40]), replicas(*have), machines)))
    assert set(stopped(answer)) == {0, 1, 2}
    limited = deployments({**HIGH, "gpu_count": 16}, {"min": 3})
    assert set(stopped(decide(seen(shard(limited, steady([8, 40]), replicas(*have), machines))))) == {2, 3}


def test_r13_a_replica_on_several_instances_frees_all_of_them() -> None:
    machines = instances({"org": 1, "gpus_used": 8}, {"org": 1, "gpus_used": 8})
    fleet = deployments({**HIGH, "gpu_count": 8, "min": 2}, {"gpu_count": 16})
    have = replicas({"deployment": 1, "instance": 0, "gpus": 16}, {"deployment": 1, "instance": -1, "gpus": 16})
    parts = Parts.build(replica=[0, 0], instance=[0, 1], gpus=[8, 8])
    before = replace(seen(shard(fleet, steady([8, 16]), have, machines)), parts=parts)
    answer = decide(before)
    assert stopped(answer) == {0: Reason.STOP_RECLAIMED}
    assert answer.granted.coming[0] == 2


def test_r13_a_pair_goes_whole() -> None:
    machines = instances({"org": 1, "gpus": 3, "gpus_used": 3})
    have = [*on(0), *on(0, active=5), *on(0, state=STARTING, replaces=0, revision=2)]
    fleet = deployments(HIGH, {"revision": 2})
    answer = decide(seen(shard(fleet, steady([8, 16]), replicas(*have), machines, offerings(3))))
    assert stopped(answer) == {0: Reason.STOP_RECLAIMED, 2: Reason.STOP_NOT_READY}
    assert answer.granted.value.tolist() == [0, 1]


def test_r13_the_victim_does_not_grow_back_into_the_room_and_nobody_else_takes_it() -> None:
    """The instance becomes empty; organization 2 holds nothing and would be first by R14."""
    fleet = deployments({**HIGH, "gpu_count": 8}, {}, {"org": 2})
    have = [*on(0, 0), *on(1)]
    machines = instances({"org": 1, "gpus_used": 2}, {"org": 1, "gpus": 8, "gpus_used": 8})
    first = decide(seen(shard(fleet, steady([8, 24, 8]), replicas(*have), machines)))
    assert set(stopped(first)) == {0, 1}
    now = NOW + 5
    half = instances({"org": 1, "gpus_used": 1}, {"org": 1, "gpus_used": 8})
    have = [*on(0, state=DRAINING), *on(1)]
    second = decide(shard(fleet, steady([8, 24, 8], now=now), replicas(*have), half, state=first.state), now)
    assert len(second.starts) == len(second.stops) == 0
    assert second.granted.code[1] == Reason.KEPT_FOR_PRIORITY
    assert second.granted.other[1] == 1
    empty = instances({}, {"org": 1, "gpus_used": 8})
    have = on(1)
    third = decide(shard(fleet, steady([8, 24, 8], now=now), replicas(*have), empty, state=second.state), now)
    assert third.starts.deployment.tolist() == [0]
    assert third.granted.value.tolist() == [1, 1, 0]
    assert len(third.state.kept) == 0


def test_r13_what_is_kept_is_forgotten_after_a_quarter_of_an_hour() -> None:
    """By R14 the instance is organization 1's: of two that hold nothing it has the lower id."""
    before = seen(
        shard(deployments({}, {"org": 2}), steady([8, 8]), machines=instances({"gpus": 1}), zones=offerings(1))
    )
    for age_ms, expected in ((899_999, [0, 1]), (900_000, [1, 0])):
        kept = Kept.build(instance=[1], deployment=[2], since_ms=[int(NOW * 1000) - age_ms])
        answer = decide(replace(before, state=replace(before.state, kept=kept)))
        assert answer.granted.value.tolist() == expected


# R12


def test_r12_the_delay_is_skipped_for_a_higher_priority_that_waits() -> None:
    fleet = deployments(HIGH, {})
    have = [*on(0, deployment=0), *on(0, 0, 0, 0)]
    machines = instances({"org": 1, "gpus": 5, "gpus_used": 5})
    before = delayed(shard(fleet, steady([24, 8]), replicas(*have), machines, offerings(5)), 4)
    answer = decide(before)
    assert answer.damped.code[1] == Reason.SHRINK_DELAYED
    assert answer.wanted.value.tolist() == [3, 4]
    assert stopped(answer) == {3: Reason.STOP_YIELDED, 4: Reason.STOP_YIELDED}
    assert answer.granted.value.tolist() == [1, 2]
    assert answer.granted.code.tolist() == [Reason.WAITS_FOR_RELEASE, Reason.YIELDED]
    assert answer.granted.other.tolist() == [2, 1]


def test_r12_what_yielded_is_not_wanted_back_before_load_asks_for_it() -> None:
    fleet = deployments(HIGH, {})
    have = [*on(0, deployment=0), *on(0, 0, 0, 0)]
    machines = instances({"org": 1, "gpus": 5, "gpus_used": 5})
    first = decide(delayed(shard(fleet, steady([16, 8]), replicas(*have), machines, offerings(5)), 4))
    assert first.granted.value.tolist() == [1, 3]
    now = NOW + 5
    have = [*on(0, deployment=0), *on(0, 0, 0)]
    roomy = instances({"org": 1, "gpus": 8, "gpus_used": 4})
    after = decide(shard(fleet, steady([8, 8], now=now), replicas(*have), roomy, state=first.state), now)
    assert after.wanted.value[1] == 3
    assert after.starts.deployment.tolist() == [0]


@pytest.mark.parametrize(
    ("low", "load", "goes"),
    [({"min": 3}, 8, 1), ({}, 24, 1), ({"min": 4}, 8, 0), ({"priority": 9}, 8, 0), ({"freeze": True}, 8, 0)],
)
def test_r12_nobody_goes_below_min_or_present_need(low: dict[str, Any], load: int, goes: int) -> None:
    fleet = deployments(HIGH, low)
    have = [*on(0, deployment=0), *on(0, 0, 0, 0)]
    machines = instances({"org": 1, "gpus": 5, "gpus_used": 5})
    before = delayed(shard(fleet, steady([80, load]), replicas(*have), machines, offerings(5)), 4)
    assert len(decide(before).stops) == goes


def test_r12_comes_before_r13() -> None:
    """The higher of the two lower priorities has what nobody needs; it goes before what somebody needs."""
    fleet = deployments(HIGH, {"priority": 5}, {"priority": 1})
    have = [*on(0, 0), *on(0, 0, deployment=2)]
    machines = instances({"org": 1, "gpus": 4, "gpus_used": 4})
    before = delayed(shard(fleet, steady([8, 8, 16]), replicas(*have), machines, offerings(4)), 2)
    assert stopped(decide(before)) == {1: Reason.STOP_YIELDED}


def test_r12_only_gpus_that_help_are_let_go() -> None:
    fleet = deployments({**HIGH, "zones": 2}, {})
    have = [*on(1, deployment=0), *on(0, 0, 0, 1, 1)]
    machines = instances({"org": 1, "gpus": 3, "gpus_used": 3}, {"offering": 1, "org": 1, "gpus": 3, "gpus_used": 3})
    before = delayed(shard(fleet, steady([80, 8]), replicas(*have), machines, offerings(3, 3)), 5)
    assert stopped(decide(before)) == {4: Reason.STOP_YIELDED, 5: Reason.STOP_YIELDED}
    larger = deployments({**HIGH, "gpu_count": 8}, {})
    before = delayed(shard(larger, steady([80, 8]), replicas(*have), machines, offerings(3, 3)), 5)
    assert stopped(decide(before)) == {}
