"""Lanes side by side against the simulator that is exact to the request, one lane after the other."""

import numpy as np
import pytest
from numpy.typing import NDArray

from deployments.core.params import Params
from deployments.core.snapshot import Deployments
from deployments.sim import alone as alone_policy
from deployments.sim import fleet, grid
from deployments.sim.demand import RecordedDemand, service_times
from tests.sim.whole_plan import NOTHING as NONE_YET
from tests.sim.whole_plan import by_plan

Int64s = NDArray[np.int64]
Floats = NDArray[np.float64]
Shown = tuple[Int64s, ...]

SLOTS, WINDOW = 8, 12
NOTHING: tuple[Int64s, ...] = ()
TARGETS = np.array([4.5, 6.0, 7.0])  # from plenty to too few
BEGUN = 8


def requests(seed: int, span_s: float, per_s: float, mean_s: float = 8.0) -> tuple[Floats, Floats]:
    """A rate that swings to twice itself and back, in bunches."""
    rng = np.random.default_rng(seed)
    seconds = np.arange(span_s)
    mean = per_s * (1 + np.sin(seconds / 900)) * rng.gamma(2, 0.5, len(seconds))
    arrivals = np.repeat(seconds, rng.poisson(mean))
    arrivals = np.sort(arrivals + rng.random(len(arrivals)))
    return arrivals, service_times(rng, len(arrivals), mean_s)


def by_mean(shown: Shown, load: Int64s, targets: Floats) -> tuple[Shown, Int64s]:
    """Replicas for the mean in flight of a minute."""
    shown = (*shown, load)[-WINDOW:]
    return shown, np.maximum(1, np.ceil(np.mean(shown, axis=0) / targets)).astype(np.int64)


def side_by_side(arrivals: Floats, services: Floats, span_s: float, cold_s: float, from_hour: int = 0) -> grid.GridRun:
    lanes = np.ones(len(TARGETS), np.int64)
    return grid.run(
        grid.Load.of(arrivals, services, span_s),
        lambda shown, seen: by_mean(shown, seen.queued + seen.active, TARGETS),
        NOTHING, grid.Setup(SLOTS, cold_s), lanes * BEGUN, lanes, lanes * 1000, from_hour,
    )  # fmt: skip


def alone(arrivals: Floats, services: Floats, span_s: float, cold_s: float, target: float) -> fleet.Measures:
    def step(shown: Shown, signal: fleet.Signal, now: float) -> tuple[Shown, int]:
        shown, wanted = by_mean(shown, np.array([signal.queued + signal.active]), np.array([target]))
        return shown, int(wanted[0])

    setup = fleet.Setup(SLOTS, lambda key: cold_s, BEGUN)
    return fleet.run(RecordedDemand(arrivals, services), step, NOTHING, setup, 0.0, span_s).measures()


@pytest.mark.thorough
@pytest.mark.parametrize("cold_s", [0.0, 62.0, 180.0])
def test_every_lane_is_what_the_exact_simulator_makes_of_it(cold_s: float) -> None:
    span_s = 3600.0
    arrivals, services = requests(5, span_s, per_s=6)
    together = side_by_side(arrivals, services, span_s, cold_s)
    for lane, target in enumerate(TARGETS.tolist()):
        exact = alone(arrivals, services, span_s, cold_s, target)
        assert exact.share_le_1s is not None
        assert exact.share_le_5s is not None
        assert exact.wait_p99_s is not None
        assert together.requests[lane] == exact.requests == len(arrivals)
        assert together.share_le_1s[lane] == pytest.approx(exact.share_le_1s, abs=0.01)
        assert together.share_le_5s[lane] == pytest.approx(exact.share_le_5s, abs=0.01)
        within = together.waits[lane, : round(exact.wait_p99_s / grid.STEP_S) + 1].sum() / len(arrivals)
        assert within == pytest.approx(0.99, abs=0.03)
        assert together.replica_hours[lane] == pytest.approx(exact.replica_hours, rel=0.02)
        assert together.changes_per_hour[lane] == pytest.approx(exact.changes_per_hour, rel=0.1, abs=3)


@pytest.mark.thorough
def test_a_lane_does_not_depend_on_the_others() -> None:
    arrivals, services = requests(5, 3600.0, per_s=4)
    load, setup = grid.Load.of(arrivals, services, 3600.0), grid.Setup(SLOTS, 60.0)

    def shares(targets: Floats) -> list[float]:
        lanes = np.ones(len(targets), np.int64)
        run = grid.run(load, lambda shown, seen: by_mean(shown, seen.queued + seen.active, targets), NOTHING, setup,
                       lanes * BEGUN, lanes, lanes * 1000)  # fmt: skip
        return [*run.share_le_1s.tolist(), *run.replica_hours.tolist()]

    together = shares(TARGETS)
    for lane in range(len(TARGETS)):
        assert shares(TARGETS[lane : lane + 1]) == [together[lane], together[lane + len(TARGETS)]]


@pytest.mark.thorough
def test_hours_add_up_and_what_is_not_scored_is_left_out() -> None:
    span_s = 3 * 3600.0
    arrivals, services = requests(7, span_s, per_s=4)
    whole, later = (side_by_side(arrivals, services, span_s, 60.0, hour) for hour in (0, 1))
    assert np.array_equal(whole.arrived, later.arrived)
    assert (whole.arrived.sum(axis=0) == whole.requests).all()
    assert whole.share_le_1s == pytest.approx(
        1 - whole.late_1s.sum(axis=0) / whole.requests, abs=1e-3
    )  # what still waits
    assert (later.requests == np.sum(arrivals >= 3600)).all()
    assert later.replica_hours == pytest.approx(whole.replica_s[1:].sum(axis=0) / 3600)


def test_without_room_everything_waits_and_is_counted() -> None:
    arrivals, services = np.array([10.2, 20.7]), np.array([1.0, 2.0])
    none = np.zeros(1, np.int64)
    run = grid.run(grid.Load.of(arrivals, services, 60.0), lambda state, seen: (state, none), None,
                   grid.Setup(SLOTS, 5.0), none, none, none)  # fmt: skip
    assert run.requests.tolist() == [2]
    assert run.share_le_5s.tolist() == [0.0]
    assert run.wait_s(1.0).tolist() == [50.0]
    assert run.replica_hours.tolist() == [0.0]


def test_the_stages_size_a_lane_as_the_whole_planner_does() -> None:
    """Contention and placement change nothing where there is room: `size_alone` is what `plan` grants."""
    arrivals, services = requests(9, 1200.0, per_s=6)
    deployment = Deployments.build(key=[1], org=[1], min=[1], max=[60], startup_s=[60.0], scale_down_s=[120.0])
    demand, setup = RecordedDemand(arrivals, services), fleet.Setup(SLOTS, lambda key: 60.0, BEGUN)
    by_sizes = fleet.run(demand, alone_policy.by_stages(deployment, Params()), alone_policy.nothing(deployment), setup,
                         0.0, 1200.0)  # fmt: skip
    whole = fleet.run(demand, by_plan(deployment, Params()), NONE_YET, setup, 0.0, 1200.0)
    assert by_sizes.columns.wanted.tolist() == whole.columns.wanted.tolist()
    assert len(set(by_sizes.columns.wanted.tolist())) > 5
