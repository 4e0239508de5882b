"""Waits of M/M/c against Erlang's C formula.

The seed is fixed. Over seeds, runs of this length scatter around the formula with a standard deviation of
up to 2.3 % (share that waits), 5.2 % (mean wait) and 0.006 (share above a limit); the tolerances are about
twice those or more.
"""

import math

import numpy as np
import pytest

from deployments.sim.queue import QueueState, Replica, advance

REQUESTS = 250_000
SERVICE_S = 2.0


def erlang_c(servers: int, load: float) -> float:
    """Probability that a request waits; `load` in erlangs, by the recursion of Erlang B."""
    blocked = 1.0
    for n in range(1, servers + 1):
        blocked = load * blocked / (n + load * blocked)
    return blocked / (1 - load / servers * (1 - blocked))


def test_the_formula_knows_its_textbook_values() -> None:
    assert erlang_c(1, 0.7) == pytest.approx(0.7)
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("slots", "utilisation"),
    [([1], 0.6), ([3, 2], 0.8), ([8, 8, 8], 0.85)],
    ids=["M/M/1", "M/M/5", "M/M/24"],
)
def test_waits_agree_with_erlang_c(slots: list[int], utilisation: float) -> None:
    servers, rng = sum(slots), np.random.default_rng(7)
    rate = utilisation * servers / SERVICE_S
    arrivals = np.cumsum(rng.exponential(1 / rate, REQUESTS))
    services = rng.exponential(SERVICE_S, REQUESTS)
    replicas = [Replica(key, count, 0.0) for key, count in enumerate(slots)]
    _, sample = advance(QueueState(0.0), arrivals, services, replicas, float(arrivals[-1]) + 1000)

    waits, spare = sample.waits, servers / SERVICE_S - rate
    waiting = erlang_c(servers, rate * SERVICE_S)
    assert sample.counters.finished == REQUESTS
    assert np.mean(waits > 0) == pytest.approx(waiting, rel=0.05)
    assert np.mean(waits) == pytest.approx(waiting / spare, rel=0.10)
    for limit_s, within in ((1, sample.counters.waited_le_1s), (5, sample.counters.waited_le_5s)):
        assert within / REQUESTS == pytest.approx(1 - waiting * math.exp(-limit_s * spare), abs=0.02)
