"""A change of regime in the middle of a run: objective mode is back at its goal within an hour of it, for at
most a twentieth more than the preset costs there."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from deployments.backtest import objective, running
from deployments.backtest.portfolio import preset
from deployments.backtest.traces import Traffic
from deployments.core.params import NO_BURSTS
from deployments.sim.demand import RecordedDemand, service_times
from tests.backtest.test_objective import HOUR, SOON

pytestmark = pytest.mark.thorough

SLOTS, PER_S = 8, 2.0
BACK_WITHIN_S = HOUR
FACTOR = 1.05  # of the preset's GPU-hours, from when it is back


def traffic(rate: np.ndarray, seed: int, burst: float = 1.0) -> Traffic:
    """`rate` by second; `burst`: all of so many seconds come in one of them."""
    rng = np.random.default_rng(seed)
    groups = rng.random(len(rate)) < 1 / burst
    arrivals = np.repeat(np.arange(len(rate), dtype=float), rng.poisson(rate * burst * groups))
    arrivals = np.sort(arrivals + np.random.default_rng(seed + 100).random(len(arrivals)))
    services = service_times(np.random.default_rng(seed + 200), len(arrivals))
    return Traffic(RecordedDemand(arrivals, services), float(len(rate)), float(rate[0]) * 8, float(rate.max()) * 24)


def swinging(hours: float, period_s: float = 2 * HOUR, moved_s: float = 0.0, times: float = 1.0) -> np.ndarray:
    seconds = np.arange(round(hours * HOUR))
    rate: np.ndarray = times * PER_S * (1 + 0.5 * np.sin(2 * np.pi * (seconds + moved_s) / period_s))
    return rate


@dataclass(frozen=True)
class Regime:
    """before, after: the traffic of each
    cold_start_s: as it is after the change; before it was 60 s
    """

    before: Callable[[], Traffic]
    after: Callable[[], Traffic]
    cold_start_s: float = 60.0


REGIMES = {
    "twice as much": Regime(lambda: traffic(swinging(2), 1), lambda: traffic(swinging(2, times=2.0), 2)),
    "in bursts": Regime(lambda: traffic(swinging(2), 1), lambda: traffic(swinging(3), 2, burst=3.0)),
    "start-ups take three times as long": Regime(
        lambda: traffic(swinging(2), 1), lambda: traffic(swinging(2), 2), cold_start_s=180.0
    ),
    "a quarter of its period later": Regime(
        lambda: traffic(swinging(2), 1), lambda: traffic(swinging(2, moved_s=HOUR / 2), 2)
    ),
}


def check(regime: Regime) -> None:
    machine, after = running.Machine(SLOTS, regime.cold_start_s), regime.after()
    run, turns = objective.run({}, after, machine, SOON, history=regime.before())
    begun = preset(SLOTS, 0.0)
    fits = running.backtest(
        {"concurrency": begun.concurrency, "ahead": begun.ahead, "scale_down_s": begun.scale_down_s,
         "burst_factor": NO_BURSTS}, after, machine,
    )  # fmt: skip
    back, least = run.measures(BACK_WITHIN_S), fits.measures(BACK_WITHIN_S)
    print(
        run.measures(None).share_le_1s,
        back.share_le_1s,
        least.share_le_1s,
        back.replica_hours / least.replica_hours,
        turns,
    )
    assert turns[0].at_s == 0.0
    assert back.share_le_1s is not None
    assert back.share_le_1s >= SOON.share
    assert back.replica_hours <= FACTOR * least.replica_hours


@pytest.mark.parametrize("name", REGIMES)
def test_it_is_back_soon_after_a_change_of_regime(name: str) -> None:
    check(REGIMES[name])
