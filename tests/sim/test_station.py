"""A station advanced in place is the queue advanced slice by slice."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.sim.queue import Line, QueueState, Replica, advance
from deployments.sim.station import AHEAD, Station, arrivals_by_pass

moments = st.integers(0, 60).map(lambda quarters: quarters / 4)
PASSES = [0.0, 2.5, 5.0, 7.5, 10.0, 12.5, 15.0]


@dataclass
class Fixed:
    """Demand that is written down."""

    requests: list[tuple[float, float]]

    def between(self, start_s: float, end_s: float) -> tuple[np.ndarray, np.ndarray]:
        rows = [request for request in self.requests if start_s <= request[0] < end_s]
        return np.array([arrival for arrival, _ in rows]), np.array([service for _, service in rows])


@dataclass
class Story:
    """Requests, and replicas with the passes at which they start and are let go."""

    demand: Fixed
    replicas: list[Replica]
    starts: list[int]
    slots: int


@st.composite
def stories(draw: st.DrawFn) -> Story:
    arrivals = sorted(draw(st.lists(moments.filter(lambda at: at < 15), max_size=30)))
    demand = Fixed([(at, draw(st.sampled_from([0.0, 0.25, 1.0, 3.0, 8.0]))) for at in arrivals])
    slots, replicas, starts = draw(st.integers(1, 3)), [], []
    for key in range(draw(st.integers(0, 5))):
        starts.append(draw(st.integers(0, 4)))
        ready = PASSES[starts[-1]] + draw(st.sampled_from([0.0, 0.5, 2.5, 3.0, 9.0]))
        gone = draw(st.none() | st.sampled_from(PASSES[starts[-1] + 1 :]))
        replicas.append(Replica(key, slots, ready, gone))
    return Story(demand, replicas, starts, slots)


@given(stories())
def test_a_station_agrees_with_the_queue_slice_by_slice(story: Story) -> None:
    station, state = Station(story.slots, 0.0), QueueState(0.0)
    slices = arrivals_by_pass([story.demand], 0.0, 2.5)
    for number, (start, end) in enumerate(pairwise(PASSES)):
        for replica, begins in zip(story.replicas, story.starts, strict=True):
            if begins == number:
                station.expect(replica.key, replica.ready_from_s)
        station.let_go({one.key for one in story.replicas if one.accepts_until_s == start})
        known = [one for one, begins in zip(story.replicas, story.starts, strict=True) if begins <= number]
        # One that is let go before it was loaded never takes a request.
        known = [replace(one, accepts_until_s=None if one.accepts_until_s and one.accepts_until_s > start
                         else one.accepts_until_s) for one in known]  # fmt: skip
        state, sample = advance(state, *story.demand.between(start, end), known, end)
        station.advance(*next(slices)[0], end)
        assert station.line.state() == replace(state, waits=())  # which are counted by whoever takes them from the line
        assert station.line.take_waits() == sample.waits.tolist()
        assert {one.key: station.line.active_on(one.key) for one in known} == sample.active_by_replica


def test_killed_requests_of_a_line_wait_again_and_count_once() -> None:
    line = Line(QueueState(0.0))
    line.provide({1: 1, 2: 1})
    line.serve([0.0, 1.0, 2.0], [10.0, 10.0, 10.0], 5.0)
    line.kill_all_but({2})
    line.provide({2: 1})
    line.serve([], [], 30.0)
    assert (line.started, line.finished, line.waited_le_1s, line.waited_le_5s) == (3, 2, 2, 2)
    assert line.take_waits() == [0.0, 0.0, 19.0]
    assert line.active_on(2) == 1
    assert line.take_waits() == []


@pytest.mark.parametrize("every", [5.0, 7.0])
def test_requests_come_by_pass_without_loss(every: float) -> None:
    demand = Fixed([(at / 3, 1.0) for at in range(-90, 900)])
    passes = arrivals_by_pass([demand, Fixed([])], -10.0, every)
    seen: list[float] = []
    for number in range(1, 2 * AHEAD + 4):
        (arrivals, services), nothing = next(passes)
        assert nothing == ([], [])
        assert len(arrivals) == len(services)
        assert all(-10 + (number - 1) * every <= at < -10 + number * every for at in arrivals)
        seen += arrivals
    assert seen == demand.between(-10.0, -10 + (2 * AHEAD + 3) * every)[0].tolist()
