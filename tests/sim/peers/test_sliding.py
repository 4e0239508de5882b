import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.sim.peers.sliding import highest_of, lowest_of, mean_of

rows = st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=1, max_size=40)


@settings(deadline=None)
@given(rows, st.integers(1, 9))
def test_a_window_is_over_the_last_samples(values: list[tuple[int, int]], size: int) -> None:
    for window, slow in ((mean_of(size), sum), (highest_of(size), max), (lowest_of(size), min)):
        for count in range(1, len(values) + 1):
            window = window.push(np.array(values[count - 1]))
            last = values[max(0, count - size) : count]
            assert window.value.tolist() == [slow(column) for column in zip(*last, strict=True)]
            assert window.seen == len(last)


def test_a_window_without_samples_has_seen_none_and_no_value() -> None:
    assert mean_of(3).seen == 0
    with pytest.raises(AssertionError, match="no sample"):
        _ = mean_of(3).value
