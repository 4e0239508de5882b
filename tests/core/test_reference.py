"""Stages 1 to 5 agree with the slow reference on random deployments over several ticks."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deployments.core.autoscaler_state import AutoscalerState
from deployments.core.explain import line, rerun
from deployments.core.plan import Plan
from deployments.core.record import decision_records
from deployments.core.snapshot import Deployments, Instances, Replicas, Signals, Snapshot
from tests.core import reference
from tests.core.fleet import READY, STARTING, decide, offerings
from tests.core.reference import Memory, Policy
from tests.search import examples

START = 1_700_000_000_000

ODD = st.sampled_from([-1.0, -2.0, -7.5, float("nan"), float("inf"), 2.4])


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    low = draw(st.integers(1, 4))
    return Policy(
        min=low,
        max=low + draw(st.sampled_from([0, 4, 12, 40])),
        scheduled=draw(st.sampled_from([0, 1, 2, 3, 5, 7])),
        floor=draw(st.sampled_from([0, 0, 3, 9])),
        ceiling=draw(st.sampled_from([-1, -1, 0, 3, 9])),
        target=draw(st.integers(1, 9)),
        enabled=draw(st.integers(0, 14)) != 7,
        pin=draw(st.sampled_from([-1] * 9 + [0, 3, 99])),
        freeze=draw(st.integers(0, 14)) == 7,
        stable_ms=draw(st.sampled_from([60_000, 60_000, 30_000, 12_345])),
        burst_ms=draw(st.sampled_from([15_000, 15_000, 5_000, 1])),
        factor=Fraction(draw(st.sampled_from([2000, 1500, 1001])), 1000),
        tolerance=Fraction(draw(st.sampled_from([100, 0, 333])), 1000),
        scale_down_ms=draw(st.sampled_from([300_000, 20_000, 0, 1_000])),
        drain_ms=draw(st.sampled_from([10_000, 0, 60_000])),
        startup_ms=draw(st.sampled_from([0, 0, 45_000, 180_000])),
        service_ms=draw(st.sampled_from([0, 0, 4_000, 30_000])),
    )


@st.composite
def loads(draw: st.DrawFn, passes: int) -> list[tuple[float, float]]:
    """Queued and active per pass: levels that last a while, with a value now and then that is none."""
    rows: list[tuple[float, float]] = []
    while len(rows) < passes:
        queued = draw(st.sampled_from([0, 0, 0, 1, 7, 60]))
        active = draw(st.one_of(st.integers(0, 60), st.sampled_from([8, 16, 22, 24])))
        rows += [(float(queued), float(active))] * draw(st.integers(1, 14))
    for at in draw(st.sets(st.integers(0, 8 * passes), max_size=4)):
        if at < passes:
            broken = draw(ODD)
            rows[at] = draw(st.sampled_from([(broken, rows[at][1]), (rows[at][0], broken), (-1.0, -1.0)]))
    return rows[:passes]


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[int], list[list[tuple[float, float]]], list[Policy]]:
    """Times of the passes, and for each deployment its samples and policy."""
    chosen = draw(st.lists(policies(), min_size=1, max_size=3))
    gaps = [5_000] * draw(st.integers(4, 32))
    for at in draw(st.sets(st.integers(0, len(gaps) - 1), max_size=2)):
        gaps[at] = draw(st.sampled_from([4_987, 5_000, 11_000, 29_999, 31_000]))
    times = (START + np.cumsum(gaps)).tolist()
    return times, [draw(loads(len(times))) for _ in chosen], chosen


def columns(policies_: list[Policy]) -> Deployments:
    def seconds(name: str) -> list[float]:
        return [getattr(policy, name) / 1000 or np.nan for policy in policies_]

    return Deployments.build(
        key=range(1, len(policies_) + 1),
        org=[1] * len(policies_),
        concurrency=[policy.target for policy in policies_],
        burst_factor=[float(policy.factor) for policy in policies_],
        tolerance=[float(policy.tolerance) for policy in policies_],
        stable_s=seconds("stable_ms"),
        burst_s=seconds("burst_ms"),
        startup_s=seconds("startup_ms"),
        service_s=seconds("service_ms"),
        scale_down_s=[policy.scale_down_ms / 1000 for policy in policies_],
        drain_s=[policy.drain_ms / 1000 for policy in policies_],
        ahead=[0.0] * len(policies_),  # stage 3 has tests of its own
        **{
            name: [getattr(policy, name) for policy in policies_]
            for name in ("min", "max", "floor", "ceiling", "scheduled", "enabled", "pin", "freeze")
        },
    )


def snapshot_of(
    fleet: Deployments,
    times: list[int],
    samples: list[list[tuple[float, float]]],
    upto: int,
    counts: list[tuple[int, int]],
    state: AutoscalerState,
) -> Snapshot:
    table = np.array([[row[:upto] for row in samples]])[0]
    rows = [(d, kind) for d, (ready, starting) in enumerate(counts) for kind in [READY] * ready + [STARTING] * starting]
    have = Replicas.none()
    if rows:
        have = Replicas.build(key=range(len(rows)), deployment=[d for d, _ in rows], state=[kind for _, kind in rows])
    at = np.array(times[:upto]) / 1000
    queued = np.ascontiguousarray(table[:, :, 0].T)
    active = np.ascontiguousarray(table[:, :, 1].T)
    return Snapshot(fleet, Signals(at, queued, active), have, Instances.none(), offerings(8), state)


def compare(answer: Plan, i: int, expected: reference.Answer) -> None:
    assert answer.signal.code[i] == expected.signal
    if answer.need.stable_span_ms[i]:
        assert Fraction(int(answer.need.stable_load_ms[i]), int(answer.need.stable_span_ms[i])) == expected.stable
    assert answer.need.need_stable[i] == expected.need_stable
    assert answer.need.need_burst[i] == expected.need_burst
    assert answer.need.need_backlog[i] == expected.need_backlog
    assert answer.damped.base[i] == expected.base
    assert answer.damped.recommended[i] == expected.recommended
    assert answer.damped.value[i] == expected.damped
    assert answer.damped.code[i] == expected.damped_code
    assert answer.wanted.value[i] == expected.wanted
    assert answer.wanted.code[i] == expected.wanted_code
    assert answer.wanted.bound[i] == expected.bound


@examples(30)
@given(
    histories(),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=3, max_size=3),
    st.sampled_from([0] * 6 + [400, 400, -700, 40_000]),
)
def test_stages_1_to_5_agree_with_the_reference_over_ticks(
    history: tuple[list[int], list[list[tuple[float, float]]], list[Policy]],
    counts: list[tuple[int, int]],
    late_ms: int,
) -> None:
    times, samples, chosen = history
    fleet = columns(chosen)
    state = AutoscalerState.empty()
    memories = [Memory() for _ in chosen]
    for upto in range(1, len(times) + 1):
        now_ms = times[upto - 1] + late_ms
        shard = snapshot_of(fleet, times, samples, upto, counts[: len(chosen)], state)
        answer = decide(shard, now_ms / 1000)
        rows = decision_records(answer, shard, range(len(chosen)))
        for i, policy in enumerate(chosen):
            listed = [(at, *row) for at, row in zip(times[:upto], samples[i][:upto], strict=True)]
            ready, starting = counts[i]
            expected, memories[i] = reference.decide(policy, listed, ready, starting, memories[i], now_ms)
            compare(answer, i, expected)
            assert rerun(rows[i]).differences == {}
            assert line(rows[i])
        state = replace(answer.state)
