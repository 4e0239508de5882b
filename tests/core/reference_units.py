"""Which replicas count and which go whatever the size, slow and obvious: one replica after the other (R6, R10, C10)."""

from dataclasses import dataclass, field

import numpy as np

from deployments.core.reasons import Reason
from deployments.core.snapshot import InstanceState, Snapshot
from tests.core.fleet import READY, STARTING


@dataclass
class Unit:
    """A replica that counts, and the row of the replacement that is on its way for it."""

    row: int
    serves: bool
    partner: int | None = None


@dataclass
class Units:
    of: dict[int, list[Unit]] = field(default_factory=dict)  # by row of the deployment
    going: dict[int, Reason] = field(default_factory=dict)  # by row of the replica


def instances_of(shard: Snapshot, row: int) -> dict[int, int]:
    """GPUs of a replica by instance."""
    parts = shard.parts
    found = {int(parts.instance[n]): int(parts.gpus[n]) for n in np.flatnonzero(parts.replica == row)}
    at = int(shard.replicas.instance[row])
    return found or ({at: int(shard.replicas.gpus[row])} if at >= 0 else {})


def units_of(shard: Snapshot, now: float) -> Units:
    replicas, fleet, machines = shard.replicas, shard.deployments, shard.instances
    found = Units({d: [] for d in range(len(fleet))})

    def live(row: int) -> bool:
        return replicas.state[row] in (READY, STARTING)

    def ready(row: int) -> bool:
        return bool(replicas.state[row] == READY)

    def draining(row: int) -> bool:
        return any(machines.state[i] == InstanceState.DRAINING for i in instances_of(shard, row))

    def late(row: int) -> bool:
        return any(
            machines.state[i] == InstanceState.DRAINING and machines.drain_until[i] <= now
            for i in instances_of(shard, row)
        )

    def shadow(row: int) -> bool:
        return bool(fleet.shadow[replicas.deployment[row]])

    def outdated(row: int) -> bool:
        return bool(replicas.revision[row] < fleet.revision[replicas.deployment[row]])

    def count(row: int, partner: int | None = None) -> None:
        found.of[int(replicas.deployment[row])].append(Unit(row, ready(row), partner))

    pairs = _pairs(shard, live)
    paired = set(pairs) | set(pairs.values())
    for row in range(len(replicas)):
        if not live(row) or row in paired:
            continue
        if not ready(row) and not shadow(row) and draining(row):
            found.going[row] = Reason.STOP_ON_DRAINING
        elif not ready(row) and not shadow(row) and outdated(row):
            found.going[row] = Reason.STOP_OUTDATED
        elif late(row):
            found.going[row] = Reason.STOP_NO_ROOM
        else:
            count(row)
    for old, new in pairs.items():
        if not shadow(old) and (ready(new) or not ready(old)):
            found.going[old] = Reason.STOP_REPLACED
            count(new)
            continue
        if not shadow(old) and (draining(new) or outdated(new)):
            found.going[new] = Reason.STOP_ON_DRAINING if draining(new) else Reason.STOP_OUTDATED
        if late(old):
            found.going[old] = Reason.STOP_DEADLINE
        rest = [row for row in (old, new) if row not in found.going]
        if len(rest) == 2:
            count(old, new)
        else:
            for row in rest:
                count(row)
    return found


def _pairs(shard: Snapshot, live: object) -> dict[int, int]:
    """Row of the replaced -> row of its replacement."""
    replicas = shard.replicas
    assert callable(live)
    claims: dict[int, int] = {}
    for row in range(len(replicas)):
        old = int(replicas.replaces[row])
        same = old >= 0 and old != row and replicas.deployment[old] == replicas.deployment[row]
        if same and live(row) and live(old):
            claims[row] = old
    pairs: dict[int, int] = {}
    for row, old in claims.items():
        if old in claims:
            continue
        best = pairs.get(old, row)
        pairs[old] = min(best, row, key=lambda each: (replicas.state[each] != READY, replicas.key[each]))
    return pairs
