"""Stage 7: which instance a replica's GPUs are on (R15 to R17), as a room that is taken from.

Instances with free GPUs stand on shelves: one per class, organization and offering for what only that
organization may use (its claims, and pool instances that already serve it), one per offering for pool
instances that serve nobody. A shelf has a heap of instances per number of free GPUs and a mask of the numbers
there are, so the tightest fit is found without a search. A pool instance that is broken into moves to the
shelf of the organization that broke it (R17).

Every choice is total: the tightest fit, then an instance that already serves the organization, then the
offering's key, then the instance's key.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from deployments.core.columns import Bools, Int8s, Int64s, UInt64s
from deployments.core.queue import Request
from deployments.core.snapshot import CapacityClass, Instances, InstanceState, Offerings, Source

NOBODY = 0
RESERVED = int(CapacityClass.RESERVED)
ON_DEMAND = int(CapacityClass.ON_DEMAND)
SOURCES = (int(Source.POOL), int(Source.CUSTOMER))


class Fit(NamedTuple):
    """Where a replica would go. Compares by tightness, then by what is least missed elsewhere."""

    left_over: int  # GPUs of the instance that stay free; 0 for whole instances
    from_pool: bool  # breaks into an instance that serves nobody yet
    rank: int  # of the offering, by key
    offering: int
    capacity_class: int
    source: int  # of whole instances; 0 for one that is shared
    machines: int  # how many instances
    kept: int = -1  # the instance, where it is one that was kept
    exclusive: bool = False  # and nobody else may use it


@dataclass(slots=True)
class KeptPlace:
    """What is free on an instance that is kept for a deployment (see keeping): on no shelf."""

    key: int
    instance: int
    free: int
    capacity_class: int
    offering: int
    lowest: int  # priority whose growth may use it, and higher ones; mins may anyway
    owners: list[int] = field(default_factory=list)  # the deployments, the first that it was kept for first
    exclusive: bool = False  # only they may use it

    def admits(self, request: Request, growth: bool) -> bool:
        """Whether a request of its organization may use it."""
        if self.exclusive:
            return request.deployment in self.owners
        return not growth or request.priority >= self.lowest

    def takes(self, capacity_class: int, gpus: int, offerings: int, avoid: int) -> bool:
        """Whether a replica fits, as far as the place has a say."""
        fits = self.capacity_class == capacity_class and self.instance != avoid
        return fits and self.free >= gpus and bool(offerings >> self.offering & 1)


class Taken(NamedTuple):
    """GPUs taken on one instance."""

    instance: int
    gpus: int


@dataclass(slots=True)
class Shelf:
    """Instances of one holder in one offering. Bit f of `mask`: there is one with f free GPUs."""

    mask: int = 0
    heaps: dict[int, list[tuple[int, int]]] = field(default_factory=dict)  # free -> heap of (key, instance)

    def put(self, free: int, entry: tuple[int, int]) -> None:
        """Stand an instance with `free` > 0 GPUs on the shelf."""
        heappush(self.heaps.setdefault(free, []), entry)
        self.mask |= 1 << free

    def pop(self, free: int, avoid: int) -> tuple[int, int]:
        """Take the instance with the lowest key off the shelf that is not the one to avoid."""
        heap = self.heaps[free]
        entry = heappop(heap)
        if entry[1] == avoid:
            avoided, entry = entry, heappop(heap)
            heappush(heap, avoided)
        if not heap:
            self.mask &= ~(1 << free)
        return entry

    def tightest(self, gpus: int, avoid: int) -> int:
        """Fewest free GPUs of an instance that takes `gpus` more; 0 where there is none."""
        fitting = self.mask >> gpus
        if avoid < 0 and fitting:
            return gpus + (fitting & -fitting).bit_length() - 1
        while fitting:
            free = gpus + (fitting & -fitting).bit_length() - 1
            if any(instance != avoid for _, instance in self.heaps[free]):
                return free
            fitting &= fitting - 1
        return 0


EMPTY_SHELF = Shelf()


@dataclass(slots=True)
class Room:
    """Free GPUs of a shard."""

    ranks: list[int]  # of the offerings, by key
    sizes: list[int]  # GPUs per instance of the offerings
    sources: Int8s  # of the instances
    smallest: int  # of the sizes
    pool: dict[int, Shelf]  # per offering: what serves nobody
    own: dict[tuple[int, int], dict[int, Shelf]]  # per class and organization: per offering
    kept: dict[int, list[KeptPlace]]  # per organization
    _asked: dict[int, tuple[int, ...]] = field(
        default_factory=dict
    )  # offerings by their bits, of which few are asked for

    def _within(self, offerings: int) -> tuple[int, ...]:
        """The offerings of a mask."""
        found = self._asked.get(offerings)
        if found is None:
            found = tuple(offering for offering in range(len(self.sizes)) if offerings >> offering & 1)
            self._asked[offerings] = found
        return found

    def fits(self, capacity_class: int, org: int, gpus: int, offerings: int, avoid: int) -> Fit | None:
        """The best place for a replica in one class within `offerings` (bits); None where there is none."""
        own = self.own.get((capacity_class, org))
        pool = self.pool if capacity_class == ON_DEMAND else None
        if own is None and pool is None:
            return None
        best: tuple[int, bool, int, int] | None = None
        for offering in self._within(offerings):
            for from_pool, shelves in ((False, own), (True, pool)):
                shelf = shelves.get(offering) if shelves else None
                if shelf is None or not shelf.mask >> gpus:
                    continue
                free = shelf.tightest(gpus, avoid)
                place = (free - gpus, from_pool, self.ranks[offering], offering)
                if free and (best is None or place < best):
                    best = place
        if best is not None:
            return Fit(*best, capacity_class, 0, 1)
        return self._whole(capacity_class, org, gpus, offerings, avoid) if gpus > self.smallest else None

    def kept_fit(
        self, request: Request, capacity_class: int, offerings: int, growth: bool, exclusive: bool
    ) -> Fit | None:
        """The tightest of the places that are kept, of those that the request may use, exclusive ones or the others."""
        places = [
            place
            for place in self.kept.get(request.org, ())
            if place.exclusive == exclusive
            and place.takes(capacity_class, request.gpus, offerings, request.avoid)
            and place.admits(request, growth)
        ]
        if not places:
            return None
        best = min(places, key=lambda place: (place.free, self.ranks[place.offering], place.key))
        left_over, rank = best.free - request.gpus, self.ranks[best.offering]
        return Fit(left_over, False, rank, best.offering, capacity_class, 0, 1, best.instance, best.exclusive)

    def has(self, offering: int, free: int) -> bool:
        """Whether there is an instance of a pool that serves nobody with so many free GPUs."""
        return bool(self.pool[offering].mask >> free & 1)

    def none_for(self, org: int) -> bool:
        """Whether an organization has no GPU left that it may use."""
        if org in self.kept or any(shelf.mask for shelf in self.pool.values()):
            return False
        own = (self.own.get((each, org), {}) for each in (RESERVED, ON_DEMAND))
        return not any(shelf.mask for shelves in own for shelf in shelves.values())

    def take(self, fit: Fit, org: int, gpus: int, avoid: int, replicas: int) -> list[Taken]:
        """Take the GPUs of replicas at a place that `fits` gave; nothing may have been taken since.

        Several replicas share one instance, or one replica has several whole instances.
        """
        if fit.source:
            return self._take_whole(fit, org, gpus, avoid)
        if fit.kept >= 0:
            next(place for place in self.kept[org] if place.instance == fit.kept).free -= gpus * replicas
            return [Taken(fit.kept, gpus)]
        mine = self.mine(fit.capacity_class, org, fit.offering)
        entry = (self.pool[fit.offering] if fit.from_pool else mine).pop(fit.left_over + gpus, avoid)
        left = fit.left_over - gpus * (replicas - 1)
        if left:
            mine.put(left, entry)
        return [Taken(entry[1], gpus)]

    def mine(self, capacity_class: int, org: int, offering: int) -> Shelf:
        """The shelf of an organization; made when it is not there."""
        shelves = self.own.setdefault((capacity_class, org), {})
        shelf = shelves.get(offering)
        if shelf is None:
            shelf = shelves[offering] = Shelf()
        return shelf

    def _whole(self, capacity_class: int, org: int, gpus: int, offerings: int, avoid: int) -> Fit | None:
        """Several empty instances of one zone and one source (R16)."""
        best: Fit | None = None
        for offering, size in enumerate(self.sizes):
            if not offerings >> offering & 1 or gpus <= size or gpus % size:
                continue
            machines = gpus // size
            for source in SOURCES:
                own, pool = self._empty(capacity_class, org, offering, source, avoid)
                place = (0, len(own) < machines, self.ranks[offering], offering)
                fit = Fit(*place, capacity_class, source, machines)
                if len(own) + len(pool) >= machines and (best is None or fit < best):
                    best = fit
        return best

    def _empty(
        self, capacity_class: int, org: int, offering: int, source: int, avoid: int
    ) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Empty instances of a source that the organization has, and that nobody has, by key."""
        own = self.own.get((capacity_class, org), {}).get(offering, EMPTY_SHELF)
        pool = self.pool[offering] if capacity_class == ON_DEMAND else EMPTY_SHELF
        size = self.sizes[offering]
        found = [
            sorted(
                entry for entry in shelf.heaps.get(size, []) if self.sources[entry[1]] == source and entry[1] != avoid
            )
            for shelf in (own, pool)
        ]
        return found[0], found[1]

    def _take_whole(self, fit: Fit, org: int, gpus: int, avoid: int) -> list[Taken]:
        own, pool = self._empty(fit.capacity_class, org, fit.offering, fit.source, avoid)
        chosen = [*own, *pool][: fit.machines]
        size = self.sizes[fit.offering]
        for shelf in (self.mine(fit.capacity_class, org, fit.offering), self.pool[fit.offering]):
            kept = sorted(set(shelf.heaps.get(size, [])) - set(chosen))
            shelf.heaps[size] = kept
            if not kept:
                shelf.mask &= ~(1 << size)
        return [Taken(instance, gpus // fit.machines) for _, instance in chosen]


def usable(instances: Instances) -> Bools:
    """Instances that may take a new replica and have a GPU free."""
    result: Bools = admitting(instances) & (instances.gpus > instances.gpus_used)
    return result


def admitting(instances: Instances) -> Bools:
    """Instances that may take a new replica once they have room: ready, not held, and whose they are is clear.

    A pool instance that serves nobody has to be empty (R17); one that a customer brought is no pool (R15).
    """
    claimed = (instances.claim != 0) & (instances.org != NOBODY)
    pool = (instances.claim == 0) & (instances.source == Source.POOL)
    clear = (instances.org != NOBODY) | (instances.gpus_used == 0)
    result: Bools = (instances.state == InstanceState.READY) & ~instances.held & (claimed | (pool & clear))
    return result


def build_room(
    instances: Instances,
    rows: Int64s,
    offerings: Offerings,
    orgs: Int64s,
    zones: UInt64s,
    kept: dict[int, list[KeptPlace]],
) -> Room:
    """Sort the usable instances `rows` of the pool and of the given organizations onto shelves, save what is kept.

    `orgs` ascend, `zones` are the offerings that each of them asks in (bits): others are as good as full.
    """
    ranks = np.argsort(np.argsort(offerings.key)).tolist()
    sizes = offerings.gpus_per_instance.tolist()
    pool = {offering: Shelf() for offering in range(len(ranks))}
    room = Room(ranks, sizes, instances.source, min(sizes, default=0), pool, {}, kept)
    rows = rows[_asked_for(instances, rows, orgs, zones)]
    if kept:
        rows = rows[~np.isin(rows, [place.instance for places in kept.values() for place in places])]
    for (capacity_class, org, offering, free), entries in _groups(instances, rows):
        mine = pool[offering] if org == NOBODY else room.mine(capacity_class, org, offering)
        mine.heaps[free] = entries
        mine.mask |= 1 << free
    return room


def _asked_for(instances: Instances, rows: Int64s, orgs: Int64s, zones: UInt64s) -> Bools:
    """Which of the instances `rows` somebody who may use them asks for (bool[n])."""
    if len(orgs) == 0:
        return np.zeros(len(rows), np.bool_)
    at = np.minimum(np.searchsorted(orgs, instances.org[rows]), len(orgs) - 1)
    anybody = np.bitwise_or.reduce(zones)
    mine = np.where(orgs[at] == instances.org[rows], zones[at], np.uint64(0))
    asked = np.where(instances.org[rows] == NOBODY, anybody, mine)
    result: Bools = (asked >> instances.offering[rows].astype(np.uint64)) & np.uint64(1) > 0
    return result


def _groups(instances: Instances, rows: Int64s) -> Iterator[tuple[tuple[int, int, int, int], list[tuple[int, int]]]]:
    """Class, organization, offering and free GPUs, and the instances that share them, by key."""
    if len(rows) == 0:
        return
    classes = np.where(instances.claim[rows] != 0, RESERVED, ON_DEMAND)
    free = instances.gpus[rows] - instances.gpus_used[rows]
    columns: list[npt.NDArray[np.generic]] = [classes, instances.org[rows], instances.offering[rows], free]
    order = np.lexsort((instances.key[rows], *columns))
    columns = [column[order] for column in columns]
    differs = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    firsts = np.concatenate(([0], np.flatnonzero(differs) + 1))
    groups = zip(*(column[firsts].tolist() for column in columns), strict=True)
    entries = list(zip(instances.key[rows[order]].tolist(), rows[order].tolist(), strict=True))
    spans = zip(firsts.tolist(), [*firsts[1:].tolist(), len(rows)], strict=True)
    for group, (first, last) in zip(groups, spans, strict=True):
        yield group, entries[first:last]
