from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from bench import policies
from bench.cases import SLOTS, Case, cases
from bench.contestants import CONTESTANTS
from bench.policies_aims import aims, bursts
from bench.policies_charts import charts
from bench.policies_page import page
from bench.scores import Row, by_case, f_of, j_by_setting, j_in_hindsight, ratio_at_objective
from deployments.sim import oracle

NAMES = [one.name for one in CONTESTANTS]
SWEPT = [one for one in CONTESTANTS if len(one.settings) > 1]  # objective mode finds its own


def an_hour() -> Case:
    """One hour of conversation for a small fleet, scored from its beginning."""
    case = next(case for case in cases() if case.trace == "azure_llm_2023_conv" and case.size == "peak 4 to 8")
    return replace(case, span_s=3600.0, from_hour=0)


@pytest.fixture(scope="module")
def made() -> list[dict[str, Any]]:
    contestants = [
        replace(one, settings=(one.settings[0], one.settings[-4])) if one in SWEPT else one for one in CONTESTANTS
    ]
    return policies.rows([an_hour()], (60.0,), (1,), contestants)


@pytest.mark.thorough
def test_every_policy_is_measured_at_every_setting(made: list[dict[str, Any]]) -> None:
    assert {row["policy"] for row in made} == {"oracle", *NAMES}
    for one in CONTESTANTS:
        count = 2 if one in SWEPT else 1
        assert len(by_case(made, one.name)["azure_llm_2023_conv", "peak 4 to 8", 60.0]) == count
    for row in made:
        assert 0 <= row["share_le_1s"] <= row["share_le_5s"] <= 1
        assert row["wait_p50_s"] <= row["wait_p95_s"] <= row["wait_p99_s"]
        assert row["gpu_hours"] > 0


def test_fewer_replicas_wait_longer_for_fewer_hours(made: list[dict[str, Any]]) -> None:
    for name in {one.name for one in SWEPT} - {"static"}:
        low, high = by_case(made, name)["azure_llm_2023_conv", "peak 4 to 8", 60.0]
        assert low["gpu_hours"] > high["gpu_hours"]
        assert low["share_le_1s"] >= high["share_le_1s"]


@pytest.mark.thorough
def test_a_run_is_shared_by_processes_and_keeps_the_order_of_its_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    short = replace(an_hour(), span_s=300.0)
    monkeypatch.setattr(policies, "cases", lambda days: [short, replace(short, size=f"{days} days")])
    monkeypatch.setattr(policies, "COLD_STARTS_S", (60.0, 180.0))
    for name, value in (("BENCH_SEEDS", "1"), ("BENCH_DAYS", "2"), ("BENCH_WORKERS", "2")):
        monkeypatch.setenv(name, value)
    found = policies.run()
    order = dict.fromkeys((row["size"], row["cold_start_s"], row["seeds"]) for row in found)
    assert list(order) == [(size, cold, 1) for size in ("peak 4 to 8", "2 days") for cold in (60.0, 180.0)]
    assert len(found) == len(order) * (len(oracle.SCALES) + sum(len(one.settings) for one in CONTESTANTS))


def test_a_chart_has_a_curve_a_policy_with_the_settings_within_it(made: list[dict[str, Any]]) -> None:
    assert charts(made) == {}, "there is none of this cold start"
    drawn = charts([row | {"cold_start_s": 180.0} for row in made])
    assert list(drawn) == ["policies-azure_llm_2023_conv-peak-4-to-8-180s.svg"]
    (text,) = drawn.values()
    svg = ElementTree.fromstring(text)
    curves = svg.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(curves) == len(CONTESTANTS)
    within = [row for row in made if row["policy"] in NAMES and row["share_le_1s"] >= 0.9 and 0.5 <= row["ratio"] <= 3]
    assert sum(len(curve.attrib["points"].split()) for curve in curves) == len(within) > 0


def test_the_page_names_every_policy_and_what_it_reached(made: list[dict[str, Any]]) -> None:
    text = page(made)
    for one in CONTESTANTS:
        assert one.title in text
    assert "| azure_llm_2023_conv | peak 4 to 8 | yes | 60 s | 1 | 1 |" in text


@pytest.mark.parametrize(
    "case", [case for case in cases() if case.from_hour == 1], ids=lambda case: f"{case.trace} {case.size}"
)
def test_the_fleets_have_the_sizes_they_are_named_for(case: Case) -> None:
    flight = case.load(1).in_flight[7200:]
    peak = float(np.quantile(flight, 0.999)) / SLOTS
    low, high = (45, 58) if case.size == "peak 50" else (4, 8)
    assert low <= peak <= high


def row(
    policy: str, setting: float, share: float, ratio: float, trace: str = "a", *, smooth: bool = True
) -> dict[str, Any]:
    return {"policy": policy, "setting": setting, "share_le_1s": share, "ratio": ratio, "trace": trace, "size": "s",
            "cold_start_s": 60.0, "smooth": smooth}  # fmt: skip


def test_f_is_the_geometric_mean_over_smooth_cases_and_counts_a_fixed_size_where_99_is_not_reached() -> None:
    rows = [
        row("x", 0.5, 1.0, 2.0), row("x", 0.7, 0.98, 1.0),
        row("x", 0.5, 0.95, 9.0, "b"), row("x", 0.7, 0.90, 8.0, "b"), row("static", 1.0, 0.995, 6.0, "b"),
        row("x", 0.5, 0.95, 9.0, "c", smooth=False),
    ]  # fmt: skip
    assert ratio_at_objective(rows[:2]) == pytest.approx(1.5)
    ratio, missed = f_of(rows, "x", 60.0)
    assert ratio == pytest.approx(3.0)
    assert missed == 1
    assert f_of(rows[:4], "x", 60.0) == (None, 1)


def test_j_takes_one_setting_for_all_cases_and_counts_what_is_missing_of_99() -> None:
    rows = [
        row("x", 0.5, 1.0, 2.0), row("x", 0.7, 0.89, 1.0),
        row("x", 0.5, 0.99, 3.0, "b", smooth=False), row("x", 0.7, 0.99, 2.5, "b", smooth=False),
        row("y", 0.4, 0.99, 1.5, "b", smooth=False),
    ]  # fmt: skip
    assert j_by_setting(rows, "x", 60.0) == {0.5: pytest.approx(2.5), 0.7: pytest.approx(2.25)}
    assert j_in_hindsight(rows, ["x", "y"], 60.0) == pytest.approx((2.0 + 1.5) / 2)


def test_what_was_aimed_at_is_told_where_it_is_missed_too() -> None:
    def row(policy: str, setting: float, share: float, ratio: float, **more: Any) -> Row:
        case = {"trace": "a", "size": "b", "cold_start_s": 60.0, "smooth": False}
        return {**case, "policy": policy, "setting": setting, "share_le_1s": share, "ratio": ratio, **more}

    fixed = [row("static", 0.5, 0.98, 1.5), row("static", 1.0, 1.0, 2.5)]
    served, missed, dear = (
        row("objective", 0.99, 0.991, 1.9),
        row("objective", 0.99, 0.97, 1.2),
        row("objective", 0.99, 1, 3),
    )
    assert [bursts([*fixed, one])[0][-1] for one in (served, missed, dear)] == [
        "yes", "no, 2.00% too few in time", "no, too many GPU-hours",
    ]  # fmt: skip
    peer = row("hpa", 0.7, 0.99, 2.5)
    lines = {line[0]: line[1] for line in aims([*fixed, served, peer], [60.0])}
    assert lines["J, objective mode"] == "1.90 (1.45)"
    assert lines["below the best peer's J"] == "24.0% (10 %; Kubernetes HPA 2.50)"
