"""The settings among which objective mode chooses, all of them replayed over the demand as it comes."""

import math
from dataclasses import dataclass

import numpy as np

from deployments.backtest.running import PARAMS
from deployments.core.objective import Replayed
from deployments.core.params import NO_BURSTS
from deployments.core.snapshot import Deployments
from deployments.sim import grid, stages

AHEAD = (0.8, 0.9, 0.95, 0.97, 0.99, 0.995)  # shares of the time that the look-ahead's margin is to suffice
DELAYS_S = (300.0, 900.0)
FLOORS = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 1.9)  # of the replicas that the busiest of the last day needed
FLOOR_AHEAD, FLOOR_DELAY_S = 0.9, 300.0
PRESET_AHEAD, PRESET_DELAY_S = PARAMS.ahead, PARAMS.scale_down_s  # those of who sets nothing
# Floor of the preset: so much for each second of start-up, at most so much (docs/decisions/0022).
PRESET_FLOOR_A_S, PRESET_FLOOR = 0.001, 0.8
PRESET_FLOOR_EVERY_S = 600.0  # it is reckoned anew
PRESET_TARGET = 0.625  # of the slots in use, as a replay begins
BUSIEST = 0.999  # quantile of the requests in flight
DAY_STEPS, HOUR_STEPS = round(86_400 / grid.STEP_S), round(grid.HOUR_S / grid.STEP_S)


@dataclass(frozen=True, slots=True)
class Setting:
    """concurrency: requests a replica is meant for
    scale_down_s: how long the highest recommendation is kept
    floor: replicas that are always kept, as a share of what the busiest of the last day needed
    ahead: share of the time that the look-ahead's margin is to suffice, and `concurrency` is all of the slots then;
        0 = it does not look ahead
    """

    concurrency: int
    scale_down_s: float
    floor: float = 0.0
    ahead: float = 0.0


def preset(slots: int, startup_s: float) -> Setting:
    """For where too little has been seen: the longer a start-up takes, the more is kept of what was needed lately."""
    floor = round(min(PRESET_FLOOR, PRESET_FLOOR_A_S * startup_s), 2)
    return Setting(slots, PRESET_DELAY_S, floor, PRESET_AHEAD)


def settings(slots: int, startup_s: float) -> list[Setting]:
    """Those that are tried, and last, as number -1, the preset."""
    moving = [Setting(slots, delay_s, ahead=ahead) for ahead in AHEAD for delay_s in DELAYS_S]
    held = [Setting(slots, FLOOR_DELAY_S, floor, FLOOR_AHEAD) for floor in FLOORS]
    return [*moving, *held, preset(slots, startup_s)]


def rows(chosen: list[Setting], low: int, high: int, busiest: int, cold_start_s: float) -> Deployments:
    """The planner's table, one row a setting. `busiest`: replicas that the busiest of the last day needed."""
    count = len(chosen)
    floors = [min(high, max(low, math.ceil(one.floor * busiest))) for one in chosen]
    return Deployments.build(
        key=range(1, count + 1), org=[1] * count, min=floors, max=[high] * count,
        concurrency=[one.concurrency for one in chosen], scale_down_s=[one.scale_down_s for one in chosen],
        startup_s=[cold_start_s] * count, ahead=[one.ahead for one in chosen],
        burst_factor=[NO_BURSTS if one.ahead else math.nan for one in chosen],
        slots=[one.concurrency if one.ahead else 0 for one in chosen],
    )  # fmt: skip


class Portfolio:
    """All settings under the demand up to a moment; changes in place."""

    def __init__(self, load: grid.Load, setup: grid.Setup, low: int, high: int, begun: int) -> None:
        self.settings = settings(setup.slots, setup.cold_start_s)
        self._low, self._high = low, high
        self._load, self._setup = load, setup
        self._grid = grid.Grid(load, setup, np.full(len(self.settings), begun))
        self._hour = -1
        self._arrange()
        self._remembered = stages.nothing(self._rows)

    def advance(self) -> bool:
        """Go on by one sample; whether an hour has ended."""
        self._remembered, wanted = self._step(self._remembered, self._grid.advance())
        self._grid.resize(wanted)
        ended = self._grid.now // HOUR_STEPS > self._hour
        if ended:
            self._arrange()
        return ended

    def replayed(self) -> Replayed:
        """The hours that are over; without the first, if there are more, in which floors are not known yet."""
        run, hours = self._grid.result(), slice(1 if self._hour > 1 else 0, self._hour)
        return Replayed(run.arrived[hours, 0].astype(np.float64), run.late_1s[hours], run.replica_s[hours])

    def row(self, number: int) -> Deployments:
        """The planner's table of one setting alone, as it is this hour; -1 is the preset."""
        return self._row(number, self._busiest)

    def preset_at(self, seconds: float) -> Deployments:
        """The preset as it is so many seconds after the beginning; nothing needs to have been replayed until then."""
        return self._row(-1, self._needed(round(seconds / grid.STEP_S)))

    def _row(self, number: int, busiest: int) -> Deployments:
        return rows([self.settings[number]], self._low, self._high, busiest, self._setup.cold_start_s)

    def _arrange(self) -> None:
        self._hour = self._grid.now // HOUR_STEPS
        self._busiest = self._needed(self._grid.now)
        self._rows = rows(self.settings, self._low, self._high, self._busiest, self._setup.cold_start_s)
        self._step = stages.by_stages(self._rows, PARAMS)

    def _needed(self, now: int) -> int:
        """Replicas that the busiest of the day before that step needed."""
        flight = self._load.in_flight[max(0, now - DAY_STEPS) : now : self._setup.tick]
        return math.ceil(float(np.quantile(flight, BUSIEST)) / self._setup.slots) if len(flight) else 0
