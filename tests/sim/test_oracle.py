import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.sim import grid, oracle
from deployments.sim.grid import STEP_S, Load, Setup

SAMPLE_S = 5.0


def load_of(seed: int, span_s: float = 900.0) -> Load:
    rng = np.random.default_rng(seed)
    arrivals = np.sort(rng.uniform(0, span_s, int(rng.integers(1, 600))))
    return Load.of(arrivals, rng.exponential(12, len(arrivals)), span_s)


OFF, ON = -1, 0  # and above: samples until it is on


def cheapest(needed: list[bool], ahead: int) -> int:
    """Samples that one replica costs at least, every way to start and stop it tried. On at the outset is free."""
    costs = {OFF: 0, ON: 0}
    for needs in needed:
        ways: list[tuple[int, int, bool]] = []  # cost, then, is on meanwhile
        for state, cost in costs.items():
            if state > ON:
                ways.append((cost + 1, state - 1, False))
                continue
            ways.append((cost, OFF, False))
            ways.append((cost + 1, max(ahead - 1, ON), ahead == 0))
            if state == ON:
                ways.append((cost + 1, ON, True))
        able = [(cost, then) for cost, then, serves in ways if serves or not needs]
        costs = {then: min(cost for cost, to in able if to == then) for _, then in able}
    return min(costs.values())


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(0, 7))
def test_the_schedule_of_a_replica_costs_the_least_that_covers_the_need(needed: list[bool], ahead: int) -> None:
    made = oracle.schedule(np.array(needed).astype(np.int64), Setup(8, ahead * SAMPLE_S))
    assert all(there >= needs for there, needs in zip(made.tolist(), needed, strict=True))
    assert made.sum() == cheapest(needed, ahead)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 7.0, 60.0, 180.0]))
def test_nobody_waits_under_the_schedule_of_all_the_demand(seed: int, cold_start_s: float) -> None:
    load, setup = load_of(seed), Setup(4, cold_start_s)
    policy, begun = oracle.scheduled(oracle.most_busy(load, setup), setup, (1.0,))
    run = grid.run(load, *policy, setup, begun, np.zeros(1, np.int64), np.full(1, 10**6))
    assert run.waits[0, 1:].sum() == 0


def test_less_of_the_demand_costs_less_and_lets_more_wait() -> None:
    load, setup = load_of(3, 3600.0), Setup(4, 60.0)
    policy, begun = oracle.scheduled(oracle.most_busy(load, setup), setup, scales := (0.7, 0.8, 0.9, 1.0))
    lanes = len(scales)
    run = grid.run(load, *policy, setup, begun, np.zeros(lanes, np.int64), np.full(lanes, 10**6))
    assert np.all(np.diff(run.replica_hours) >= 0)
    assert run.share_le_1s[0] < 0.99 <= run.share_le_1s[-1]


def test_the_most_busy_of_a_stretch_counts_every_request_that_runs_in_it() -> None:
    load, setup = load_of(11), Setup(4, 60.0)
    busy = oracle.most_busy(load, setup)
    for stretch, most in enumerate(busy.tolist()):
        steps = range(round(stretch * SAMPLE_S / STEP_S), round((stretch + 1) * SAMPLE_S / STEP_S))
        running = [int(((load.at <= step) & (load.at + load.steps > step)).sum()) for step in steps]
        assert most == max(running)


@pytest.mark.parametrize(
    ("shares", "hours", "fewest"),
    [
        ([1.0, 0.98], [20.0, 10.0], 15.0),
        ([0.98, 1.0], [10.0, 20.0], 15.0),
        ([1.0, 0.995, 0.985], [30.0, 20.0, 10.0], 15.0),
        ([0.992, 0.98, 0.991, 0.995], [9.0, 30.0, 40.0, 50.0], 9.0),
        ([0.999, 0.998], [20.0, 10.0], 10.0),
        ([0.98, 0.97], [20.0, 10.0], None),
        ([0.99], [7.0], 7.0),
        ([], [], None),
    ],
)
def test_hours_at_a_share_lie_between_the_settings_beside_it(
    shares: list[float], hours: list[float], fewest: float | None
) -> None:
    found = oracle.fewest_hours(0.99, np.array(shares), np.array(hours))
    assert found == (fewest if fewest is None else pytest.approx(fewest))
