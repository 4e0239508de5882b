"""`python -m bench.ticks make DEPLOYMENTS` fills the installation that the environment names; `... run DEPLOYMENTS` then
makes passes of the scaling loop there, under a generated load, and says how long they took, and their parts, as JSON. Two
processes, so that the memory of the passes is their own."""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
django.setup()

import numpy as np  # noqa: E402

from bench.fleet import EACH, TYPE, fleet_make  # noqa: E402
from bench.measure import quantile  # noqa: E402
from claims.models import InstanceType  # noqa: E402
from console.common import clock  # noqa: E402
from console.stack.schema import bring_up_to_date  # noqa: E402
from deployments.backends.base import Samples, Target  # noqa: E402
from deployments.backends.simulated import SimulatedRuntimeBackend  # noqa: E402
from deployments.core.states import HOLDING  # noqa: E402
from deployments.loop import tick  # noqa: E402
from deployments.models import Replica  # noqa: E402

CONCURRENCY = 8
EACH_ORGANIZATION = 100  # deployments
WARM, RUNS = 3, 7
FREE = 0.05  # instances that serve nobody, of those in use
PARTS = {
    "replicas_lost": "lost",
    "_sample": "sample",
    "read_shard": "read",
    "plan": "plan",
    "apply_plan": "record and act",
    "tick_record": "keep",
}


class Load(SimulatedRuntimeBackend):
    """The simulated runtime under a load that the bench sets: requests for so many replicas more than there were, and of
    every replica another number of requests at every sample."""

    more: "np.ndarray"
    replica: "np.ndarray"
    replica_active: "np.ndarray"

    def about(self, rng: np.random.Generator) -> None:
        live = Replica.objects.filter(state__in=sorted(HOLDING)).order_by("key")
        self.replica = np.fromiter(live.values_list("key", flat=True), np.int64)
        self.replica_active = rng.integers(0, CONCURRENCY + 1, len(self.replica))

    def sample(self, targets: Sequence[Target], now: datetime) -> Samples:
        count = len(targets)
        active = (EACH + self.more) * CONCURRENCY
        unknown = np.full(count, -1, np.int64)
        return Samples(
            np.zeros(count, np.int64),
            active,
            unknown,
            unknown,
            np.full(count, np.nan),
            unknown,
            unknown,
            self.replica,
            self.replica_active,
        )


def make(deployments: int) -> None:
    bring_up_to_date()
    fleet_make(deployments=deployments, organizations=max(1, deployments // EACH_ORGANIZATION), free=FREE)


def measured(deployments: int, seed: int) -> list[dict[str, Any]]:
    run, rng = Passes(Load(), InstanceType.objects.get(name=TYPE), clock.now()), np.random.default_rng(seed)

    def other(share: float) -> Callable[[], None]:
        """Every pass some of the deployments get another load, which stays."""

        def change() -> None:
            touched = rng.random(deployments) < share
            run.load.more = np.where(touched, rng.integers(-4, 5, deployments), run.load.more)

        return change

    def storm() -> None:
        run.load.more = np.where(np.arange(deployments) % 2 == 0, 5, run.load.more)

    run.load.more = np.zeros(deployments, np.int64)
    for _ in range(WARM):
        run.next()
    cases = {"nothing changes": other(0.0), "2 % change": other(0.02), "5 % change": other(0.05),
             "half want more than there is": storm}  # fmt: skip
    return [run.case(name, change) for name, change in cases.items()]


class Passes:
    """One pass after the other, five seconds apart by the clock that they are given."""

    def __init__(self, load: Load, shard: InstanceType, now: datetime) -> None:
        self.load, self._shard, self._now = load, shard, now
        self._rng = np.random.default_rng(1)
        self._took: dict[str, float] = {}
        for name, part in PARTS.items():
            setattr(tick, name, self._timed(part, getattr(tick, name)))

    def next(self) -> tuple[float, dict[str, float], int]:
        """Seconds of the pass and of its parts, and the decisions that it made."""
        self._now += timedelta(seconds=5)
        self._took = {}
        self.load.about(self._rng)
        began = time.perf_counter()
        done = tick.shard_tick(self._shard, self._now, self.load)
        seconds = time.perf_counter() - began
        assert done.applied is not None
        return seconds, self._took, done.applied.decisions

    def case(self, name: str, change: Callable[[], None]) -> dict[str, Any]:
        """Medians of several passes."""
        found = []
        for _ in range(RUNS):
            change()
            found.append(self.next())
        decisions = quantile([one[2] for one in found], 0.5)
        return {
            "what": f"{name}, {decisions:.0f} decisions",
            "seconds": round(quantile([one[0] for one in found], 0.5), 4),
            "parts": {
                part: round(quantile([one[1].get(part, 0.0) for one in found], 0.5), 4) for part in PARTS.values()
            },
            "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        }

    def _timed(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                self._took[part] = time.perf_counter() - began

        return timed


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(int(sys.argv[2]))
    else:
        print(json.dumps(measured(int(sys.argv[2]), int(os.environ.get("SEED", "1")))))
