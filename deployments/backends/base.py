"""What Headroom asks of the runtime that runs replicas. Every call is idempotent by the replica's key."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple, Protocol, cast

import numpy as np
import numpy.typing as npt
from django.conf import settings
from django.utils.module_loading import import_string

from console.common.outside import Bounded
from deployments.models import Replica

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class BackendError(Exception):
    """The runtime did not answer or answered with an error; the call may be repeated."""


class RuntimeState(StrEnum):
    LOADING = "LOADING"
    READY = "READY"
    DRAINED = "DRAINED"
    FAILED = "FAILED"
    GONE = "GONE"


@dataclass(frozen=True, slots=True)
class Observation:
    """A replica as the runtime sees it; `active` counts the requests it runs.

    A process that ended and was started again by the runtime is a crash; `since` is when the present one began, and
    `error` what is known of why the last one ended or this one does not get ready.
    """

    state: RuntimeState
    expected_at: datetime | None = None
    active: int = 0
    crashes: int = 0
    error: str = ""
    since: datetime | None = None


class Target(NamedTuple):
    """A deployment to be sampled, and how many requests each of its replicas runs at once."""

    key: int
    slots: int


@dataclass(frozen=True, slots=True)
class Samples:
    """One sample for each target, in their order (DESIGN section 1, "signal"); -1 and NaN where a backend lacks it.

    Counters grow from the beginning of the deployment. `replica` has the keys of the replicas that run requests, and
    `replica_active` how many each of them runs. `waits` counts the started requests by how long they had waited, int64
    [n, BUCKETS] of `deployments.core.waits`; None, or a row of -1, where a backend lacks it.
    """

    queued: Int64s
    active: Int64s
    arrived: Int64s
    finished: Int64s
    service_seconds: Floats
    waited_le_1s: Int64s
    waited_le_5s: Int64s
    replica: Int64s
    replica_active: Int64s
    waits: Int64s | None = None


class RuntimeBackend(Protocol):
    """A class attribute `in_database = True` says that its world is our own database: then it is asked in the caller's
    thread, on the caller's connection. Every other one is given up after a while (`console.common.outside`)."""

    def start(self, replicas: Sequence[Replica]) -> Mapping[int, datetime | None]:
        """Ask for replicas to load their model; when each is expected to be ready, by key."""

    def drain(self, keys: Sequence[int]) -> None:
        """These take no new request and finish what they run."""

    def stop(self, keys: Sequence[int]) -> None:
        """Take these away, whatever they are doing; also when they are not there."""

    def observe(self, keys: Sequence[int]) -> Mapping[int, Observation]:
        """What is known of these replicas; one that is not there is GONE or left out."""

    def sample(self, targets: Sequence[Target], now: datetime) -> Samples:
        """Queue, running requests and counters of deployments at `now`."""

    def replicas(self) -> Sequence[int]:
        """Keys of all replicas that the runtime has."""


@lru_cache
def _made(path: str) -> RuntimeBackend:
    backend: RuntimeBackend = import_string(path)()
    if getattr(backend, "in_database", False):
        return backend
    return cast(RuntimeBackend, Bounded(backend, BackendError, settings.BACKEND_TIMEOUT_S))


def runtime_backend() -> RuntimeBackend:
    """The backend that the settings name."""
    return _made(settings.RUNTIME_BACKEND)
