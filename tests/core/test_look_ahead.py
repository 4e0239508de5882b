"""Stage 3: the margin is a quantile of what the deployment's own forecasts were short of, and a floor alone."""

from dataclasses import replace

import numpy as np
import pytest

from deployments.core.autoscaler_state import AutoscalerState
from deployments.core.explain import line, rerun, steps
from deployments.core.look_ahead import MICRO
from deployments.core.plan import Plan
from deployments.core.reasons import Reason
from deployments.core.record import decision_record
from deployments.core.snapshot import Signals, Snapshot
from tests.core.fleet import NOW, decide, deployments, running, series, shard, steady

AHEAD = {"ahead": 0.98, "slots": 8, "concurrency": 8, "startup_s": 60.0, "burst_factor": 1000.0}


def passes(loads: np.ndarray, **settings: object) -> list[tuple[Snapshot, Plan]]:
    """One deployment, a pass every 5 s, with the samples of the last 70 s."""
    made: list[tuple[Snapshot, Plan]] = []
    state, size = AutoscalerState.empty(), 2
    for last in range(14, len(loads)):
        now = NOW + 5.0 * last
        at = series(loads[last - 13 : last + 1].tolist(), now=now)
        snapshot = shard(deployments({**AHEAD, **settings}), at, running(size), state=state)
        plan = decide(snapshot, now)
        made.append((snapshot, plan))
        state, size = plan.state, int(plan.granted.value[0])
    return made


def margins(made: list[tuple[Snapshot, Plan]]) -> np.ndarray:
    return np.array([plan.ahead.margin_micro[0] for _, plan in made]) / MICRO


def short(made: list[tuple[Snapshot, Plan]], part: float = 1.0) -> float:
    """The share of the later passes with more in flight than `part` of what was expected of them, a start-up time and the
    burst window before."""
    late, ago = made[300:], 15
    expected = np.array([plan.ahead.expected_micro[0] for _, plan in late]) / MICRO
    flight = np.array([plan.signal.in_flight[0] for _, plan in late])
    return float((flight[ago:] > part * expected[:-ago]).mean())


def test_it_is_on_unless_somebody_switches_it_off() -> None:
    plan = decide(shard(deployments({"ahead": np.nan}, {"ahead": 0.99}, {"ahead": 0.0}), steady([20.0, 20.0, 20.0])))
    assert plan.ahead.code.tolist() == [Reason.AHEAD, Reason.AHEAD, Reason.AHEAD_OFF]
    assert plan.ahead.need_ahead.tolist() == [3, 3, 0], "20 and a margin of 4 and a replica's 12 slots"
    assert plan.state.forecasts.key.tolist() == [1, 2]


def test_where_nobody_looks_ahead_nothing_is_remembered_of_it() -> None:
    plan = decide(shard(deployments({}, {}), steady([9.0, 3.0])))
    assert plan.ahead.code.tolist() == [Reason.AHEAD_OFF] * 2
    assert plan.ahead.need_ahead.tolist() == [0, 0]
    assert len(plan.state.forecasts) == 0


def test_before_anything_is_known_a_replica_and_a_fifth_of_the_load_are_the_margin() -> None:
    plan = decide(shard(deployments({}, AHEAD), steady([20.0, 20.0]), running(3, 3)))
    assert plan.ahead.code.tolist() == [Reason.AHEAD_OFF, Reason.AHEAD]
    assert plan.ahead.margin_micro.tolist() == [-1, 12 * MICRO]
    assert (plan.ahead.need_ahead.tolist(), plan.wanted.value.tolist()[1]) == ([0, 4], 4)
    assert plan.damped.code[1] == Reason.GROW_AHEAD


def test_what_is_expected_is_said_to_decide_where_a_standing_queue_asks_for_less() -> None:
    settings = {**AHEAD, "slots": 12, "startup_s": 180.0, "service_s": 10.0}
    plan = decide(shard(deployments(settings), steady([80.0], queued=[360.0]), running(10)))
    assert (plan.need.need_stable.tolist(), plan.need.need_backlog.tolist()) == ([55], [13])
    assert plan.wanted.value.tolist() == plan.ahead.need_ahead.tolist() == [45]
    assert plan.damped.code.tolist() == [Reason.GROW_AHEAD]


def test_without_a_signal_it_expects_nothing_and_holds() -> None:
    plan = decide(shard(deployments(AHEAD), steady([-1.0]), running(3)))
    assert plan.ahead.code.tolist() == [Reason.AHEAD_UNKNOWN]
    assert plan.wanted.value.tolist() == [3]


def test_steady_traffic_comes_to_a_small_margin_and_bursts_to_a_large_one() -> None:
    rng = np.random.default_rng(1)
    calm = 40 + rng.integers(-1, 2, 400).astype(float)
    bursts = np.where(np.arange(400) // 15 % 4 == 3, 70.0, 30.0)
    assert margins(passes(calm, ahead=0.85))[-1] < 4
    assert margins(passes(bursts, ahead=0.85))[-1] > 15


@pytest.mark.thorough
def test_the_margin_is_short_as_seldom_as_it_is_to_be() -> None:
    rng = np.random.default_rng(2)
    assert 0.1 < short(passes(rng.poisson(40, 900).astype(float), ahead=0.8)) < 0.3


@pytest.mark.thorough
@pytest.mark.parametrize(("service_s", "part"), [(0.0, 1.0), (2.0, 1.2), (5.0, 1.2), (10.0, 1.1)])
def test_what_waits_in_time_needs_no_slots(service_s: float, part: float) -> None:
    """A queue of `1 s / service` of the slots is served within a second; no more than a fifth of them is left to it."""
    rng = np.random.default_rng(2)
    made = passes(rng.integers(20, 100, 900).astype(float), ahead=0.8, service_s=service_s)
    assert 0.1 < short(made, part) < 0.3


def test_a_pause_forgets_what_was_expected_and_keeps_the_margin() -> None:
    made = passes(np.full(200, 40.0))
    snapshot, plan = made[-1]
    later = NOW + 5.0 * 199 + 3600.0
    after = decide(replace(snapshot, signals=steady([400.0], now=later), state=plan.state), later)
    known = after.state.forecasts
    assert known.margin_micro[0] == plan.state.forecasts.margin_micro[0]
    assert (known.level_milli >= 0).sum() == 1


def test_who_stops_looking_ahead_is_forgotten() -> None:
    snapshot, plan = passes(np.full(60, 40.0))[-1]
    off = replace(snapshot, deployments=deployments({}), state=plan.state)
    assert len(plan.state.forecasts) == 1
    assert len(decide(off, NOW + 300).state.forecasts) == 0


@pytest.mark.parametrize("seed", range(20))
def test_it_never_makes_anything_smaller(seed: int) -> None:
    rng = np.random.default_rng(seed)
    signals = series(rng.integers(0, 300, 14).tolist(), (rng.integers(0, 40, 14) * rng.integers(0, 2)).tolist())
    rows = [{"slots": 8, "concurrency": 6, "startup_s": 90.0, "burst_factor": float(rng.choice([1.5, 1000.0]))}] * 2
    rows[1] = {**rows[1], "ahead": float(rng.choice([0.5, 0.9, 0.99]))}
    size = int(rng.integers(1, 30))
    plan = decide(shard(deployments(*rows), both(signals), running(size, size)))
    without, ahead = plan.wanted.value.tolist()
    expected = int(plan.ahead.need_ahead[1])
    assert ahead >= without
    assert ahead >= min(expected, 100) or expected <= size * 1.1


def both(signals: Signals) -> Signals:
    """The same samples for two deployments."""
    return Signals(signals.at, np.tile(signals.queued, 2), np.tile(signals.active, 2))


def test_a_decision_that_looked_ahead_is_made_again_from_its_row_and_says_why() -> None:
    loads = np.concatenate([np.full(60, 20.0), np.full(60, 60.0), np.full(120, 5.0)])
    rows = [decision_record(plan, snapshot, 0) for snapshot, plan in passes(loads)]
    assert all(rerun(row).same for row in rows)
    codes = {row["damped_code"] for row in rows}
    assert {Reason.GROW_AHEAD, Reason.KEPT_AHEAD} <= codes
    grown = next(row for row in rows if row["damped_code"] == Reason.GROW_AHEAD)
    assert "is expected" in line(grown)
    assert "?" not in "".join(step["text"] for step in steps(grown))
    assert [step["stage"] for step in steps(grown)][2] == "look-ahead"


def test_a_row_from_before_there_was_this_stage_still_agrees() -> None:
    snapshot = shard(deployments({}), steady([9.0]), running(2))
    row = decision_record(decide(snapshot), snapshot, 0)
    old = {name: value for name, value in row.items() if not name.startswith("ahead") and name != "slots"}
    assert rerun(old).same
    assert [step["stage"] for step in steps(old)] == ["signal", "need", "damping", "bounds", "contention"]
