"""Stages 6 and 7 slow and obvious: one replica after the other, everything looked at anew each time (R11, R14 to R17).

Takes the sizes wanted from the plan that it is compared with, and shares nothing else with the planner. What is kept
from earlier passes is not in it.
"""

from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from deployments.core.plan import Plan
from deployments.core.snapshot import CapacityClass, InstanceState, Snapshot, Source
from tests.core.fleet import DRAINING, NOW
from tests.core.reference_units import Unit, instances_of, units_of

MIN, RENEW, GROWTH, MOVE = range(4)


@dataclass
class Ask:
    """What one deployment asks for."""

    deployment: int
    to_min: int
    renewals: int
    growth: int
    moves: int
    over: bool
    got: Counter[int] = field(default_factory=Counter)  # by phase
    failed: set[int] = field(default_factory=set)  # phases in which there was no room for more

    def left(self, phase: int) -> int:
        if phase in self.failed:
            return 0
        return (self.to_min, self.renewals, self.growth, self.moves)[phase] - self.got[phase]


@dataclass(order=True)
class Place:
    left_over: int
    from_pool: bool
    rank: int
    source: int
    key: int
    instances: tuple[int, ...]
    capacity_class: int


@dataclass
class Contest:
    shard: Snapshot
    answer: Plan
    asks: dict[int, Ask] = field(default_factory=dict)
    taken: list[tuple[int, int, int]] = field(default_factory=list)  # instance, GPUs, class

    def __post_init__(self) -> None:
        machines = self.shard.instances
        self.free = (machines.gpus - machines.gpus_used).tolist()
        self.holder = machines.org.tolist()
        self.ranks = np.argsort(np.argsort(self.shard.offerings.key)).tolist()
        self.holds: Counter[tuple[int, int]] = Counter()
        for i in range(len(machines)):
            if not machines.claim[i] and machines.source[i] == Source.POOL and self.holder[i]:
                self.holds[self.holder[i], int(machines.offering[i])] += int(machines.gpus_used[i])
        units = units_of(self.shard, NOW)
        for d, listed in units.of.items():
            self.asks[d] = self._ask(d, listed)

    def run(self) -> None:
        """Grant until nobody can get more."""
        orgs = sorted({int(org) for org in self.shard.deployments.org})
        while True:
            turns = []
            for org in orgs:
                found = self._own(org)
                if found is not None:
                    ask, phase, place = found
                    offering = int(self.shard.instances.offering[place.instances[0]])
                    turns.append((self.holds[org, offering], self._since(ask.deployment), org, ask, phase, place))
            if not turns:
                break
            *_, ask, phase, place = min(turns, key=lambda turn: turn[:3])
            self._grant(ask, phase, place)
        self._deal_again()

    def _own(self, org: int) -> tuple[Ask, int, Place] | None:
        """Grant an organization what is its own, until it needs an instance that serves nobody."""
        while (head := self._head(org)) is not None:
            ask, phase = head
            place = self._best(ask, phase)
            if place is None:
                ask.failed.add(phase)
                if phase == MIN:
                    ask.failed |= {GROWTH}
            elif place.from_pool:
                return ask, phase, place
            else:
                self._grant(ask, phase, place)
        return None

    def _head(self, org: int) -> tuple[Ask, int] | None:
        for phase in (MIN, RENEW, GROWTH, MOVE):
            able = [ask for ask in self._ordered(org) if ask.left(phase)]
            if not able:
                continue
            if phase != GROWTH:
                return able[0], phase
            fleet = self.shard.deployments
            group = [ask for ask in able if fleet.priority[ask.deployment] == fleet.priority[able[0].deployment]]
            return min(group, key=lambda ask: Fraction(2 * ask.got[GROWTH] + 1, ask.growth)), GROWTH
        return None

    def _ordered(self, org: int) -> list[Ask]:
        fleet = self.shard.deployments
        mine = [ask for d, ask in self.asks.items() if fleet.org[d] == org]
        return sorted(mine, key=lambda ask: self._order(ask.deployment))

    def _order(self, d: int) -> tuple[int, float, int]:
        fleet = self.shard.deployments
        return -int(fleet.priority[d]), float(fleet.created_at[d]), int(fleet.key[d])

    def _since(self, d: int) -> int:
        """Since when it has been short; who only moves has waited as long as it was short, too."""
        since = int(self.shard.state.realign(self.shard.deployments.key).memory.short_since_ms[d])
        return since or int(NOW * 1000)

    def _classes(self, ask: Ask, phase: int) -> list[int]:
        if phase == MOVE and ask.over:
            return [1]
        return [int(each) for each in self.shard.deployments.class_order[ask.deployment] if each] or [1, 2]

    def _best(self, ask: Ask, phase: int) -> Place | None:
        for capacity_class in self._classes(ask, phase):
            places = self._single(ask, capacity_class, phase) or self._several(ask, capacity_class, phase)
            if places:
                return min(places)
        return None

    def _open(self, ask: Ask, i: int, capacity_class: int, phase: int) -> bool:
        fleet, machines, d = self.shard.deployments, self.shard.instances, ask.deployment
        offering, claimed = int(machines.offering[i]), bool(machines.claim[i])
        mine = self.holder[i] == fleet.org[d]
        nobodys = self.holder[i] == 0 and not claimed and self.free[i] == machines.gpus[i]
        return (
            machines.state[i] == InstanceState.READY
            and not machines.held[i]
            and (claimed or machines.source[i] == Source.POOL)
            and (CapacityClass.RESERVED if claimed else CapacityClass.ON_DEMAND) == capacity_class
            and (mine or nobodys)
            and bool(int(fleet.zones[d]) >> offering & 1)
            and i != fleet.avoid[d]
            and not (phase > MIN and self._is_kept(d, capacity_class, offering))
        )

    def _is_kept(self, d: int, capacity_class: int, offering: int) -> bool:
        """Whether the min of the same or a higher priority of the organization waits for room there."""
        fleet = self.shard.deployments
        return any(
            MIN in ask.failed
            and fleet.org[other] == fleet.org[d]
            and fleet.priority[other] >= fleet.priority[d]
            and capacity_class in self._classes(ask, MIN)
            and bool(int(fleet.zones[other]) >> offering & 1)
            and self._possible(other)
            for other, ask in self.asks.items()
        )

    def _possible(self, d: int) -> bool:
        """Whether a replica could lie anywhere at all, whatever is free; else nothing is kept for it."""
        fleet, machines = self.shard.deployments, self.shard.instances
        gpus = int(fleet.gpu_count[d])
        zones = [p for p in range(len(self.ranks)) if int(fleet.zones[d]) >> p & 1]
        sizes = [int(self.shard.offerings.gpus_per_instance[p]) for p in zones]
        if not any(gpus <= size or gpus % size == 0 for size in sizes):
            return False
        claims = any(
            machines.claim[i]
            and machines.state[i] == InstanceState.READY
            and machines.org[i] == fleet.org[d]
            and machines.offering[i] in zones
            for i in range(len(machines))
        )
        return claims or CapacityClass.ON_DEMAND in self._classes(self.asks[d], MIN)

    def _single(self, ask: Ask, capacity_class: int, phase: int) -> list[Place]:
        machines, gpus = self.shard.instances, int(self.shard.deployments.gpu_count[ask.deployment])
        return [
            Place(self.free[i] - gpus, self.holder[i] == 0, self.ranks[machines.offering[i]], 0,
                  int(machines.key[i]), (i,), capacity_class)
            for i in range(len(machines))
            if self._open(ask, i, capacity_class, phase) and self.free[i] >= gpus
        ]  # fmt: skip

    def _several(self, ask: Ask, capacity_class: int, phase: int) -> list[Place]:
        machines, gpus = self.shard.instances, int(self.shard.deployments.gpu_count[ask.deployment])
        found = []
        for offering in range(len(self.ranks)):
            size = int(self.shard.offerings.gpus_per_instance[offering])
            if gpus <= size or gpus % size:
                continue
            for source in (1, 2):
                empty = [
                    i
                    for i in range(len(machines))
                    if machines.offering[i] == offering
                    and machines.source[i] == source
                    and self.free[i] == size
                    and self._open(ask, i, capacity_class, phase)
                ]
                empty.sort(key=lambda i: (self.holder[i] == 0, machines.key[i]))
                chosen = tuple(empty[: gpus // size])
                if len(chosen) == gpus // size:
                    from_pool = any(self.holder[i] == 0 for i in chosen)
                    found.append(Place(0, from_pool, self.ranks[offering], source, 0, chosen, capacity_class))
        return found

    def _grant(self, ask: Ask, phase: int, place: Place) -> None:
        fleet, machines, d = self.shard.deployments, self.shard.instances, ask.deployment
        gpus, org = int(fleet.gpu_count[d]), int(fleet.org[d])
        ask.got[phase] += 1
        for i in place.instances:
            self.free[i] -= gpus // len(place.instances)
            self.holder[i] = org
            self.taken.append((i, gpus // len(place.instances), place.capacity_class))
        if place.capacity_class == CapacityClass.ON_DEMAND:
            self.holds[org, int(machines.offering[place.instances[0]])] += gpus

    def _ask(self, d: int, units: list[Unit]) -> Ask:
        fleet, replicas = self.shard.deployments, self.shard.replicas
        if fleet.shadow[d]:
            return Ask(d, 0, 0, 0, 0, False)
        wanted, backoff = int(self.answer.wanted.value[d]), int(fleet.backoff[d])
        lacks = max(0, wanted - len(units))
        asked, backing_off = max(0, lacks - backoff), max(0, backoff - lacks)
        stays = [unit for unit in units if unit.row not in self.answer.stops.replica]
        movable = [unit.row for unit in stays if unit.serves and unit.partner is None and fleet.enabled[d]]
        leaving = [row for row in movable if self._drained(row)]
        rolling = [row for row in movable if not self._drained(row) and replicas.revision[row] < fleet.revision[d]]
        on_demand = [row for row in movable if replicas.capacity_class[row] == CapacityClass.ON_DEMAND]
        pairs = sum(unit.partner is not None for unit in units)
        surge = max(1, int(fleet.max[d]) // 10) - pairs - max(0, backing_off - len(leaving))
        over = bool(on_demand) and not leaving and not rolling and not backing_off and self._due(d)
        leaves = max(0, len(leaving) - backing_off)
        staying = min(len(units), wanted) - leaves
        total = asked + leaves
        to_min = max(0, min(min(wanted, int(fleet.min[d])) - staying, total))
        moves = 1 if over else max(0, min(len(rolling), surge))
        renewals = int(not over and moves > 0 and self._at_stake(d, units, wanted))
        return Ask(d, to_min, renewals, total - to_min, moves - renewals, over)

    def _at_stake(self, d: int, units: list[Unit], wanted: int) -> bool:
        """Whether one of the minimum would have to go for a renewal: it is there, nothing above it, all at rest."""
        fleet, replicas = self.shard.deployments, self.shard.replicas
        going = units_of(self.shard, NOW).going
        restless = any(
            replicas.deployment[row] == d and (replicas.state[row] == DRAINING or row in going)
            for row in range(len(replicas))
        )
        calm = all(unit.serves and unit.partner is None for unit in units) and not fleet.backoff[d] and not restless
        return calm and len(units) >= fleet.min[d] and min(len(units), wanted) <= fleet.min[d]

    def _drained(self, row: int) -> bool:
        states = self.shard.instances.state
        return any(states[i] == InstanceState.DRAINING for i in instances_of(self.shard, row))

    def _due(self, d: int) -> bool:
        """Whether claim GPUs that it prefers have been free for ten minutes."""
        fleet, machines = self.shard.deployments, self.shard.instances
        since = int(self.shard.state.realign(fleet.key).memory.free_since_ms[d])
        if tuple(fleet.class_order[d]) not in ((1, 2), (0, 0)) or not since or NOW * 1000 - since < 600_000:
            return False
        return any(
            machines.claim[i]
            and machines.org[i] == fleet.org[d]
            and machines.state[i] == InstanceState.READY
            and not machines.held[i]
            and int(fleet.zones[d]) >> int(machines.offering[i]) & 1
            and machines.gpus[i] - machines.gpus_used[i] >= min(int(fleet.gpu_count[d]), int(machines.gpus[i]))
            for i in range(len(machines))
        )

    def _deal_again(self) -> None:
        """Growth of equal priorities by largest remainder, among those that are alike in where they may be."""
        fleet = self.shard.deployments
        groups: dict[tuple[object, ...], list[Ask]] = {}
        for d, ask in self.asks.items():
            if ask.growth and ask.got[MIN] >= ask.to_min:
                alike = (fleet.org[d], fleet.priority[d], fleet.gpu_count[d], tuple(fleet.class_order[d]),
                         fleet.zones[d], fleet.avoid[d])  # fmt: skip
                groups.setdefault(alike, []).append(ask)
        for members in groups.values():
            members.sort(key=lambda ask: self._order(ask.deployment))
            total, lacks = sum(ask.got[GROWTH] for ask in members), sum(ask.growth for ask in members)
            exact = [Fraction(total * ask.growth, lacks) for ask in members]
            for ask, share in zip(members, exact, strict=True):
                ask.got[GROWTH] = int(share)
            rest = total - sum(ask.got[GROWTH] for ask in members)
            by_remainder = sorted(range(len(members)), key=lambda at: int(exact[at]) - exact[at])
            for at in by_remainder[:rest]:
                members[at].got[GROWTH] += 1
