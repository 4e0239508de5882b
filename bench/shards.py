"""Large shards as values: full pools and free ones, machines of organizations, signals of a minute, and what may happen."""

from dataclasses import replace

import numpy as np

from deployments.core.columns import Int64s, UInt64s
from deployments.core.params import Params
from deployments.core.planner import plan
from deployments.core.snapshot import Deployments, Instances, Offerings, Replicas, Signals, Snapshot

EACH, POOLS = 10, 40  # replicas of a deployment, zones of the type
GPUS = 8  # of an instance
SHORT = 0.2  # of the pools have nothing free
SPARE = 0.05  # empty instances of the others, of those in use
SIZES, OFTEN = (1, 2, 4, 8), (0.7, 0.2, 0.08, 0.02)  # GPUs of a replica
CONCURRENCY = 8
PASSES, EVERY_S = 14, 5.0
NOW = 1_800_000_000.0
PARAMS = Params()


def settled(deployments: int, organizations: int, seed: int) -> Snapshot:
    """A shard in which every deployment has what it wants, seen by the planner for long enough to remember it."""
    rng = np.random.default_rng(seed)
    home, org = rng.integers(0, POOLS, deployments), 1 + rng.integers(0, organizations, deployments)
    gpus = rng.choice(SIZES, deployments, p=OFTEN)
    replicas, instances = _placed(home, org, gpus)
    snapshot = Snapshot(
        deployments=Deployments.build(
            key=np.arange(1, deployments + 1), org=org, min=np.full(deployments, 1), max=np.full(deployments, 2 * EACH),
            priority=rng.integers(0, 10, deployments), concurrency=np.full(deployments, CONCURRENCY), gpu_count=gpus,
            zones=_zones(home, rng),
        ),
        signals=_signals(NOW, np.full(deployments, EACH * CONCURRENCY)),
        replicas=replicas,
        instances=instances,
        offerings=Offerings(np.arange(1, POOLS + 1), tuple(f"ZONE-{n:02}" for n in range(POOLS)),
                            np.full(POOLS, GPUS, np.int32)),
    )  # fmt: skip
    return replace(snapshot, state=plan(snapshot, PARAMS, NOW).state)


def changing(snapshot: Snapshot, share: float, seed: int) -> Snapshot:
    """Another load on some of the deployments: half of them need up to four more replicas, half have little to do."""
    rng = np.random.default_rng(seed)
    touched = rng.random(len(snapshot.deployments)) < share
    more = np.where(rng.random(len(touched)) < 0.5, rng.integers(1, 5, len(touched)), -EACH // 2)
    return _loaded(snapshot, np.where(touched, more, 0))


def storm(snapshot: Snapshot, seed: int) -> Snapshot:
    """Half of the deployments need two to four more replicas, several times as much as there is."""
    rng, count = np.random.default_rng(seed), len(snapshot.deployments)
    return _loaded(snapshot, np.where(rng.random(count) < 0.5, rng.integers(2, 5, count), 0))


def reclaiming(snapshot: Snapshot, seed: int) -> Snapshot:
    """One deployment in a hundred has a higher min and the highest priority, where pools are full (R13)."""
    rows = np.random.default_rng(seed).random(len(snapshot.deployments)) < 0.01
    table = snapshot.deployments
    table = replace(table, min=np.where(rows, EACH + 2, table.min).astype(np.int32),
                    priority=np.where(rows, 1000, table.priority).astype(np.int32))  # fmt: skip
    return replace(changing(snapshot, 0.05, seed), deployments=table)


def _loaded(snapshot: Snapshot, more: Int64s) -> Snapshot:
    """Requests for so many replicas more than there are."""
    return replace(snapshot, signals=_signals(NOW + EVERY_S, (EACH + more) * CONCURRENCY))


def _signals(now: float, active: Int64s) -> Signals:
    """A minute of the same load."""
    running = np.tile(active.astype(np.int32), (PASSES, 1))
    return Signals(np.asarray(now - EVERY_S * np.arange(PASSES)[::-1], np.float64), np.zeros_like(running), running)


def _zones(home: Int64s, rng: np.random.Generator) -> UInt64s:
    """The zone it is in, and another."""
    one = np.uint64(1)
    return (one << home.astype(np.uint64)) | (one << rng.integers(0, POOLS, len(home)).astype(np.uint64))


def _placed(home: Int64s, org: Int64s, gpus: Int64s) -> tuple[Replicas, Instances]:
    """Replicas on machines of their organization, the largest first, so that none lies across two."""
    deployment = np.repeat(np.arange(len(home)), EACH)
    order = np.lexsort((-gpus[deployment], org[deployment], home[deployment]))
    deployment = deployment[order]
    where, whose, size = home[deployment], org[deployment], gpus[deployment]
    first = np.ones(len(order), bool)
    first[1:] = (where[1:] != where[:-1]) | (whose[1:] != whose[:-1])
    begun = np.cumsum(size) - size
    offset = begun - begun[np.flatnonzero(first)][np.cumsum(first) - 1]
    opens = offset % GPUS == 0
    instance = np.cumsum(opens) - 1
    used = np.bincount(instance, weights=size).astype(np.int64)
    spare = np.repeat(np.arange(POOLS), np.where(np.arange(POOLS) < SHORT * POOLS, 0,
                                                 np.ceil(SPARE * np.bincount(where[opens], minlength=POOLS)).astype(int)))  # fmt: skip
    count = len(order)
    replicas = Replicas.build(key=np.arange(1, count + 1), deployment=deployment, state=np.full(count, 2),
                              instance=instance, gpus=size, started_at=np.full(count, NOW - 3600),
                              active=np.full(count, CONCURRENCY))  # fmt: skip
    instances = Instances.build(
        key=np.arange(1, len(used) + len(spare) + 1), offering=np.concatenate([where[opens], spare]),
        org=np.concatenate([whose[opens], np.zeros(len(spare), np.int64)]),
        gpus=np.full(len(used) + len(spare), GPUS), gpus_used=np.concatenate([used, np.zeros(len(spare), np.int64)]),
    )  # fmt: skip
    return replicas, instances
