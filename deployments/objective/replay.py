"""Settings replayed over recorded demand, and the one chosen; and where none would do, what would.

Nothing is read or written here, no lock is held: a replay takes minutes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np

from deployments.backtest.portfolio import PRESET_TARGET, Portfolio, Setting
from deployments.backtest.running import PARAMS
from deployments.core.objective import RECENT, Choice, Chosen, Objective, Replayed, choose
from deployments.objective.demand import HOUR_S, Demand
from deployments.sim import grid

Beat = Callable[[float], None]
"""Told the share of the work that is done, every hour of the replay."""

ADVICE_HOURS = 48  # that are replayed again to find what would have met an objective
SHORTER = (0.5, 0.25, 0.1)  # of the start-up time
MORE = (1.0, 1.5, 2.0)  # of what the busiest moment needs


@dataclass(frozen=True, slots=True)
class Terms:
    """What a replay is made under. `high` has the price ceiling applied."""

    slots: int
    startup: timedelta
    low: int
    high: int
    gpu_count: int = 1

    @property
    def setup(self) -> grid.Setup:
        return grid.Setup(self.slots, max(1.0, self.startup.total_seconds()), PARAMS.sample_s)


@dataclass(frozen=True, slots=True)
class Found:
    """floor: replicas that the setting keeps now
    expected, before: share of requests and GPU-hours a day, of the last day of the replays of the chosen setting and of
        that gone by until then; None where nothing was replayed
    """

    chosen: Chosen
    setting: Setting
    floor: int
    hours: int
    requests: int
    expected: tuple[float, float] | None
    before: tuple[float, float] | None


def replayed_over(demand: Demand, terms: Terms, beat: Beat) -> Portfolio:
    """All settings over all of the demand."""
    load = demand.load
    portfolio = Portfolio(load, terms.setup, terms.low, terms.high, _begun(load, terms))
    for number in range(demand.hours * HOUR_S // round(PARAMS.sample_s)):
        if portfolio.advance():
            beat(number * PARAMS.sample_s / (demand.hours * HOUR_S))
    return portfolio


def _begun(load: grid.Load, terms: Terms) -> int:
    """Replicas that the first ten minutes need."""
    flight = load.in_flight[: round(600 / grid.STEP_S)]
    first = float(flight.max(initial=0)) / max(1, math.floor(PRESET_TARGET * terms.slots))
    return min(terms.high, max(terms.low, math.ceil(first)))


def found_by(
    portfolio: Portfolio, demand: Demand, terms: Terms, objective: Objective, gone_by: Setting, reached: float | None
) -> Found:
    """Choose among what was replayed. `gone_by` is the setting until now, `reached` what really came under it."""
    replayed = portfolio.replayed()
    before = number_of(portfolio.settings, gone_by)
    chosen = choose(replayed, objective, before, reached)
    setting = portfolio.settings[chosen.setting]
    floor = int(portfolio.row(chosen.setting).min[0]) if setting.floor else 0
    preset = portfolio.settings[-1]  # whose floor goes by the start-up time, which is measured anew
    last = before if before >= 0 or replace(gone_by, floor=preset.floor) == preset else None
    return Found(
        chosen=chosen, setting=setting, floor=floor, hours=demand.hours, requests=len(demand.arrivals),
        expected=_day(replayed, chosen.setting, terms),
        before=None if last is None else _day(replayed, last, terms),
    )  # fmt: skip


def number_of(settings: list[Setting], wanted: Setting) -> int:
    """Its number; -1, which is the preset's, where it is that or none of them."""
    return settings.index(wanted) if wanted in settings[:-1] else -1


def _day(replayed: Replayed, number: int, terms: Terms) -> tuple[float, float] | None:
    day = replayed.last(RECENT)
    if not len(day.arrived):
        return None
    replica_hours = float(day.replica_s[:, number].sum()) / HOUR_S
    return float(day.shares()[number]), replica_hours * terms.gpu_count * RECENT / len(day.arrived)


def advice_for(demand: Demand, terms: Terms, objective: Objective, best: float, beat: Beat) -> list[dict[str, Any]]:
    """Where no setting meets the objective: the share that one would, then a max and a start-up time under which the
    objective would have been met over the last two days, as far as any was found."""
    recent = demand.last(ADVICE_HOURS)
    found: list[dict[str, Any]] = [{"kind": "share", "share": best}]
    peak = int(recent.load.in_flight.max(initial=0))
    highs = sorted({max(terms.low, math.ceil(more * peak / terms.slots)) for more in MORE})
    for high in (one for one in highs if one > terms.high):
        if (reached := _would(recent, replace(terms, high=high), objective, beat)) is not None:
            found.append({"kind": "max", "max": high, "share": reached})
            break
    for part in SHORTER:
        shorter = replace(terms, startup=terms.startup * part)
        if (reached := _would(recent, shorter, objective, beat)) is not None:
            found.append({"kind": "startup", "seconds": shorter.startup.total_seconds(), "share": reached})
            break
    return found


def _would(demand: Demand, terms: Terms, objective: Objective, beat: Beat) -> float | None:
    """The share that the setting reaches which would be chosen; None where none meets the objective."""
    chosen = choose(replayed_over(demand, terms, beat).replayed(), objective)
    return chosen.share if chosen.why in (Choice.CHEAPEST, Choice.KEPT) else None


def best_share(replayed: Replayed) -> float:
    """The highest share that any setting reaches over the hours."""
    return float(np.max(replayed.shares(), initial=0.0))
