"""How long a simulated replica loads its model."""

from deployments.sim.streams import Purpose, stream

LOAD_MIN_S = 60.0
LOAD_MAX_S = 300.0


def load_seconds(seed: int, replica_key: int) -> float:
    """Seconds from start command to ready: uniform in [60, 300), always the same for a seed and key.

    Simulated seconds at speed 1; whoever runs the simulation faster divides by its speed.
    """
    return float(stream(seed, Purpose.LOADING, replica_key).uniform(LOAD_MIN_S, LOAD_MAX_S))
