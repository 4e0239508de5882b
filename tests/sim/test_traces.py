import numpy as np
import pytest

from deployments.sim.trace import RateTrace, RequestTrace
from deployments.traces import RATE_TRACES, REQUEST_TRACES, UnknownTrace, load_rates, load_requests


@pytest.mark.parametrize(("name", "rows"), [("azure_llm_2023_conv", 19_366), ("azure_llm_2023_code", 8_819)])
def test_every_request_of_the_azure_hours_is_loaded(name: str, rows: int) -> None:
    trace = load_requests(name)
    assert len(trace.offsets_s) == len(trace.output_tokens) == rows
    assert trace.offsets_s.dtype == np.float64
    assert trace.output_tokens.dtype == np.int64
    assert trace.offsets_s[0] == 0
    assert np.all(np.diff(trace.offsets_s) >= 0)
    assert 3400 < trace.offsets_s[-1] < trace.span_s < 3600


def test_times_keep_their_fractions_of_a_second() -> None:
    trace = load_requests("azure_llm_2023_conv")
    assert trace.offsets_s[:2] == pytest.approx([0.0, 4.314579], abs=1e-9)
    assert trace.output_tokens[:3].tolist() == [44, 109, 55]


def test_fourteen_days_of_rates_are_loaded_without_gaps_and_with_burstiness_capped() -> None:
    rates = load_rates("servegen_m_large_rates")
    assert (rates.window_s, len(rates.requests_per_s), rates.span_s) == (600.0, 2016, 14 * 86_400)
    assert rates.requests_per_s.min() >= 0.2 * np.median(rates.requests_per_s)
    assert rates.burstiness_cv.max() == 4.0
    assert rates.requests_per_s[:2].tolist() == [212.78, 179.6983]


def test_gaps_are_filled_between_their_neighbours_round_the_end() -> None:
    rates = RateTrace(600.0, np.array([0.0, 10.0, 1.0, 20.0, 40.0, 0.5]), np.array([9.0, 1.0, 9.0, 2.0, 7.0, 9.0]))
    filled = rates.without_gaps()
    assert filled.requests_per_s.tolist() == [20.0, 10.0, 15.0, 20.0, 40.0, 30.0]
    assert filled.burstiness_cv.tolist() == [3.0, 1.0, 1.5, 2.0, 4.0, 4.0]


def test_loaded_traces_are_shared_and_cannot_be_changed() -> None:
    trace = load_requests(REQUEST_TRACES[0])
    assert load_requests(REQUEST_TRACES[0]) is trace
    with pytest.raises(ValueError, match="read-only"):
        trace.offsets_s[0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        load_rates(RATE_TRACES[0]).requests_per_s[0] = 1.0


def test_an_unknown_name_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(UnknownTrace, match=r"'nothing'; there are: azure_llm_2023_conv, azure_llm_2023_code\."):
        load_requests("nothing")
    with pytest.raises(UnknownTrace, match=r"there are: servegen_m_large_rates\."):
        load_rates("azure_llm_2023_conv")


@pytest.mark.parametrize(
    ("offsets", "tokens", "span"),
    [
        ([], [], 1.0),
        ([0.0], [1, 2], 1.0),
        ([1.0, 0.0], [1, 1], 2.0),
        ([0.0, 2.0], [1, 1], 2.0),
        ([0.0], [-1], 1.0),
    ],
)
def test_impossible_request_traces_are_refused(offsets: list[float], tokens: list[int], span: float) -> None:
    with pytest.raises(ValueError, match="request"):
        RequestTrace(np.array(offsets), np.array(tokens, dtype=np.int64), span)


@pytest.mark.parametrize(
    ("window", "rates", "cv"),
    [
        (600.0, [], []),
        (600.0, [1.0], [1.0, 1.0]),
        (0.0, [1.0], [1.0]),
        (600.0, [-1.0], [1.0]),
        (600.0, [1.0], [np.nan]),
    ],
)
def test_impossible_rate_traces_are_refused(window: float, rates: list[float], cv: list[float]) -> None:
    with pytest.raises(ValueError, match="window"):
        RateTrace(window, np.array(rates), np.array(cv))
