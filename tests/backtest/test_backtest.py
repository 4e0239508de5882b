"""`manage.py backtest`: files of traffic and of policies, and measures that can be counted by hand."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from deployments.backtest.policies import KNOWN
from deployments.backtest.traces import TraceError, traffic
from deployments.traces import FOLDER

RATES = "window_start_s,requests_per_s,burstiness_cv\n"


@pytest.fixture
def file(tmp_path: Path) -> Any:
    def write(text: str, name: str = "trace.csv") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def told(trace: Path, **options: Any) -> dict[str, Any]:
    out = StringIO()
    call_command("backtest", trace=trace, json=True, stdout=out, **options)
    answer: dict[str, Any] = json.loads(out.getvalue())
    return answer


def requests(*rows: tuple[float, float]) -> str:
    return "timestamp_s,service_s\n" + "".join(f"{at},{service}\n" for at, service in rows)


def test_the_defaults_look_ahead_and_a_policy_may_say_not_to(file: Any) -> None:
    """Four in flight all the time, on replicas that are meant for four of five: the margin keeps a second one for a while."""
    rows = [(float(at), 4.0) for at in range(1200)]
    trace, off = file(requests(*rows)), file('{"ahead": 0}', "off.json")
    options = {"slots": 5, "concurrency": 4, "cold_start": 60.0}
    by_default, without = told(trace, policy="default", **options), told(trace, policy=str(off), **options)
    assert by_default["gpu_hours"] > without["gpu_hours"]
    said = file('{"ahead": 0.99}', "said.json")
    assert told(trace, policy=str(said), **options)["gpu_hours"] == by_default["gpu_hours"]


# --- measures ----------------------------------------------------------------------------------------
def test_waits_and_hours_of_a_fixed_size_are_those_counted_by_hand(file: Any) -> None:
    """One replica that runs one request at once: the second waits 3 s for the first, the third 6 s."""
    rows = [(0, 4.0), (1, 4.0), (2, 1.0), (100, 2.0)]
    found = told(file(requests(*rows)), slots=1, min=1, max=1, gpus=4, usd_per_gpu_hour=9.0)
    span_h = 100 * (1 + 1 / 3) / 3600
    assert found["requests"] == 4
    assert found["share_within_1s"] == pytest.approx(2 / 4)
    assert found["share_within_5s"] == pytest.approx(3 / 4)
    assert found["wait_p50_s"] == pytest.approx((0 + 3) / 2)
    assert found["gpu_hours"] == pytest.approx(4 * span_h)
    assert found["cost"] == round(9 * 4 * span_h, 2)
    assert found["changes_per_hour"] == 0


def test_more_traffic_takes_more_replicas_after_a_cold_start(file: Any) -> None:
    """Two minutes of calm, then ten times as much: nothing new is ready before the cold start is over."""
    calm = [(second, 4.0) for second in range(120)]
    storm = [(120 + place / 10, 4.0) for place in range(4800)]
    path = file(requests(*calm, *storm))
    soon, late = told(path, slots=8, cold_start=20.0), told(path, slots=8, cold_start=240.0)
    assert soon["replicas_most"] >= 6
    assert soon["share_within_1s"] > late["share_within_1s"] + 0.2
    assert late["wait_p99_s"] > 60


def test_the_same_seed_gives_the_same_and_another_another() -> None:
    trace = FOLDER / "servegen_m_large_rates.csv"
    few = {"scale": 0.005, "slots": 4, "skip_s": 13.9 * 86_400}
    with pytest.raises(CommandError, match="leaves nothing"):
        told(trace, **few | {"skip_s": 15 * 86_400.0})
    one, again, other = (traffic(trace, scale=0.01, seed=seed).demand.between(0, 900) for seed in (1, 1, 2))
    assert one[0].tolist() == again[0].tolist() != other[0].tolist()


def test_scaled_requests_keep_their_times_of_service_and_the_span(file: Any) -> None:
    rows = [(second / 4, 1.0 + second % 3) for second in range(4000)]
    path = file(requests(*rows))
    once, more = traffic(path), traffic(path, scale=2.5)
    assert once.span_s == more.span_s
    arrivals, services = more.demand.between(0, more.span_s)
    assert len(arrivals) == pytest.approx(10_000, rel=0.03)
    assert set(services.tolist()) == {1.0, 2.0, 3.0}
    assert more.at_most == pytest.approx(2.5 * once.at_most, rel=0.1)
    assert [len(one) for one in once.demand.between(0, once.span_s)] == [4000, 4000]


def test_rates_become_requests_of_the_mean_service_time_that_is_named(file: Any) -> None:
    path = file(RATES + "".join(f"{600 * place},20,1.5\n" for place in range(6)))
    found = traffic(path, mean_service_s=3.0, seed=4)
    arrivals, services = found.demand.between(0, 3600)
    assert found.span_s == 3600
    assert len(arrivals) == pytest.approx(72_000, rel=0.02)
    assert services.mean() == pytest.approx(3.0, rel=0.02)
    assert services.max() <= 45.0
    assert found.at_first == pytest.approx(60)
    assert found.at_most == pytest.approx(60 + 3 * 1.5 * 60**0.5)


def test_a_hole_in_a_recording_is_filled_and_said(file: Any) -> None:
    path = file(RATES + "0,20,1\n600,1,9\n1200,30,1\n1800,20,1\n")
    found = traffic(path)
    assert found.filled == 1
    assert len(found.demand.between(600, 1200)[0]) == pytest.approx(600 * 25, rel=0.05)
    assert told(path, scale=0.02)["filled_windows"] == 1


def test_a_policy_from_a_file_changes_the_outcome(file: Any) -> None:
    """Twice the requests on a replica are half the replicas, where nothing is kept for what may come."""
    rows = [(place / 5, 6.0) for place in range(5 * 900)]
    path = file(requests(*rows))
    lean = file(json.dumps({"concurrency": 8, "scale_down_s": 60, "ahead": 0}), "lean.json")
    rich = file(json.dumps({"concurrency": 3}), "rich.json")
    less, more = (told(path, slots=8, policy=str(one)) for one in (lean, rich))
    assert less["gpu_hours"] < 0.6 * more["gpu_hours"]
    assert told(path, slots=8, concurrency=3) | {"seconds": 0} == more | {"seconds": 0}


def test_lines_for_people_hold_what_the_object_holds(file: Any) -> None:
    path, out = file(requests(*((place, 1.0) for place in range(60)))), StringIO()
    call_command("backtest", trace=path, stdout=out)
    assert [line.split()[0] for line in out.getvalue().splitlines()] == list(told(path))


# --- what is refused -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no column timestamp_s"),
        ("time,size\n1,2\n", "no column timestamp_s"),
        ("window_start_s,requests_per_s\n0,1\n", "no column burstiness_cv"),
        ("timestamp_s\n", "no row"),
        ("timestamp_s\n4\n", "two of them"),
        ("timestamp_s\n4\n4\n", "one moment"),
        ("timestamp_s\n4\nsoon\n", "Line 3: timestamp_s must be a number of 0 or more, not 'soon'"),
        ("timestamp_s\n4\n-1\n", "Line 3"),
        ("timestamp_s\n4\nnan\n", "Line 3"),
        ("timestamp_s\n4\n1e999\n", "Line 3"),
        ("timestamp_s,service_s\n4,1\n5\n", "Line 3: service_s must be a number of 0 or more, not nothing"),
        (RATES + "0,1,1\n", "two windows"),
        (RATES + "0,1,1\n600,1,1\n1300,1,1\n", "Line 4: windows must follow each other"),
        (RATES + "600,1,1\n0,1,1\n", "Line 3"),
        (RATES + "0,0,1\n600,0,1\n", "The rate is 0"),
        ("timestamp_s\n\x00\n", "Line 2"),
    ],
)
def test_a_file_that_is_no_trace_is_refused_with_its_line(file: Any, text: str, why: str) -> None:
    path = file(text)
    with pytest.raises(TraceError, match=why):
        traffic(path)
    with pytest.raises(CommandError, match=why):
        told(path)


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes("timestamp_s\n1\n2é\n".encode("utf-16"))
    with pytest.raises(CommandError, match="UTF-8"):
        told(path)


def test_too_many_rows_are_refused(file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.backtest.traces.MOST_ROWS", 5)
    assert traffic(file("timestamp_s\n" + "1\n2\n3\n4\n5\n")).span_s == 5.0
    with pytest.raises(TraceError, match="more than 5 rows"):
        traffic(file("timestamp_s\n" + "1\n2\n3\n4\n5\n6\n"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "no JSON"),
        ("[]", "an object of settings"),
        ('{"targets": 1}', "No setting is named targets"),
        ('{"concurrency": 0}', "concurrency must be a whole number"),
        ('{"concurrency": 2.5}', "concurrency must be a whole number"),
        ('{"min": true}', "min must be a number"),
        ('{"stable_s": NaN}', "stable_s must be a number"),
        ('{"scale_down_s": 1e9}', "scale_down_s must be from 0"),
        ('{"tolerance": -1}', "tolerance must be from 0"),
        ('{"min": 5, "max": 4}', "max must be at least min"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_with_its_field(file: Any, text: str, why: str) -> None:
    trace, named = file(requests((0, 1), (9, 1))), file(text, "policy.json")
    with pytest.raises(CommandError, match=why):
        told(trace, policy=str(named))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"slots": -1}, "--slots"),
        ({"cold_start": -1.0}, "--cold-start"),
        ({"cold_start": float("nan")}, "--cold-start"),
        ({"gpus": 0}, "--gpus"),
        ({"scale": 0.0}, "scale"),
        ({"scale": 1e9}, "scale"),
        ({"mean_service_s": 0.0}, "service time"),
        ({"min": 0}, "min must be"),
        ({"min": 3, "max": 2}, "max must be at least min"),
        ({"skip_s": -1.0}, "--skip-s"),
        ({"policy": "nowhere.json"}, "nowhere.json: No such file"),
    ],
)
def test_an_option_that_cannot_be_is_refused(file: Any, options: dict[str, Any], why: str) -> None:
    with pytest.raises(CommandError, match=why):
        told(file(requests((0, 1), (9, 1))), **options)


def test_every_setting_of_a_policy_is_one_of_the_planner(file: Any) -> None:
    values = dict.fromkeys(KNOWN, 2) | {"max": 3, "ahead": 0.9}
    named = file(json.dumps(values), "policy.json")
    assert told(file(requests((0, 1), (9, 1))), policy=str(named))["requests"] == 2
