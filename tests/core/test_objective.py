"""Which of the settings that were replayed is gone by, and why: on hours that can be added up by hand."""

import numpy as np
import pytest

from deployments.core.objective import RECENT, Choice, Objective, Replayed, choose

OBJECTIVE = Objective(share=0.99, safety=0.002)


def hours(count: int, late_of_1000: list[int], replicas: list[float]) -> Replayed:
    """So many hours alike: 1,000 requests, of which so many waited too long, and replicas, under each setting."""
    return Replayed(
        np.full(count, 1000.0),
        np.tile(np.array(late_of_1000, np.float64), (count, 1)),
        np.tile(np.array(replicas) * 3600, (count, 1)),
    )


def after(first: Replayed, then: Replayed) -> Replayed:
    return Replayed(*(np.concatenate([getattr(one, name) for one in (first, then)]) for name in Replayed.__slots__))


def test_before_enough_is_known_the_preset_holds() -> None:
    chosen = choose(hours(11, [0, 0], [5, 4]), OBJECTIVE)
    assert (chosen.why, chosen.setting) == (Choice.PRESET, -1)
    assert choose(hours(12, [0, 0], [5, 4]), OBJECTIVE).setting == 1


def test_the_cheapest_that_meets_it_with_the_margin() -> None:
    chosen = choose(hours(24, [0, 7, 9, 300], [9, 6, 5, 1]), OBJECTIVE)
    assert (chosen.why, chosen.setting) == (Choice.CHEAPEST, 1)
    assert chosen.goal == pytest.approx(0.992)
    assert chosen.share == pytest.approx(0.993)
    assert np.isnan(chosen.saved)


def test_what_is_gone_by_is_kept_for_a_hundredth_and_not_for_a_tenth() -> None:
    near, far = hours(24, [0, 0], [5.0, 4.95]), hours(24, [0, 0], [5.0, 4.5])
    kept, left = choose(near, OBJECTIVE, before=0), choose(far, OBJECTIVE, before=0)
    assert (kept.why, kept.setting) == (Choice.KEPT, 0)
    assert (left.why, left.setting) == (Choice.CHEAPEST, 1)
    assert left.saved == pytest.approx(0.1)


def test_what_really_came_raises_the_goal() -> None:
    replayed = hours(24, [0, 5], [6, 5])
    assert choose(replayed, OBJECTIVE, reached=0.995).setting == 1
    raised = choose(replayed, OBJECTIVE, reached=0.985)
    assert raised.setting == 0
    assert raised.goal == pytest.approx(0.997)


def test_a_good_week_does_not_hide_a_bad_day() -> None:
    week, day = hours(6 * 24, [0, 0], [6, 5]), hours(RECENT, [0, 15], [6, 5])
    assert choose(week, OBJECTIVE).setting == 1
    assert choose(after(week, day), OBJECTIVE).setting == 0


def test_where_none_meets_it_ten_times_the_shortfall_counts_against_gpu_hours() -> None:
    chosen = choose(hours(24, [20, 60], [5.0, 4.0]), OBJECTIVE)
    assert (chosen.why, chosen.setting) == (Choice.NEAREST, 0)  # 1.25 + 0.12 to 1 + 0.52
    assert choose(hours(24, [50, 60], [5.0, 4.0]), OBJECTIVE).setting == 1  # 1.25 + 0.42 to 1 + 0.52


def test_hours_without_a_request_are_met_by_the_cheapest() -> None:
    quiet = Replayed(np.zeros(24), np.zeros((24, 2)), np.full((24, 2), [3600.0, 7200.0]))
    assert choose(quiet, OBJECTIVE).setting == 0
