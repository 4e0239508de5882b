from typing import Any

import numpy as np
import pytest

from deployments.sim.demand import RequestDemand
from deployments.sim.fleet import Run, Setup, Signal, run
from deployments.sim.startup import load_seconds
from deployments.traces import load_requests


class Fixed:
    """Demand that is written down."""

    def __init__(self, *requests: tuple[float, float]) -> None:
        self.requests = requests

    def between(self, start_s: float, end_s: float) -> tuple[np.ndarray, np.ndarray]:
        rows = [request for request in self.requests if start_s <= request[0] < end_s]
        return np.array([arrival for arrival, _ in rows]), np.array([service for _, service in rows])


def always(wanted: int, signal: Signal, now: float) -> tuple[int, int]:
    return wanted, wanted


def scripted(script: dict[float, int], signal: Signal, now: float) -> tuple[dict[float, int], int]:
    """Wants what the script says for the latest time in it that is past."""
    return script, script[max(at for at in script if at <= now)]


def setup(initial: int = 1, slots: int = 2, load_s: float = 12.0) -> Setup:
    return Setup(slots=slots, load_s=lambda key: load_s, initial=initial)


def lives(run_: Run[Any]) -> list[tuple[float, float, float | None, float | None]]:
    return [(life.started_s, life.ready_s, life.draining_s, life.ended_s) for life in run_.lives]


def test_a_started_replica_takes_requests_once_it_is_loaded_and_not_before() -> None:
    demand = Fixed(*[(1.0, 100.0)] * 3)
    result = run(demand, scripted, {0.0: 1, 10.0: 2}, setup(), 0.0, 30.0)
    assert lives(result) == [(0.0, 0.0, None, None), (10.0, 22.0, None, None)]
    assert result.columns.at_s.tolist() == [5.0, 10.0, 15.0, 20.0, 25.0, 30.0]
    assert result.columns.ready.tolist() == [1, 1, 1, 1, 2, 2]
    assert result.columns.starting.tolist() == [0, 0, 1, 1, 0, 0]
    assert result.columns.queued.tolist() == [1, 1, 1, 1, 0, 0]
    assert result.columns.wanted.tolist() == [1, 2, 2, 2, 2, 2]
    assert result.waits.tolist() == [0.0, 0.0, 21.0]


def test_a_draining_replica_holds_its_gpus_until_its_last_request_ends() -> None:
    demand = Fixed((1.0, 3.0), (2.0, 14.0), (3.0, 15.0))
    result = run(demand, scripted, {0.0: 2, 10.0: 1}, setup(initial=2, slots=2), 0.0, 40.0)
    # Both run one request by then and are equally old, so the higher key goes.
    assert lives(result) == [(0.0, 0.0, None, None), (0.0, 0.0, 10.0, 16.0)]
    assert result.columns.draining.tolist() == [0, 0, 1, 0, 0, 0, 0, 0]
    assert result.columns.finished[-1] == 3
    assert result.measures().replica_hours == pytest.approx((16 + 40) / 3600)


def test_a_drain_that_ends_exactly_at_a_sample_loses_nothing() -> None:
    result = run(Fixed((1.0, 14.0)), scripted, {0.0: 1, 5.0: 0}, setup(), 0.0, 30.0)
    assert lives(result) == [(0.0, 0.0, 5.0, 15.0)]
    assert result.columns.draining.tolist() == [0, 1, 1, 0, 0, 0]
    assert (result.columns.finished[-1], result.columns.queued[-1]) == (1, 0)


def test_an_idle_replica_ends_as_soon_as_it_drains() -> None:
    result = run(Fixed(), scripted, {0.0: 2, 10.0: 1}, setup(initial=2), 0.0, 20.0)
    assert lives(result) == [(0.0, 0.0, None, None), (0.0, 0.0, 10.0, 10.0)]


def test_a_replica_stopped_while_it_loads_takes_no_request() -> None:
    demand = Fixed((1.0, 100.0), (2.0, 100.0), (3.0, 100.0))
    result = run(demand, scripted, {0.0: 1, 10.0: 2, 20.0: 1}, setup(), 0.0, 40.0)
    assert lives(result) == [(0.0, 0.0, None, None), (10.0, 22.0, None, 20.0)]
    assert result.columns.queued.tolist() == [1] * 8
    assert result.waits.tolist() == [0.0, 0.0]


def test_of_equally_busy_replicas_the_newest_goes() -> None:
    result = run(Fixed(), scripted, {0.0: 1, 10.0: 2, 40.0: 1}, setup(), 0.0, 60.0)
    assert lives(result) == [(0.0, 0.0, None, None), (10.0, 22.0, 40.0, 40.0)]


def test_replicas_that_still_load_go_first_then_the_least_active_then_the_newest() -> None:
    demand = Fixed((11.0, 50.0), (12.0, 50.0), (13.0, 50.0), (38.0, 50.0))
    script = {0.0: 2, 20.0: 4, 35.0: 5, 40.0: 3, 45.0: 1}
    result = run(demand, scripted, script, setup(initial=2, slots=2), 0.0, 60.0)
    ended = {life.key: life.ended_s for life in result.lives}
    # At 40 s: 4 is loading; 2 has one request, 3 none, 0 and 1 have two and one.
    assert ended == {0: None, 1: 62.0, 2: 88.0, 3: 40.0, 4: 40.0}
    assert [life.draining_s for life in result.lives] == [None, 45.0, 45.0, 40.0, None]


def test_the_policy_gets_its_own_state_back_with_each_signal() -> None:
    def step(seen: tuple[float, ...], signal: Signal, now: float) -> tuple[tuple[float, ...], int]:
        assert signal.at_s == now
        return (*seen, now), 1

    seen: tuple[float, ...] = ()
    assert run(Fixed(), step, seen, setup(), 100.0, 112.0).policy == (105.0, 110.0, 112.0)


def test_measures_of_a_run_worked_out_by_hand() -> None:
    demand = Fixed((0.0, 4.0), (1.0, 6.5), (2.0, 1.0), (18.0, 10.0), (19.0, 1.0), (19.5, 1.0))
    result = run(demand, scripted, {0.0: 1, 10.0: 2, 15.0: 1}, setup(slots=1), 0.0, 20.0)
    assert result.waits.tolist() == [0.0, 3.0, 8.5, 0.0]
    measures = result.measures()
    assert measures.requests == 6
    assert measures.share_le_1s == pytest.approx(4 / 6)
    assert measures.share_le_5s == pytest.approx(5 / 6)
    assert measures.wait_p50_s == pytest.approx(0.75)
    assert measures.replica_hours == pytest.approx((20 + 5) / 3600)
    assert (measures.changes, measures.changes_per_hour) == (2, 360.0)
    later = result.measures(from_s=15.0)
    assert (later.requests, later.share_le_1s) == (3, 1.0)
    assert later.replica_hours == pytest.approx(5 / 3600)
    assert later.changes == 1


def test_without_requests_there_is_no_share_to_tell() -> None:
    measures = run(Fixed(), always, 1, setup(), 0.0, 60.0).measures()
    assert (measures.requests, measures.share_le_1s, measures.wait_p99_s) == (0, None, None)
    assert measures.replica_hours == pytest.approx(1 / 60)


def test_how_often_one_samples_changes_no_wait() -> None:
    demand = RequestDemand(load_requests("azure_llm_2023_conv"), 0.5, seed=2)
    often = run(demand, always, 3, Setup(4, lambda key: 60.0, 3, 1.0), 0.0, 300.0)
    seldom = run(demand, always, 3, Setup(4, lambda key: 60.0, 3, 77.0), 0.0, 300.0)
    assert often.waits.tolist() == seldom.waits.tolist()
    assert often.queue == seldom.queue


def test_a_policy_that_follows_demand_serves_the_trace_with_counters_that_add_up() -> None:
    def by_concurrency(wanted: int, signal: Signal, now: float) -> tuple[int, int]:
        needed = max(1, -(-(signal.queued + signal.active) // 5))
        wanted = needed if needed > wanted else max(needed, wanted - 1)
        return wanted, wanted

    demand = RequestDemand(load_requests("azure_llm_2023_conv"), 0.6, seed=2)
    result = run(demand, by_concurrency, 1, Setup(8, lambda key: load_seconds(1, key), 3), 0.0, 1800.0)
    columns = result.columns
    assert np.array_equal(columns.arrived, columns.queued + columns.active + columns.finished)
    assert len(demand.between(0.0, 1800.0)[0]) == columns.arrived[-1]
    assert columns.started[-1] == len(result.waits)
    assert columns.waited_le_5s[-1] == np.count_nonzero(result.waits <= 5)
    for life in result.lives:
        assert life.started_s <= (life.draining_s or life.ended_s or 1800.0)
        assert life.draining_s is None or (life.ended_s and life.ready_s <= life.draining_s <= life.ended_s)


def test_impossible_runs_are_refused() -> None:
    with pytest.raises(ValueError, match="wants -1 replicas"):
        run(Fixed(), always, -1, setup(), 0.0, 10.0)
    with pytest.raises(ValueError, match="cannot go from"):
        run(Fixed(), always, 1, setup(), 10.0, 0.0)
    with pytest.raises(ValueError, match="slots"):
        setup(slots=0)
