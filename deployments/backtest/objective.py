"""A backtest of objective mode: every hour the setting that would have met the objective over the hours before.

Nothing is chosen by what has not come yet: the settings are replayed up to the moment alone.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from deployments.backtest.portfolio import PRESET_FLOOR_EVERY_S, PRESET_TARGET, Portfolio, Setting
from deployments.backtest.running import PARAMS, Machine, begun, bounds
from deployments.backtest.traces import Traffic
from deployments.core.objective import RECENT, Chosen, Objective, choose
from deployments.sim import alone, fleet, grid
from deployments.sim.demand import RecordedDemand, Requests


@dataclass(frozen=True, slots=True)
class Turn:
    """A setting that was gone by from that second of the run on, and why."""

    at_s: float
    chosen: Chosen
    setting: Setting


@dataclass(slots=True)
class Mode:
    """Objective mode of one deployment during a run; changes in place.

    before_s: seconds of demand that came before the run
    replays: whether anything can be chosen by the end of the run; if not, it is one of the preset
    """

    portfolio: Portfolio
    objective: Objective
    before_s: float = 0.0
    replays: bool = True
    turns: list[Turn] = field(default_factory=list)
    _number: int = -1
    _anew_at: float = PRESET_FLOOR_EVERY_S
    _ask: fleet.PolicyStep[alone.Remembered] = field(init=False)
    _reached: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=RECENT + 1))

    def look_back(self) -> None:
        """Replay what came before, and choose by it."""
        for _ in range(round(self.before_s / PARAMS.sample_s) if self.replays else 0):
            self.portfolio.advance()
        self._choose(0.0, None)

    def step(self, old: alone.Remembered, signal: fleet.Signal, now: float) -> tuple[alone.Remembered, int]:
        """As a policy of `fleet.run`."""
        if self.replays and self.portfolio.advance():
            self._reached.append((signal.counters.started, signal.counters.waited_le_1s))
            self._choose(now, self._share())
        elif self._number < 0 and now >= self._anew_at:
            self._anew_at = now + PRESET_FLOOR_EVERY_S
            self._ask = alone.by_stages(self.portfolio.preset_at(self.before_s + now), PARAMS)
        return self._ask(old, signal, now)

    def _choose(self, now: float, reached: float | None) -> None:
        chosen = choose(self.portfolio.replayed(), self.objective, self._number, reached)
        if not self.turns or chosen.setting != self._number:
            self.turns.append(Turn(now, chosen, self.portfolio.settings[chosen.setting]))
        self._number = chosen.setting
        self._ask = alone.by_stages(self.portfolio.row(self._number), PARAMS)

    def _share(self) -> float | None:
        """The share that really waited no longer, over the last day of the run; None before an hour of it is known."""
        (first, in_time), (last, later) = self._reached[0], self._reached[-1]
        return (later - in_time) / (last - first) if last > first else None


def run(
    limits: Mapping[str, float],
    traffic: Traffic,
    machine: Machine,
    objective: Objective,
    history: Traffic | None = None,
) -> tuple[fleet.Run[alone.Remembered], list[Turn]]:
    """Run it over all of the traffic. `limits`: `min` and `max`, where set; else room for the busiest of both. `history` is
    demand from before."""
    requests = traffic.demand.between(0.0, traffic.span_s)
    first = history or traffic
    low, high = bounds(limits, max(first, traffic, key=lambda one: one.at_most), machine)
    target = max(1, math.floor(PRESET_TARGET * machine.slots))
    mode = Mode(
        Portfolio(_load(history, requests, traffic.span_s), grid.Setup(machine.slots, machine.cold_start_s, PARAMS.sample_s), low, high,
                  begun(first, low, high, target)),
        objective,
        before_s := _whole(history.span_s) if history else 0.0,
        before_s + traffic.span_s > objective.known * grid.HOUR_S,
    )  # fmt: skip
    mode.look_back()
    setup = fleet.Setup(machine.slots, lambda key: machine.cold_start_s, begun(traffic, low, high, target),
                        PARAMS.sample_s)  # fmt: skip
    nothing = alone.nothing(mode.portfolio.row(-1))
    return fleet.run(RecordedDemand(*requests), mode.step, nothing, setup, 0.0, traffic.span_s), mode.turns


def _load(history: Traffic | None, requests: Requests, span_s: float) -> grid.Load:
    arrivals, services = requests
    if history is None:
        return grid.Load.of(arrivals, services, span_s)
    before_s = _whole(history.span_s)
    known, ran = history.demand.between(0.0, history.span_s)
    kept = known < before_s
    return grid.Load.of(
        np.concatenate([known[kept], arrivals + before_s]), np.concatenate([ran[kept], services]),
        before_s + span_s,
    )  # fmt: skip


def _whole(span_s: float) -> float:
    """Whole samples of a history, so that those of the run are at the same times in both."""
    return math.floor(span_s / PARAMS.sample_s) * PARAMS.sample_s
