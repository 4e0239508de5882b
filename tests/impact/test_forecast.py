"""The planner run ahead, on shards said in a few words."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from deployments.core.params import Params
from deployments.core.reasons import Reason
from deployments.core.snapshot import CapacityClass, Parts, Signals, Snapshot
from deployments.impact.ahead import Ahead
from deployments.impact.change import Change, Forecast, Leaving, Then, Waiting
from deployments.impact.forecast import foresee
from tests.core import fleet
from tests.core.fleet import NOW

UNTIL = NOW + 600
RESERVED, ON_DEMAND = CapacityClass.RESERVED, CapacityClass.ON_DEMAND

ODD = NOW + 599.9999999  # a time that is no whole number of milliseconds


def fixed(size: int, **changes: Any) -> dict[str, Any]:
    """A deployment of one size, whose models load in half a minute."""
    return {"min": size, "max": size, "startup_s": 30.0, **changes}


def claimed(used: int, claim: int = 7, **changes: Any) -> dict[str, Any]:
    return {"org": 1, "claim": claim, "gpus_used": used, **changes}


def foreseen(shard: Snapshot, change: Change) -> Forecast:
    return foresee(shard, Params(), NOW, change)


def leaving(*rows: int, then: Then = Then.POOL) -> Change:
    return Change(leaving=[Leaving(row, then, UNTIL) for row in rows])


def test_c10_replicas_move_replacement_first_while_there_is_room() -> None:
    shard = fleet.shard(
        fleet.deployments(fixed(2)),
        have=fleet.replicas(*({"instance": 0, "capacity_class": RESERVED} for _ in range(2))),
        machines=fleet.instances(claimed(2), {}, {}),
        zones=fleet.offerings(8),
    )
    found = foreseen(shard, leaving(0))
    assert [(one.replica, one.source, one.to, one.capacity_class) for one in found.moves] == [
        (1, 1, (2,), ON_DEMAND), (2, 1, (2,), ON_DEMAND)]  # fmt: skip
    assert [one.at - NOW for one in found.moves] == [30.0, 30.0], "once its model is loaded"
    assert (found.stops, found.short, found.complete) == ([], {}, True)
    assert found.emptied == {1: NOW + 35}, "what is let go is gone at the next pass"


def test_c10_where_nothing_is_free_they_run_until_the_time_is_up_and_their_deployment_waits() -> None:
    shard = fleet.shard(
        fleet.deployments(fixed(2)),
        have=fleet.replicas(*({"instance": 0, "capacity_class": RESERVED} for _ in range(2))),
        machines=fleet.instances(claimed(2)),
        zones=fleet.offerings(8),
    )
    found = foreseen(shard, leaving(0, then=Then.GONE))
    assert [(one.replica, round(one.at), one.reason, one.waits) for one in found.stops] == [
        (1, UNTIL, Reason.STOP_NO_ROOM, True), (2, UNTIL, Reason.STOP_NO_ROOM, True)]  # fmt: skip
    assert (found.moves, found.short) == ([], {1: 2})
    assert round(found.emptied[1]) == UNTIL + 5


def test_a_deadline_between_two_milliseconds_is_over_too() -> None:
    shard = fleet.shard(
        fleet.deployments(fixed(1)),
        have=fleet.replicas({"instance": 0, "capacity_class": RESERVED}),
        machines=fleet.instances(claimed(1)),
        zones=fleet.offerings(8),
    )
    for until in (ODD, NOW + 1.0005, NOW + 2.00049999):
        found = foreseen(shard, Change(leaving=[Leaving(0, Then.GONE, until)]))
        assert [one.waits for one in found.stops] == [True], until


def test_what_is_given_back_to_the_pool_is_room_for_what_could_not_move_before() -> None:
    """The first to be emptied takes the replicas of the second."""
    shard = fleet.shard(
        fleet.deployments(fixed(1), fixed(1, gpu_count=8)),
        have=fleet.replicas({"instance": 0, "capacity_class": RESERVED},
                            {"instance": 1, "deployment": 1, "gpus": 8, "capacity_class": RESERVED}),
        machines=fleet.instances(claimed(1), claimed(8), {"org": 1, "gpus_used": 7}),
        zones=fleet.offerings(8),
    )  # fmt: skip
    found = foreseen(shard, leaving(0, 1))
    assert [(one.replica, one.to, one.at - NOW) for one in found.moves] == [(1, (3,), 30), (2, (1,), 65)]
    assert found.stops == []


def test_c4_a_claim_that_waits_takes_what_becomes_free_before_replicas_do() -> None:
    def shard() -> Snapshot:
        return fleet.shard(
            fleet.deployments(fixed(1), fixed(1, gpu_count=8)),
            have=fleet.replicas({"instance": 0, "capacity_class": RESERVED},
                                {"instance": 1, "deployment": 1, "gpus": 8, "capacity_class": RESERVED}),
            machines=fleet.instances(claimed(1), claimed(8), {"org": 1, "gpus_used": 7}, {"org": 1, "gpus_used": 6}),
            zones=fleet.offerings(8),
        )  # fmt: skip

    def taken(missing: int) -> list[tuple[int, Reason, tuple[int, ...], bool]]:
        waiting = [Waiting(claim=9, org=2, offering=0, missing=missing)]
        found = foreseen(shard(), Change(leaving=leaving(0, 1).leaving, waiting=waiting))
        assert [one.replica for one in found.moves] == [1]
        return [(one.replica, one.reason, one.to, one.waits) for one in found.stops]

    assert taken(2) == [(2, Reason.STOP_NO_ROOM, (), True)]
    assert taken(1) == [(2, Reason.STOP_NO_ROOM, (2,), False)], "back in the pool, its own instance is room for it"
    ours = Change(leaving=leaving(0, 1).leaving, waiting=[Waiting(claim=9, org=1, offering=0, missing=1)])
    (_, second) = foreseen(shard(), ours).moves
    assert (second.to, second.capacity_class) == ((1,), RESERVED), "a claim of its own organization is room again"


def test_c4_while_a_claim_waits_the_emptiest_instance_takes_nothing_new_and_then_does_again() -> None:
    """The claim gets what is given up last; until then the only room is on the instance that is kept for it."""
    shard = fleet.shard(
        fleet.deployments(fixed(1, gpu_count=2), fixed(1, gpu_count=8)),
        have=fleet.replicas({"instance": 0, "gpus": 2, "capacity_class": RESERVED},
                            {"instance": 1, "deployment": 1, "gpus": 8, "capacity_class": RESERVED}),
        machines=fleet.instances(claimed(2), claimed(8), {"org": 1, "gpus_used": 4, "held": True}),
        zones=fleet.offerings(8),
    )  # fmt: skip

    def of_the_first(waiting: Sequence[Waiting], **kept: Any) -> tuple[list[int], list[tuple[int, ...]]]:
        found = foreseen(shard, Change(leaving=leaving(0, 1).leaving, waiting=waiting, **kept))
        return ([one.replica for one in found.moves], [one.to for one in found.stops if one.replica == 1])

    waits = [Waiting(claim=9, org=2, offering=0, missing=1)]
    assert of_the_first(waits, kept=[2]) == ([], [(3,)]), "the first to be empty is the claim's, and nothing is kept"
    assert of_the_first([replace(waits[0], missing=3)], kept=[2]) == ([], [()]), "it still waits"
    assert of_the_first([], kept=[2]) == ([1, 2], []), "nobody waits any more"
    assert of_the_first([]) == ([], [(1,)]), "what an operator cordoned is no room"
    assert of_the_first([replace(waits[0], missing=0, more=1)], kept=[2]) == ([], [(3,)]), "it waits by the change"


def test_c13_a_pool_that_shrinks_takes_what_becomes_free() -> None:
    shard = fleet.shard(
        fleet.deployments(fixed(1, gpu_count=8)),
        have=fleet.replicas({"instance": 0, "gpus": 8, "capacity_class": RESERVED}),
        machines=fleet.instances(claimed(8), {}),
        zones=fleet.offerings(8),
    )
    assert len(foreseen(shard, leaving(0)).moves) == 1
    shrinks = foreseen(shard, Change(leaving=leaving(0).leaving, shrinking=[(0, 2)]))
    assert [one.waits for one in shrinks.stops] == [True]


def test_what_would_happen_anyway_is_no_effect_of_the_change() -> None:
    """A deployment that is too large lets one go whatever is done, and one that is short stays short."""
    shard = fleet.shard(
        fleet.deployments(fixed(1), fixed(3, gpu_count=8)),
        have=fleet.replicas(*({"instance": 0, "capacity_class": RESERVED} for _ in range(2))),
        machines=fleet.instances(claimed(2), {"org": 2, "gpus_used": 1}, {"org": 1, "gpus_used": 1}),
        zones=fleet.offerings(8),
    )
    found = foreseen(shard, leaving(0))
    assert len(found.moves) == 1
    assert (found.stops, found.short) == ([], {})


def test_a_model_that_is_still_loading_starts_anew_elsewhere() -> None:
    shard = fleet.shard(
        fleet.deployments(fixed(1)),
        have=fleet.replicas({"instance": 0, "state": fleet.STARTING, "started_at": NOW, "capacity_class": RESERVED}),
        machines=fleet.instances(claimed(1), {}),
        zones=fleet.offerings(8),
    )
    found = foreseen(shard, leaving(0))
    assert [(one.replica, one.to, one.waits, one.reason) for one in found.stops] == [
        (1, (2,), False, Reason.STOP_ON_DRAINING)]  # fmt: skip
    assert (found.moves, found.short) == ([], {})


def test_a_model_that_loads_longer_than_there_is_time_leaves_a_gap() -> None:
    shard = fleet.shard(
        fleet.deployments(fixed(1, startup_s=900.0)),
        have=fleet.replicas({"instance": 0, "capacity_class": RESERVED}),
        machines=fleet.instances(claimed(1), {}),
        zones=fleet.offerings(8),
    )
    found = foreseen(shard, leaving(0))
    assert [(round(one.at), one.reason, one.to, one.waits) for one in found.stops] == [
        (UNTIL, Reason.STOP_DEADLINE, (2,), False)]  # fmt: skip
    assert found.moves == []


def test_r16_a_replica_on_several_instances_moves_as_a_whole() -> None:
    parts = Parts.build(replica=[0, 0], instance=[0, 1], gpus=[8, 8])
    shard = fleet.shard(
        fleet.deployments(fixed(1, gpu_count=16)),
        have=fleet.replicas({"instance": 0, "gpus": 16, "capacity_class": RESERVED}),
        machines=fleet.instances(claimed(8), claimed(8), {}, {}),
        zones=fleet.offerings(8),
    )
    found = foreseen(replace(shard, parts=parts), leaving(1))
    assert [(one.replica, one.to) for one in found.moves] == [(1, (3, 4))]
    assert found.emptied == {2: NOW + 35}


def lower_above_its_min(**changes: Any) -> Snapshot:
    """A deployment on a claim, and a lower priority that fills the only other instance with one more than its min."""
    return fleet.shard(
        fleet.deployments(fixed(1, gpu_count=4, priority=9),
                          {"min": 1, "max": 2, "gpu_count": 4, "priority": 1, **changes}),
        fleet.steady([1.0, 2.0]),
        fleet.replicas({"instance": 0, "gpus": 4, "capacity_class": RESERVED},
                       *({"deployment": 1, "instance": 1, "gpus": 4} for _ in range(2))),
        fleet.instances(claimed(4), {"org": 1, "gpus_used": 8}),
        fleet.offerings(8),
    )  # fmt: skip


def ends(found: Forecast) -> list[tuple[int, Reason, tuple[int, ...], bool]]:
    return [(one.replica, one.reason, one.to, one.waits) for one in found.stops]


def test_r13_who_lacks_its_min_after_the_deadline_takes_what_a_lower_priority_runs_above_its_own() -> None:
    found = foreseen(lower_above_its_min(concurrency=1), leaving(0, then=Then.GONE))
    assert ends(found) == [(1, Reason.STOP_NO_ROOM, (2,), False), (3, Reason.STOP_RECLAIMED, (), True)]
    assert (found.moves, found.short, found.complete) == ([], {2: 1}, True)


def test_r13_what_an_operator_froze_or_pinned_gives_nothing() -> None:
    for held in ({"freeze": True}, {"pin": 2}):
        found = foreseen(lower_above_its_min(concurrency=1, **held), leaving(0, then=Then.GONE))
        assert ends(found) == [(1, Reason.STOP_NO_ROOM, (), True)], held
        assert found.short == {1: 1}


def delayed(**changes: Any) -> Snapshot:
    """The first is on a claim; the second has three replicas on the one pool instance, load for one, and a scale-down
    delay that has just begun; the third lacks two replicas, and what is free is on an instance of other zones."""
    return fleet.shard(
        fleet.deployments(fixed(1, gpu_count=4, priority=9, zones=1), {"max": 9, "concurrency": 1, "gpu_count": 2, "zones": 1, **changes},
                          {"max": 9, "concurrency": 1, "startup_s": 30.0, "zones": 2}),
        fleet.steady([0.0, 1.0, 3.0]),
        fleet.replicas({"instance": 0, "gpus": 4, "capacity_class": RESERVED},
                       *({"deployment": 1, "instance": 1, "gpus": 2} for _ in range(3)), {"deployment": 2, "instance": 2}),
        fleet.instances(claimed(4), {"org": 1, "gpus_used": 6}, {"org": 1, "gpus_used": 1, "offering": 1}),
        fleet.offerings(8, 8),
    )  # fmt: skip


def test_r4_sizes_follow_the_load_of_now_and_its_delays() -> None:
    """One grows at once, another shrinks once its delay of five minutes is over, to what load asks for."""
    ahead = Ahead(delayed(), NOW)
    ahead.run(Params(), until=NOW + 299)
    assert ahead.size().tolist() == [1, 3, 3]
    ahead.run(Params(), until=NOW + 330)
    assert ahead.size().tolist() == [1, 1, 3]
    assert [one.reason for one in ahead.stops] == [Reason.STOP_ON_DEMAND] * 2


def test_r12_what_only_its_delay_keeps_makes_room_for_a_higher_priority() -> None:
    """Where there is time, its delay runs out and the room it leaves is moved to. Where there is not, the delay is cut
    short once the time is up, by no more than is needed."""
    slow = foreseen(delayed(), leaving(0, then=Then.GONE))
    assert [(one.replica, one.to) for one in slow.moves] == [(1, (2,))]
    assert (slow.stops, slow.short) == ([], {})
    soon = foreseen(delayed(), Change(leaving=[Leaving(0, Then.GONE, NOW + 60)]))
    assert ends(soon) == [(1, Reason.STOP_NO_ROOM, (2,), False), (4, Reason.STOP_YIELDED, (), True)]
    assert (soon.moves, soon.short) == ([], {2: 1})


def test_r5_without_a_signal_sizes_stay() -> None:
    ahead = Ahead(replace(delayed(priority=9), signals=Signals.none(3)), NOW)
    ahead.begin(Change(leaving=[Leaving(0, Then.GONE, UNTIL)]))
    ahead.run(Params())
    assert ahead.now > UNTIL
    assert ahead.size().tolist() == [0, 3, 1]


def test_what_is_closed_takes_nothing_new_and_nothing_there_moves() -> None:
    shard = fleet.shard(
        fleet.deployments(fixed(2)),
        have=fleet.replicas({"instance": 0}),
        machines=fleet.instances({"org": 1, "gpus_used": 1}, {"org": 2, "gpus_used": 8}),
        zones=fleet.offerings(8),
    )
    found = foreseen(shard, Change(closed=[0]))
    assert (found.moves, found.stops) == ([], [])
    assert found.short == {1: 1}, "it would have grown there"


def test_an_instance_that_is_empty_leaves_at_once() -> None:
    shard = fleet.shard(fleet.deployments(fixed(1)), machines=fleet.instances(claimed(0)), zones=fleet.offerings(8))
    found = foreseen(shard, leaving(0, then=Then.GONE))
    assert found.emptied == {1: NOW}
    assert found.short == {1: 1}, "the deployment would have started there"


def test_nothing_is_foreseen_of_a_change_that_is_none() -> None:
    shard = fleet.shard(fleet.deployments(fixed(2)), have=fleet.running(2))
    found = foreseen(shard, Change())
    assert (found.moves, found.stops, found.short, found.emptied, found.complete) == ([], [], {}, {}, True)


def test_the_snapshot_is_left_as_it_was() -> None:
    shard = fleet.shard(
        fleet.deployments(fixed(2)),
        have=fleet.replicas(*({"instance": 0, "capacity_class": RESERVED} for _ in range(2))),
        machines=fleet.instances(claimed(2), {}),
        zones=fleet.offerings(8),
    )
    before = {name: values.copy() for table in (shard.instances, shard.replicas, shard.deployments)
              for name, values in table.items()}  # fmt: skip
    foreseen(shard, leaving(0))
    after = {name: values for table in (shard.instances, shard.replicas, shard.deployments)
             for name, values in table.items()}  # fmt: skip
    assert all((before[name] == after[name]).all() or before[name].dtype.kind == "f" for name in before)
