"""Stage 6: who gets the GPUs there are (R11, R14, R15).

Inside an organization: every deployment's min first, by priority, then creation, then id; then growth above
min by priority. Between them comes the renewal of a replica without which one of a min would have to go first
(R10, see rolling). Deployments of equal priority share growth replica by replica in proportion to what they
lack, by Webster's divisors: the next replica goes to the lowest `(2 * got + 1) / lacks`. That needs no
knowledge of how much there will be, but can be some replicas off the largest remainder that R11 names. Once the
contest is over, growth of those that are alike is dealt out again by that (`shares.dealt_again`, decision 0005).

What only one organization may use (its claims, and pool instances that already serve it) it takes without
asking. Instances of the pool that serve nobody are taken in turns: each turn goes to the organization that
holds the fewest on-demand GPUs of that pool, grants of this pass included; ties to the longest waiting, then
the lowest id.

A min that finds no room keeps what it could use from growth of the same or a lower priority of its
organization, or small replicas would nibble away for ever what a large one waits for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

from deployments.core.placement import ON_DEMAND, Fit, Room, Taken
from deployments.core.queue import Phase, Queue, Request

ANY = -1  # whatever the number of free GPUs


class Turn(NamedTuple):
    """An organization that waits for an instance of a pool; compares in the order of R14."""

    holds: int
    since_ms: int
    org: int
    fit: Fit
    free: int  # GPUs of the instance, or of each of them


class Grant(NamedTuple):
    """Replicas that were given room: several on one instance, or one on several."""

    deployment: int
    capacity_class: int
    taken: list[Taken]
    replicas: int
    phase: Phase
    exclusive: bool  # on an instance that nobody else may use (R10)


class Kept(NamedTuple):
    """What the min of a deployment waits for."""

    deployment: int
    priority: int
    classes: tuple[int, ...]
    offerings: int


@dataclass(slots=True)
class Contest:
    """One pass. `queues` are per organization, `holds` its on-demand GPUs per organization and offering."""

    queues: dict[int, Queue]
    room: Room
    holds: dict[tuple[int, int], int]
    turns: list[Turn] = field(default_factory=list)
    kept: dict[int, list[Kept]] = field(default_factory=dict)
    grants: list[Grant] = field(default_factory=list)
    kept_back: dict[int, int] = field(default_factory=dict)  # deployment for which there is room -> for whom it is kept
    _failed: set[tuple[int, ...]] = field(default_factory=set)
    _waiting: dict[int, Turn] = field(default_factory=dict)  # per organization
    _at: dict[tuple[int, int], list[int]] = field(default_factory=dict)  # organizations that wait for an instance

    def run(self, hopeless: Sequence[Request]) -> list[Grant]:
        """Grant until nobody can get more. `hopeless` requests get nothing, but their min keeps room."""
        for request in hopeless:
            self._keep(request)
        for org in sorted(self.queues):
            self._settle(org)
        while self.turns:
            turn = heappop(self.turns)
            if self._waiting.get(turn.org) is not turn:
                continue  # it has looked again since
            queue = self.queues[turn.org]
            self._grant(queue, _head(queue), turn.fit)
            self._settle(turn.org)
            self._look_again(turn)
        return self.grants

    def _settle(self, org: int) -> None:
        """Give an organization what is its own, until its next replica needs a turn or it asks no more."""
        queue = self.queues[org]
        self._waiting.pop(org, None)
        while (request := queue.head()) is not None:
            fit = self._look(request, queue.phase)
            if fit is None:
                if self.room.none_for(org):
                    return
                self._give_up(queue, request)
            elif fit.from_pool:
                holds = self.holds.get((org, fit.offering), 0)
                free = self.room.sizes[fit.offering] if fit.source else fit.left_over + request.gpus
                turn = self._waiting[org] = Turn(holds, request.since_ms, org, fit, free)
                heappush(self.turns, turn)
                place = (fit.offering, ANY if fit.source or request.avoid >= 0 else free)
                self._at.setdefault(place, []).append(org)
                return
            else:
                self._grant(queue, request, fit)

    def _look_again(self, taken: Turn) -> None:
        """After an instance of a pool was taken: whoever waits for one of these, and there is none left, looks again.

        Otherwise its place in the line would be that of what it can no longer have. Whole instances, and an instance
        to avoid, are a longer story: every change of the offering matters to those.
        """
        offering = taken.fit.offering
        orgs = self._at.pop((offering, ANY), [])
        if not self.room.has(offering, taken.free):
            orgs += self._at.pop((offering, taken.free), [])
        for org in sorted(set(orgs)):
            turn = self._waiting.get(org)
            if turn is not None and turn.fit.offering == offering:
                self._settle(org)

    def _look(self, request: Request, phase: Phase) -> Fit | None:
        """The best place for the next replica: the first class that has one (R15).

        What only its deployment may use comes first and is kept for no min (R10): others could do nothing with it.
        """
        if request.org not in self.room.kept and not (phase and request.org in self.kept):
            for capacity_class in request.classes:
                if (fit := self._fits(request, capacity_class, request.offerings)) is not None:
                    return fit
            return None
        for capacity_class in request.classes:
            offerings = request.offerings
            if phase and request.org in self.kept:
                offerings &= ~self._kept_from(request, capacity_class)
            fit = (
                self._kept_fit(request, capacity_class, request.offerings, phase, exclusive=True)
                or self._fits(request, capacity_class, offerings)
                or self._kept_fit(request, capacity_class, offerings, phase, exclusive=False)
            )
            if fit is not None:
                return fit
        return None

    def _kept_fit(
        self, request: Request, capacity_class: int, offerings: int, phase: Phase, *, exclusive: bool
    ) -> Fit | None:
        if request.org not in self.room.kept or phase not in (Phase.MIN, Phase.GROWTH):
            return None
        return self.room.kept_fit(request, capacity_class, offerings, phase == Phase.GROWTH, exclusive)

    def _fits(self, request: Request, capacity_class: int, offerings: int) -> Fit | None:
        # Room only ever shrinks, so what failed once for an organization fails for the rest of the pass.
        asked = (request.org, request.gpus, capacity_class, offerings, request.avoid)
        if asked in self._failed:
            return None
        fit = self.room.fits(capacity_class, request.org, request.gpus, offerings, request.avoid)
        if fit is None:
            self._failed.add(asked)
        return fit

    def _grant(self, queue: Queue, request: Request, fit: Fit) -> None:
        """Give the queue's head a place: as many replicas as are its due and as the instance takes.

        What is left of the instance is the tightest fit for the next replica, and only this organization's,
        so taking several at once is the same as taking one after the other.
        """
        replicas = 1 if fit.source else min(queue.due(), 1 + fit.left_over // request.gpus)
        taken = self.room.take(fit, request.org, request.gpus, request.avoid, replicas)
        self.grants.append(Grant(request.deployment, fit.capacity_class, taken, replicas, queue.phase, fit.exclusive))
        if fit.capacity_class == ON_DEMAND:
            pool = (request.org, fit.offering)
            self.holds[pool] = self.holds.get(pool, 0) + request.gpus * replicas
        queue.got(replicas)

    def _give_up(self, queue: Queue, request: Request) -> None:
        if queue.phase == Phase.MIN:
            self._keep(request)
        elif (keeper := self._keeper(request)) is not None:
            self.kept_back[request.deployment] = keeper
        queue.drop()

    def _keep(self, request: Request) -> None:
        kept = Kept(request.deployment, request.priority, request.classes, request.offerings)
        self.kept.setdefault(request.org, []).append(kept)

    def _keeper(self, request: Request) -> int | None:
        """The deployment that room is kept for which the request could use; None where there is none."""
        for capacity_class in request.classes:
            fit = self._fits(request, capacity_class, request.offerings) if request.org in self.kept else None
            if fit is not None:
                able = [
                    kept
                    for kept in self.kept[request.org]
                    if kept.priority >= request.priority
                    and capacity_class in kept.classes
                    and kept.offerings >> fit.offering & 1
                ]
                return max(able, key=lambda kept: kept.priority).deployment
            for place in self.room.kept.get(request.org, ()):
                if place.takes(capacity_class, request.gpus, request.offerings, request.avoid):
                    return place.owners[0]
        return None

    def _kept_from(self, request: Request, capacity_class: int) -> int:
        """Offerings whose room of a class is kept for the min of the same or a higher priority."""
        bits = 0
        for kept in self.kept[request.org]:
            if kept.priority >= request.priority and capacity_class in kept.classes:
                bits |= kept.offerings
        return bits


def _head(queue: Queue) -> Request:
    request = queue.head()
    if request is None:
        raise LookupError("nobody waits in the queue whose turn it is")
    return request
