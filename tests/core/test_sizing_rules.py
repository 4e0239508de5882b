"""R2 to R7 and R19, one case each, in numbers that can be checked by head."""

from dataclasses import replace

import numpy as np
import pytest

from deployments.core.autoscaler_state import AutoscalerState
from deployments.core.params import Params
from deployments.core.plan import Bound
from deployments.core.reasons import Reason
from deployments.core.snapshot import Scheduled, Signals
from tests.core.fleet import (
    NOW,
    STARTING,
    decide,
    deployments,
    replicas,
    running,
    seen,
    series,
    shard,
    sizes,
    steady,
)


def test_r2_need_is_in_flight_over_the_target() -> None:
    answer = decide(shard(deployments({}), steady([33], queued=[8]), running(3)))
    assert answer.signal.in_flight[0] == 41
    assert answer.need.need_stable[0] == 6  # ceil(41 / 8)
    assert sizes(answer) == ([6], [6])


def test_r2_the_target_is_the_concurrency_itself() -> None:
    answer = decide(shard(deployments({"concurrency": 16}), steady([160]), running(1)))
    assert answer.wanted.value[0] == 10


def test_r2_the_mean_is_weighted_by_time() -> None:
    at = NOW - np.array([60.0, 55.0, 50.0, 25.0, 0.0])
    load = np.array([0.0, 0.0, 80.0, 80.0, 8.0])
    signals = Signals(at, np.zeros((5, 1)), load[:, None])
    answer = decide(shard(deployments({}), signals, running(1)))
    # (5 s x 0 + 5 s x 80 + 25 s x 80 + 25 s x 8) / 60 s = 43.33
    assert answer.need.stable_load_ms[0] == 2_600_000
    assert answer.need.stable_span_ms[0] == 60_000
    assert answer.need.need_stable[0] == 6


def test_r3_the_result_lies_between_min_and_max() -> None:
    fleet = deployments({"min": 2, "max": 5}, {"min": 2, "max": 5})
    answer = decide(seen(shard(fleet, steady([0, 800]), running(3, 3))))
    assert answer.wanted.value.tolist() == [2, 5]
    assert answer.wanted.bound.tolist() == [Bound.MIN, Bound.MAX]


def test_r3_a_bound_of_a_schedule_window_says_so() -> None:
    fleet = deployments({"min": 6, "scheduled": Scheduled.MIN}, {"max": 5, "scheduled": Scheduled.MAX})
    answer = decide(seen(shard(fleet, steady([0, 800]), running(3, 3))))
    assert answer.wanted.value.tolist() == [6, 5]
    assert answer.wanted.code.tolist() == [Reason.SCHEDULED_MIN, Reason.SCHEDULED_MAX]
    assert answer.wanted.bound.tolist() == [Bound.SCHEDULE] * 2


def test_r3_a_disabled_deployment_has_no_replicas() -> None:
    answer = decide(shard(deployments({"enabled": False}), steady([80]), running(3)))
    assert sizes(answer) == ([0], [0])
    assert len(answer.stops) == 3


def test_r1_equal_min_and_max_is_a_fixed_size() -> None:
    fleet = deployments({"min": 4, "max": 4}, {"min": 4, "max": 4})
    answer = decide(seen(shard(fleet, steady([0, 800]), running(4, 4))))
    assert answer.wanted.value.tolist() == [4, 4]
    assert answer.wanted.code.tolist() == [Reason.FIXED_SIZE] * 2


def test_r4_load_within_the_tolerance_changes_nothing() -> None:
    answer = decide(seen(shard(deployments({}, {}, {}), steady([87, 73, 90]), running(10, 10, 10))))
    assert answer.wanted.value.tolist() == [10, 10, 12]
    assert answer.damped.code.tolist() == [Reason.WITHIN_TOLERANCE] * 2 + [Reason.GROW]


def test_r4_a_burst_is_followed_within_the_burst_window() -> None:
    answer = decide(shard(deployments({}), series([16] * 11 + [160] * 3), running(2)))
    assert answer.need.need_stable[0] == 7  # (45 s x 16 + 15 s x 160) / 60 s / 8
    assert answer.wanted.value[0] == 20
    assert answer.damped.code[0] == Reason.GROW_BURST


def test_r4_burst_mode_never_shrinks_and_ends_a_stable_window_later() -> None:
    burst = decide(seen(shard(deployments({"scale_down_s": 0.0}), series([16] * 11 + [160] * 3), running(2))))
    assert burst.wanted.value[0] == 20
    state, now, wanted, reasons = burst.state, NOW, [], []
    for _ in range(13):
        now += 5
        quiet = shard(deployments({"scale_down_s": 0.0}), steady([16], now=now), running(20), state=state)
        answer = decide(quiet, now)
        state = answer.state
        wanted.append(int(answer.wanted.value[0]))
        reasons.append(Reason(answer.damped.code[0]))
    assert wanted[:11] == [20] * 11
    assert reasons[:11] == [Reason.BURST_KEEPS] * 11
    assert wanted[12] == 2


def test_r4_shrinking_takes_the_highest_recommendation_of_the_window() -> None:
    fleet, now = deployments({}), NOW
    first = decide(seen(shard(fleet, steady([80]), running(10))))
    assert first.wanted.value[0] == 10
    state, wanted = first.state, {}
    for tick in range(1, 70):
        now = NOW + 5 * tick
        answer = decide(shard(fleet, steady([32], now=now), running(10), state=state), now)
        state = answer.state
        wanted[5 * tick] = int(answer.wanted.value[0])
    assert all(size == 10 for after, size in wanted.items() if after < 300)
    assert all(size == 4 for after, size in wanted.items() if after > 320)


def test_r4_growth_within_the_delay_starts_it_again() -> None:
    fleet, state = deployments({}), None
    for tick in range(100):
        now = NOW + 5 * tick
        load = [80] if tick in (0, 40) else [32]
        before = seen(shard(fleet), now).state if state is None else state
        state = decide(shard(fleet, steady(load, now=now), running(10), state=before), now).state
        assert tick > 100 or state.memory.wanted[0] == 10


@pytest.mark.parametrize(
    ("signals", "reason"),
    [
        (steady([80], now=NOW - 31), Reason.SIGNAL_STALE),
        (steady([np.nan]), Reason.SIGNAL_MISSING),
        (steady([-1]), Reason.SIGNAL_MISSING),
        (Signals.none(1), Reason.SIGNAL_MISSING),
        (series([80] * 13 + [-5]), Reason.SIGNAL_IMPOSSIBLE),
        (series([80] * 13 + [np.inf]), Reason.SIGNAL_IMPOSSIBLE),
        (series([80] * 13 + [2e9]), Reason.SIGNAL_IMPOSSIBLE),
        (steady([80], now=NOW + 3), Reason.SIGNAL_FUTURE),
        (series([80] * 5), Reason.SIGNAL_WARMING),
    ],
)
def test_r5_a_signal_that_says_nothing_holds_the_size(signals: Signals, reason: Reason) -> None:
    for load_of_size in (3, 30):
        answer = decide(seen(shard(deployments({}), signals, running(load_of_size))))
        assert answer.signal.code[0] == reason
        assert sizes(answer) == ([load_of_size], [load_of_size])
        assert answer.granted.bound[0] == Bound.HOLD
        assert len(answer.starts) == len(answer.stops) == 0


def test_r5_stale_signal_holds_the_size() -> None:
    params = Params(stale_s=10)
    fresh = decide(seen(shard(deployments({}), steady([0], now=NOW - 10), running(9))), params=params)
    stale = decide(seen(shard(deployments({}), steady([0], now=NOW - 11), running(9))), params=params)
    assert fresh.wanted.value[0] == 1
    assert stale.wanted.value[0] == 9


def test_r5_what_is_held_is_what_was_wanted_so_a_lost_replica_is_replaced() -> None:
    before = decide(seen(shard(deployments({}), steady([72]), running(9))))
    answer = decide(shard(deployments({}), Signals.none(1), running(7), state=before.state))
    assert sizes(answer) == ([9], [9])
    assert len(answer.starts) == 2


def test_r5_after_a_restart_without_history_nothing_shrinks_for_a_window() -> None:
    fleet, state = deployments({}), AutoscalerState.empty()
    wanted = []
    for tick in range(66):
        now = NOW + 5 * tick
        answer = decide(shard(fleet, steady([8], now=now), running(5), state=state), now)
        state = answer.state
        wanted.append(int(answer.wanted.value[0]))
    assert set(wanted[:60]) == {5}
    assert wanted[65] == 1


def test_r5_after_a_restart_growth_waits_for_a_stable_window_only() -> None:
    for passes, expected in ((6, 2), (10, 2), (11, 10), (14, 10)):
        answer = decide(shard(deployments({}), steady([80], passes=passes), running(2)))
        assert answer.wanted.value[0] == expected


def test_r6_starting_replicas_count_so_growth_does_not_cascade() -> None:
    have = replicas(*[{}] * 2, *[{"state": STARTING}] * 8)
    answer = decide(shard(deployments({}), steady([80]), have))
    assert sizes(answer) == ([10], [10])
    assert len(answer.starts) == 0
    assert (answer.ready[0], answer.starting[0], answer.current[0]) == (2, 8, 10)


def test_r7_a_standing_queue_that_starting_replicas_will_take_up_asks_for_no_more() -> None:
    have = replicas(*[{}] * 10, *[{"state": STARTING}] * 5)
    fleet = deployments({"startup_s": 180.0, "service_s": 10.0})
    answer = decide(shard(fleet, steady([80], queued=[40]), have))
    assert answer.need.standing[0] == 40
    assert answer.need.remaining[0] == 0
    assert answer.wanted.value[0] == 15


def test_r7_the_rest_of_a_standing_queue_is_spread_over_the_start_up_time() -> None:
    fleet = deployments({"startup_s": 180.0, "service_s": 10.0})
    answer = decide(shard(fleet, steady([80], queued=[360]), running(10)))
    # 360 requests of 10 s within 180 s are 20 slots: (80 + 20) / 8.
    assert answer.need.need_burst[0] == 55
    assert answer.need.backlog_extra[0] == 3
    assert answer.wanted.value[0] == 13
    assert answer.damped.code[0] == Reason.GROW_QUEUE


def test_r7_the_drain_goal_holds_where_replicas_start_faster() -> None:
    fleet = deployments({"startup_s": 2.0, "service_s": 10.0, "drain_s": 40.0})
    answer = decide(shard(fleet, steady([80], queued=[160]), running(10)))
    assert answer.wanted.value[0] == 15  # 160 x 10 s / 40 s = 40 slots


def test_r7_without_measured_times_a_queue_counts_whole() -> None:
    answer = decide(shard(deployments({}), steady([80], queued=[40]), running(10)))
    assert answer.wanted.value[0] == 15


def test_r7_a_queue_that_comes_and_goes_is_no_standing_queue() -> None:
    queued = [0, 30] * 7
    answer = decide(shard(deployments({}), series([80] * 14, queued), running(10)))
    assert answer.need.standing[0] == 0
    assert answer.need.code[0] == Reason.NEED_MEAN


def test_r19_freeze_and_pin_hold_the_size_within_the_bounds() -> None:
    fleet = deployments({"freeze": True}, {"pin": 7}, {"pin": 70, "max": 9}, {"pin": 2, "freeze": True})
    answer = decide(seen(shard(fleet, steady([800] * 4), running(3, 3, 3, 3))))
    assert answer.wanted.value.tolist() == [3, 7, 9, 2]
    assert answer.wanted.bound.tolist() == [Bound.HOLD] * 4


def test_a_shadow_deployment_is_decided_and_not_acted_on() -> None:
    fleet = deployments({"shadow": True}, {"shadow": True})
    answer = decide(seen(shard(fleet, steady([80, 0]), running(2, 4))))
    assert sizes(answer) == ([10, 1], [10, 1])
    assert answer.granted.bound.tolist() == [Bound.SHADOW] * 2
    assert len(answer.starts) == len(answer.stops) == 0


def test_settings_of_a_deployment_win_over_the_defaults() -> None:
    fleet = deployments({"tolerance": 0.3}, {"tolerance": 0.0}, {})
    answer = decide(seen(shard(fleet, steady([100] * 3), running(10, 10, 10))))
    assert answer.wanted.value.tolist() == [10, 13, 13]


def test_changed_marks_what_is_worth_a_row() -> None:
    fleet = deployments({}, {})
    first = decide(seen(shard(fleet, steady([80, 80]), running(10, 10))))
    assert first.changed.all()
    again = decide(shard(fleet, steady([79, 160]), running(10, 10), state=first.state))
    assert again.changed.tolist() == [False, True]


def test_the_state_is_kept_when_deployments_come_and_go() -> None:
    first = decide(seen(shard(deployments({}, {}), steady([80, 40]), running(10, 5))))
    fleet = deployments({"key": 2}, {"key": 3})
    after = decide(shard(fleet, steady([40, 40]), running(5, 5), state=first.state))
    assert after.damped.window_highest.tolist() == [5, 5]
    assert replace(after.state).memory.key.tolist() == [2, 3]
