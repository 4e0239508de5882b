"""Replicas that may be let go for somebody, by organization and priority, sorted only once somebody looks."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from deployments.core.census import Census
from deployments.core.columns import Bools, Int64s
from deployments.core.snapshot import Snapshot
from deployments.core.victims import first_to_go
from deployments.core.yard import Candidate


@dataclass(slots=True)
class Level:
    """Replicas of one priority of one organization; `candidates` once they are sorted."""

    priority: int
    rows: list[Int64s]  # of each deployment
    candidates: list[Candidate] | None = None


@dataclass(slots=True)
class Givers:
    """Levels per organization, the lowest priority first."""

    snapshot: Snapshot
    census: Census
    levels: dict[int, list[Level]]
    placed: dict[int, list[tuple[int, int]]]  # instances and GPUs of the replicas that lie on several

    def willing(self, org: int, below: int) -> Iterator[Candidate]:
        """The replicas of an organization whose priority is lower than `below`: by priority, then by R18."""
        for level in self.levels.get(org, ()):
            if level.priority >= below:
                return
            if level.candidates is None:
                level.candidates = self._sorted(level)
            yield from level.candidates

    def _sorted(self, level: Level) -> list[Candidate]:
        rows = np.concatenate(level.rows)
        return self.candidates(rows[first_to_go(self.snapshot.replicas, self.census, rows)])

    def candidates(self, rows: Int64s) -> list[Candidate]:
        """The same rows as candidates."""
        table = self.snapshot.replicas
        owners = table.deployment[rows]
        columns = (rows, owners, self.census.partner[rows])
        return [
            Candidate(row, owner, tuple(self._places(row)) if partner < 0 else self._both(row, partner))
            for row, owner, partner in zip(*(column.tolist() for column in columns), strict=True)
        ]

    def _both(self, row: int, partner: int) -> tuple[tuple[int, int], ...]:
        held: Counter[int] = Counter()
        for instance, gpus in (*self._places(row), *self._places(partner)):
            held[instance] += gpus
        return tuple(held.items())

    def _places(self, row: int) -> list[tuple[int, int]]:
        if row < 0:
            return []
        table = self.snapshot.replicas
        instance = int(table.instance[row])
        alone = [(instance, int(table.gpus[row]))] if instance >= 0 else []
        return self.placed.get(row, alone)


def givers_of(snapshot: Snapshot, census: Census, staying: Bools, deployments: Int64s) -> Givers:
    """Givers among the replicas that count and are `staying` (bool[R]), of the given deployments."""
    table = snapshot.deployments
    deployments = deployments[np.lexsort((table.priority[deployments], table.org[deployments]))]
    asked = np.zeros(len(table), np.bool_)
    asked[deployments] = True
    rows = np.flatnonzero(staying & census.counted & asked[snapshot.replicas.deployment])
    owners = snapshot.replicas.deployment[rows]
    order = np.argsort(owners, kind="stable")
    rows, owners = rows[order], owners[order]
    firsts, ends = (np.searchsorted(owners, deployments, side=side) for side in ("left", "right"))
    levels: dict[int, list[Level]] = {}
    columns = (table.org[deployments], table.priority[deployments], firsts, ends)
    for org, priority, first, end in zip(*(column.tolist() for column in columns), strict=True):
        listed = levels.setdefault(org, [])
        if not listed or listed[-1].priority != priority:
            listed.append(Level(priority, []))
        listed[-1].rows.append(rows[first:end])
    return Givers(snapshot, census, levels, placements(snapshot))


def placements(snapshot: Snapshot) -> dict[int, list[tuple[int, int]]]:
    """Instances and GPUs of the replicas that lie on several, by row."""
    parts = snapshot.parts
    found: dict[int, list[tuple[int, int]]] = {}
    for replica, instance, gpus in zip(
        parts.replica.tolist(), parts.instance.tolist(), parts.gpus.tolist(), strict=True
    ):
        found.setdefault(replica, []).append((instance, gpus))
    return found
