"""The words of a forecast: what is done to instances, and what that does to replicas. Rows are those of the snapshot,
keys those of the database; times are unix seconds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from deployments.core.reasons import Reason
from deployments.core.snapshot import CapacityClass


class Then(IntEnum):
    """What becomes of an instance once nothing runs on it."""

    POOL = 1  # free for whoever comes next
    GONE = 2  # taken away
    STAYS = 3  # where it is, taking nothing new


@dataclass(frozen=True, slots=True)
class Leaving:
    """An instance (row) that is to be empty by `until`, and what follows."""

    instance: int
    then: Then
    until: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """A claim that takes the next `missing` free pool instances of an offering (row), before replicas do (C4), and `more`
    that it lacks only once the change is made."""

    claim: int
    org: int
    offering: int
    missing: int
    more: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """What is done to the instances of a shard, all at once, and what waits for instances anyway."""

    leaving: Sequence[Leaving] = ()
    closed: Sequence[int] = ()  # instances (rows) that take nothing new from now on
    waiting: Sequence[Waiting] = ()  # in the order in which they are served
    shrinking: Sequence[tuple[int, int]] = ()  # (offering, instances) that leave the pool once they are free
    kept: Sequence[int] = ()  # instances (rows) that take nothing new as long as a claim waits (C4)

    def unmade(self) -> "Change":
        """What goes on without it."""
        waiting = [replace(one, more=0) for one in self.waiting]
        return Change(waiting=waiting, shrinking=self.shrinking, kept=self.kept)


@dataclass(frozen=True, slots=True)
class Move:
    """A replica (key) that is replaced first, on these instances (keys); it goes at `at`."""

    replica: int
    deployment: int
    gpus: int
    source: int
    to: tuple[int, ...]
    capacity_class: CapacityClass
    at: float


@dataclass(frozen=True, slots=True)
class Stop:
    """A replica (key) that goes before another stands in for it, and why.

    One that starts anew does so on the instances `to` (keys). One that `waits` leaves its deployment short; one that
    does neither is no longer needed.
    """

    replica: int
    deployment: int
    gpus: int
    source: int
    at: float
    reason: Reason
    to: tuple[int, ...] = ()
    waits: bool = False


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a change does. `short` is, by key of the deployment, how many replicas fewer it ends with."""

    moves: list[Move]
    stops: list[Stop]
    short: dict[int, int]
    emptied: dict[int, float]  # instances given up (keys), and when nothing runs on them any more
    complete: bool  # False: something still ran on one of them when we stopped looking
