import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.core.waits import BUCKETS
from deployments.sim.packing import UnreadableState, from_bytes, to_bytes
from deployments.sim.queue import Counters, QueueState, Replica, advance

seconds = st.floats(allow_nan=False)
whole = st.integers(-(2**63), 2**63 - 1)
states = st.builds(
    QueueState,
    seconds,
    st.lists(st.tuples(whole, seconds, seconds), max_size=5).map(tuple),
    st.lists(st.tuples(seconds, whole, whole, seconds, seconds), max_size=5).map(tuple),
    st.builds(Counters, whole, whole, whole, seconds, whole, whole),
    st.lists(whole, max_size=BUCKETS).map(tuple),
)


@given(states)
def test_a_state_comes_back_as_it_was(state: QueueState) -> None:
    assert from_bytes(to_bytes(state)) == state
    assert from_bytes(memoryview(to_bytes(state))) == state


def test_a_run_goes_on_from_bytes_as_if_never_stopped() -> None:
    rng = np.random.default_rng(3)
    arrivals, services = np.sort(rng.uniform(0, 100, 400)), rng.exponential(3.0, 400)
    replicas = [Replica(1, 4, 0.0), Replica(2, 4, 20.0)]
    whole, _ = advance(QueueState(0.0), arrivals, services, replicas, 100.0)
    state = QueueState(0.0)
    for until in range(5, 101, 5):
        now = (state.until_s <= arrivals) & (arrivals < until)
        state, _ = advance(from_bytes(to_bytes(state)), arrivals[now], services[now], replicas, until)
    assert state == whole


def test_a_state_of_the_version_before_is_read_and_its_waits_begin_with_nothing() -> None:
    state = QueueState(3.0, ((4, 1.0, 2.0),), ((9.0, 3, 1, 0.5, 8.5),), Counters(5, 4, 3, 2.0, 1, 1))
    body = zlib.decompress(to_bytes(state)[3:])
    assert from_bytes(b"HQ\x01" + zlib.compress(body)) == state


def test_another_version_is_refused_by_number() -> None:
    data = bytearray(to_bytes(QueueState(1.0)))
    data[2] = 9
    with pytest.raises(UnreadableState, match="version 9; this code reads 1 to 2"):
        from_bytes(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a queue state"),
        (b"something else", "not a queue state"),
        (to_bytes(QueueState(1.0))[:-4], "damaged"),
        (b"HQ\x01" + zlib.compress(b"short"), "damaged"),
        (b"HQ\x01" + zlib.compress(bytes(72) + b"more"), "damaged"),
        (b"HQ\x01" + zlib.compress(bytes(72) + bytes(8)), "damaged"),
        (b"HQ\x02" + zlib.compress(bytes(72) + b"more"), "damaged"),
        (b"HQ\x02" + zlib.compress(bytes(72) + bytes(8 * (BUCKETS + 1))), "damaged"),
    ],
)
def test_damaged_bytes_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(UnreadableState, match=message):
        from_bytes(data)
