"""Settings side by side: what came of each is what a run of its own gives, and hand-countable cases are counted."""

from dataclasses import replace

import numpy as np
import pytest

from deployments.backtest.running import Machine, backtest
from deployments.backtest.traces import Traffic, traffic_of
from deployments.backtests.baselines import BASELINES, CLAIRVOYANT, HEADROOM, STATIC_MEAN, STATIC_PEAK
from deployments.backtests.compare import Lane, Outcome, compare, curve_lanes
from deployments.sim.grid import Load

MACHINE = Machine(slots=4, cold_start_s=30.0)
LANE = Lane(HEADROOM, MACHINE, low=1, high=20, concurrency=3, settings={"scale_down_s": 60.0})


def steps(seconds: int = 3600, busy: int = 40) -> Traffic:
    """Half of it calm, then several times as much; each request runs 4 s."""
    rng = np.random.default_rng(7)
    calm, storm = rng.uniform(0, seconds, seconds // 2), rng.uniform(seconds / 2, 0.8 * seconds, busy * seconds // 40)
    arrivals = np.sort(np.concatenate([calm, storm]))
    return traffic_of(arrivals, np.full(len(arrivals), 4.0), float(seconds))


def load_of(traffic: Traffic) -> Load:
    return Load.of(*traffic.demand.between(0, traffic.span_s), traffic.span_s)


@pytest.mark.thorough
def test_lanes_agree_with_the_exact_run_of_each_setting_alone() -> None:
    traffic = steps()
    lanes = [LANE, replace(LANE, high=3), replace(LANE, concurrency=1), replace(LANE, machine=Machine(2, 90.0))]
    for lane, found in zip(lanes, compare(load_of(traffic), lanes).outcomes, strict=True):
        settings = {"min": lane.low, "max": lane.high, "concurrency": lane.concurrency, **lane.settings}
        exact = backtest(settings, traffic, lane.machine).measures()
        assert exact.share_le_1s is not None
        assert found.share_le_1s == pytest.approx(exact.share_le_1s, abs=0.01)
        assert found.replica_hours == pytest.approx(exact.replica_hours, rel=0.03)
        assert found.requests == exact.requests


def test_a_fixed_size_is_counted_by_hand() -> None:
    """One slot, three requests of 4 s at once: they wait 0, 4 and 8 s."""
    load = Load.of(np.array([10.0, 10.0, 10.0]), np.full(3, 4.0), 3600.0)
    lane = replace(LANE, machine=Machine(1, 0.0), low=1, high=1)
    (found,) = compare(load, [lane]).outcomes
    assert found.share_le_1s == pytest.approx(1 / 3)
    assert found.share_le_5s == pytest.approx(2 / 3)
    assert (found.wait_p50_s, found.wait_p99_s) == (4.0, 8.0)
    assert found.replica_hours == pytest.approx(1.0)
    assert (found.replicas_most, found.changes_per_hour, found.requests) == (1, 0.0, 3)
    assert found.queued.max() == 1  # at the sample at 15 s the third still waits
    assert found.replicas.tolist() == [1.0] * len(found.replicas)
    assert len(found.replicas) <= 600


def test_frames_enclose_what_policies_cost() -> None:
    lanes = [replace(LANE, policy=name) for name in (CLAIRVOYANT, STATIC_PEAK, STATIC_MEAN)]
    clairvoyant, peak, mean = compare(load_of(steps()), lanes).outcomes
    assert clairvoyant.share_le_1s == peak.share_le_1s == 1.0
    assert clairvoyant.replica_hours < peak.replica_hours
    assert mean.share_le_1s is not None
    assert mean.share_le_1s < 1.0
    assert mean.replica_hours < peak.replica_hours


def test_every_baseline_runs_within_the_bounds_that_are_set() -> None:
    lanes = [replace(LANE, policy=name, low=2, high=5) for name in BASELINES]
    for name, one in zip(BASELINES, compare(load_of(steps(1200)), lanes).outcomes, strict=True):
        assert one.requests > 0
        if name not in (CLAIRVOYANT, STATIC_PEAK, STATIC_MEAN):
            assert one.replicas_most <= 5
            assert one.replicas.min() >= 2


def test_a_claim_that_is_too_small_leaves_it_short() -> None:
    free, held = compare(load_of(steps()), [LANE, replace(LANE, room=2)]).outcomes
    assert free.short_s == 0
    bounded = compare(load_of(steps(1200)), [replace(LANE, policy="hpa", high=2)]).outcomes[0]
    assert bounded.short_s == 0  # max is no lack of room
    assert held.replicas_most == 2
    assert held.short_s > 60
    assert (held.share_le_1s or 0) < (free.share_le_1s or 0)


def test_the_curve_goes_over_target_utilisation_and_costs_less_the_fuller() -> None:
    found = compare(load_of(steps()), [LANE], curve_of=LANE)
    targets = [lane.concurrency for lane, _ in found.curve]
    assert targets == [lane.concurrency for lane in curve_lanes(LANE)] == [1, 2, 3, 4]
    hours = [one.replica_hours for _, one in found.curve]
    assert hours == sorted(hours, reverse=True)
    same: Outcome = found.curve[targets.index(3)][1]
    assert same.replica_hours == found.outcomes[0].replica_hours


@pytest.mark.thorough
def test_what_is_skipped_is_run_and_not_counted() -> None:
    traffic = steps(7200)
    whole, part = (compare(load_of(traffic), [LANE], skip_s=skip_s) for skip_s in (0.0, 3600.0))
    assert whole.outcomes[0].requests == len(traffic.demand.between(0, 7200)[0])
    assert part.outcomes[0].requests == len(traffic.demand.between(3600, 7200)[0])
    assert len(part.in_flight) * part.step_s == pytest.approx(3600, abs=part.step_s)
    assert part.outcomes[0].replica_hours < whole.outcomes[0].replica_hours


def test_progress_rises_to_the_whole_and_what_it_raises_ends_the_run() -> None:
    shares: list[float] = []
    other = replace(LANE, machine=Machine(2, 60.0))
    compare(load_of(steps(600)), [LANE, other], beat=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0

    def stop(share: float) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        compare(load_of(steps(600)), [LANE], beat=stop)


def test_no_request_gives_no_share() -> None:
    (found,) = compare(Load.of(np.empty(0), np.empty(0), 60.0), [LANE]).outcomes
    assert (found.requests, found.share_le_1s, found.wait_p50_s) == (0, None, None)
    assert found.replica_hours == pytest.approx(1 / 60)
