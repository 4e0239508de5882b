"""Objective mode in a run: chosen by what has been, gone by from then on, and never by what is to come."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError

from bench.cases import cases
from bench.contestants import OBJECTIVE
from bench.policies import rows_of_a_seed
from deployments.backtest import objective, portfolio, running
from deployments.backtest.traces import Traffic
from deployments.core.objective import Choice, Objective
from deployments.sim.demand import RecordedDemand, service_times
from tests.backtest.test_backtest import told

HOUR = 3600.0
SOON = Objective(known=1)
MACHINE = running.Machine(slots=8, cold_start_s=60.0)


def demand(hours: int, seed: int, per_s: float = 3.0, from_hour: int = 99, times: float = 1.0) -> Traffic:
    """A rate that swings within each hour; from one hour on so many times as much."""
    rng, seconds = np.random.default_rng(seed), np.arange(hours * HOUR)
    mean = per_s * (1 + 0.5 * np.sin(seconds / 600)) * np.where(seconds >= from_hour * HOUR, times, 1.0)
    arrivals = np.repeat(seconds, rng.poisson(mean))
    # From streams of their own, so that what comes first is the same however much follows.
    arrivals = np.sort(arrivals + np.random.default_rng(seed + 100).random(len(arrivals)))
    services = service_times(np.random.default_rng(seed + 200), len(arrivals))
    return Traffic(RecordedDemand(arrivals, services), hours * HOUR, per_s * 8, per_s * 12)


@pytest.mark.thorough
def test_it_leaves_the_preset_for_what_is_cheaper_and_still_serves() -> None:
    run, turns = objective.run({}, demand(2, seed=1), MACHINE, SOON)
    assert (turns[0].chosen.why, turns[0].at_s) == (Choice.PRESET, 0.0)
    assert (turns[1].chosen.why, turns[1].at_s) == (Choice.CHEAPEST, HOUR)
    share = run.measures(HOUR).share_le_1s
    assert share is not None
    assert share > 0.97
    by_hour = [run.columns.ready[run.columns.at_s > from_s].sum() for from_s in (0, HOUR)]
    assert by_hour[1] < by_hour[0] / 2


@pytest.mark.thorough
def test_what_is_to_come_changes_nothing_before_it_comes() -> None:
    calm, storm = (objective.run({}, demand(2, 1, from_hour=1, times=times), MACHINE, SOON) for times in (1.0, 2.0))
    at_s = calm[0].columns.at_s
    before = at_s <= HOUR
    assert np.array_equal(calm[0].columns.wanted[before], storm[0].columns.wanted[before])
    assert not np.array_equal(calm[0].columns.wanted, storm[0].columns.wanted)
    assert calm[1][:2] == storm[1][:2]


@pytest.mark.thorough
def test_history_is_chosen_by_at_once() -> None:
    _, turns = objective.run({}, demand(1, seed=2), MACHINE, SOON, history=demand(2, seed=1))
    assert turns[0].at_s == 0.0
    assert turns[0].chosen.why == Choice.CHEAPEST


@pytest.mark.thorough
def test_with_long_start_ups_the_preset_keeps_what_bursts_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code completion as it really came, in bursts of a minute: what is started for one comes after it."""
    (code,) = (one for one in cases(2) if "code" in one.trace and one.size == "peak 4 to 8")

    def ran() -> tuple[float, float]:
        (row,) = (one for one in rows_of_a_seed(code, 900.0, 1, [OBJECTIVE]) if one["policy"] == OBJECTIVE.name)
        return row["share_le_1s"], row["gpu_hours"]

    share, hours = ran()
    monkeypatch.setattr(portfolio, "PRESET_FLOOR", 0.0)
    without = ran()
    assert share > 0.98 > 0.95 > without[0]
    assert hours < without[1]


@pytest.mark.thorough
def test_min_and_max_are_never_left() -> None:
    run, _ = objective.run({"min": 3, "max": 4}, demand(2, seed=3), MACHINE, SOON)
    assert set(run.columns.wanted.tolist()) <= {3, 4}


def test_the_command_says_what_it_chose(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("timestamp_s\n" + "".join(f"{second / 2}\n" for second in range(1200)))
    found = told(path, policy="objective", history=path, cold_start=30.0)
    assert [turn["why"] for turn in found["chosen"]] == ["PRESET"]
    assert found["share_within_1s"] == 1.0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"policy": "default", "history": Path("x.csv")}, "--history is for --policy objective"),
        ({"policy": "objective", "objective_share": 1.0}, "--objective-share must lie between 0 and 1"),
        ({"policy": "objective", "objective_share": float("nan")}, "--objective-share must lie between 0 and 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("timestamp_s\n0\n1\n2\n")
    with pytest.raises(CommandError, match=said):
        told(path, **options)
