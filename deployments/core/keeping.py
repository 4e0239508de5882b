"""Room that was made for a deployment stays its own until it is there (R10, R12, R13).

Replicas that are let go drain for a while, and an instance that becomes empty belongs to nobody again. What is
remembered, instance and deployment, keeps others away: other organizations altogether, and of the same one whoever
comes later in the order of R11. It is forgotten once the deployment asks for no more, or after a quarter of an hour.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from deployments.core.autoscaler_state import Kept
from deployments.core.columns import Bools, Int32s
from deployments.core.placement import NOBODY, ON_DEMAND, RESERVED, KeptPlace, admitting
from deployments.core.requests import Asks
from deployments.core.snapshot import Deployments, Instances, Snapshot

KEPT_MS = 900_000
NO_GROWTH = 2**31  # above every priority


@dataclass(frozen=True, slots=True)
class Keeping:
    """Entries that still hold: rows of instances and deployments, the oldest first.

    An instance that is kept for a replica on several is out of reach until it is empty, then its organization's.
    """

    instances: list[int]
    deployments: list[int]
    since_ms: list[int]

    def held_for(self, table: Instances, deployments: Deployments) -> Instances:
        """The instances as if those that serve nobody already served the organization they are kept for."""
        if not self.instances:
            return table
        org = table.org.copy()
        org[self.instances] = deployments.org[self.deployments]
        return replace(table, org=org)

    def still(self, unplaced: Int32s) -> Iterator[tuple[int, int, int]]:
        """The entries of deployments that go on waiting."""
        for entry in zip(self.instances, self.deployments, self.since_ms, strict=True):
            if unplaced[entry[1]]:
                yield entry

    def places(self, table: Instances, asks: Asks) -> dict[int, list[KeptPlace]]:
        """What is free on the instances now, by organization."""
        found: dict[int, KeptPlace] = {}
        for instance, deployment in zip(self.instances, self.deployments, strict=True):
            several = asks.deployments.gpu_count[deployment] > table.gpus[instance]
            if several and table.gpus_used[instance] == 0:
                continue
            lowest = NO_GROWTH if asks.to_min[deployment] else int(asks.deployments.priority[deployment])
            place = found.setdefault(instance, _place(table, instance, deployment))
            place.lowest = min(place.lowest, lowest)
            if several:
                place.free = 0
        by_org: dict[int, list[KeptPlace]] = {}
        for place in found.values():
            by_org.setdefault(int(table.org[place.instance]), []).append(place)
        return by_org


def keeping(kept: Kept, snapshot: Snapshot, asks: Bools, now_ms: int) -> Keeping:
    """The entries that still hold: the deployment `asks` (bool[D]) and may still use the instance."""
    if not len(kept) or not len(snapshot.deployments):
        return Keeping([], [], [])
    deployments, instances = snapshot.deployments, snapshot.instances
    machines = dict(zip(instances.key.tolist(), range(len(instances)), strict=True))
    owners = dict(zip(deployments.key.tolist(), range(len(deployments)), strict=True))
    open_ = admitting(instances)
    entries = zip(kept.since_ms.tolist(), kept.instance.tolist(), kept.deployment.tolist(), strict=True)
    found: list[tuple[int, int, int]] = []
    holders: dict[int, int] = {}
    for since, instance, deployment in sorted(entries):
        row, owner = machines.get(instance, -1), owners.get(deployment, -1)
        if row < 0 or owner < 0 or not asks[owner] or now_ms - since >= KEPT_MS:
            continue
        org = int(deployments.org[owner])
        able = open_[row] and _may_use(deployments, instances, owner, row)
        if able and holders.setdefault(row, org) == org:
            found.append((row, owner, since))
    return _listed(found)


def remembered(entries: Iterable[tuple[int, int, int]], snapshot: Snapshot) -> Kept:
    """The table of rows of instances and deployments with the time; of equal ones the newest."""
    newest: dict[tuple[int, int], int] = {}
    for instance, deployment, since in entries:
        newest[instance, deployment] = max(since, newest.get((instance, deployment), 0))
    if not newest:
        return Kept.none()
    rows = np.array(list(newest), np.int64)
    keys = (snapshot.instances.key[rows[:, 0]], snapshot.deployments.key[rows[:, 1]])
    order = np.lexsort(keys)
    return Kept(keys[0][order], keys[1][order], np.array(list(newest.values()), np.int64)[order])


def _may_use(deployments: Deployments, instances: Instances, owner: int, row: int) -> bool:
    """Whether the instance serves the deployment's organization or nobody, and the deployment could run on it."""
    classes = {int(each) for each in deployments.class_order[owner] if each} or {RESERVED, ON_DEMAND}
    return (
        int(instances.org[row]) in (NOBODY, int(deployments.org[owner]))
        and (RESERVED if instances.claim[row] else ON_DEMAND) in classes
        and bool(int(deployments.zones[owner]) >> int(instances.offering[row]) & 1)
        and int(deployments.avoid[owner]) != row
    )


def _listed(found: list[tuple[int, int, int]]) -> Keeping:
    return Keeping(*([row[at] for row in found] for at in range(3)))


def _place(table: Instances, instance: int, deployment: int) -> KeptPlace:
    return KeptPlace(
        key=int(table.key[instance]),
        instance=instance,
        free=int(table.gpus[instance] - table.gpus_used[instance]),
        capacity_class=RESERVED if table.claim[instance] else ON_DEMAND,
        offering=int(table.offering[instance]),
        deployment=deployment,
        lowest=NO_GROWTH,
    )
