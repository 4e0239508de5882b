"""Objective instead of knobs: of settings that were replayed over a deployment's own demand, the one to go by.

What an operator states is the share of requests that are to wait at most so long. Every setting was run over the same
hours; what came of each hour is what is chosen by, so that whoever replays once has all windows of time.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from deployments.core.columns import Floats

LOOKED_BACK = 7 * 24  # hours
RECENT = 24  # hours that have to meet the objective by themselves too
WORTH = 0.02  # share of GPU-hours for which another setting is gone over to
SHORTFALL = 10.0  # GPU-hours, in those of the cheapest setting, that a share of all requests is worth
MOST = 0.9995


class Choice(IntEnum):
    """Why a setting was chosen; the numbers are stored and never change their meaning."""

    PRESET = 0  # too little has been seen
    CHEAPEST = 1  # of those that meet the objective
    KEPT = 2  # it still meets the objective, and no other is cheaper by much
    NEAREST = 3  # none meets it


@dataclass(frozen=True, slots=True)
class Objective:
    """Share of requests that wait at most one second; `safety` is how much more a replay has to reach, `known` how many
    hours have to be seen before anything is chosen by them."""

    share: float = 0.99
    safety: float = 0.002
    known: int = 12


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of each hour under each setting, oldest first.

    arrived: float64 [hours], requests
    late: float64 [hours, L], of them, those that waited too long
    replica_s: float64 [hours, L], seconds of replicas
    """

    arrived: Floats
    late: Floats
    replica_s: Floats

    def last(self, hours: int) -> "Replayed":
        """The newest so many."""
        return Replayed(self.arrived[-hours:], self.late[-hours:], self.replica_s[-hours:])

    def shares(self) -> Floats:
        """float64 [L], share that waited no longer; 1 where there was no request."""
        count = float(self.arrived.sum())
        shares: Floats = 1 - self.late.sum(axis=0) / count if count else np.ones(self.late.shape[1])
        return shares


@dataclass(frozen=True, slots=True)
class Chosen:
    """setting: its number, -1 for the preset
    goal: share that a replay had to reach
    share: share that it reached, NaN for the preset
    saved: GPU-hours less than under the setting before, as a share of those; NaN where there is none to compare with
    """

    why: Choice
    setting: int
    goal: float
    share: float = np.nan
    saved: float = np.nan


def choose(replayed: Replayed, objective: Objective, before: int = -1, reached: float | None = None) -> Chosen:
    """The cheapest setting that meets the objective with its safety margin, over the last week and over the last day.

    `before` is the setting that is gone by now (-1: the preset). `reached` is the share that really came of the last
    day, if known: as much as it fell short, the goal is raised. Where no setting meets it, the one with the least of
    GPU-hours and shortfall together (`SHORTFALL`).
    """
    short = max(0.0, objective.share - reached) if reached is not None else 0.0
    goal = min(MOST, objective.share + objective.safety + short)
    if len(replayed.arrived) < objective.known:
        return Chosen(Choice.PRESET, -1, goal)
    week, day = replayed.last(LOOKED_BACK), replayed.last(RECENT)
    shares, recent, cost = week.shares(), day.shares(), week.replica_s.sum(axis=0)
    meets = (shares >= goal) & (recent >= min(goal, objective.share))
    if not meets.any():
        lack = np.maximum(goal - np.minimum(shares, recent), 0)
        best = int(np.argmin(cost / max(float(cost.min()), 1.0) + SHORTFALL * lack))
        return _chosen(Choice.NEAREST, best, before, goal, shares, cost)
    best = int(np.argmin(np.where(meets, cost, np.inf)))
    if before >= 0 and meets[before] and cost[before] * (1 - WORTH) <= cost[best]:
        return _chosen(Choice.KEPT, before, before, goal, shares, cost)
    return _chosen(Choice.CHEAPEST, best, before, goal, shares, cost)


def _chosen(why: Choice, best: int, before: int, goal: float, shares: Floats, cost: Floats) -> Chosen:
    saved = 1 - float(cost[best] / cost[before]) if before >= 0 and cost[before] else np.nan
    return Chosen(why, best, goal, float(shares[best]), saved)
