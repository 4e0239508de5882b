"""R8 and R11 to R18 on shards small enough to read."""

import numpy as np
import pytest

from deployments.core.plan import Bound, Plan
from deployments.core.reasons import Reason
from deployments.core.snapshot import CapacityClass, InstanceState, Source
from tests.core.fleet import (
    DRAINING,
    NOW,
    STARTING,
    decide,
    deployments,
    instances,
    offerings,
    replicas,
    running,
    seen,
    shard,
    steady,
)

ONLY_RESERVED = (CapacityClass.RESERVED, CapacityClass.NONE)
ONLY_ON_DEMAND = (CapacityClass.ON_DEMAND, CapacityClass.NONE)
ON_DEMAND_FIRST = (CapacityClass.ON_DEMAND, CapacityClass.RESERVED)


def granted(answer: Plan) -> list[int]:
    values: list[int] = answer.granted.value.tolist()
    return values


def placed(answer: Plan) -> list[tuple[int, int, int, int]]:
    starts = answer.starts
    columns = (starts.deployment, starts.instance, starts.gpus, starts.capacity_class)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_r11_every_min_comes_before_any_growth() -> None:
    fleet = deployments({"priority": 9}, {"priority": 1, "min": 3})
    answer = decide(shard(fleet, steady([64, 8]), running(1, 0), instances({"gpus": 5})))
    assert answer.wanted.value.tolist() == [8, 3]
    assert granted(answer) == [3, 3]
    assert answer.granted.code.tolist() == [Reason.POOL_EXHAUSTED, Reason.GRANTED]
    assert answer.granted.missing_gpus.tolist() == [5, 0]


def test_r11_mins_go_by_priority_then_creation_then_id() -> None:
    fleet = deployments(
        {"created_at": 5.0}, {"created_at": 4.0}, {"created_at": 4.0}, {"priority": 3, "created_at": 9.0}
    )
    for room, expected in ((1, [0, 0, 0, 1]), (2, [0, 1, 0, 1]), (3, [0, 1, 1, 1])):
        answer = decide(shard(fleet, steady([8] * 4), machines=instances({"gpus": room})))
        assert granted(answer) == expected


def test_r11_growth_goes_by_priority() -> None:
    fleet = deployments({"priority": 1}, {"priority": 2}, {"priority": 3})
    answer = decide(shard(fleet, steady([80] * 3), running(1, 1, 1), instances({"gpus": 12, "gpus_used": 0})))
    assert granted(answer) == [1, 4, 10]


def test_r11_equal_priorities_share_in_proportion_to_what_they_lack() -> None:
    fleet = deployments({}, {}, {})
    answer = decide(shard(fleet, steady([56, 32, 16]), running(1, 1, 1), instances({"gpus": 5})))
    assert answer.wanted.value.tolist() == [7, 4, 2]
    assert granted(answer) == [4, 3, 1]  # 5 of 10: 3, 1.5 and 0.5


def test_r11_a_min_without_room_keeps_it_from_growth_of_lower_priorities() -> None:
    fleet = deployments(
        {"priority": 5, "gpu_count": 8}, {"priority": 1}, {"priority": 9, "created_at": 9.0}, {"org": 2}
    )
    machines = instances({"org": 1, "gpus_used": 3}, {"org": 2, "gpus_used": 4})
    answer = decide(shard(fleet, steady([8, 16, 16, 16]), running(0, 1, 1, 1), machines))
    assert granted(answer) == [0, 1, 2, 2]
    assert answer.granted.code.tolist()[:2] == [Reason.POOL_EXHAUSTED, Reason.KEPT_FOR_PRIORITY]
    assert answer.granted.bound[1] == Bound.PRIORITY


def test_r14_the_organization_that_holds_fewest_gets_the_next_instance() -> None:
    fleet = deployments({"org": 1}, {"org": 2}, {"org": 3})
    machines = instances({"gpus": 1}, {"gpus": 1}, {"gpus": 1}, {"gpus": 1}, {"gpus": 2, "gpus_used": 2, "org": 1})
    shown = shard(fleet, steady([80] * 3), running(2, 0, 1), machines, offerings(1))
    assert granted(decide(shown)) == [2, 2, 3]


def test_r14_ties_go_to_the_longest_waiting_then_the_lowest_id() -> None:
    fleet = deployments({"org": 1}, {"org": 2})
    machines = instances({"gpus": 1})
    shown = shard(fleet, steady([80] * 2), running(1, 1), machines, offerings(1))
    assert granted(decide(shown)) == [2, 1]
    only_two = shard(deployments({"org": 2, "key": 2}), steady([80]), running(1), instances(), offerings(1))
    waits = decide(only_two).state
    later = shard(fleet, steady([80] * 2, now=NOW + 5), running(1, 1), machines, offerings(1), state=waits)
    assert granted(decide(later, NOW + 5)) == [1, 2]


def test_r14_holdings_count_per_pool() -> None:
    fleet = deployments({"org": 1, "zones": 2}, {"org": 2, "zones": 2})
    machines = instances({"offering": 1}, {"gpus_used": 8, "org": 1}, {"offering": 1, "gpus_used": 8, "org": 2})
    shown = shard(fleet, steady([8, 8]), machines=machines, zones=offerings(8, 8))
    assert granted(decide(shown)) == [1, 0]


def test_r14_whoever_waited_for_what_another_took_stands_in_line_for_its_next_best() -> None:
    """Organization 1 holds most of pool 0, whose last instance goes to 2; in pool 1 it holds nothing, and 3 does."""
    fleet = deployments({"org": 1, "zones": 3, "gpu_count": 8}, {"org": 2, "gpu_count": 8}, {"org": 3, "zones": 2})
    machines = instances(
        {}, {"offering": 1}, {"org": 1, "gpus_used": 8}, {"offering": 1, "org": 3, "gpus": 4, "gpus_used": 4}
    )
    answer = decide(shard(fleet, steady([8] * 3), machines=machines, zones=offerings(8, 8)))
    assert granted(answer) == [1, 1, 0]


def test_r15_the_first_class_with_room_is_taken_per_replica() -> None:
    machines = instances({"gpus": 2, "claim": 7, "org": 1}, {"gpus": 8})
    answer = decide(shard(deployments({}), steady([32]), running(1), machines))
    assert placed(answer) == [(0, 0, 1, 1), (0, 0, 1, 1), (0, 1, 1, 2)]
    turned = decide(shard(deployments({"class_order": ON_DEMAND_FIRST}), steady([32]), running(1), machines))
    assert placed(turned) == [(0, 1, 1, 2)] * 3


def test_r15_on_demand_is_unclaimed_pool_only() -> None:
    machines = instances(
        {"claim": 7, "org": 1}, {"source": Source.CUSTOMER}, {"source": Source.CUSTOMER, "claim": 8, "org": 1}
    )
    answer = decide(shard(deployments({"class_order": ONLY_ON_DEMAND}), steady([8]), machines=machines))
    assert granted(answer) == [0]
    assert answer.granted.code[0] == Reason.POOL_EXHAUSTED
    both = decide(shard(deployments({"class_order": ONLY_RESERVED}), steady([120]), running(1), machines))
    assert granted(both) == [15]


@pytest.mark.parametrize(("classes", "on"), [
    (ONLY_RESERVED, [(0, 0, 1, 1)]), (ONLY_ON_DEMAND, [(0, 1, 1, 2)]), (ON_DEMAND_FIRST, [(0, 1, 1, 2)]),
])  # fmt: skip
def test_c14_a_claim_sets_hardware_aside_and_the_classes_say_who_uses_it(
    classes: tuple[CapacityClass, CapacityClass], on: list[tuple[int, int, int, int]]
) -> None:
    """An empty claim beside an empty pool: the claim as such draws nobody in."""
    machines = instances({"claim": 7, "org": 1}, {})
    answer = decide(shard(deployments({"class_order": classes}), steady([8]), machines=machines))
    assert placed(answer) == on


def test_r15_reserved_without_a_claim_says_so() -> None:
    machines = instances({"claim": 7, "org": 2}, {})
    answer = decide(shard(deployments({"class_order": ONLY_RESERVED}), steady([8]), machines=machines))
    assert granted(answer) == [0]
    assert answer.granted.code[0] == Reason.NO_CLAIM
    assert answer.granted.bound[0] == Bound.CLASS


def test_r15_a_claim_that_is_full_says_so() -> None:
    machines = instances({"claim": 7, "org": 1, "gpus_used": 8}, {})
    answer = decide(shard(deployments({"class_order": ONLY_RESERVED}), steady([8]), machines=machines))
    assert answer.granted.code[0] == Reason.CLAIM_EXHAUSTED
    assert answer.granted.bound[0] == Bound.CAPACITY
    assert answer.granted.capacity_class[0] == CapacityClass.RESERVED


def test_where_nothing_is_left_the_short_offering_is_one_that_has_instances() -> None:
    """The type has a pool in the third zone alone, and another organization's claim in the second."""
    machines = instances(
        {"offering": 2, "org": 2, "gpus_used": 8}, {"offering": 1, "org": 2, "claim": 7, "gpus_used": 8}
    )
    answer = decide(shard(deployments({"zones": 7}), steady([8]), machines=machines, zones=offerings(8, 8, 8)))
    assert (answer.granted.code[0], answer.granted.offering[0]) == (Reason.POOL_EXHAUSTED, 2)
    own = instances({"offering": 2, "org": 2, "gpus_used": 8}, {"offering": 1, "org": 1, "claim": 7, "gpus_used": 8})
    held = shard(
        deployments({"zones": 7, "class_order": ONLY_RESERVED}), steady([8]), machines=own, zones=offerings(8, 8, 8)
    )
    assert decide(held).granted.offering[0] == 1, "that of its own claim"
    some = instances({"offering": 2, "org": 2, "gpus_used": 8}, {"offering": 1, "gpus_used": 7})
    large = shard(deployments({"zones": 7, "gpu_count": 2}), steady([8]), machines=some, zones=offerings(8, 8, 8))
    assert decide(large).granted.offering[0] == 1, "what is left comes first"


def test_r16_only_allowed_zones_are_used() -> None:
    machines = instances({"offering": 0}, {"offering": 1, "gpus": 2})
    answer = decide(shard(deployments({"zones": 2}), steady([80]), running(1), machines, offerings(8, 8)))
    assert placed(answer) == [(0, 1, 1, 2)] * 2
    assert answer.granted.offering[0] == 1
    nowhere = decide(shard(deployments({"zones": 4}), steady([80]), running(1), machines, offerings(8, 8)))
    assert nowhere.granted.code[0] == Reason.NO_ZONE
    assert nowhere.granted.bound[0] == Bound.ZONE


def test_r16_a_replica_lies_on_one_instance() -> None:
    machines = instances({"org": 1, "gpus_used": 5}, {"org": 1, "gpus_used": 5})
    answer = decide(shard(deployments({"gpu_count": 4}), steady([8]), machines=machines))
    assert granted(answer) == [0]
    assert answer.granted.code[0] == Reason.FRAGMENTED
    odd = decide(shard(deployments({"gpu_count": 12}), steady([8])))
    assert odd.granted.code[0] == Reason.NOT_ON_ONE_INSTANCE
    assert odd.granted.bound[0] == Bound.SIZE


def test_r16_a_large_replica_takes_whole_instances_of_one_zone_and_source() -> None:
    rows = [
        {"offering": 0},
        {"offering": 1},
        {"offering": 1, "org": 1},
        {"offering": 1, "org": 1, "gpus_used": 1},
    ]
    fleet = deployments({"gpu_count": 16})
    answer = decide(shard(fleet, steady([8]), machines=instances(*rows), zones=offerings(8, 8)))
    assert placed(answer) == [(0, 2, 8, 2), (0, 1, 8, 2)]
    assert answer.starts.replica.tolist() == [0, 0]
    split = [{"offering": 0}, {"offering": 1}]
    short = decide(shard(fleet, steady([8]), machines=instances(*split), zones=offerings(8, 8)))
    assert granted(short) == [0]
    sources = [
        {"claim": 1, "org": 1, "source": Source.POOL},
        {"claim": 2, "org": 1, "source": Source.CUSTOMER},
    ]
    mixed = decide(shard(fleet, steady([8]), machines=instances(*sources)))
    assert granted(mixed) == [0]
    assert mixed.granted.code[0] == Reason.NO_WHOLE_INSTANCES


def test_r17_an_instance_serves_one_organization() -> None:
    fleet = deployments({"org": 1}, {"org": 2})
    answer = decide(shard(fleet, steady([8, 8]), machines=instances({})))
    assert granted(answer) == [1, 0]
    other = decide(shard(fleet, steady([8, 8]), machines=instances({"org": 2, "gpus_used": 1})))
    assert granted(other) == [0, 1]


def test_c4_held_and_draining_instances_take_no_new_replica() -> None:
    machines = instances({"held": True}, {"state": InstanceState.DRAINING}, {"state": InstanceState.OTHER})
    answer = decide(shard(deployments({}), steady([8]), machines=machines))
    assert granted(answer) == [0]


def test_placement_takes_the_tightest_fit() -> None:
    machines = instances({}, {"org": 1, "gpus_used": 2}, {"org": 1, "gpus_used": 5}, {"org": 1, "gpus_used": 7})
    fleet = deployments({"gpu_count": 2})
    answer = decide(shard(fleet, steady([24]), running(1), machines))
    assert placed(answer) == [(0, 2, 2, 2), (0, 1, 2, 2)]


def test_r8_a_replacement_that_backs_off_is_not_started_and_says_so() -> None:
    fleet = deployments({"backoff": 2}, {"backoff": 1})
    answer = decide(shard(fleet, steady([40, 8]), running(2, 0)))
    assert granted(answer) == [3, 0]
    assert answer.granted.bound.tolist() == [Bound.BACKOFF] * 2
    assert answer.unplaced.tolist() == [0, 0]


def test_r8_the_instance_that_a_replica_failed_on_is_avoided() -> None:
    machines = instances({"org": 1, "gpus_used": 7}, {})
    answer = decide(shard(deployments({"avoid": 0}), steady([8]), machines=machines))
    assert placed(answer) == [(0, 1, 1, 2)]


@pytest.mark.parametrize(
    ("kept", "goes", "reason"),
    [
        ({"active": 0}, {"state": STARTING, "active": 0}, Reason.STOP_NOT_READY),
        ({"active": 0, "capacity_class": 2}, {"instance": 1, "active": 5}, Reason.STOP_ON_DRAINING),
        ({"active": 0, "capacity_class": 1}, {"active": 5}, Reason.STOP_ON_DEMAND),
        ({"active": 2, "started_at": 9.0}, {"active": 1, "started_at": 1.0}, Reason.STOP_ON_DEMAND),
        ({"started_at": 1.0}, {"started_at": 2.0}, Reason.STOP_ON_DEMAND),
        ({"key": 1}, {"key": 2}, Reason.STOP_ON_DEMAND),
    ],
)
def test_r18_who_goes_first(kept: dict[str, float], goes: dict[str, float], reason: Reason) -> None:
    machines = instances({}, {"state": InstanceState.DRAINING})
    for order in ((kept, goes), (goes, kept)):
        have = replicas(*({"key": 5, "started_at": 3.0, **row} for row in order))
        answer = decide(seen(shard(deployments({}), steady([0]), have, machines)))
        assert [order[row] for row in answer.stops.replica.tolist()] == [goes]
        assert answer.stops.code.tolist() == [reason]


def test_a_replica_that_drains_is_no_capacity_and_keeps_its_gpus() -> None:
    machines = instances({"gpus": 2, "gpus_used": 2, "org": 1})
    have = replicas({"instance": 0}, {"instance": 0, "state": DRAINING})
    answer = decide(shard(deployments({}), steady([16]), have, machines, offerings(2)))
    assert answer.current[0] == 1
    assert answer.wanted.value[0] == 2
    assert granted(answer) == [1]


def test_whoever_is_short_remembers_since_when() -> None:
    first = decide(shard(deployments({}), steady([8]), machines=instances()))
    assert first.state.memory.short_since_ms[0] == int(NOW * 1000)
    later = shard(deployments({}), steady([8], now=NOW + 5), machines=instances(), state=first.state)
    assert decide(later, NOW + 5).state.memory.short_since_ms[0] == int(NOW * 1000)
    fed = shard(deployments({}), steady([8], now=NOW + 5), machines=instances({}), state=first.state)
    assert np.array_equal(decide(fed, NOW + 5).state.memory.short_since_ms, [0])
