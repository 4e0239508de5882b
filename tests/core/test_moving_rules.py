"""R10, R15 and C10: a replica that has to move is replaced first, on shards small enough to read."""

import numpy as np
import pytest

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

NEW = {"revision": 2, "max": 9}
ROLLED = {"revision": 2}
GIVEN_UP = {"state": InstanceState.DRAINING, "drain_until": NOW + 600, "org": 1}
LATE = {**GIVEN_UP, "drain_until": NOW}


def moved(answer: Plan) -> list[tuple[int, int]]:
    """Row that is replaced and instance that the replacement goes to."""
    return list(zip(answer.starts.replaces.tolist(), answer.starts.instance.tolist(), strict=True))


def stopped(answer: Plan) -> dict[int, Reason]:
    return {row: Reason(code) for row, code in zip(answer.stops.replica, answer.stops.code, strict=True)}


def busy(answer: Plan) -> tuple[int, int]:
    return int(answer.granted.moves[0]), int(answer.granted.moves_short[0])


def test_c10_what_is_on_a_draining_instance_is_replaced_first() -> None:
    machines = instances({**GIVEN_UP, "gpus_used": 2}, {})
    have = replicas({"instance": 0}, {"instance": 0}, {"instance": -1})
    answer = decide(seen(shard(deployments({}), steady([24]), have, machines)))
    assert answer.current[0] == answer.granted.value[0] == 3
    assert moved(answer) == [(1, 1), (0, 1)]
    assert stopped(answer) == {}
    assert busy(answer) == (2, 0)
    assert answer.granted.code[0] == Reason.MOVING


def test_c10_the_old_one_goes_once_its_replacement_is_ready_and_both_count_once() -> None:
    machines = instances({**GIVEN_UP, "gpus_used": 1}, {"org": 1, "gpus_used": 1})
    old, new = {"instance": 0}, {"instance": 1, "replaces": 0, "state": STARTING}
    loading = decide(seen(shard(deployments({}), steady([8]), replicas(old, new), machines)))
    assert (loading.ready[0], loading.starting[0], loading.current[0]) == (1, 0, 1)
    assert len(loading.starts) == len(loading.stops) == 0
    assert busy(loading) == (1, 0)
    done = decide(seen(shard(deployments({}), steady([8]), replicas(old, {**new, "state": 2}), machines)))
    assert done.current[0] == done.granted.value[0] == 1
    assert stopped(done) == {0: Reason.STOP_REPLACED}


def test_c10_a_replacement_may_use_any_class_its_deployment_may() -> None:
    machines = instances({**GIVEN_UP, "claim": 7, "gpus_used": 1}, {})
    have = replicas({"instance": 0, "capacity_class": CapacityClass.RESERVED})
    answer = decide(seen(shard(deployments({}), steady([8]), have, machines)))
    assert moved(answer) == [(0, 1)]
    assert answer.starts.capacity_class.tolist() == [CapacityClass.ON_DEMAND]


def test_c10_where_nothing_is_free_it_serves_until_the_time_is_up() -> None:
    have = replicas({"instance": 0})
    waits = decide(seen(shard(deployments({}), steady([8]), have, instances({**GIVEN_UP, "gpus_used": 1}))))
    assert stopped(waits) == {}
    assert (waits.granted.value[0], *busy(waits)) == (1, 0, 1)
    up = decide(seen(shard(deployments({}), steady([8]), have, instances({**LATE, "gpus_used": 1}))))
    assert stopped(up) == {0: Reason.STOP_NO_ROOM}
    assert (up.current[0], up.granted.value[0]) == (0, 0)
    assert up.granted.bound[0] == Bound.CAPACITY


def test_c10_at_the_deadline_the_old_one_goes_although_its_replacement_still_loads() -> None:
    machines = instances({**LATE, "gpus_used": 1}, {"org": 1, "gpus_used": 1})
    have = replicas({"instance": 0}, {"instance": 1, "replaces": 0, "state": STARTING})
    answer = decide(seen(shard(deployments({}), steady([8]), have, machines)))
    assert stopped(answer) == {0: Reason.STOP_DEADLINE}
    assert (answer.ready[0], answer.starting[0], answer.granted.value[0]) == (0, 1, 1)


def test_c10_what_loads_on_a_draining_instance_is_started_elsewhere() -> None:
    machines = instances({**GIVEN_UP, "gpus_used": 1}, {})
    have = replicas({"instance": 0, "state": STARTING})
    answer = decide(seen(shard(deployments({}), steady([8]), have, machines)))
    assert stopped(answer) == {0: Reason.STOP_ON_DRAINING}
    assert moved(answer) == [(-1, 1)]
    assert (answer.current[0], answer.granted.value[0]) == (0, 1)


def test_c10_a_replacement_whose_own_instance_is_drained_is_withdrawn_and_tried_again() -> None:
    machines = instances({**GIVEN_UP, "gpus_used": 1}, {**GIVEN_UP, "gpus_used": 1}, {})
    have = replicas({"instance": 0}, {"instance": 1, "replaces": 0, "state": STARTING})
    answer = decide(seen(shard(deployments({}), steady([8]), have, machines)))
    assert stopped(answer) == {1: Reason.STOP_ON_DRAINING}
    assert moved(answer) == [(0, 2)]


def test_c10_the_nearest_deadline_comes_first() -> None:
    machines = instances(
        {**GIVEN_UP, "gpus_used": 1}, {**GIVEN_UP, "drain_until": NOW + 60, "gpus_used": 1}, {"gpus": 1}
    )
    have = replicas({"instance": 0, "key": 9}, {"instance": 1, "key": 1})
    answer = decide(seen(shard(deployments({}), steady([16]), have, machines)))
    assert moved(answer) == [(1, 2)]
    assert busy(answer) == (1, 1)


def test_c10_a_replica_on_several_instances_moves_when_one_of_them_is_drained() -> None:
    machines = instances({"org": 1, "gpus_used": 8}, {**GIVEN_UP, "gpus_used": 8}, {}, {})
    have = replicas({"instance": 0, "gpus": 16})
    parts = Parts.build(replica=[0, 0], instance=[0, 1], gpus=[8, 8])
    before = seen(shard(deployments({"gpu_count": 16}), steady([8]), have, machines))
    answer = decide(Snapshot(before.deployments, before.signals, have, machines, offerings(8), before.state, parts))
    assert moved(answer) == [(0, 2), (0, 3)]
    assert answer.starts.replica.tolist() == [0, 0]


def test_c10_what_leaves_counts_as_missing_when_room_is_shared() -> None:
    """The min of one that must leave comes before growth, its growth by priority."""
    fleet = deployments({"priority": 1}, {"priority": 5})
    machines = instances({**GIVEN_UP, "gpus_used": 2}, {"gpus": 2})
    have = replicas({"instance": 0}, {"instance": 0}, {"deployment": 1})
    answer = decide(seen(shard(fleet, steady([16, 80]), have, machines)))
    assert answer.granted.value.tolist() == [2, 2]
    assert moved(answer) == [(1, 1), (-1, 1)]


def test_c10_a_pair_that_shrinks_goes_whole() -> None:
    machines = instances({**GIVEN_UP, "gpus_used": 1}, {"org": 1, "gpus_used": 2})
    have = replicas({"instance": 0}, {"instance": 1, "replaces": 0, "state": STARTING}, {"instance": 1})
    answer = decide(seen(shard(deployments({}), steady([0]), have, machines)))
    assert answer.granted.value[0] == 1
    assert stopped(answer) == {0: Reason.STOP_ON_DRAINING, 1: Reason.STOP_NOT_READY}


def test_r10_one_at_a_time_is_renewed_beside_the_old_ones() -> None:
    have = replicas({"key": 1}, {"key": 2}, {"key": 3})
    answer = decide(seen(shard(deployments(NEW), steady([24]), have)))
    assert [row for row, _ in moved(answer)] == [2]
    assert busy(answer) == (1, 0)
    going_on = replicas({"key": 1}, {"key": 2}, {"key": 3}, {"key": 4, "replaces": 2, "state": STARTING, **ROLLED})
    assert len(decide(seen(shard(deployments(NEW), steady([24]), going_on))).starts) == 0


@pytest.mark.parametrize(("most", "surge"), [(5, 1), (19, 1), (20, 2), (39, 3), (100, 10)])
def test_r10_the_surge_is_one_or_a_tenth_of_max(most: int, surge: int) -> None:
    fleet = deployments({"max": most, "revision": 2, "concurrency": 1})
    answer = decide(seen(shard(fleet, steady([12 if most > 12 else most]), replicas(*[{}] * min(most, 12)))))
    assert len(answer.starts) == surge
    assert busy(answer) == (surge, 0)


def test_r10_what_loads_an_old_revision_is_withdrawn_at_once() -> None:
    answer = decide(seen(shard(deployments(NEW), steady([16]), replicas({}, {"state": STARTING}))))
    assert stopped(answer) == {1: Reason.STOP_OUTDATED}
    assert [row for row, _ in moved(answer)] == [-1, 0]
    assert answer.granted.value[0] == 2


def test_r10_growth_during_a_rollout_has_the_new_revision_and_shrinking_takes_the_old() -> None:
    have = replicas({"started_at": 1.0}, {"started_at": 2.0, **ROLLED}, {"started_at": 3.0, **ROLLED})
    answer = decide(seen(shard(deployments(NEW), steady([16]), have)))
    assert stopped(answer) == {0: Reason.STOP_OUTDATED}
    assert len(answer.starts) == 0


def test_r10_a_restart_that_was_asked_for_comes_first() -> None:
    have = replicas({"key": 1, "revision": 0}, {"key": 2, "revision": 1})
    alone = decide(seen(shard(deployments({"max": 9}), steady([16]), have)))
    assert [row for row, _ in moved(alone)] == [0]
    rolling = decide(seen(shard(deployments(NEW), steady([16]), have)))
    assert [row for row, _ in moved(rolling)] == [0]


FULL = {"org": 1, "gpus": 2, "gpus_used": 2}


def test_r10_without_room_one_goes_first() -> None:
    have = replicas({"instance": 0, "key": 1}, {"instance": 0, "key": 2})
    answer = decide(seen(shard(deployments(NEW), steady([16]), have, instances(FULL), offerings(2))))
    assert stopped(answer) == {1: Reason.STOP_MAKES_ROOM}
    assert (answer.current[0], answer.granted.value[0], answer.granted.missing_gpus[0]) == (2, 1, 1)
    assert answer.granted.code[0] == Reason.ROLLING_IN_PLACE
    assert answer.granted.bound[0] == Bound.CAPACITY


@pytest.mark.parametrize(
    "other",
    [
        {"instance": 0, "state": DRAINING},
        {"instance": 0, "state": STARTING, "revision": 2},
    ],
)
def test_r10_without_room_only_one_is_not_ready_at_a_time(other: dict[str, int]) -> None:
    have = replicas({"instance": 0}, other)
    answer = decide(seen(shard(deployments(NEW), steady([16]), have, instances(FULL), offerings(2))))
    assert stopped(answer) == {}


def test_r10_without_room_nothing_goes_while_failures_back_off() -> None:
    have = replicas({"instance": 0}, {"instance": 0})
    fleet = deployments({"revision": 2, "backoff": 1})
    answer = decide(seen(shard(fleet, steady([16]), have, instances(FULL), offerings(2))))
    assert stopped(answer) == {}
    assert len(answer.starts) == 0


def test_r10_nothing_goes_first_below_the_minimum_that_is_already_missed() -> None:
    fleet = deployments({"revision": 2, "min": 3})
    have = replicas({"instance": 0}, {"instance": 0})
    answer = decide(seen(shard(fleet, steady([24]), have, instances(FULL), offerings(2))))
    assert stopped(answer) == {}
    exact = deployments({"revision": 2, "min": 2})
    assert len(decide(seen(shard(exact, steady([16]), have, instances(FULL), offerings(2)))).stops) == 1


def test_r10_nothing_goes_first_that_makes_no_room() -> None:
    elsewhere = deployments({**NEW, "zones": 2})
    have = replicas({"instance": 0}, {"instance": 0})
    answer = decide(seen(shard(elsewhere, steady([16]), have, instances(FULL), offerings(2, 2))))
    assert stopped(answer) == {}
    assert busy(answer) == (0, 1)


def test_r10_as_many_go_first_as_one_of_more_gpus_takes() -> None:
    larger = deployments({**NEW, "gpu_count": 2})
    machines = instances({**FULL, "gpus": 4, "gpus_used": 4})
    have = replicas(*({"instance": 0, "key": key} for key in (1, 2, 3, 4)))
    answer = decide(seen(shard(larger, steady([32]), have, machines, offerings(4))))
    assert stopped(answer) == {2: Reason.STOP_MAKES_ROOM, 3: Reason.STOP_MAKES_ROOM}
    assert answer.granted.value[0] == 2


def test_r10_what_comes_free_anyway_is_waited_for() -> None:
    machines = instances({**FULL, "gpus": 3, "gpus_used": 3})
    have = replicas({"instance": 0}, {"instance": 0}, {"instance": 0, "deployment": 1, "state": DRAINING})
    fleet = deployments(NEW, {"enabled": False})
    answer = decide(seen(shard(fleet, steady([16, 0]), have, machines, offerings(3))))
    assert stopped(answer) == {}
    assert busy(answer) == (0, 1)


def test_r10_the_room_of_the_one_that_went_first_is_kept_for_its_organization() -> None:
    """R14 would give the empty instance to the other organization, which holds nothing."""
    fleet = deployments(NEW, {"org": 2})
    machines = instances({**FULL, "gpus": 1, "gpus_used": 1}, {**FULL, "gpus": 1, "gpus_used": 1})
    have = replicas({"instance": 0, "key": 1}, {"instance": 1, "key": 2})
    first = decide(seen(shard(fleet, steady([16, 8]), have, machines, offerings(1))))
    assert stopped(first) == {1: Reason.STOP_MAKES_ROOM}
    empty = instances({**FULL, "gpus": 1, "gpus_used": 1}, {"gpus": 1})
    later = shard(fleet, steady([16, 8], now=NOW + 5), replicas({"instance": 0, "key": 1}), empty, offerings(1),
                  state=first.state)  # fmt: skip
    answer = decide(later, NOW + 5)
    assert answer.starts.deployment.tolist() == [0]
    assert moved(answer) == [(-1, 1)]


def test_r10_the_room_of_the_one_that_went_first_is_nobody_elses_in_its_organization_either() -> None:
    """Else the min of a higher priority takes it, and what was to be renewed has one less for ever."""
    fleet = deployments(NEW, {"priority": 9})
    old = {**FULL, "gpus": 1, "gpus_used": 1}
    first = decide(seen(shard(deployments(NEW), steady([8]), replicas({"instance": 0}), instances(old), offerings(1))))
    assert stopped(first) == {0: Reason.STOP_MAKES_ROOM}
    later = shard(fleet, steady([8, 8], now=NOW + 5), None, instances({"gpus": 1}), offerings(1), first.state)
    answer = decide(later, NOW + 5)
    assert answer.starts.deployment.tolist() == [0]
    assert answer.granted.value.tolist() == [1, 0]


@pytest.mark.parametrize("least", [1, 2])
def test_r10_where_one_of_the_min_would_have_to_go_its_replacement_comes_before_growth(least: int) -> None:
    """Deployment 0 has 2; where its min is less, the one GPU that is free is for the growth of the other."""
    fleet = deployments({**NEW, "min": least}, {"priority": 9})
    have = replicas({"instance": 0}, {"instance": 0}, {"instance": 1, "deployment": 1})
    machines = instances(FULL, {"org": 1, "gpus": 2, "gpus_used": 1})
    answer = decide(seen(shard(fleet, steady([16, 16]), have, machines, offerings(2))))
    grows = least == 1
    assert answer.starts.deployment.tolist() == [int(grows)]
    assert (answer.starts.replaces[0] >= 0) != grows
    assert list(stopped(answer).values()) == ([Reason.STOP_MAKES_ROOM] if grows else [])


def test_r8_a_replacement_that_failed_is_tried_again_after_its_back_off() -> None:
    fleet = deployments({**NEW, "backoff": 1})
    assert len(decide(seen(shard(fleet, steady([24]), replicas({}, {}, {})))).starts) == 0
    again = decide(seen(shard(deployments(NEW), steady([24]), replicas({}, {}, {}))))
    assert len(again.starts) == 1


def over(free_s: float, **more: object) -> Plan:
    """One on demand and one reserved, with claim GPUs that have been free for so long."""
    machines = instances({"org": 1, "gpus_used": 2}, {"org": 1, "claim": 7, "gpus": 2, "gpus_used": 0})
    have = replicas({"instance": 0}, {"instance": 0})
    before = seen(shard(deployments({**more}), steady([16]), have, machines))
    before.state.memory.free_since_ms[:] = int((NOW - free_s) * 1000)
    return decide(before)


def test_r15_replicas_move_to_claims_that_have_been_free_for_ten_minutes_one_in_a_pass() -> None:
    assert moved(over(599)) == []
    answer = over(600)
    assert moved(answer) == [(1, 1)]
    assert answer.starts.capacity_class.tolist() == [CapacityClass.RESERVED]
    assert answer.granted.value[0] == 2


def test_r15_the_ten_minutes_begin_when_it_could_move() -> None:
    machines = instances({"org": 1, "gpus_used": 1}, {"org": 1, "claim": 7})
    have = replicas({"instance": 0})
    first = decide(seen(shard(deployments({}), steady([8]), have, machines)))
    assert first.state.memory.free_since_ms[0] == int(NOW * 1000)
    full = instances({"org": 1, "gpus_used": 1}, {"org": 1, "claim": 7, "gpus_used": 8})
    later = shard(deployments({}), steady([8], now=NOW + 5), have, full, state=first.state)
    assert decide(later, NOW + 5).state.memory.free_since_ms[0] == 0


@pytest.mark.parametrize(
    "more",
    [
        {"class_order": (CapacityClass.ON_DEMAND, CapacityClass.RESERVED)},
        {"class_order": (CapacityClass.ON_DEMAND, CapacityClass.NONE)},
        {"gpu_count": 4},
        {"org": 2},
        {"zones": 0},
        {"shadow": True},
    ],
)
def test_r15_nothing_moves_to_claims_that_it_does_not_prefer_or_cannot_use(more: dict[str, object]) -> None:
    assert moved(over(6000, **more)) == []


def test_r15_growth_takes_free_claim_gpus_before_anything_moves_over() -> None:
    machines = instances({"org": 1, "gpus": 2, "gpus_used": 2}, {"org": 1, "claim": 7, "gpus": 1})
    have = replicas({"instance": 0}, {"instance": 0})
    before = seen(shard(deployments({}), steady([24]), have, machines))
    before.state.memory.free_since_ms[:] = int((NOW - 900) * 1000)
    answer = decide(before)
    assert moved(answer) == [(-1, 1)]
    assert np.array_equal(answer.granted.value, [3])
