"""Objective mode as a policy of one lane: nothing set by hand, and nothing known of what has not come."""

import math

from deployments.backtest.portfolio import HOUR_STEPS, PRESET_FLOOR_EVERY_S, PRESET_TARGET, Portfolio
from deployments.core.objective import Objective, choose
from deployments.core.params import Params
from deployments.sim import grid, stages
from deployments.sim.grid import Int64s, Load, PolicyStep, Seen, Setup
from deployments.sim.peers.rule import Policy

Step = PolicyStep[stages.Remembered]


def objective(share: float, load: Load, setup: Setup, high: int) -> Policy:
    """Every hour the setting that would have reached that share for the fewest GPU-hours; the preset before."""
    wanted = Objective(share)
    first = math.ceil(float(load.in_flight[: setup.tick].max()) / (PRESET_TARGET * setup.slots))
    portfolio = Portfolio(load, setup, 1, high, min(high, max(1, first)))
    # A run that is over before anything can be chosen is one of the preset, and needs no replay.
    replays = load.span > (wanted.known + 1) * HOUR_STEPS
    going: tuple[int, Step] = (-1, stages.by_stages(portfolio.row(-1), Params()))
    asked, every = 0, round(PRESET_FLOOR_EVERY_S / grid.STEP_S / setup.tick)

    def step(state: stages.Remembered, seen: Seen) -> tuple[stages.Remembered, Int64s]:
        nonlocal going, asked
        asked += 1
        if replays and portfolio.advance():
            number = choose(portfolio.replayed(), wanted, going[0]).setting
            going = number, stages.by_stages(portfolio.row(number), Params())
        elif going[0] < 0 and asked % every == 0:
            going = -1, stages.by_stages(portfolio.preset_at(asked * setup.tick * grid.STEP_S), Params())
        return going[1](state, seen)

    return step, stages.nothing(portfolio.row(-1))
