from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.core.waits import BUCKETS, EDGES_S
from deployments.sim.queue import QueueState, Replica, Sample, advance
from tests.sim.reference import SlowQueue

# Quarters make many things happen at one instant, and are exact.
moments = st.integers(0, 48).map(lambda quarters: quarters / 4)
lengths = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.5, 7.0]), st.floats(0, 8))


@dataclass
class Scenario:
    requests: list[tuple[float, float]]
    replicas: list[Replica]
    end: float

    def between(self, start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
        rows = [request for request in self.requests if start <= request[0] < end]
        return np.array([arrival for arrival, _ in rows]), np.array([service for _, service in rows])

    def run(self, state: QueueState, until: float, replicas: list[Replica] | None = None) -> tuple[QueueState, Sample]:
        arrivals, services = self.between(state.until_s, until)
        return advance(state, arrivals, services, self.replicas if replicas is None else replicas, until)


@st.composite
def replica_lists(draw: st.DrawFn) -> list[Replica]:
    keys = draw(st.lists(st.integers(-3, 9), unique=True, max_size=4))
    ready = [draw(moments) / 2 for _ in keys]
    until = [draw(st.none() | lengths) for _ in keys]
    return [
        Replica(key, draw(st.integers(1, 3)), start, None if length is None else start + length)
        for key, start, length in zip(keys, ready, until, strict=True)
    ]


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    arrivals = sorted(draw(st.lists(st.one_of(moments, st.floats(0, 11)), max_size=25)))
    requests = [(arrival, draw(lengths)) for arrival in arrivals]
    return Scenario(requests, draw(replica_lists()), 12.25)


@given(scenarios())
def test_agrees_with_the_reference(scenario: Scenario) -> None:
    slow = SlowQueue(0.0)
    slow.advance(scenario.requests, scenario.replicas, scenario.end)
    state, sample = scenario.run(QueueState(0.0), scenario.end)
    assert slow.agrees_with(state)
    assert sample.waits.tolist() == slow.waits()


@given(scenarios(), st.data())
def test_agrees_with_the_reference_while_replicas_are_killed_and_come_back(
    scenario: Scenario, data: st.DataObject
) -> None:
    slow, state = SlowQueue(0.0), QueueState(0.0)
    cuts = sorted(data.draw(st.sets(moments.filter(bool), max_size=5)) | {scenario.end})
    for until in cuts:
        alive = data.draw(
            st.lists(st.sampled_from(scenario.replicas), unique=True) if scenario.replicas else st.just([])
        )
        rows = [request for request in scenario.requests if state.until_s <= request[0] < until]
        slow.advance(rows, alive, until)
        state, sample = scenario.run(state, until, alive)
        assert slow.agrees_with(state)
        assert sample.active_by_replica == {replica.key: slow.running_on(replica.key) for replica in alive}


@given(scenarios(), st.sets(st.one_of(moments, st.floats(0, 12)), max_size=6))
def test_where_time_is_cut_makes_no_difference(scenario: Scenario, cuts: set[float]) -> None:
    whole, sample = scenario.run(QueueState(0.0), scenario.end)
    state, waits = QueueState(0.0), []
    for _, until in pairwise([0.0, *sorted(cuts), scenario.end]):
        state, slice_ = scenario.run(state, until)
        waits += slice_.waits.tolist()
    assert state == whole
    assert waits == sample.waits.tolist()
    assert slice_.active_by_replica == sample.active_by_replica


@given(scenarios(), st.lists(moments, min_size=1, max_size=6))
def test_requests_are_conserved(scenario: Scenario, cuts: list[float]) -> None:
    state = QueueState(0.0)
    for until in sorted(cuts):
        before = state.counters
        alive = scenario.replicas[: int(until) % 4]
        state, sample = scenario.run(state, until, alive)
        counters = sample.counters
        assert counters.arrived == counters.finished + sample.active + sample.queued
        assert counters.arrived == len([arrival for arrival, _ in scenario.requests if arrival < until])
        assert counters.waited_le_1s <= counters.waited_le_5s <= counters.started <= counters.arrived
        assert sum(sample.active_by_replica.values()) == sample.active
        assert counters.started - before.started == len(sample.waits)
        assert all(now >= then for now, then in zip(vars(counters).values(), vars(before).values(), strict=True))


def queue_of(requests: list[tuple[float, float]], replicas: list[Replica], until: float) -> tuple[QueueState, Sample]:
    return Scenario(requests, replicas, until).run(QueueState(0.0), until)


def test_a_request_goes_to_the_replica_with_most_free_slots_and_ties_to_the_lowest_key() -> None:
    replicas = [Replica(7, 2, 0.0), Replica(5, 2, 0.0), Replica(9, 3, 0.0)]
    state, _ = queue_of([(t / 10, 100.0) for t in range(7)], replicas, 1.0)
    assert [key for _, _, key, _, _ in state.running] == [9, 5, 7, 9, 5, 7, 9]


def test_without_a_ready_replica_requests_wait_until_one_is() -> None:
    state, sample = queue_of([(1.0, 2.0), (3.0, 2.0)], [Replica(1, 4, ready_from_s=10.0)], 9.0)
    assert (sample.queued, sample.active, sample.active_by_replica) == (2, 0, {1: 0})
    state, sample = advance(state, np.empty(0), np.empty(0), [Replica(1, 4, 10.0)], 11.0)
    assert sample.waits.tolist() == [9.0, 7.0]
    assert sample.active_by_replica == {1: 2}


def test_a_draining_replica_finishes_what_it_runs_and_takes_nothing_new() -> None:
    replica = Replica(1, 1, 0.0, accepts_until_s=3.0)
    _, sample = queue_of([(1.0, 4.0), (2.0, 4.0)], [replica], 20.0)
    assert (sample.counters.finished, sample.queued, sample.active) == (1, 1, 0)


def test_requests_of_a_killed_replica_start_again_before_those_that_never_started() -> None:
    first, other = Replica(1, 2, 0.0), Replica(2, 1, 0.0)
    state, _ = queue_of([(0.0, 10.0), (1.0, 10.0), (2.0, 10.0), (3.0, 10.0)], [first, other], 5.0)
    assert [(id_, key) for _, id_, key, _, _ in state.running] == [(0, 1), (1, 1), (2, 2)]
    state, sample = advance(state, np.empty(0), np.empty(0), [other], 5.0)
    assert [id_ for id_, _, _ in state.waiting] == [0, 1, 3]
    assert [arrival for _, arrival, _ in state.waiting] == [0.0, 1.0, 3.0]
    state, sample = advance(state, np.empty(0), np.empty(0), [other], 13.0)
    assert [(end, id_) for end, id_, _, _, _ in state.running] == [(22.0, 0)]
    assert sample.counters.service_seconds == 10.0


def test_a_request_that_starts_again_counts_its_wait_once() -> None:
    state, _ = queue_of([(0.0, 10.0)], [Replica(1, 1, 0.0)], 5.0)
    state, sample = advance(state, np.empty(0), np.empty(0), [Replica(2, 1, 8.0)], 30.0)
    assert sample.counters.finished == 1
    assert sample.counters.started == sample.counters.waited_le_1s == 1
    assert sample.waits.tolist() == []


def test_what_still_queues_is_in_no_waiting_counter() -> None:
    _, sample = queue_of([(0.0, 10.0), (0.5, 1.0)], [Replica(1, 1, 0.0)], 9.0)
    assert (sample.counters.arrived, sample.counters.started, sample.counters.waited_le_5s) == (2, 1, 1)


@given(scenarios(), st.lists(moments, max_size=4))
def test_waits_are_counted_as_they_were_wherever_time_is_cut(scenario: Scenario, cuts: list[float]) -> None:
    state, waits = QueueState(0.0), list[float]()
    for until in [*sorted(cuts), scenario.end]:
        state, sample = scenario.run(state, until)
        waits += sample.waits.tolist()
        assert sample.wait_counts == state.waits
    by_hand = [sum(low < wait <= high for wait in waits) for low, high in pairwise([-1.0, *EDGES_S, np.inf])]
    assert [*state.waits, *[0] * (BUCKETS - len(state.waits))] == by_hand
    assert sum(by_hand) == state.counters.started
    assert sum(by_hand[: EDGES_S.index(1) + 1]) == state.counters.waited_le_1s
    assert sum(by_hand[: EDGES_S.index(5) + 1]) == state.counters.waited_le_5s


def test_a_wait_of_exactly_the_limit_is_within_it() -> None:
    _, sample = queue_of([(0.0, 1.0), (0.0, 4.0), (0.0, 1.0)], [Replica(1, 1, 0.0)], 6.0)
    assert sample.waits.tolist() == [0.0, 1.0, 5.0]
    assert (sample.counters.waited_le_1s, sample.counters.waited_le_5s) == (2, 3)


def test_a_replica_with_fewer_slots_than_it_runs_takes_nothing_until_it_may() -> None:
    state, _ = queue_of([(0.0, 4.0), (0.0, 6.0)], [Replica(1, 2, 0.0)], 1.0)
    state, sample = advance(state, np.array([2.0]), np.array([1.0]), [Replica(1, 1, 0.0)], 20.0)
    assert sample.waits.tolist() == [4.0]


@pytest.mark.parametrize(
    ("arrivals", "services", "until", "message"),
    [
        ([1.0], [1.0], 0.5, "cannot advance"),
        ([], [], float("inf"), "cannot advance"),
        ([2.0, 1.0], [1.0, 1.0], 5.0, "sorted"),
        ([5.0], [1.0], 5.0, "lie in"),
        ([0.5], [1.0], 5.0, "lie in"),
        ([float("nan")], [1.0], 5.0, "sorted"),
        ([1.0], [-1.0], 5.0, "not negative"),
        ([1.0], [float("nan")], 5.0, "finite"),
        ([1.0], [], 5.0, "one service time"),
    ],
)
def test_impossible_input_is_refused(arrivals: list[float], services: list[float], until: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        advance(QueueState(1.0), np.array(arrivals), np.array(services), [Replica(1, 1, 0.0)], until)


def test_two_replicas_of_one_key_and_a_replica_without_slots_are_refused() -> None:
    with pytest.raises(ValueError, match="same key"):
        advance(QueueState(0.0), np.empty(0), np.empty(0), [Replica(1, 1, 0.0), Replica(1, 2, 0.0)], 1.0)
    with pytest.raises(ValueError, match="at least one slot"):
        Replica(1, 0, 0.0)
