"""How much room a deployment has, by zone and class: GPUs that are there, free for it, kept or blocked."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from console.common.words import counted
from deployments.core.placement import NOBODY, usable
from deployments.core.plan import Plan
from deployments.core.snapshot import CapacityClass, Snapshot, Source
from deployments.trial import Trial

BOTH = (CapacityClass.RESERVED, CapacityClass.ON_DEMAND)


@dataclass(frozen=True, slots=True)
class Room:
    """GPUs of one class in one zone, as one deployment sees them."""

    zone: str
    capacity_class: CapacityClass
    allowed: bool  # by the deployment's classes
    gpus: int  # claimed by its organization, or in the unclaimed pool
    free: int  # that it could take now
    largest: int  # of these on one instance
    whole: int  # instances that are empty
    kept: int  # free, and kept for a waiting claim, cordoned or draining
    blocked: int  # free on instances that serve other organizations (R17)
    promised: int = 0  # of what is free, GPUs on which other deployments start in the same pass

    @property
    def notes(self) -> list[str]:
        """What there is to say about it."""
        empty = f"{counted(self.whole, 'instance')} empty"
        said = (
            (not self.allowed, "not allowed"),
            (self.free, f"at most {self.largest} on one instance, {empty}"),
            (self.promised, f"{self.promised} of these go to others that come first"),
            (self.kept, f"{self.kept} more kept for a waiting claim, cordoned or draining"),
            (self.blocked, f"{self.blocked} more on instances that serve others"),
        )
        return [text for there, text in said if there]


def classes_of(snapshot: Snapshot, row: int) -> tuple[CapacityClass, ...]:
    """The classes that a deployment may use, in its order; unset means all (R15)."""
    order = tuple(CapacityClass(one) for one in snapshot.deployments.class_order[row].tolist() if one)
    return order or BOTH


def zones_of(snapshot: Snapshot, row: int) -> list[int]:
    """Rows of the offerings in allowed zones, by zone name."""
    bits = int(snapshot.deployments.zones[row])
    names = snapshot.offerings.zone
    return sorted((one for one in range(len(names)) if bits >> one & 1), key=lambda one: names[one])


def rooms_of(trial: Trial, row: int, made: Plan) -> list[Room]:
    """Every allowed zone with both classes, the classes that are not allowed included."""
    allowed = classes_of(trial.snapshot, row)
    others = made.starts.deployment != row
    taken = np.bincount(made.starts.instance[others], made.starts.gpus[others], len(trial.snapshot.instances))
    return [
        _room(trial.snapshot, row, offering, each, each in allowed, taken)
        for offering in zones_of(trial.snapshot, row)
        for each in BOTH
    ]


def _room(
    snapshot: Snapshot, row: int, offering: int, capacity_class: CapacityClass, allowed: bool, taken: "np.ndarray"
) -> Room:
    machines, org = snapshot.instances, int(snapshot.deployments.org[row])
    here = in_class(snapshot, org, capacity_class) & (machines.offering == offering)
    free = machines.gpus - machines.gpus_used
    mine = np.isin(machines.org, (NOBODY, org))
    can = here & mine & usable(machines)
    return Room(
        zone=snapshot.offerings.zone[offering],
        capacity_class=capacity_class,
        allowed=allowed,
        gpus=int(machines.gpus[here].sum()),
        free=int(free[can].sum()),
        largest=int(free[can].max(initial=0)),
        whole=int((machines.gpus_used[can] == 0).sum()),
        kept=int(free[here & mine & ~can].sum()),
        blocked=int(free[here & ~mine].sum()),
        promised=int(taken[can].sum()),
    )


def elsewhere_of(trial: Trial, row: int) -> int:
    """Replicas of the deployment that run on demand though its classes leave that out."""
    if CapacityClass.ON_DEMAND in classes_of(trial.snapshot, row):
        return 0
    replicas, live = trial.snapshot.replicas, trial.live_of(row)
    return int(np.count_nonzero(replicas.capacity_class[live] == CapacityClass.ON_DEMAND))


def in_class(snapshot: Snapshot, org: int, capacity_class: CapacityClass) -> "np.ndarray":
    """Which instances are of a class, as the organization sees it (bool[I])."""
    machines = snapshot.instances
    if capacity_class == CapacityClass.RESERVED:
        claimed: np.ndarray = (machines.claim != 0) & (machines.org == org)
        return claimed
    pool: np.ndarray = (machines.claim == 0) & (machines.source == Source.POOL)
    return pool


def reachable(snapshot: Snapshot, row: int) -> "np.ndarray":
    """Instances that a deployment's replicas could be on, were they free: zone and class are right (bool[I])."""
    org = int(snapshot.deployments.org[row])
    found = np.zeros(len(snapshot.instances), np.bool_)
    for each in classes_of(snapshot, row):
        found |= in_class(snapshot, org, each)
    return found & np.isin(snapshot.instances.offering, zones_of(snapshot, row))


def allowed(rooms: list[Room]) -> Iterator[Room]:
    return (one for one in rooms if one.allowed)
