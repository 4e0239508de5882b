"""The simulated runtime with traffic that the test sets: so many requests in flight for each deployment."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from deployments.backends.base import Samples, Target
from deployments.backends.simulated import SimulatedRuntimeBackend


class Traffic(SimulatedRuntimeBackend):
    """`in_flight` by key of the deployment; none is 0. Counters are what this backend lacks."""

    def __init__(self) -> None:
        self.in_flight: dict[int, int] = {}

    def sample(self, targets: Sequence[Target], now: datetime) -> Samples:
        active = np.array([self.in_flight.get(one.key, 0) for one in targets], np.int64)
        unknown = np.full(len(targets), -1, np.int64)
        return Samples(
            queued=np.zeros(len(targets), np.int64), active=active, arrived=unknown, finished=unknown,
            service_seconds=np.full(len(targets), np.nan), waited_le_1s=unknown, waited_le_5s=unknown,
            replica=np.zeros(0, np.int64), replica_active=np.zeros(0, np.int64),
        )  # fmt: skip
