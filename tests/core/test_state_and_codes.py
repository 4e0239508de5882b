"""The replica table, the reasons, the remembered state and the validation of settings."""

import re
import string
import struct
import zlib
from dataclasses import replace
from fractions import Fraction
from math import ceil
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.core import states
from deployments.core.autoscaler_state import AutoscalerState, Forecasts, Kept, Memory
from deployments.core.columns import ColumnError, Columns
from deployments.core.params import Params
from deployments.core.policy import concurrency_of, slots, validate
from deployments.core.reach import BOUND_OF
from deployments.core.reasons import SENTENCES, STAGES, Reason, sentence, stage
from deployments.core.snapshot import Deployments, Instances, Signals, history_s
from deployments.core.states import ALLOWED, IllegalTransitionError, ReplicaState
from tests.core.fleet import decide, deployments, replicas, shard, steady


def test_every_replica_state_is_in_the_table_and_reachable() -> None:
    assert set(ALLOWED) == set(ReplicaState)
    assert set().union(*ALLOWED.values()) == set(ReplicaState) - {ReplicaState.STARTING}
    assert set(states.FINAL) == {ReplicaState.STOPPED, ReplicaState.FAILED}
    assert set(ReplicaState) - states.FINAL == states.HOLDING


def test_a_step_that_the_table_does_not_have_is_refused() -> None:
    assert states.step(ReplicaState.STARTING, ReplicaState.READY) is ReplicaState.READY
    with pytest.raises(IllegalTransitionError, match="STOPPED to READY"):
        states.step(ReplicaState.STOPPED, ReplicaState.READY)
    assert states.sources(ReplicaState.DRAINING) == {ReplicaState.STARTING, ReplicaState.READY}


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_stage_and_a_sentence_that_shows_its_numbers(reason: Reason) -> None:
    fields = {name for _, name, _, _ in string.Formatter().parse(SENTENCES[reason]) if name}
    text = sentence(reason, dict.fromkeys(fields, 7))
    assert stage(reason) in STAGES.values()
    assert text.endswith(".")
    assert "?" not in text
    assert not re.search(r"[{}]", text)


def test_a_number_that_is_not_there_shows_as_a_question_mark() -> None:
    assert sentence(Reason.GROW, {"base": 2}) == "Load asks for ? replicas (?) instead of 2."


def test_one_of_a_thing_is_not_several() -> None:
    assert sentence(Reason.GROW_QUEUE, {"recommended": 1, "base": 2}) == (
        "The standing queue asks for 1 replica instead of 2."
    )
    steady = {"by": "the mean over 60 s"}
    assert sentence(Reason.STEADY, {"recommended": 1, **steady}).startswith(
        "Load asks for 1 replica (the mean over 60 s)"
    )
    assert sentence(Reason.STEADY, {"recommended": 21, **steady}).startswith("Load asks for 21 replicas (the mean")
    assert sentence(Reason.GRANTED, {"added": 1, "granted": 4}) == "1 more replica is granted: 4."
    waits = {"missing_gpus": 2, "coming": 1, "missing": 1, "other": "batch"}
    assert "what 1 of 1 replica needs comes free once batch has" in sentence(Reason.WAITS_FOR_RELEASE, waits)
    assert sentence(Reason.BACKING_OFF, {"missing": 1}).startswith("1 replica waits before")
    assert sentence(Reason.NO_CLAIM, {"missing_gpus": 1}).startswith("1 GPU short")


def test_every_shortage_has_a_limit() -> None:
    assert all(stage(reason) == "contention" for reason in BOUND_OF)


T = TypeVar("T", bound=Columns)


def random_state(seed: int) -> AutoscalerState:
    rng = np.random.default_rng(seed)

    def filled(record: type[T], rows: int) -> T:
        columns = {}
        for name, empty in record.none().items():
            limits = np.iinfo(empty.dtype)
            columns[name] = rng.integers(limits.min, limits.max, (rows, *empty.shape[1:]), empty.dtype, endpoint=True)
        return record.build(**columns)

    memory, kept = filled(Memory, int(rng.integers(0, 30))), filled(Kept, int(rng.integers(0, 9)))
    return AutoscalerState(int(rng.integers(0, 2**50)), memory, kept, filled(Forecasts, int(rng.integers(0, 9))))


@given(st.integers(0, 2**32).map(random_state))
def test_the_state_comes_back_from_its_bytes_exactly(state: AutoscalerState) -> None:
    back = AutoscalerState.from_bytes(state.to_bytes())
    assert back.at_ms == state.at_ms
    for one, other in ((state.memory, back.memory), (state.kept, back.kept), (state.forecasts, back.forecasts)):
        for (_, before), (_, after) in zip(one.items(), other.items(), strict=True):
            assert before.dtype == after.dtype
            assert np.array_equal(before, after)


def test_of_what_another_version_remembered_nothing_is_remembered() -> None:
    version_1 = struct.pack("<4sHHqI", b"HRAS", 1, 16, 5, 0) + zlib.compress(b"")
    assert AutoscalerState.from_bytes(version_1).at_ms == 0
    assert len(AutoscalerState.from_bytes(version_1)) == 0


@given(st.integers(0, 2**32).map(random_state))
def test_what_version_2_remembered_is_remembered(state: AutoscalerState) -> None:
    """As it was written then: the same columns, but for the last of those that are kept."""
    header = struct.pack("<4sHHqII", b"HRAS", 2, 16, state.at_ms, len(state), len(state.kept))
    columns = [values for _, values in state.memory.items()] + [values for _, values in state.kept.items()][:-1]
    planes = b"".join(
        np.ascontiguousarray(values.T).view(np.uint8).reshape(-1, values.itemsize).T.tobytes() for values in columns
    )
    back = AutoscalerState.from_bytes(header + zlib.compress(planes))
    assert back.at_ms == state.at_ms
    expected = AutoscalerState(
        state.at_ms, state.memory, replace(state.kept, exclusive=np.zeros(len(state.kept), np.int8))
    )
    assert back.to_bytes() == expected.to_bytes()


@given(st.integers(0, 2**32).map(random_state))
def test_what_version_3_remembered_is_remembered(state: AutoscalerState) -> None:
    """As it was written then: nothing of forecasts."""
    header = struct.pack("<4sHHqII", b"HRAS", 3, 16, state.at_ms, len(state), len(state.kept))
    tables = (state.memory, state.kept)
    planes = b"".join(
        np.ascontiguousarray(values.T).view(np.uint8).reshape(-1, values.itemsize).T.tobytes()
        for table in tables
        for _, values in table.items()
    )
    back = AutoscalerState.from_bytes(header + zlib.compress(planes))
    assert back.to_bytes() == AutoscalerState(state.at_ms, state.memory, state.kept).to_bytes()


@pytest.mark.parametrize("data", [b"", b"HRAS", b"x" * 60, AutoscalerState.empty().to_bytes()[:-1] + b"?"])
def test_bytes_that_are_no_state_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not an autoscaler state"):
        AutoscalerState.from_bytes(data)


def test_the_state_follows_the_keys() -> None:
    state = AutoscalerState(5, Memory.build(key=[30, 10], wanted=[3, 1]))
    assert state.realign(np.array([10, 20, 30])).memory.wanted.tolist() == [1, -1, 3]
    assert state.realign(np.array([30, 10])) is state
    assert len(state.realign(np.zeros(0, np.int64))) == 0
    assert AutoscalerState.empty().realign(np.array([4])).memory.wanted.tolist() == [-1]


def test_tables_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ColumnError, match="has to be given"):
        Deployments.build(key=[1])
    with pytest.raises(ColumnError, match="expected"):
        Instances.build(key=[1, 2], offering=[0], gpus=[8])
    with pytest.raises(ColumnError, match="no column"):
        Instances.build(key=[1], offering=[0], gpus=[8], colour=[1])
    with pytest.raises(ColumnError, match=r"replicas\.replaces"):
        decide(shard(deployments({}), have=replicas({"replaces": 1})))
    with pytest.raises(ColumnError, match="signals"):
        decide(shard(deployments({}, {}), steady([1])))
    with pytest.raises(ColumnError, match="ascend"):
        decide(shard(deployments({}), Signals(np.array([2.0, 1.0]), np.zeros((2, 1)), np.zeros((2, 1)))))


def test_an_empty_shard_has_an_empty_plan() -> None:
    answer = decide(shard(Deployments.none(), Signals.none(0)))
    assert len(answer.key) == len(answer.starts) == len(answer.stops) == 0


def test_a_snapshot_reaches_back_as_far_as_the_longest_window() -> None:
    assert history_s(deployments({}, {"stable_s": 600.0}), Params()) == 610.0
    assert history_s(Deployments.none(), Params()) == 10.0


@given(st.integers(1, 2**31 - 1))
def test_slots_are_concurrency_over_seven_tenths_rounded_up(concurrency: int) -> None:
    assert slots(concurrency) == ceil(Fraction(concurrency * 10, 7))


@given(st.integers(2, 2**31 - 1))
def test_the_concurrency_of_slots_is_the_largest_that_they_are_enough_for(enough: int) -> None:
    assert slots(concurrency_of(enough)) <= enough < slots(concurrency_of(enough) + 1)


def test_one_slot_is_meant_for_one_request() -> None:
    assert (concurrency_of(1), concurrency_of(8), concurrency_of(90)) == (1, 5, 63)


def test_good_settings_are_accepted() -> None:
    assert validate(1, 1) == []
    assert validate(1, 10, 1000, 1, [2, 1]) == []
    assert validate(1, 10, 0, 0, []) == []  # 0 is unset


@pytest.mark.parametrize(
    ("given_", "fields"),
    [
        ({"minimum": 0, "maximum": 3}, ["autoscaling.min"]),
        ({"minimum": None, "maximum": None}, ["autoscaling.min", "autoscaling.max"]),
        ({"minimum": 4, "maximum": 3}, ["autoscaling"]),
        ({"minimum": 1, "maximum": 0}, ["autoscaling", "autoscaling.max"]),
        ({"minimum": 1, "maximum": 2**31}, ["autoscaling.max"]),
        ({"minimum": 1, "maximum": 2, "priority": 1001}, ["autoscaling.priority"]),
        ({"minimum": 1, "maximum": 2, "priority": -1}, ["autoscaling.priority"]),
        ({"minimum": 1, "maximum": 2, "concurrency": -1}, ["autoscaling.concurrency"]),
        ({"minimum": 1, "maximum": 2, "capacity_classes": [1, 1]}, ["autoscaling.capacity_classes"]),
        ({"minimum": 1, "maximum": 2, "capacity_classes": [2, 0]}, ["autoscaling.capacity_classes[1]"]),
        ({"minimum": 1, "maximum": 2, "capacity_classes": [3]}, ["autoscaling.capacity_classes[0]"]),
    ],
)
def test_settings_that_break_a_rule_are_named_by_field(given_: dict[str, object], fields: list[str]) -> None:
    assert [field for field, _ in validate(**given_)] == fields  # type: ignore[arg-type]
