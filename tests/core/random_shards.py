"""Crowded little shards for property tests: whatever may be in one is in some of them.

Numbers come from a seed and not from Hypothesis' own draws, which prefer the smallest and so the emptiest. GPUs in use
are those of the replicas, so that what one lets go another can have.
"""

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

from deployments.core.autoscaler_state import AutoscalerState, Kept, Memory
from deployments.core.snapshot import (
    CapacityClass,
    Deployments,
    Instances,
    InstanceState,
    Offerings,
    Parts,
    Replicas,
    Snapshot,
    Source,
)
from tests.core.fleet import DRAINING, NOW, READY, STARTING, offerings, steady

ORDERS = [(1, 2), (2, 1), (1, 0), (2, 0), (0, 0)]
NOW_MS = int(NOW * 1000)
WIDTH_MS = 20_000


@dataclass(frozen=True)
class Odds:
    """What a shard is made of."""

    sizes: tuple[int, ...] = (1, 1, 1, 2, 4, 8, 16, 3)
    priorities: tuple[int, ...] = (0, 0, 5, 9)
    most_orgs: int = 3
    most_zones: int = 3
    most_machines: int = 15
    machines: tuple[int, ...] = (1, 2, 4, 8, 8)
    states: tuple[int, ...] = (READY, READY, READY, STARTING, DRAINING)
    most_load: int = 100
    upside_down: float = 0.0  # how much more of the room low priorities have
    crowded: float = 0.8  # share of the room that is tried to be filled
    moves: float = 0.2  # draining instances, old revisions
    pairs: float = 0.15  # replicas that say that they replace another
    odd: float = 0.1  # shadow, disabled, pinned, frozen, backing off, avoiding
    any_class: float = 0.5  # deployments with the default classes and all zones


ALL = Odds()
# Few machines, many priorities: somebody has to make room in most of them.
SCARCE = Odds(
    sizes=(1, 1, 2, 4, 8),
    priorities=(0, 3, 6, 9),
    most_orgs=2,
    most_zones=2,
    most_machines=5,
    most_load=40,
    upside_down=0.9,
    crowded=3.0,
    moves=0.05,
    pairs=0.03,
    odd=0.02,
    any_class=0.9,
    machines=(4, 8),
    states=(READY,) * 18 + (STARTING, DRAINING),
)
# Room for many, in many places: whose turn it is matters (R14).
OPEN = Odds(
    sizes=(1, 2, 4, 8),
    most_orgs=5,
    crowded=0.3,
    moves=0.05,
    odd=0.02,
    any_class=0.4,
    machines=(4, 8),
    most_machines=12,
)


def shards(odds: Odds = ALL) -> st.SearchStrategy[Snapshot]:
    return st.integers(0, 2**32).map(lambda seed: random_shard(seed, odds))


def random_shard(seed: int, odds: Odds = ALL) -> Snapshot:
    rng = np.random.default_rng(seed)
    zones = int(rng.integers(1, odds.most_zones + 1))
    size = int(rng.choice(odds.machines))
    fleet = _fleet(rng, zones, int(rng.integers(1, 11)), odds)
    machines = _machines(rng, zones, size, int(rng.integers(1, odds.most_machines + 1)), odds)
    have, parts, machines = _placed(rng, fleet, machines, offerings(*[size] * zones), odds)
    loads = rng.integers(0, odds.most_load, len(fleet)).tolist()
    fleet = replace(fleet, avoid=np.where(rng.random(len(fleet)) < odds.odd, 0, -1).astype(np.int32))
    shard = Snapshot(fleet, steady(loads), have, machines, offerings(*[size] * zones), parts=parts)
    return replace(shard, state=_remembered(rng, shard))


def _fleet(rng: np.random.Generator, zones: int, count: int, odds: Odds) -> Deployments:
    low = rng.integers(1, 4, count)
    every = 2**zones - 1
    plain = rng.random(count) < odds.any_class
    some = rng.choice(len(ORDERS), count)
    high = low + rng.integers(0, 9, count)
    return Deployments.build(
        key=rng.permutation(count) + 1,
        org=rng.integers(1, odds.most_orgs + 1, count),
        created_at=rng.integers(1, 3, count),
        min=low,
        max=high,
        priority=rng.choice(odds.priorities, count),
        gpu_count=rng.choice(odds.sizes, count),
        class_order=np.where(plain[:, None], (1, 2), np.array(ORDERS)[some]),
        zones=np.where(plain, every, rng.integers(0, every + 1, count)),
        enabled=rng.random(count) >= odds.odd,
        shadow=rng.random(count) < odds.odd,
        backoff=rng.random(count) < odds.odd,
        pin=np.where(rng.random(count) < odds.odd, low, -1),
        freeze=rng.random(count) < odds.odd,
        revision=np.where(rng.random(count) < odds.moves, 2, 1),
        ahead=np.zeros(count),
    )


def _machines(rng: np.random.Generator, zones: int, size: int, count: int, odds: Odds) -> Instances:
    claim = rng.random(count) < 0.3
    org = np.where(claim, rng.integers(1, odds.most_orgs + 1, count), 0)
    state = np.where(rng.random(count) < odds.moves, InstanceState.DRAINING, InstanceState.READY)
    until = NOW + rng.choice([-60.0, 0.0, 1.0, 600.0, np.nan], count)
    return Instances.build(
        key=rng.permutation(count) + 1,
        offering=rng.integers(0, zones, count),
        gpus=np.full(count, size),
        org=org,
        claim=np.where(claim, rng.integers(1, 4, count), 0),
        source=np.where(claim, rng.choice(list(Source), count), Source.POOL),
        state=np.where(rng.random(count) < odds.odd / 3, InstanceState.OTHER, state),
        held=rng.random(count) < odds.odd,
        drain_until=np.where(state == InstanceState.DRAINING, until, np.nan),
    )


def _placed(
    rng: np.random.Generator, fleet: Deployments, machines: Instances, zones: Offerings, odds: Odds
) -> tuple[Replicas, Parts, Instances]:
    """Replicas wherever they may be, until the room or the patience is at an end."""
    used, org = machines.gpus_used.copy(), machines.org.copy()
    rows: list[dict[str, int]] = []
    parts: list[tuple[int, int, int]] = []
    for _ in range(int(odds.crowded * 5 * len(fleet))):
        d = int(rng.integers(len(fleet)))
        if rng.random() < odds.upside_down * fleet.priority[d] / 9:
            continue
        size, gpus = int(zones.gpus_per_instance[0]), int(fleet.gpu_count[d])
        open_ = ((org == 0) | (org == fleet.org[d])) & (machines.gpus - used >= min(gpus, size))
        open_ &= (machines.claim > 0) | (machines.source == Source.POOL)
        at = rng.permutation(np.flatnonzero(open_))
        count = max(1, gpus // size)
        if gpus > size:
            first = at[:1]
            alike = (machines.offering[at] == machines.offering[first]) & (
                machines.source[at] == machines.source[first]
            )
            at = at[alike & ((machines.claim[at] > 0) == (machines.claim[first] > 0))]
        if len(at) < count or (gpus > size and gpus % size):
            continue
        taken = at[:count].tolist()
        used[taken] += gpus // count
        org[taken] = fleet.org[d]
        if count > 1:
            parts += [(len(rows), instance, gpus // count) for instance in taken]
        claimed = bool(machines.claim[taken[0]])
        rows.append({"deployment": d, "instance": taken[0], "gpus": gpus, "reserved": claimed})
    return _replicas(rng, fleet, rows, odds), _parts(parts), replace(machines, gpus_used=used, org=org)


def _replicas(rng: np.random.Generator, fleet: Deployments, rows: list[dict[str, int]], odds: Odds) -> Replicas:
    count = len(rows)
    deployment = np.array([row["deployment"] for row in rows], np.int64)
    revision = fleet.revision[deployment] if count else np.zeros(0, np.int32)
    return Replicas.build(
        key=rng.permutation(count) + 1,
        deployment=deployment,
        state=rng.choice(odds.states, count),
        capacity_class=[CapacityClass.RESERVED if row["reserved"] else CapacityClass.ON_DEMAND for row in rows],
        instance=[row["instance"] for row in rows],
        gpus=[row["gpus"] for row in rows],
        started_at=NOW - rng.integers(0, 3, count),
        active=rng.integers(0, 3, count),
        revision=np.where(rng.random(count) < odds.moves, np.minimum(rng.integers(0, 2, count), revision), revision),
        replaces=_replaced(rng, deployment, odds),
    )


def _replaced(rng: np.random.Generator, deployment: np.ndarray, odds: Odds) -> np.ndarray:
    """Now and then the row of another replica of the deployment, sense or not."""
    rows = np.full(len(deployment), -1)
    for row in np.flatnonzero(rng.random(len(rows)) < odds.pairs).tolist():
        same = np.flatnonzero(deployment == deployment[row])
        rows[row] = rng.choice(same)
    return rows


def _parts(rows: list[tuple[int, int, int]]) -> Parts:
    if not rows:
        return Parts.none()
    replica, instance, gpus = zip(*rows, strict=True)
    return Parts.build(replica=replica, instance=instance, gpus=gpus)


def _remembered(rng: np.random.Generator, shard: Snapshot) -> AutoscalerState:
    """As if the loop had run for a while, with a size wanted that need not be what runs."""
    count = len(shard.deployments)
    at_ms = NOW_MS - 5000
    memory = Memory.build(
        key=shard.deployments.key,
        wanted=np.where(rng.random(count) < 0.5, rng.integers(1, 9, count), -1),
        short_since_ms=np.where(rng.random(count) < 0.3, at_ms - rng.integers(0, 3, count), 0),
        free_since_ms=np.where(rng.random(count) < 0.5, at_ms - rng.integers(0, 900_000, count), 0),
        width_ms=np.full(count, WIDTH_MS),
        bucket=np.full(count, at_ms // WIDTH_MS),
        highest=np.where(rng.random((count, 1)) < 0.5, rng.integers(0, 12, (count, 16)), 0),
    )
    machines, entries = len(shard.instances), int(rng.integers(0, 3))
    kept = Kept.build(
        instance=shard.instances.key[rng.integers(0, machines, entries)],
        deployment=shard.deployments.key[rng.integers(0, count, entries)],
        since_ms=at_ms - rng.integers(0, 1_200_000, entries),
    )
    return AutoscalerState(at_ms, memory, kept)
