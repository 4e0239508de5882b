"""What must hold for every answer of contention and placement, on random small shards."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from deployments.core.columns import Int32s, Int64s
from deployments.core.plan import Bound, Plan
from deployments.core.reasons import Reason
from deployments.core.snapshot import (
    CapacityClass,
    Deployments,
    InstanceState,
    Offerings,
    Signals,
    Snapshot,
)
from tests.core.fleet import NOW, decide
from tests.core.random_shards import SCARCE, random_shard, shards
from tests.core.reference_room import suits
from tests.core.reference_units import instances_of, units_of
from tests.search import examples


class Start(NamedTuple):
    replica: int
    deployment: int
    instance: int
    gpus: int
    capacity_class: int
    replaces: int


def starts_of(answer: Plan) -> list[Start]:
    return [Start(*row) for row in zip(*(values.tolist() for _, values in answer.starts.items()), strict=True)]


@examples(50)
@given(shards())
def test_capacity_is_never_promised_twice_and_every_rule_of_place_holds(shard: Snapshot) -> None:
    answer = decide(shard)
    fleet, machines = shard.deployments, shard.instances
    used = machines.gpus_used.copy()
    holder = machines.org.copy()
    for _, deployment, instance, gpus, capacity_class, _ in starts_of(answer):
        used[instance] += gpus
        assert gpus > 0
        assert used[instance] <= machines.gpus[instance]
        assert machines.state[instance] == InstanceState.READY
        assert not machines.held[instance]
        assert holder[instance] in (0, fleet.org[deployment])  # R17
        holder[instance] = fleet.org[deployment]
        assert int(fleet.zones[deployment]) >> int(machines.offering[instance]) & 1  # R16
        assert (machines.claim[instance] != 0) == (capacity_class == CapacityClass.RESERVED)  # R15
        order = [c for c in fleet.class_order[deployment] if c] or [1, 2]
        assert capacity_class in order
        assert not fleet.shadow[deployment]
        assert instance != fleet.avoid[deployment]  # R8


@examples(60)
@given(shards())
def test_the_parts_of_a_replica_are_its_gpus_in_one_zone_and_source(shard: Snapshot) -> None:
    parts: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for replica, deployment, instance, gpus, *_ in starts_of(decide(shard)):
        parts[replica].append((deployment, instance, gpus))
    for rows in parts.values():
        deployment = rows[0][0]
        assert {row[0] for row in rows} == {deployment}
        assert sum(row[2] for row in rows) == shard.deployments.gpu_count[deployment]
        at = [row[1] for row in rows]
        assert len({(int(shard.instances.offering[i]), int(shard.instances.source[i])) for i in at}) == 1
        if len(at) > 1:
            assert all(shard.instances.gpus_used[i] == 0 for i in at)
            assert all(gpus == shard.instances.gpus[i] for _, i, gpus in rows)


@examples(50)
@given(shards())
def test_what_counts_and_what_goes_agree_with_the_reference(shard: Snapshot) -> None:
    answer, units = decide(shard), units_of(shard, NOW)
    for d, listed in units.of.items():
        assert answer.current[d] == len(listed)
        assert answer.ready[d] == sum(unit.serves for unit in listed)
    stops = dict(zip(answer.stops.replica.tolist(), answer.stops.code.tolist(), strict=True))
    assert units.going.items() <= stops.items()
    assert len(stops) == len(answer.stops)


@examples(50)
@given(shards())
def test_numbers_and_actions_agree(shard: Snapshot) -> None:
    answer, units = decide(shard), units_of(shard, NOW)
    fleet = shard.deployments
    begun = {start.replica: start for start in starts_of(answer)}.values()
    starting = Counter(start.deployment for start in begun if start.replaces < 0)
    moving = Counter(start.deployment for start in begun if start.replaces >= 0)
    gone = set(answer.stops.replica.tolist()) - set(units.going)
    listed = {unit.row: unit for unit in chain.from_iterable(units.of.values())}
    shrinks = [row for row in gone if row in listed]
    assert gone == set(shrinks) | {listed[row].partner for row in shrinks} - {None}  # a pair goes whole
    stopping = Counter(int(shard.replicas.deployment[row]) for row in shrinks)
    for d in range(len(fleet)):
        wanted, granted, current = (int(v[d]) for v in (answer.wanted.value, answer.granted.value, answer.current))
        low, high = int(fleet.min[d]), int(fleet.max[d])
        assert low <= wanted <= high if fleet.enabled[d] else wanted == 0  # R3
        if fleet.shadow[d]:
            assert granted == wanted
            assert not starting[d] + stopping[d] + moving[d]
            continue
        assert granted == current + starting[d] - stopping[d]
        assert granted <= wanted
        assert answer.granted.missing_gpus[d] == (wanted - granted) * fleet.gpu_count[d]
        assert answer.unplaced[d] == max(0, max(0, wanted - current) - int(fleet.backoff[d])) - starting[d]
        assert answer.granted.moves[d] == moving[d] + sum(unit.partner is not None for unit in units.of[d])
        if granted < wanted:
            assert answer.granted.bound[d] in (
                Bound.CAPACITY, Bound.CLASS, Bound.ZONE, Bound.SIZE, Bound.PRIORITY, Bound.BACKOFF,
            )  # fmt: skip
        if answer.unplaced[d]:
            assert answer.granted.bound[d] != Bound.BACKOFF


@examples(50)
@given(shards())
def test_only_who_has_to_move_is_replaced_and_only_once(shard: Snapshot) -> None:
    answer, units = decide(shard), units_of(shard, NOW)
    fleet, replicas, machines = shard.deployments, shard.replicas, shard.instances
    alone = {unit.row for unit in chain.from_iterable(units.of.values()) if unit.serves and unit.partner is None}
    starts = {start.replica: start for start in starts_of(answer) if start.replaces >= 0}.values()
    assert len({start.replaces for start in starts}) == len(starts)
    for start in starts:
        old = start.replaces
        assert replicas.deployment[old] == start.deployment
        assert old in alone - set(answer.stops.replica.tolist())
        assert fleet.enabled[start.deployment]
        drained = any(machines.state[i] == InstanceState.DRAINING for i in instances_of(shard, old))
        older = replicas.revision[old] < fleet.revision[start.deployment]
        to_claim = replicas.capacity_class[old] == CapacityClass.ON_DEMAND and start.capacity_class == 1
        assert drained or older or to_claim
    for d in range(len(fleet)):
        surge = max(1, int(fleet.max[d]) // 10)
        rolled = [start for start in starts if start.deployment == d and _stays(shard, start.replaces)]
        assert len(rolled) <= max(0, surge - sum(unit.partner is not None for unit in units.of[d]))  # R10


def _stays(shard: Snapshot, row: int) -> bool:
    return not any(shard.instances.state[i] == InstanceState.DRAINING for i in instances_of(shard, row))


def overlaps(fleet: Deployments, a: int, b: int) -> bool:
    """Whether two deployments of an organization may use some capacity both."""

    def classes(d: int) -> set[int]:
        return {int(c) for c in fleet.class_order[d] if c} or {1, 2}

    return bool(classes(a) & classes(b)) and bool(int(fleet.zones[a]) & int(fleet.zones[b]))


@examples(50)
@given(shards())
@example(random_shard(1590))
@example(random_shard(7504))
@example(random_shard(7692))
@example(random_shard(8043))
def test_no_min_starves_while_the_same_or_a_lower_priority_grows_on_what_it_could_use(
    shard: Snapshot,
) -> None:
    answer = decide(shard)
    fleet, machines = shard.deployments, shard.instances
    size = int(machines.gpus[0])
    # A min that was there, and that R10 lets one of go first, does not starve: the room of that one is its own.
    there = answer.granted.value + renewed(shard, answer)
    starving = [
        d
        for d in range(len(fleet))
        if answer.unplaced[d]
        and there[d] < fleet.min[d]
        and answer.granted.bound[d] == Bound.CAPACITY
        and (fleet.gpu_count[d] <= size or fleet.gpu_count[d] % size == 0)
    ]
    for start in after_the_mins(shard, answer):
        deployment, instance = start.deployment, start.instance
        for d in starving:
            order = [int(c) for c in fleet.class_order[d] if c] or [1, 2]
            could = start.capacity_class in order and int(fleet.zones[d]) >> int(machines.offering[instance]) & 1
            lower = fleet.priority[deployment] <= fleet.priority[d] and deployment != d
            assert not (could and lower and fleet.org[d] == fleet.org[deployment])


def renewed(shard: Snapshot, answer: Plan) -> Int64s:
    """Replicas that each deployment lets go to renew them in their place (R10)."""
    rows = answer.stops.replica[answer.stops.code == Reason.STOP_MAKES_ROOM]
    return np.bincount(shard.replicas.deployment[rows], minlength=len(shard.deployments))


def after_the_mins(shard: Snapshot, answer: Plan) -> Iterator[Start]:
    """What starts above the minimum of its deployment, or instead of what could stay."""
    fleet = shard.deployments
    have, last = np.minimum(answer.current, answer.wanted.value), -1
    for unit in chain.from_iterable(units_of(shard, NOW).of.values()):
        leaves = unit.serves and unit.partner is None and not _stays(shard, unit.row)
        have[shard.replicas.deployment[unit.row]] -= leaves and unit.row not in answer.stops.replica
    for start in starts_of(answer):
        later = start.replaces >= 0 and _stays(shard, start.replaces)
        have[start.deployment] += start.replica != last and not later
        last = start.replica
        if later or have[start.deployment] > fleet.min[start.deployment]:
            yield start


RENEWING = replace(SCARCE, moves=0.5, most_load=20)


@examples(40)
@given(shards(RENEWING))
@example(random_shard(1897, RENEWING))
def test_r10_no_min_is_let_go_of_for_a_renewal_beside_growth_where_the_new_one_could_be(shard: Snapshot) -> None:
    answer = decide(shard)
    fleet, machines = shard.deployments, shard.instances
    lost = renewed(shard, answer)
    for d in np.flatnonzero((lost > 0) & (answer.granted.value < fleet.min)).tolist():
        free = (machines.gpus - machines.gpus_used).tolist()
        later = [start for start in after_the_mins(shard, answer) if fleet.org[start.deployment] == fleet.org[d]]
        for start in starts_of(answer):
            free[start.instance] -= 0 if start in later else start.gpus
        for i in range(len(machines)):
            kept = machines.key[i] in shard.state.kept.instance
            assert kept or not suits(shard, d, i) or free[i] < fleet.gpu_count[d]


@examples(50)
@given(shards())
def test_whoever_is_short_for_capacity_has_no_instance_left_that_would_do(shard: Snapshot) -> None:
    answer = decide(shard)
    fleet, machines = shard.deployments, shard.instances
    used, holder = machines.gpus_used.copy(), machines.org.copy()
    for _, deployment, instance, gpus, *_ in starts_of(answer):
        used[instance] += gpus
        holder[instance] = fleet.org[deployment]
    for d in np.flatnonzero(answer.granted.bound == Bound.CAPACITY).tolist():
        order = [int(c) for c in fleet.class_order[d] if c] or [1, 2]
        for i in range(len(machines)):
            capacity_class = 1 if machines.claim[i] else 2
            open_ = machines.state[i] == InstanceState.READY and not machines.held[i]
            open_ = open_ and machines.key[i] not in shard.state.kept.instance
            mine = holder[i] in (0, fleet.org[d]) and int(fleet.zones[d]) >> int(machines.offering[i]) & 1
            if open_ and mine and capacity_class in order and i != fleet.avoid[d]:
                assert machines.gpus[i] - used[i] < fleet.gpu_count[d]


@examples(50)
@given(shards())
def test_a_higher_priority_is_served_before_growth_of_a_lower_one(shard: Snapshot) -> None:
    """Of two alike but for priority, the lower one grows only when the higher has all it wants."""
    answer = decide(shard)
    fleet = shard.deployments
    least = np.maximum(answer.current, np.minimum(fleet.min, answer.wanted.value))
    grew = ~fleet.shadow & (answer.granted.value > least)
    for high in np.flatnonzero(answer.unplaced > 0).tolist():
        for low in np.flatnonzero(grew).tolist():
            alike = (
                fleet.org[high] == fleet.org[low]
                and fleet.gpu_count[high] == fleet.gpu_count[low]
                and fleet.zones[high] == fleet.zones[low]
                and tuple(fleet.class_order[high]) == tuple(fleet.class_order[low])
                and fleet.avoid[high] == -1
            )
            assert not (alike and fleet.priority[high] > fleet.priority[low])


def shuffled(shard: Snapshot, draw: st.DataObject) -> tuple[Snapshot, list[int], list[int], list[int]]:
    """The same shard with the rows of every table in another order."""

    def order(length: int) -> list[int]:
        return list(draw.draw(st.permutations(range(length))))

    d, r = order(len(shard.deployments)), order(len(shard.replicas))
    i, p = order(len(shard.instances)), order(len(shard.offerings))
    new_d, new_r, new_i, new_p = np.argsort(d), np.argsort(r), np.argsort(i), np.argsort(p)
    fleet = shard.deployments.take(d)
    zones = [sum(1 << int(new_p[bit]) for bit in range(len(p)) if int(mask) >> bit & 1) for mask in fleet.zones]
    have = shard.replicas.take(r)
    at = _moved(have.instance, new_i)
    old = shard.offerings
    return (
        Snapshot(
            replace(fleet, zones=np.array(zones, np.uint64), avoid=_moved(fleet.avoid, new_i)),
            Signals(shard.signals.at, shard.signals.queued[:, d], shard.signals.active[:, d]),
            replace(
                have,
                deployment=new_d[have.deployment].astype(np.int32),
                instance=at,
                replaces=_moved(have.replaces, new_r),
            ),
            replace(shard.instances.take(i), offering=new_p[shard.instances.offering[i]].astype(np.int32)),
            Offerings(old.key[p], tuple(old.zone[n] for n in p), old.gpus_per_instance[p]),
            shard.state,
            replace(
                shard.parts,
                replica=_moved(shard.parts.replica, new_r),
                instance=_moved(shard.parts.instance, new_i),
            ),
        ),
        d,
        r,
        i,
    )


def _moved(rows: Int32s, new: Int64s) -> Int32s:
    return np.where(rows >= 0, new[rows], -1).astype(np.int32)


@examples(50)
@given(shards(), st.data())
def test_the_order_of_rows_does_not_matter(shard: Snapshot, data: st.DataObject) -> None:
    other, d, r, i = shuffled(shard, data)
    one, two = decide(shard), decide(other)
    for stage in ("signal", "need", "damped", "wanted"):
        for name, values in getattr(one, stage).items():
            assert np.array_equal(values[d], getattr(getattr(two, stage), name))
    for name in ("value", "code", "bound", "missing_gpus", "capacity_class"):
        assert np.array_equal(getattr(one.granted, name)[d], getattr(two.granted, name))
    assert sorted(one.stops.replica.tolist()) == sorted(r[row] for row in two.stops.replica.tolist())
    first = sorted((row[1], row[2], row[3], row[4]) for row in starts_of(one))
    second = sorted((d[row[1]], i[row[2]], row[3], row[4]) for row in starts_of(two))
    assert first == second


@examples(25)
@given(shards())
def test_the_same_snapshot_gives_the_same_plan_and_is_left_alone(shard: Snapshot) -> None:
    tables = (shard.deployments, shard.replicas, shard.instances, shard.state.memory)
    before = [values.copy() for table in tables for _, values in table.items()]
    one, two = decide(shard), decide(shard)
    after = [values for table in tables for _, values in table.items()]
    assert all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(before, after, strict=True))
    assert starts_of(one) == starts_of(two)
    assert one.state.to_bytes() == two.state.to_bytes()
