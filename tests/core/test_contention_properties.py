"""What must hold for every answer of contention and placement, on random small shards."""

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.core.columns import Int32s, Int64s
from deployments.core.plan import Bound, Plan
from deployments.core.snapshot import (
    CapacityClass,
    Deployments,
    Instances,
    InstanceState,
    Offerings,
    Replicas,
    Signals,
    Snapshot,
    Source,
)
from tests.core.fleet import DRAINING, READY, STARTING, decide, offerings, seen, steady

ORDERS = [(1, 2), (2, 1), (1, 0), (2, 0), (0, 0)]


def random_shard(seed: int) -> Snapshot:
    """A crowded little shard: a few organizations that want more than there is, of everything a bit.

    Numbers come from the seed and not from Hypothesis' own draws, which prefer the smallest and so the
    emptiest.
    """
    rng = np.random.default_rng(seed)
    zones = int(rng.integers(1, 4))
    size = int(rng.choice([1, 2, 4, 8, 8]))
    fleet = random_fleet(rng, zones, int(rng.integers(1, 11)))
    machines = random_machines(rng, zones, size, int(rng.integers(1, 16)))
    count = int(rng.integers(0, 2 * len(fleet) + 1))
    have = Replicas.build(
        key=rng.permutation(count) + 1,
        deployment=rng.integers(0, len(fleet), count),
        state=rng.choice([READY, READY, STARTING, DRAINING], count),
        instance=rng.integers(-1, len(machines), count),
        active=rng.integers(0, 3, count),
    )
    loads = rng.integers(0, 100, len(fleet)).tolist()
    return seen(Snapshot(fleet, steady(loads), have, machines, offerings(*[size] * zones)))


def random_fleet(rng: np.random.Generator, zones: int, count: int) -> Deployments:
    low = rng.integers(1, 4, count)
    every = 2**zones - 1
    return Deployments.build(
        key=rng.permutation(count) + 1,
        org=rng.integers(1, rng.integers(2, 5), count),
        created_at=rng.integers(1, 3, count),
        min=low,
        max=low + rng.integers(0, 9, count),
        priority=rng.choice([0, 0, 5, 9], count),
        gpu_count=rng.choice([1, 1, 1, 2, 4, 8, 16, 3], count),
        class_order=np.array(ORDERS)[rng.choice(len(ORDERS), count, p=[0.5, 0.1, 0.1, 0.2, 0.1])],
        zones=np.where(rng.random(count) < 0.5, every, rng.integers(0, every + 1, count)),
        enabled=rng.random(count) < 0.9,
        shadow=rng.random(count) < 0.1,
        backoff=rng.random(count) < 0.1,
        avoid=np.where(rng.random(count) < 0.1, 0, -1),
    )


def random_machines(rng: np.random.Generator, zones: int, size: int, count: int) -> Instances:
    org = rng.choice([0, 0, 1, 2, 3], count)
    claim = np.where(org > 0, rng.choice([0, 0, 1], count), 0)
    empty = (org == 0) | (rng.random(count) < 0.3)
    return Instances.build(
        key=rng.permutation(count) + 1,
        offering=rng.integers(0, zones, count),
        gpus=np.full(count, size),
        org=org,
        claim=claim,
        gpus_used=np.where(empty, 0, rng.integers(0, size + 1, count)),
        source=np.where(claim > 0, rng.choice(list(Source), count), Source.POOL),
        state=rng.choice([InstanceState.READY] * 9 + [InstanceState.DRAINING], count),
        held=rng.random(count) < 0.1,
    )


def shards() -> st.SearchStrategy[Snapshot]:
    return st.integers(0, 2**32).map(random_shard)


def starts_of(answer: Plan) -> list[tuple[int, int, int, int, int]]:
    return list(zip(*(values.tolist() for _, values in answer.starts.items()), strict=True))


@settings(max_examples=300, deadline=None)
@given(shards())
def test_capacity_is_never_promised_twice_and_every_rule_of_place_holds(shard: Snapshot) -> None:
    answer = decide(shard)
    fleet, machines = shard.deployments, shard.instances
    used = machines.gpus_used.copy()
    holder = machines.org.copy()
    for _, deployment, instance, gpus, capacity_class in starts_of(answer):
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


@settings(max_examples=200, deadline=None)
@given(shards())
def test_the_parts_of_a_replica_are_its_gpus_in_one_zone_and_source(shard: Snapshot) -> None:
    parts: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for replica, deployment, instance, gpus, _ in starts_of(decide(shard)):
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


@settings(max_examples=300, deadline=None)
@given(shards())
def test_numbers_and_actions_agree(shard: Snapshot) -> None:
    answer = decide(shard)
    fleet = shard.deployments
    starting = Counter(deployment for _, deployment in {row[:2] for row in starts_of(answer)})
    stopping = Counter(shard.replicas.deployment[answer.stops.replica].tolist())
    live = np.isin(shard.replicas.state, [READY, STARTING])
    assert live[answer.stops.replica].all()
    assert len(set(answer.stops.replica.tolist())) == len(answer.stops)
    for d in range(len(fleet)):
        wanted, granted, current = (int(v[d]) for v in (answer.wanted.value, answer.granted.value, answer.current))
        low, high = int(fleet.min[d]), int(fleet.max[d])
        assert low <= wanted <= high if fleet.enabled[d] else wanted == 0  # R3
        if fleet.shadow[d]:
            assert granted == wanted
            assert not starting[d] + stopping[d]
            continue
        assert granted == current + starting[d] - stopping[d]
        assert granted <= wanted
        assert answer.granted.missing_gpus[d] == (wanted - granted) * fleet.gpu_count[d]
        assert answer.unplaced[d] == max(0, wanted - granted - int(fleet.backoff[d])) or granted >= wanted
        if granted < wanted:
            assert answer.granted.bound[d] in (
                Bound.CAPACITY, Bound.CLASS, Bound.ZONE, Bound.SIZE, Bound.PRIORITY, Bound.BACKOFF,
            )  # fmt: skip
        if answer.unplaced[d]:
            assert answer.granted.bound[d] != Bound.BACKOFF


def overlaps(fleet: Deployments, a: int, b: int) -> bool:
    """Whether two deployments of an organization may use some capacity both."""

    def classes(d: int) -> set[int]:
        return {int(c) for c in fleet.class_order[d] if c} or {1, 2}

    return bool(classes(a) & classes(b)) and bool(int(fleet.zones[a]) & int(fleet.zones[b]))


@settings(max_examples=300, deadline=None)
@given(shards())
def test_no_min_starves_while_the_same_or_a_lower_priority_grows_on_what_it_could_use(
    shard: Snapshot,
) -> None:
    answer = decide(shard)
    fleet, machines = shard.deployments, shard.instances
    size = int(machines.gpus[0])
    starving = [
        d
        for d in range(len(fleet))
        if answer.unplaced[d]
        and answer.granted.value[d] < fleet.min[d]
        and answer.granted.bound[d] == Bound.CAPACITY
        and (fleet.gpu_count[d] <= size or fleet.gpu_count[d] % size == 0)
    ]
    have, last = answer.current.copy(), -1
    for replica, deployment, instance, _, capacity_class in starts_of(answer):
        have[deployment] += replica != last
        last = replica
        growth = have[deployment] > fleet.min[deployment]
        for d in starving:
            order = [int(c) for c in fleet.class_order[d] if c] or [1, 2]
            could = capacity_class in order and int(fleet.zones[d]) >> int(machines.offering[instance]) & 1
            lower = fleet.priority[deployment] <= fleet.priority[d] and deployment != d
            assert not (growth and could and lower and fleet.org[d] == fleet.org[deployment])


@settings(max_examples=300, deadline=None)
@given(shards())
def test_whoever_is_short_for_capacity_has_no_instance_left_that_would_do(shard: Snapshot) -> None:
    answer = decide(shard)
    fleet, machines = shard.deployments, shard.instances
    used, holder = machines.gpus_used.copy(), machines.org.copy()
    for _, deployment, instance, gpus, _ in starts_of(answer):
        used[instance] += gpus
        holder[instance] = fleet.org[deployment]
    for d in np.flatnonzero(answer.granted.bound == Bound.CAPACITY).tolist():
        order = [int(c) for c in fleet.class_order[d] if c] or [1, 2]
        for i in range(len(machines)):
            capacity_class = 1 if machines.claim[i] else 2
            open_ = machines.state[i] == InstanceState.READY and not machines.held[i]
            mine = holder[i] in (0, fleet.org[d]) and int(fleet.zones[d]) >> int(machines.offering[i]) & 1
            if open_ and mine and capacity_class in order and i != fleet.avoid[d]:
                assert machines.gpus[i] - used[i] < fleet.gpu_count[d]


@settings(max_examples=300, deadline=None)
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
    new_d, new_i, new_p = np.argsort(d), np.argsort(i), np.argsort(p)
    fleet = shard.deployments.take(d)
    zones = [sum(1 << int(new_p[bit]) for bit in range(len(p)) if int(mask) >> bit & 1) for mask in fleet.zones]
    have = shard.replicas.take(r)
    at = _moved(have.instance, new_i)
    old = shard.offerings
    return (
        Snapshot(
            replace(fleet, zones=np.array(zones, np.uint64), avoid=_moved(fleet.avoid, new_i)),
            Signals(shard.signals.at, shard.signals.queued[:, d], shard.signals.active[:, d]),
            replace(have, deployment=new_d[have.deployment].astype(np.int32), instance=at),
            replace(shard.instances.take(i), offering=new_p[shard.instances.offering[i]].astype(np.int32)),
            Offerings(old.key[p], tuple(old.zone[n] for n in p), old.gpus_per_instance[p]),
            shard.state,
        ),
        d,
        r,
        i,
    )


def _moved(rows: Int32s, new: Int64s) -> Int32s:
    return np.where(rows >= 0, new[rows], -1).astype(np.int32)


@settings(max_examples=300, deadline=None)
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


@settings(max_examples=50, deadline=None)
@given(shards())
def test_the_same_snapshot_gives_the_same_plan_and_is_left_alone(shard: Snapshot) -> None:
    tables = (shard.deployments, shard.replicas, shard.instances, shard.state.memory)
    before = [values.copy() for table in tables for _, values in table.items()]
    one, two = decide(shard), decide(shard)
    after = [values for table in tables for _, values in table.items()]
    assert all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(before, after, strict=True))
    assert starts_of(one) == starts_of(two)
    assert one.state.to_bytes() == two.state.to_bytes()
