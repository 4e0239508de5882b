"""The queue of one organization: whose replica is next (R11).

Requests come in the order of priority, creation and id. First all of their mins, in that order, and the renewals
without which a min would be lost (R10); then growth, one group of equal priority after the other, in which a heap says
who has had least of what it lacks; then the replacements that take what growth leaves (R10, R15), one deployment after
the other.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from heapq import heapify, heappop, heapreplace
from typing import NamedTuple

# Shares are whole numbers with so many binary digits behind the point.
SHARE_BITS = 40


class Phase(IntEnum):
    """What is asked for, in the order in which it is served."""

    MIN = 0
    RENEW = 1
    GROWTH = 2
    MOVE = 3


@dataclass(slots=True)
class Request:
    """What one deployment asks for. `deployment` is its row."""

    deployment: int
    org: int
    priority: int
    gpus: int
    classes: tuple[int, ...]  # in order of preference
    offerings: int  # allowed ones, as bits
    avoid: int
    since_ms: int  # since when it has been short
    min_left: int  # replicas that it lacks to its min
    growth: int  # replicas that it lacks above
    got: int = 0  # of the growth


class _Place(NamedTuple):
    """Place in a group of equal priority: who has had least of what it lacks, then who came first."""

    share: int
    order: int


@dataclass(slots=True)
class Queue:
    """Positions of requests by phase, each in the order of R11; `make`, `make_renewal` and `make_move` give the
    request of a position.

    Requests are made when their turn comes, for in a storm most never get one.
    """

    mins: list[int]
    renewals: list[int]
    growth: list[int]
    moves: list[int]
    make: Callable[[int], Request]
    make_renewal: Callable[[int], Request]
    make_move: Callable[[int], Request]
    priority_of: Callable[[int], int]
    now: Request | None = None  # whose replica is next, once `head` was asked
    phase: Phase = Phase.MIN
    _next_min: int = 0
    _next_renewal: int = 0
    _next_growth: int = 0
    _next_move: int = 0
    _group: list[_Place] = field(default_factory=list)
    _made: dict[int, Request] = field(default_factory=dict)
    _dropped: set[int] = field(default_factory=set)

    def head(self) -> Request | None:
        """Whose replica is next; None when nobody asks any more."""
        if self.now is None:
            self.now = self._find()
        return self.now

    def due(self) -> int:
        """How many replicas the head may get before somebody else is next."""
        request = _present(self.now)
        if self.phase == Phase.MIN:
            return request.min_left
        return request.growth - request.got if len(self._group) <= 1 else 1

    def got(self, replicas: int) -> None:
        """The head got so many replicas."""
        request = _present(self.now)
        if self.phase == Phase.MIN:
            request.min_left -= replicas
            if not request.min_left:
                self._next_min += 1
                self.now = None
            return
        request.got += replicas
        if request.got == request.growth:
            self._leave()
        elif len(self._group) > 1:
            heapreplace(self._group, _place(request, self._group[0].order))
            self.now = None

    def drop(self) -> None:
        """The head finds no room: neither for its min nor, then, for growth."""
        if self.phase == Phase.MIN:
            self._dropped.add(self.mins[self._next_min])
            self._next_min += 1
            self.now = None
        else:
            self._leave()

    def _leave(self) -> None:
        if self.phase == Phase.GROWTH:
            heappop(self._group)
        elif self.phase == Phase.RENEW:
            self._next_renewal += 1
        else:
            self._next_move += 1
        self.now = None

    def _find(self) -> Request | None:
        if self._next_min < len(self.mins):
            return self._request(self.mins[self._next_min])
        if self._next_renewal < len(self.renewals):
            self.phase = Phase.RENEW
            return self.make_renewal(self.renewals[self._next_renewal])
        self.phase = Phase.GROWTH
        while not self._group and self._next_growth < len(self.growth):
            self._open_group()
        if self._group:
            return self._request(self.growth[self._group[0].order])
        self.phase = Phase.MOVE
        return self.make_move(self.moves[self._next_move]) if self._next_move < len(self.moves) else None

    def _open_group(self) -> None:
        first = self._next_growth
        priority = self.priority_of(self.growth[first])
        last = first
        while last < len(self.growth) and self.priority_of(self.growth[last]) == priority:
            last += 1
        self._next_growth = last
        self._group = [
            _place(self._request(self.growth[order]), order)
            for order in range(first, last)
            if self.growth[order] not in self._dropped
        ]
        heapify(self._group)

    def _request(self, position: int) -> Request:
        found = self._made.get(position)
        if found is None:
            found = self._made[position] = self.make(position)
        return found


def _present(request: Request | None) -> Request:
    if request is None:
        raise LookupError("nobody is at the head of the queue")
    return request


def _place(request: Request, order: int) -> _Place:
    return _Place(((2 * request.got + 1) << SHARE_BITS) // request.growth, order)
