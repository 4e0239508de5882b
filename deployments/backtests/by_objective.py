"""Objective mode as one lane of a comparison: every hour the setting that would have met the objective so far.

It begins without a past: the preset for the first twelve hours (`Objective.known`), then by what came since the
beginning. Shares that fell short are not fed back.
"""

from deployments.backtest.portfolio import Portfolio
from deployments.backtest.running import PARAMS
from deployments.core.columns import Int64s
from deployments.core.objective import Objective, choose
from deployments.sim import stages
from deployments.sim.grid import Load, Seen, Setup
from deployments.sim.peers.rule import Policy


def by_objective(load: Load, setup: Setup, low: int, high: int, begun: int, share: float) -> Policy:
    """A policy of one lane. It replays its portfolio as the run goes on, so a run has to have a policy of its own."""
    portfolio = Portfolio(load, setup, low, high, begun)
    objective, number = Objective(share), -1
    ask = stages.by_stages(portfolio.row(number), PARAMS)

    def step(remembered: stages.Remembered, seen: Seen) -> tuple[stages.Remembered, Int64s]:
        nonlocal ask, number
        if portfolio.advance():
            number = choose(portfolio.replayed(), objective, number).setting
            ask = stages.by_stages(portfolio.row(number), PARAMS)
        return ask(remembered, seen)

    return step, stages.nothing(portfolio.row(number))
