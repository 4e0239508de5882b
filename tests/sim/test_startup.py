import numpy as np

from deployments.sim.startup import load_seconds


def test_a_replica_always_loads_for_the_same_time() -> None:
    assert load_seconds(4, 17) == load_seconds(4, 17)
    assert load_seconds(4, 17) != load_seconds(4, 18) != load_seconds(5, 18)


def test_load_times_are_uniform_from_one_to_five_minutes() -> None:
    times = np.array([load_seconds(-3, key) for key in range(2000)])
    assert times.min() >= 60
    assert times.max() < 300
    shares = np.histogram(times, bins=4, range=(60, 300))[0] / len(times)
    assert np.all(np.abs(shares - 0.25) < 0.04)
