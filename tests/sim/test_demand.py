from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.sim.demand import Demand, RateDemand, RequestDemand
from deployments.sim.trace import RateTrace, RequestTrace
from deployments.traces import load_rates, load_requests

SPAN_S = 31.7
SHORT = RequestTrace(np.linspace(0, 31, 40), np.arange(40) * 10, SPAN_S)
RATES = RateTrace(20.0, np.array([2.0, 9.0, 0.0, 5.0]), np.array([0.5, 3.0, 1.0, 2.0]))

demands = st.one_of(
    st.builds(
        lambda copies, seed, phase: lambda: RequestDemand(SHORT, copies, seed=seed, phase_s=phase),
        st.sampled_from([0.0, 0.4, 1.0, 2.5]),
        st.integers(-5, 2**64),
        st.floats(-100, 100),
    ),
    st.builds(
        lambda scale, seed, phase: lambda: RateDemand(RATES, scale, seed=seed, phase_s=phase),
        st.sampled_from([0.0, 0.3, 1.0, 2.5]),
        st.integers(-5, 2**64),
        st.floats(-100, 100),
    ),
)
edges = st.one_of(st.integers(-20, 20).map(lambda n: n * 5.0), st.sampled_from([0.0, SPAN_S]), st.floats(-90, 90))


@given(demands, st.sampled_from([0.0, 1.8e9]), st.tuples(edges, edges, edges).map(sorted))
def test_a_span_is_its_parts_one_after_the_other(make: Callable[[], Demand], origin: float, times: list[float]) -> None:
    start, middle, end = (origin + time for time in times)
    arrivals, services = make().between(start, end)
    assert np.all(np.diff(arrivals) >= 0)
    assert np.all((start <= arrivals) & (arrivals < end))
    later = make()
    parts = later.between(middle, end), later.between(start, middle)
    assert arrivals.tolist() == parts[1][0].tolist() + parts[0][0].tolist()
    assert services.tolist() == parts[1][1].tolist() + parts[0][1].tolist()


@given(demands, edges)
def test_an_empty_span_has_no_requests(make: Callable[[], Demand], at: float) -> None:
    arrivals, services = make().between(at, at)
    assert len(arrivals) == len(services) == 0


def test_the_real_traces_in_slices_are_the_whole() -> None:
    for demand in (
        RequestDemand(load_requests("azure_llm_2023_code"), 2.3, seed=4, phase_s=77.7),
        RateDemand(load_rates("servegen_m_large_rates"), 0.05, seed=4, phase_s=86_400.0),
    ):
        whole = demand.between(3000.0, 4000.0)
        slices = [demand.between(at, at + 5.0) for at in range(3000, 4000, 5)]
        assert np.array_equal(whole[0], np.concatenate([arrivals for arrivals, _ in slices]))
        assert np.array_equal(whole[1], np.concatenate([services for _, services in slices]))


def test_without_jitter_one_copy_arrives_as_recorded_again_and_again() -> None:
    demand = RequestDemand(SHORT, jitter_s=0.0, phase_s=10.0)
    arrivals, _ = demand.between(-10.0, 2 * SPAN_S - 10.0)
    recorded = np.concatenate([SHORT.offsets_s, SHORT.offsets_s + SPAN_S]) - 10.0
    assert arrivals == pytest.approx(recorded, abs=1e-9)


def test_jitter_moves_requests_by_no_more_than_it_says() -> None:
    arrivals, _ = RequestDemand(SHORT, 1, jitter_s=0.3).between(0.0, SPAN_S)
    moved = (arrivals - SHORT.offsets_s + SPAN_S / 2) % SPAN_S - SPAN_S / 2
    assert 0.1 < np.abs(moved[1:-1]).max() <= 0.3


def test_rounding_at_the_end_of_a_cycle_loses_no_request() -> None:
    demand = RequestDemand(RequestTrace(np.array([np.nextafter(10.0, 0)]), np.array([1]), 10.0), jitter_s=0.0)
    for start in (1e9, 1e9 + 10):
        arrivals, _ = demand.between(start, start + 10)
        assert arrivals.tolist() == [np.nextafter(start + 10, 0)]


def test_copies_multiply_the_requests_and_differ_from_one_another() -> None:
    arrivals, services = RequestDemand(SHORT, 3, seed=1).between(0.0, 10 * SPAN_S)
    assert len(arrivals) == 3 * 10 * len(SHORT.offsets_s)
    assert len(np.unique(arrivals)) == len(arrivals)
    assert set(np.round((services - 0.2) / 0.025).astype(int)) == set(SHORT.output_tokens)


def test_a_fraction_of_a_copy_keeps_that_share_of_it() -> None:
    whole = 200 * len(SHORT.offsets_s)
    arrivals, _ = RequestDemand(SHORT, 0.3, seed=1).between(0.0, 200 * SPAN_S)
    assert len(arrivals) == pytest.approx(0.3 * whole, rel=0.05)
    arrivals, _ = RequestDemand(SHORT, 1.3, seed=1).between(0.0, 200 * SPAN_S)
    assert len(arrivals) == pytest.approx(1.3 * whole, rel=0.02)


def test_a_thinner_trace_keeps_the_times_of_what_is_left() -> None:
    some = RequestDemand(SHORT, 0.3, seed=1).between(0.0, SPAN_S)[0]
    every = RequestDemand(SHORT, 1.0, seed=1).between(0.0, SPAN_S)[0]
    assert set(some) < set(every)


def per_second(demand: Demand, seconds: int) -> np.ndarray:
    arrivals, _ = demand.between(0.0, seconds)
    return np.bincount(arrivals.astype(int), minlength=seconds)


@pytest.mark.parametrize("cv", [0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_counts_have_the_rate_and_burstiness_of_the_trace(cv: float, scale: float) -> None:
    rates = RateTrace(600.0, np.array([40.0]), np.array([cv]))
    counts = per_second(RateDemand(rates, scale, seed=3), 10_000)
    assert counts.mean() == pytest.approx(40 * scale, rel=0.04)
    assert counts.var() / counts.mean() == pytest.approx(max(cv, 1) ** 2, rel=0.1)


def test_the_rate_is_interpolated_between_the_middles_of_windows_round_the_end() -> None:
    rates = RateTrace(100.0, np.array([10.0, 50.0]), np.array([1.0, 1.0]))
    arrivals, _ = RateDemand(rates, 20.0, seed=3).between(0.0, 200.0)
    counts = np.histogram(arrivals, bins=8, range=(0, 200))[0]
    expected = 20 * 25 * np.array([25.0, 15.0, 15.0, 25.0, 35.0, 45.0, 45.0, 35.0])
    assert counts == pytest.approx(expected, rel=0.05)


def test_phase_says_how_far_into_the_trace_second_0_is() -> None:
    rates = RateTrace(100.0, np.array([10.0, 0.0]), np.array([1.0, 1.0]))
    early, _ = RateDemand(rates, phase_s=25.0).between(0.0, 50.0)
    late, _ = RateDemand(rates, phase_s=125.0).between(0.0, 50.0)
    assert len(early) > 5 * len(late)


def test_service_times_of_rate_demand_are_lognormal_with_mean_8_and_capped() -> None:
    rates = RateTrace(600.0, np.array([100.0]), np.array([1.0]))
    _, services = RateDemand(rates, seed=2).between(0.0, 1000.0)
    assert services.mean() == pytest.approx(8.0, rel=0.02)
    assert np.log(services).std() == pytest.approx(0.8, rel=0.02)
    assert services.max() <= 120


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_impossible_scales_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="copies"):
        RequestDemand(SHORT, value)
    with pytest.raises(ValueError, match="scale"):
        RateDemand(RATES, value)
    with pytest.raises(ValueError, match="jitter"):
        RequestDemand(SHORT, 1.0, jitter_s=value)


def test_what_was_made_is_not_changed_by_who_reads_it() -> None:
    arrivals, _ = RequestDemand(SHORT).between(0.0, 5.0)
    with pytest.raises(ValueError, match="read-only"):
        arrivals[0] = 3.0
