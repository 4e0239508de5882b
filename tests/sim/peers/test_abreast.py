import numpy as np

from deployments.sim.grid import Seen
from deployments.sim.peers import hosted, kubernetes
from deployments.sim.peers.abreast import abreast
from deployments.sim.peers.static import static


def test_policies_side_by_side_do_what_each_does_alone() -> None:
    targets = np.array([4.0, 5.6])
    alone = [kubernetes.hpa(targets), static(np.array([7.0])), hosted.baseten(targets)]
    step, state = abreast(alone, [2, 1, 2])
    states = [state for _, state in alone]
    rng = np.random.default_rng(5)
    for at in range(1, 200):
        queued, active, ready, starting = (rng.integers(0, most, 5) for most in (60, 60, 12, 4))
        state, wanted = step(state, Seen(5.0 * at, queued, active, ready, starting))
        told = []
        for one, (first, last) in enumerate([(0, 2), (2, 3), (3, 5)]):
            lanes = slice(first, last)
            own = Seen(5.0 * at, queued[lanes], active[lanes], ready[lanes], starting[lanes])
            states[one], want = alone[one][0](states[one], own)
            told += want.tolist()
        assert wanted.tolist() == told
