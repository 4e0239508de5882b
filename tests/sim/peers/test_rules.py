from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.sim.grid import Int64s, Seen
from deployments.sim.peers import aibrix, hosted, knative, kubernetes, mimir, ray
from deployments.sim.peers.rule import Maker, Policy
from tests.sim.peers import reference as slow

PEERS: dict[str, tuple[Maker, Callable[[float], slow.Slow]]] = {
    "kpa": (knative.kpa, slow.SlowKpa),
    "kpa_gpu": (knative.kpa_gpu, lambda target: slow.SlowKpa(target, stable_s=180, panic_s=23.4)),
    "hpa": (kubernetes.hpa, slow.SlowHpa),
    "keda": (kubernetes.keda, slow.SlowKeda),
    "ray": (ray.ray_serve, slow.SlowRay),
    "apa": (aibrix.apa, lambda target: slow.SlowApa(target, every_s=10)),
    "baseten": (hosted.baseten, lambda target: slow.SlowBaseten(target, shrinks_after_s=900, every_s=5)),
    "fireworks": (hosted.fireworks, slow.SlowFireworks),
    "sagemaker": (hosted.sagemaker, slow.SlowSageMaker),
    "look_ahead": (
        partial(mimir.look_ahead, season_s=2400.0),
        lambda target: slow.SlowLookAhead(target, season_s=2400),
    ),
}
TARGETS = np.array([2.0, 5.6, 7.9])


def traffic(rng: np.random.Generator, steps: int) -> Int64s:
    """In flight at each sample: waves of some length, with noise and leaps, and now and then nothing."""
    waves = 40 + 40 * np.sin(np.arange(steps) / rng.uniform(5, 150))
    leaps = np.repeat(rng.choice([0, 0.3, 1, 1, 1, 3], steps // 40 + 1), 40)[:steps]
    flights: Int64s = rng.poisson(waves * leaps)
    return flights


def followed(policy: Policy, flights: Int64s, rng: np.random.Generator) -> tuple[list[Seen], list[Int64s]]:
    """Ask the policy at each sample, while some of what it wants has come and some has not."""
    step, state = policy
    ready, starting = np.array([3, 3, 0]), np.array([0, 2, 1])
    asked, wanted = [], []
    for at, flight in enumerate(flights, 1):
        queued = np.full(len(TARGETS), rng.integers(0, flight + 1))
        asked.append(Seen(5.0 * at, queued, flight - queued, ready, starting))
        state, want = step(state, asked[-1])
        wanted.append(want)
        want = np.clip(want, 1, 200)
        come = ready + rng.integers(0, starting + 1)
        ready = np.minimum(come, want)
        starting = want - ready
    return asked, wanted


@pytest.mark.parametrize("name", PEERS)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=6, deadline=None)
def test_a_peer_follows_its_published_rule(name: str, seed: int) -> None:
    make, reference = PEERS[name]
    rng = np.random.default_rng(seed)
    asked, wanted = followed(make(TARGETS), traffic(rng, 1000 if name == "look_ahead" else 500), rng)
    for lane, target in enumerate(TARGETS.tolist()):
        one = reference(target)
        told = [one.look(int((s.queued + s.active)[lane]), int(s.ready[lane]), int(s.starting[lane])) for s in asked]
        assert [int(want[lane]) for want in wanted] == told


@pytest.mark.parametrize("name", PEERS)
def test_a_lane_does_not_feel_the_others(name: str) -> None:
    make, _ = PEERS[name]
    step, state = make(TARGETS)
    alone_step, alone_state = make(TARGETS[1:2])
    rng = np.random.default_rng(7)
    for at, flight in enumerate(traffic(rng, 300), 1):
        seen = Seen(5.0 * at, np.array([900, 0, 5]), np.full(3, flight), np.array([1, 9, 30]), np.array([4, 1, 0]))
        state, wanted = step(state, seen)
        one = Seen(seen.at_s, seen.queued[1:2], seen.active[1:2], seen.ready[1:2], seen.starting[1:2])
        alone_state, alone = alone_step(alone_state, one)
        assert wanted[1] == alone[0]


@pytest.mark.parametrize("name", PEERS)
def test_a_state_can_be_gone_on_from_twice(name: str) -> None:
    make, _ = PEERS[name]
    step, state = make(TARGETS)
    rng = np.random.default_rng(3)
    for at, flight in enumerate(traffic(rng, 200), 1):
        seen = Seen(5.0 * at, np.zeros(3, np.int64), np.full(3, flight), np.array([5, 9, 12]), np.array([0, 1, 0]))
        _, first = step(state, seen)
        state, again = step(state, seen)
        assert first.tolist() == again.tolist()
