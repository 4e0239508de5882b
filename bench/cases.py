"""The traffic that policies are judged on, from the traces shipped with Headroom (deployments/traces)."""

from collections.abc import Callable
from dataclasses import dataclass

from deployments.sim.demand import Demand, RateDemand, RequestDemand
from deployments.sim.grid import Load
from deployments.traces import load_rates, load_requests

SLOTS = 8
COLD_STARTS_S = (60.0, 180.0, 900.0)
SEEDS = (1, 2, 3)
DAYS = 8
HOURS_OF_A_DAY, DAY_S = 24, 86_400.0
LAID_END_TO_END = 4


@dataclass(frozen=True)
class Case:
    """trace, size: what it is called
    smooth: whether it counts in F, which is over what is not bursty
    traffic: the seed -> demand
    span_s, from_hour: how long it is, and the first hour that is scored
    """

    trace: str
    size: str
    smooth: bool
    traffic: Callable[[int], Demand]
    span_s: float
    from_hour: int

    def load(self, seed: int) -> Load:
        return Load.of(*self.traffic(seed).between(0.0, self.span_s), self.span_s)


def cases(days: int = DAYS) -> list[Case]:
    """Each trace for a fleet of about 50 replicas at the 99.9th percentile of demand, and for one of 4 to 8. `days`: how
    many of the 14 of the trace of rates; the first is not scored."""
    return [
        _hours("azure_llm_2023_conv", "peak 50", 8, smooth=True),
        _hours("azure_llm_2023_conv", "peak 4 to 8", 1, smooth=True),
        _hours("azure_llm_2023_code", "peak 50", 11, smooth=False),
        _hours("azure_llm_2023_code", "peak 4 to 8", 1, smooth=False),
        _days("servegen_m_large_rates", "peak 50", 0.1, days, smooth=True),
        _days("servegen_m_large_rates", "peak 4 to 8", 0.004, days, smooth=False),
    ]


def held_out(days: int = DAYS) -> list[Case]:
    """What nothing is chosen by: fleets of other sizes, and the second week of the trace of rates."""
    return [
        _hours("azure_llm_2023_conv", "peak 20", 3, smooth=True),
        _hours("azure_llm_2023_code", "peak 20", 4, smooth=False),
        _days("servegen_m_large_rates", "peak 20, second week", 0.035, days, smooth=True, from_day=7),
        _days("servegen_m_large_rates", "peak 4 to 8, second week", 0.004, days, smooth=False, from_day=7),
    ]


def _hours(trace: str, size: str, copies: int, *, smooth: bool) -> Case:
    requests = load_requests(trace)

    def traffic(seed: int) -> Demand:
        return RequestDemand(requests, copies, seed=seed)

    return Case(trace, size, smooth, traffic, LAID_END_TO_END * requests.span_s, 1)


def _days(trace: str, size: str, scale: float, days: int, *, smooth: bool, from_day: int = 0) -> Case:
    rates = load_rates(trace)

    def traffic(seed: int) -> Demand:
        return RateDemand(rates, scale, seed=seed, phase_s=from_day * DAY_S)

    return Case(trace, size, smooth, traffic, days * DAY_S, HOURS_OF_A_DAY if days > 1 else 1)
