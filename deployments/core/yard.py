"""Where room comes free, and which replicas have to go for it (R10, R12, R13).

What drains already counts first, so nothing is let go twice for one replica. After that the candidates are gone
through in their order: the first instance (or set of whole instances, R16) on which they make enough room is taken,
and of the candidates on it only those that are needed. So the last victim is the best there can be, a set that frees
no usable place is no victim set, and none of the victims could stay.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from deployments.core.columns import Bools, Int64s
from deployments.core.placement import NOBODY, ON_DEMAND, RESERVED, admitting
from deployments.core.plan import Starts
from deployments.core.queue import Request
from deployments.core.snapshot import Instances, Snapshot

LARGEST = 2**31 - 1


class Candidate(NamedTuple):
    """A replica, with the one that is on its way to replace it, that may be let go."""

    row: int  # of Replicas
    deployment: int
    places: tuple[tuple[int, int], ...]  # instance and GPUs, each instance once


class Clearing(NamedTuple):
    """Room for one replica: on these instances, once these victims are gone. Without any it comes free anyway."""

    instances: tuple[int, ...]
    victims: tuple[Candidate, ...]


class Group(NamedTuple):
    """Instances of which a replica on several may have any; compares in the order of preference."""

    rank: int  # of the offering, by key
    offering: int
    capacity_class: int
    source: int


@dataclass(slots=True)
class Machine:
    """An instance, and the GPUs on it that are free or will be, less those that are promised."""

    key: int
    holder: int
    group: Group
    size: int
    open: bool
    available: int


@dataclass(slots=True)
class Yard:
    """The instances of a shard; `open` and `available` are [I]."""

    instances: Instances
    ranks: list[int]  # of the offerings, by key
    smallest: int  # GPUs of an instance
    open: Bools  # may take replicas
    available: Int64s  # GPUs that are free, or will be once what drains is gone
    coming: dict[int, list[int]]  # organization -> its instances on which GPUs come free
    gone: set[int] = field(default_factory=set)  # rows of Replicas
    _machines: dict[int, Machine] = field(default_factory=dict)

    def clear(self, want: Request, candidates: Iterable[Candidate], budget: Mapping[int, int]) -> Clearing | None:
        """Room for one more replica and what it takes; None where the candidates do not suffice.

        Of each deployment no more go than its budget.
        """
        if want.gpus > self.smallest:
            return self._several(want, self._willing(candidates, budget), budget)
        if (instance := self._tightest(want)) is not None:
            return Clearing((instance,), ())
        return self._one(want, self._willing(candidates, budget), budget)

    def _tightest(self, want: Request) -> int | None:
        """The instance on which room for the replica comes free anyway: the one that the next pass would take."""
        able = [
            (machine.available, machine.group.rank, machine.key, instance)
            for instance in self.coming.get(want.org, ())
            if (machine := self.machine(instance)).available >= want.gpus and _suits(machine, instance, want)
        ]
        return min(able)[-1] if able else None

    def take(self, clearing: Clearing, want: Request) -> None:
        """Promise the room: the victims are gone, and nobody else is given what they leave."""
        for victim in clearing.victims:
            self._goes(victim)
        for instance in clearing.instances:
            self.machine(instance).available -= want.gpus // len(clearing.instances)

    def fewer(self, clearing: Clearing, want: Request) -> Clearing:
        """The clearing, which was taken, without the victims that can stay by now: what was promised stays possible.

        What others left over may be on the same instance, or be room for the whole replica on another.
        """
        victims = tuple(victim for victim in reversed(clearing.victims) if not self._stays(victim))[::-1]
        if not victims or len(clearing.instances) > 1:
            return Clearing(clearing.instances, victims)
        home = self.machine(clearing.instances[0])
        home.available += want.gpus
        if all(self._stays(victim) for victim in victims):
            instance = self._tightest(want)
            if instance is not None:
                self.machine(instance).available -= want.gpus
                return Clearing((instance,), ())
        for victim in victims:
            if victim.row not in self.gone:
                self._goes(victim)
        home.available -= want.gpus
        return Clearing(clearing.instances, victims)

    def _stays(self, victim: Candidate) -> bool:
        """Let a victim stay after all, if nothing is promised on its GPUs."""
        if any(self.machine(instance).available < gpus for instance, gpus in victim.places):
            return False
        self.gone.discard(victim.row)
        for instance, gpus in victim.places:
            self.machine(instance).available -= gpus
        return True

    def _goes(self, victim: Candidate) -> None:
        self.gone.add(victim.row)
        for instance, gpus in victim.places:
            machine = self.machine(instance)
            machine.available += gpus
            if machine.open and instance not in self.coming.setdefault(machine.holder, []):
                self.coming[machine.holder].append(instance)

    def machine(self, row: int) -> Machine:
        """An instance by its row."""
        found = self._machines.get(row)
        if found is None:
            found = self._machines[row] = self._read(row)
        return found

    def _read(self, row: int) -> Machine:
        table = self.instances
        offering = int(table.offering[row])
        capacity_class = RESERVED if table.claim[row] else ON_DEMAND
        return Machine(
            key=int(table.key[row]),
            holder=int(table.org[row]),
            group=Group(self.ranks[offering], offering, capacity_class, int(table.source[row])),
            size=int(table.gpus[row]),
            open=bool(self.open[row]),
            available=int(self.available[row]),
        )

    def _willing(self, candidates: Iterable[Candidate], budget: Mapping[int, int]) -> Iterator[Candidate]:
        for candidate in candidates:
            if candidate.row not in self.gone and budget.get(candidate.deployment, 0) > 0:
                yield candidate

    def _one(self, want: Request, willing: Iterator[Candidate], budget: Mapping[int, int]) -> Clearing | None:
        """Room on one instance."""
        piles: dict[int, list[Candidate]] = defaultdict(list)
        for candidate in willing:
            for instance, _ in candidate.places:
                machine, pile = self.machine(instance), piles[instance]
                if not _suits(machine, instance, want) or _spent(pile, candidate, budget):
                    continue
                pile.append(candidate)
                lacks = want.gpus - machine.available
                if _gpus(pile, instance) >= lacks:
                    return Clearing((instance,), _needed(pile, instance, lacks))
        return None

    def _several(self, want: Request, willing: Iterator[Candidate], budget: Mapping[int, int]) -> Clearing | None:
        """Room on several whole instances of one zone and source (R16)."""
        clear = self._clear(want)
        for group in sorted(clear):
            if (found := self._enough(want, clear[group], {}, budget)) is not None:
                return found
        piles: dict[int, list[Candidate]] = defaultdict(list)
        for candidate in willing:
            for instance, _ in candidate.places:
                machine, pile = self.machine(instance), piles[instance]
                if not _suits(machine, instance, want) or _spent(pile, candidate, budget):
                    continue
                pile.append(candidate)
                if machine.available + _gpus(pile, instance) == machine.size:
                    clear[machine.group].append(instance)
                    if (found := self._enough(want, clear[machine.group], piles, budget)) is not None:
                        return found
        return None

    def _enough(
        self, want: Request, clear: Sequence[int], piles: Mapping[int, list[Candidate]], budget: Mapping[int, int]
    ) -> Clearing | None:
        """The first so many of the instances that clear, as long as no deployment loses more than its budget."""
        size = self.machine(clear[0]).size
        chosen: list[int] = []
        victims: dict[int, Candidate] = {}
        for instance in clear:
            more = victims | {victim.row: victim for victim in piles.get(instance, ())}
            lost = Counter(victim.deployment for victim in more.values())
            if all(count <= budget[deployment] for deployment, count in lost.items()):
                victims = more
                chosen.append(instance)
            if len(chosen) * size == want.gpus:
                return Clearing(tuple(chosen), tuple(victims.values()))
        return None

    def _clear(self, want: Request) -> dict[Group, list[int]]:
        """Instances that are empty, or will be, by group and key: the organization's own, then what serves nobody."""
        table = self.instances
        mine = (table.org == want.org) | ((table.org == NOBODY) & (table.claim == 0))
        rows = np.flatnonzero(self.open & mine)
        found: dict[Group, list[int]] = defaultdict(list)
        for row in rows[np.lexsort((table.key[rows], table.org[rows] == NOBODY))].tolist():
            machine = self.machine(row)
            if machine.available == machine.size and _suits(machine, row, want):
                found[machine.group].append(row)
        return found


def _suits(machine: Machine, row: int, want: Request) -> bool:
    group = machine.group
    return (
        machine.open
        and row != want.avoid
        and machine.holder in (want.org, NOBODY)
        and group.capacity_class in want.classes
        and bool(want.offerings >> group.offering & 1)
    )


def _spent(pile: list[Candidate], candidate: Candidate, budget: Mapping[int, int]) -> bool:
    same = sum(each.deployment == candidate.deployment for each in pile)
    return same >= budget[candidate.deployment]


def _gpus(pile: Sequence[Candidate], instance: int) -> int:
    return sum(gpus for victim in pile for place, gpus in victim.places if place == instance)


def _needed(pile: Sequence[Candidate], instance: int, lacks: int) -> tuple[Candidate, ...]:
    """Those of the pile that have to go: the last ones stay first."""
    spare = _gpus(pile, instance) - lacks
    kept: list[Candidate] = []
    for victim in reversed(pile):
        gpus = _gpus([victim], instance)
        if gpus <= spare:
            spare -= gpus
        else:
            kept.append(victim)
    return tuple(reversed(kept))


def yard_of(snapshot: Snapshot, starts: Starts, letting_go: Bools) -> Yard:
    """The yard after the `starts` of this pass. `letting_go` marks the replicas that hold GPUs and soon will not, [R]."""
    instances, offerings = snapshot.instances, snapshot.offerings
    coming = _held_by(snapshot, letting_go)
    available = instances.gpus.astype(np.int64) - instances.gpus_used + coming
    np.subtract.at(available, starts.instance, starts.gpus)
    open_ = admitting(instances)
    rows = np.flatnonzero(open_ & (coming > 0) & (instances.org != NOBODY))
    by_org: dict[int, list[int]] = defaultdict(list)
    for row, org in zip(rows.tolist(), instances.org[rows].tolist(), strict=True):
        by_org[org].append(row)
    ranks = np.argsort(np.argsort(offerings.key)).tolist()
    smallest = int(offerings.gpus_per_instance.min(initial=LARGEST))
    return Yard(instances, ranks, smallest, open_, available, by_org)


def _held_by(snapshot: Snapshot, rows: Bools) -> Int64s:
    """GPUs that the given replicas hold, per instance."""
    replicas, parts = snapshot.replicas, snapshot.parts
    spread = np.zeros(len(replicas), np.bool_)
    spread[parts.replica] = True
    at = np.flatnonzero(rows & ~spread & (replicas.instance >= 0))
    held = np.zeros(len(snapshot.instances), np.int64)
    np.add.at(held, replicas.instance[at], replicas.gpus[at])
    some = rows[parts.replica]
    np.add.at(held, parts.instance[some], parts.gpus[some])
    return held
