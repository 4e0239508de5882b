"""R12 and R13 on random shards where much is scarce, against a search through everything there is."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from deployments.core.plan import Bound, Plan
from deployments.core.reasons import Reason
from deployments.core.snapshot import Snapshot
from tests.core.fleet import DRAINING, NOW, decide
from tests.core.random_shards import SCARCE, random_shard, shards
from tests.core.reference_room import helpful_sets, suits
from tests.core.reference_units import instances_of, units_of
from tests.search import examples

# All kinds of replicas, and all of one size.
SIZED = [SCARCE, replace(SCARCE, sizes=(1,)), replace(SCARCE, sizes=(4,))]
VICTIMS = (Reason.STOP_RECLAIMED, Reason.STOP_YIELDED)


def victims_of(answer: Plan, reasons: Sequence[Reason] = VICTIMS) -> list[int]:
    return [row for row, code in zip(answer.stops.replica.tolist(), answer.stops.code, strict=True) if code in reasons]


def whole(shard: Snapshot, row: int) -> list[int]:
    """A replica, and the one that is on its way to replace it."""
    units = units_of(shard, NOW).of[int(shard.replicas.deployment[row])]
    partner = next(unit.partner for unit in units if unit.row == row)
    return [row] if partner is None else [row, partner]


def available(shard: Snapshot, answer: Plan, staying: Sequence[int] = ()) -> list[int]:
    """GPUs per instance that are free after the plan, or will be once what was let go is gone; but some may stay."""
    machines = shard.instances
    found: list[int] = (machines.gpus - machines.gpus_used).tolist()
    for instance, gpus in zip(answer.starts.instance.tolist(), answer.starts.gpus.tolist(), strict=True):
        found[instance] -= gpus
    own = answer.stops.code == Reason.STOP_MAKES_ROOM  # what a deployment lets go of its own is for itself
    gone = set(np.flatnonzero(shard.replicas.state == DRAINING).tolist()) | set(answer.stops.replica[~own].tolist())
    for row in gone - set(staying):
        for instance, gpus in instances_of(shard, row).items():
            found[instance] += gpus
    return found


def fits(shard: Snapshot, wants: Sequence[int], room: Sequence[int]) -> bool:
    """Whether replicas of these deployments can be placed all together, each on one instance."""
    gpus = shard.deployments.gpu_count
    places = {d: [i for i in range(len(room)) if suits(shard, d, i)] for d in set(wants)}

    @cache
    def rest(at: int, left: tuple[int, ...]) -> bool:
        if at == len(wants):
            return True
        need = int(gpus[wants[at]])
        return any(
            left[i] >= need and rest(at + 1, (*left[:i], left[i] - need, *left[i + 1 :])) for i in places[wants[at]]
        )

    return rest(0, tuple(room))


def coming(answer: Plan, shard: Snapshot) -> list[int]:
    """Deployments for which room is being made, once for each replica; the large ones first."""
    listed = [d for d, count in enumerate(answer.granted.coming.tolist()) for _ in range(count)]
    return sorted(listed, key=lambda d: -int(shard.deployments.gpu_count[d]))


def alone(shard: Snapshot, wants: Sequence[int]) -> bool:
    """Whether each of them lies on one instance."""
    return all(shard.deployments.gpu_count[d] <= shard.instances.gpus[0] for d in wants)


def told_apart(shard: Snapshot, wants: Sequence[int]) -> bool:
    """Whether a set that suffices can be judged without saying who goes where: one replica, or all of a size."""
    sizes = {int(gpus) for gpus in shard.deployments.gpu_count}
    return len(wants) == 1 or len(sizes) == 1


@examples(50)
@given(shards(SCARCE))
def test_r13_no_room_is_promised_twice(shard: Snapshot) -> None:
    answer = decide(shard)
    wants = coming(answer, shard)
    assert not alone(shard, wants) or fits(shard, wants, available(shard, answer))


def alike(shard: Snapshot, wants: Sequence[int]) -> bool:
    """Whether they may all be in the same places.

    Else who goes where matters, which is not free: each takes its first class and the tightest fit when its turn comes
    (R11, R15), though what it leaves may be of no use to the next one.
    """
    return len({tuple(suits(shard, d, i) for i in range(len(shard.instances))) for d in wants}) <= 1


@examples(50)
@given(st.sampled_from(SIZED).flatmap(shards))
@example(random_shard(1808, SIZED[1]))
@example(random_shard(2135, SIZED[1]))
def test_r13_of_the_victims_none_could_stay(shard: Snapshot) -> None:
    answer = decide(shard)
    wants = coming(answer, shard)
    if alone(shard, wants) and told_apart(shard, wants) and alike(shard, wants):
        for row in victims_of(answer):
            assert not fits(shard, wants, available(shard, answer, whole(shard, row)))


@examples(50)
@given(shards(SCARCE))
def test_r12_r13_only_who_may_be_let_go_is_and_for_a_higher_priority_that_waits(shard: Snapshot) -> None:
    answer = decide(shard)
    fleet, rows = shard.deployments, {int(key): d for d, key in enumerate(shard.deployments.key)}
    lost = Counter(int(shard.replicas.deployment[row]) for row in victims_of(answer))
    needed = Counter(int(shard.replicas.deployment[row]) for row in victims_of(answer, [Reason.STOP_RECLAIMED]))
    for d in lost:
        other = rows[int(answer.granted.other[d])]
        assert fleet.org[d] == fleet.org[other]
        assert fleet.priority[d] < fleet.priority[other]
        assert answer.granted.coming[other] > 0
        assert answer.granted.bound[d] == Bound.PRIORITY
        assert answer.granted.value[d] >= min(fleet.min[d], answer.wanted.value[d])
        assert not fleet.freeze[d]
        assert fleet.pin[d] < 0
        assert answer.granted.code[d] == (Reason.RECLAIMED if needed[d] else Reason.YIELDED)
        if needed[d]:
            assert answer.granted.value[other] < fleet.min[other]
        else:
            assert answer.damped.code[d] == Reason.SHRINK_DELAYED
            assert answer.granted.value[d] >= min(answer.damped.recommended[d], fleet.max[d])


@examples(50)
@given(st.sampled_from(SIZED).flatmap(shards))
@example(random_shard(2135, SIZED[1]))
def test_r13_no_min_starves_while_a_lower_priority_holds_what_it_could_use(shard: Snapshot) -> None:
    answer = decide(shard)
    fleet = shard.deployments
    wants, room = coming(answer, shard), available(shard, answer)
    renewed = Counter(int(shard.replicas.deployment[row]) for row in victims_of(answer, [Reason.STOP_MAKES_ROOM]))
    for d in range(len(fleet)):
        lacks = min(int(fleet.min[d]), int(answer.wanted.value[d])) - int(answer.granted.value[d]) - renewed[d]
        waiting = min(lacks, int(answer.unplaced[d])) > answer.granted.coming[d]
        told = all(each(shard, [*wants, d]) for each in (alone, told_apart, alike))
        if not waiting or answer.granted.bound[d] != Bound.CAPACITY or not told:
            continue
        gone = set(answer.stops.replica.tolist())
        for _, rows in helpful_sets(shard, answer, d):
            more = room[:]
            for row in set(rows) - gone:
                for each in whole(shard, row):
                    for instance, gpus in instances_of(shard, each).items():
                        more[instance] += gpus
            assert not fits(shard, [*wants, d], more)
