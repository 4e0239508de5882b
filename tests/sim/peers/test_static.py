import numpy as np

from deployments.sim.grid import Seen
from deployments.sim.peers.static import static


def test_a_fixed_size_is_wanted_whatever_comes() -> None:
    step, state = static(np.array([3.0, 50.0]))
    for flight in (0, 10_000):
        column = np.full(2, flight)
        state, wanted = step(state, Seen(5.0, column, column, np.array([1, 60]), np.array([0, 0])))
        assert wanted.tolist() == [3, 50]
