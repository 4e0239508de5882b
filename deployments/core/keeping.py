"""Room that was made for a deployment stays its own until it is there (R10, R12, R13).

Replicas that are let go drain for a while, and an instance that becomes empty belongs to nobody again. What is
remembered, instance and deployment, keeps others away: other organizations altogether, and of the same one whoever
comes later in the order of R11; everybody, where a deployment let its own replica go to renew it. It is forgotten once
the deployment asks for no more, or after a quarter of an hour.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from deployments.core.autoscaler_state import Kept
from deployments.core.columns import Bools, Int32s, Int64s
from deployments.core.placement import NOBODY, ON_DEMAND, RESERVED, KeptPlace, admitting
from deployments.core.requests import Asks
from deployments.core.snapshot import Deployments, Instances, Snapshot

KEPT_MS = 900_000
NO_GROWTH = 2**31  # above every priority


class Entry(NamedTuple):
    """An instance that is kept for a deployment, both by row. Compares by age."""

    since_ms: int
    instance: int
    deployment: int
    exclusive: bool


@dataclass(frozen=True, slots=True)
class Keeping:
    """Entries that still hold, the oldest first.

    An instance that is kept for a replica on several is out of reach until it is empty, then its organization's.
    """

    entries: Sequence[Entry] = ()

    def held_for(self, table: Instances, deployments: Deployments) -> Instances:
        """The instances as if those that serve nobody already served the organization they are kept for."""
        if not self.entries:
            return table
        org = table.org.copy()
        org[[entry.instance for entry in self.entries]] = deployments.org[[entry.deployment for entry in self.entries]]
        return replace(table, org=org)

    def places(self, table: Instances, asks: Asks) -> dict[int, list[KeptPlace]]:
        """What is free on the instances now, by organization."""
        found: dict[int, KeptPlace] = {}
        for _, instance, deployment, exclusive in self.entries:
            several = asks.deployments.gpu_count[deployment] > table.gpus[instance]
            if several and table.gpus_used[instance] == 0:
                continue
            place = found.setdefault(instance, _place(table, instance))
            place.owners.append(deployment)
            place.exclusive |= exclusive
            if not asks.to_min[deployment]:
                place.lowest = min(place.lowest, int(asks.deployments.priority[deployment]))
            if several:
                place.free = 0
        by_org: dict[int, list[KeptPlace]] = {}
        for place in found.values():
            by_org.setdefault(int(table.org[place.instance]), []).append(place)
        return by_org

    def still(self, unplaced: Int32s) -> Iterator[Entry]:
        """The entries of deployments that go on waiting."""
        return (entry for entry in self.entries if unplaced[entry.deployment])

    def renewed(self, unplaced: Int32s) -> list[Entry]:
        """Exclusive entries, no more of a deployment than it waits for."""
        seen: Counter[int] = Counter()
        found = []
        for entry in self.still(unplaced):
            if entry.exclusive and seen[entry.deployment] < unplaced[entry.deployment]:
                seen[entry.deployment] += 1
                found.append(entry)
        return found


def keeping(kept: Kept, snapshot: Snapshot, asks: Bools, now_ms: int) -> Keeping:
    """The entries that still hold: the deployment `asks` (bool[D]) and may still use the instance."""
    if not len(kept) or not len(snapshot.deployments):
        return Keeping()
    deployments, instances = snapshot.deployments, snapshot.instances
    machines, owners = _rows(instances.key), _rows(deployments.key)
    open_ = admitting(instances)
    found: list[Entry] = []
    holders: dict[int, int] = {}
    columns = (kept.since_ms, kept.instance, kept.deployment, kept.exclusive)
    for since, instance, deployment, exclusive in sorted(zip(*(column.tolist() for column in columns), strict=True)):
        row, owner = machines.get(instance, -1), owners.get(deployment, -1)
        if row < 0 or owner < 0 or not asks[owner] or now_ms - since >= KEPT_MS:
            continue
        org = int(deployments.org[owner])
        able = open_[row] and _may_use(deployments, instances, owner, row)
        if able and holders.setdefault(row, org) == org:
            found.append(Entry(since, row, owner, bool(exclusive)))
    return Keeping(found)


def remembered(entries: Iterable[Entry], snapshot: Snapshot) -> Kept:
    """The entries as a table with keys; of the same instance and deployment the newest."""
    newest = {(entry.instance, entry.deployment): entry for entry in sorted(entries)}
    if not newest:
        return Kept.none()
    since, instance, deployment, exclusive = zip(*newest.values(), strict=True)
    table = Kept.build(
        instance=snapshot.instances.key[list(instance)],
        deployment=snapshot.deployments.key[list(deployment)],
        since_ms=since,
        exclusive=exclusive,
    )
    return table.take(np.lexsort((table.deployment, table.instance)))


def _rows(keys: Int64s) -> dict[int, int]:
    return dict(zip(keys.tolist(), range(len(keys)), strict=True))


def _may_use(deployments: Deployments, instances: Instances, owner: int, row: int) -> bool:
    """Whether the instance serves the deployment's organization or nobody, and the deployment could run on it."""
    classes = {int(each) for each in deployments.class_order[owner] if each} or {RESERVED, ON_DEMAND}
    return (
        int(instances.org[row]) in (NOBODY, int(deployments.org[owner]))
        and (RESERVED if instances.claim[row] else ON_DEMAND) in classes
        and bool(int(deployments.zones[owner]) >> int(instances.offering[row]) & 1)
        and int(deployments.avoid[owner]) != row
    )


def _place(table: Instances, instance: int) -> KeptPlace:
    return KeptPlace(
        key=int(table.key[instance]),
        instance=instance,
        free=int(table.gpus[instance] - table.gpus_used[instance]),
        capacity_class=RESERVED if table.claim[instance] else ON_DEMAND,
        offering=int(table.offering[instance]),
        lowest=NO_GROWTH,
    )
