"""Right-sizing replays the recorded need: never below what was used, nothing saved where nothing is, and monotone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.core.sizing import Need, instances_for, placed, sizing

SIZES = st.sampled_from([1, 2, 3, 4, 5, 8, 16])
PLAIN = st.sampled_from([1, 2, 4, 8, 16])


@st.composite
def needs(draw: st.DrawFn, sizes: st.SearchStrategy[int] = SIZES) -> Need:
    gpus = draw(st.lists(sizes, min_size=1, max_size=4))
    spans = draw(st.integers(1, 6))
    counts = st.lists(st.lists(st.integers(0, 6), min_size=len(gpus), max_size=len(gpus)), min_size=spans,
                      max_size=spans)  # fmt: skip
    wanted = np.array(draw(counts), np.int64)
    short = np.minimum(np.array(draw(counts), np.int64), wanted)
    seconds = np.array(draw(st.lists(st.integers(1, 90), min_size=spans, max_size=spans)), np.float64)
    return Need(np.array(gpus, np.int64), seconds, wanted, short)


def one_by_one(gpus: list[int], counts: list[int], instances: int, per_instance: int) -> tuple[list[int], int]:
    """The slow, obvious way: every replica for itself, on the begun instance with the tightest room; instances taken."""
    free = [per_instance] * instances
    got = [0] * len(gpus)
    for row in sorted(range(len(gpus)), key=lambda row: -gpus[row]):
        for _ in range(counts[row]):
            size = gpus[row]
            if size > per_instance:
                empty = [at for at, room in enumerate(free) if room == per_instance]
                if size % per_instance or len(empty) < size // per_instance:
                    continue
                for at in empty[: size // per_instance]:
                    free[at] = 0
            else:
                fitting = [at for at, room in enumerate(free) if room >= size]
                if not fitting:
                    continue
                free[min(fitting, key=lambda at: free[at])] -= size
            got[row] += 1
    return got, sum(room < per_instance for room in free)


@given(needs(), st.integers(0, 12))
def test_packing_is_what_one_replica_after_the_other_gives(need: Need, instances: int) -> None:
    for row in need.wanted:
        expected = one_by_one(need.gpus.tolist(), row.tolist(), instances, 8)
        assert placed(need.gpus, row, instances, 8).tolist() == expected[0]
        whole = one_by_one(need.gpus.tolist(), row.tolist(), 200, 8)
        assert instances_for(need.gpus, row, 8) == whole[1]


@given(needs(), st.integers(1, 12), st.integers(0, 4))
def test_what_is_advised_holds_all_that_the_claim_held(need: Need, held: int, others: int) -> None:
    found = sizing(need, held=held, per_instance=8, others=others)
    smaller = held - found.spare
    assert 1 <= smaller <= held
    for row in need.wanted:
        left = row - placed(need.gpus, row, others, 8)
        before, _ = one_by_one(need.gpus.tolist(), left.tolist(), held, 8)
        after, _ = one_by_one(need.gpus.tolist(), left.tolist(), smaller, 8)
        assert after == before, "a replica that had room would have lost it"


@given(needs(), st.integers(1, 12))
def test_one_instance_less_than_advised_would_have_lacked_room(need: Need, held: int) -> None:
    found = sizing(need, held=held, per_instance=8)
    smaller = held - found.spare
    if found.spare and smaller > 1:
        lost = [row for row in need.wanted
                if (placed(need.gpus, row, smaller, 8) > placed(need.gpus, row, smaller - 1, 8)).any()]  # fmt: skip
        assert lost, "it could have been smaller still"


@given(needs(), st.integers(1, 12))
def test_where_every_instance_was_needed_nothing_is_saved(need: Need, held: int) -> None:
    found = sizing(need, held=held, per_instance=8)
    most = max(instances_for(need.gpus, row, 8) for row in need.wanted)
    assert (found.spare == 0) == (most >= held or held == 1)


@given(needs(PLAIN), st.integers(1, 12), st.integers(0, 3))
def test_more_need_never_frees_an_instance_and_a_larger_claim_never_uses_less(need: Need, held: int, row: int) -> None:
    found = sizing(need, held=held, per_instance=8)
    more = Need(need.gpus, need.seconds, need.wanted + (np.arange(len(need.gpus)) == row), need.short)
    grown = sizing(more, held=held, per_instance=8)
    assert grown.peak >= found.peak
    assert grown.spare <= found.spare
    assert grown.used_gpu_s >= found.used_gpu_s
    assert sizing(need, held=held + 1, per_instance=8).used_gpu_s >= found.used_gpu_s


@given(needs(), st.integers(1, 12))
def test_growing_avoids_more_the_more_it_is_and_never_more_than_there_was(need: Need, held: int) -> None:
    found = sizing(need, held=held, per_instance=8)
    avoided = [one.avoided_s for one in found.growth]
    assert avoided == sorted(set(avoided))
    assert [one.more for one in found.growth] == sorted({one.more for one in found.growth})
    assert all(0 < one <= found.short_s + 1e-9 for one in avoided)
    for step in found.growth:
        spans = zip(need.short, need.seconds, strict=True)
        helped = sum(s for row, s in spans if row.any() and (placed(need.gpus, row, step.more, 8) == row).all())
        assert step.avoided_s == pytest.approx(helped)


@given(needs(), st.integers(1, 12))
def test_time_and_use_add_up(need: Need, held: int) -> None:
    found = sizing(need, held=held, per_instance=8)
    assert found.seconds == pytest.approx(need.seconds.sum())
    assert 0 <= found.used_gpu_s <= found.held_gpu_s
    assert found.held_gpu_s == pytest.approx(need.seconds.sum() * held * 8)


def test_the_order_and_the_cuts_of_the_spans_do_not_matter() -> None:
    whole = Need(np.array([2]), np.array([60.0, 30.0]), np.array([[4], [1]]), np.array([[0], [0]]))
    cut = Need(np.array([2]), np.array([30.0, 20.0, 40.0]), np.array([[1], [4], [4]]), np.zeros((3, 1), np.int64))
    assert sizing(whole, held=4, per_instance=8) == sizing(cut, held=4, per_instance=8)


def test_an_example_by_hand() -> None:
    """Two deployments on instances of 8 GPUs: for 90 minutes 3 x 4 and 2 x 2 GPUs (2 instances), for 30 minutes 5 x 4
    and 1 x 2 (3 instances); for 10 minutes of these a replica of 4 was short, and two of 2 for 5 others."""
    minutes = np.array([90.0, 15.0, 10.0, 5.0]) * 60
    wanted = np.array([[3, 2], [5, 1], [5, 1], [5, 1]])
    short = np.array([[0, 0], [0, 0], [1, 0], [1, 3]])
    found = sizing(Need(np.array([4, 2]), minutes, wanted, short), held=5, per_instance=8)
    assert found.at == (0, 0, 90 * 60, 30 * 60, 0, 0)
    assert (found.peak, found.spare) == (3, 2)
    assert found.used_gpu_s == 90 * 60 * 16 + 30 * 60 * 22
    assert found.short_s == 15 * 60
    assert [(one.more, one.avoided_s) for one in found.growth] == [(1, 600), (2, 900)]


def test_no_record_is_no_advice() -> None:
    nothing = Need(np.array([4]), np.zeros(0), np.zeros((0, 1), np.int64), np.zeros((0, 1), np.int64))
    found = sizing(nothing, held=5, per_instance=8)
    assert (found.spare, found.short_s, found.growth) == (0, 0.0, ())


def test_further_claims_take_their_part_first() -> None:
    need = Need(np.array([8]), np.array([60.0]), np.array([[3]]), np.array([[0]]))
    assert sizing(need, held=4, per_instance=8).peak == 3
    assert sizing(need, held=4, per_instance=8, others=2).peak == 1


def test_what_cannot_be_is_refused() -> None:
    ok = np.array([[1]])
    with pytest.raises(ValueError, match="wanted and short"):
        Need(np.array([1]), np.array([1.0, 2.0]), ok, ok)
    with pytest.raises(ValueError, match="no negative"):
        Need(np.array([1]), np.array([1.0]), -ok, ok)
    with pytest.raises(ValueError, match="no negative size"):
        sizing(Need(np.array([1]), np.array([1.0]), ok, ok), held=-1, per_instance=8)


@st.composite
def windowed(draw: st.DrawFn) -> tuple[Need, list[int], list[int]]:
    """A need, and for each of its spans what windows of the claim ask for and what further claims have."""
    need = draw(needs())
    spans = len(need.seconds)
    windows, others = (draw(st.lists(st.integers(0, most), min_size=spans, max_size=spans)) for most in (14, 3))
    return need, windows, others


def room(need: Need, windows: list[int], others: list[int], base: int) -> list[list[int]]:
    """The slow, obvious way: what of the need each span holds on the claim with this base."""
    found = []
    for row, window, ahead in zip(need.wanted.tolist(), windows, others, strict=True):
        before, _ = one_by_one(need.gpus.tolist(), row, ahead, 8)
        left = [count - placed for count, placed in zip(row, before, strict=True)]
        found.append(one_by_one(need.gpus.tolist(), left, max(base, window), 8)[0])
    return found


def avoided(need: Need, windows: list[int], held: int, more: int) -> float:
    """Seconds in which all that was short fits on what `more` instances of base add beyond the open window."""
    total = 0.0
    for row, window, seconds in zip(need.short.tolist(), windows, need.seconds.tolist(), strict=True):
        added = max(held + more, window) - max(held, window)
        if any(row) and one_by_one(need.gpus.tolist(), row, added, 8)[0] == row:
            total += seconds
    return total


@given(windowed(), st.integers(1, 12))
def test_beside_windows_the_advice_is_the_least_base_that_holds_as_much(
    case: tuple[Need, list[int], list[int]], held: int
) -> None:
    need, windows, others = case
    found = sizing(need, held=held, per_instance=8, others=np.array(others), windows=np.array(windows))
    now = room(need, windows, others, held)
    least = min(base for base in range(1, held + 1) if room(need, windows, others, base) == now)
    assert held - found.spare == least
    lasted = zip(now, need.seconds.tolist(), strict=True)
    assert found.used_gpu_s == pytest.approx(sum(s * float(need.gpus @ np.array(row)) for row, s in lasted))
    had = zip(windows, need.seconds.tolist(), strict=True)
    assert found.held_gpu_s == pytest.approx(sum(s * 8 * max(held, window) for window, s in had))
    assert found.seconds == pytest.approx(need.seconds.sum())
    less = zip(windows, need.seconds.tolist(), strict=True)
    assert found.spared_s == sum(s * (max(held, window) - max(least, window)) for window, s in less)
    assert 0 <= found.spared_share <= 1


@given(windowed(), st.integers(1, 12))
def test_beside_windows_growing_avoids_what_the_base_adds_beyond_them(
    case: tuple[Need, list[int], list[int]], held: int
) -> None:
    need, windows, _ = case
    found = sizing(need, held=held, per_instance=8, windows=np.array(windows))
    steps = {step.more: step.avoided_s for step in found.growth}
    reached = 0.0
    for more in range(max([0, *steps]) + 2):
        reached = steps.get(more, reached)
        assert avoided(need, windows, held, more) == pytest.approx(reached), more


@given(needs(), st.integers(1, 12), st.integers(0, 3))
def test_windows_that_never_exceed_the_base_change_nothing(need: Need, held: int, others: int) -> None:
    closed = np.full(len(need.seconds), min(1, held))
    plain = sizing(need, held=held, per_instance=8, others=others)
    beside = sizing(need, held=held, per_instance=8, others=others, windows=closed)
    assert (beside.spare, beside.at, beside.growth, beside.window_s) == (plain.spare, plain.at, plain.growth, 0)
