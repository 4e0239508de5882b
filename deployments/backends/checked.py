"""The runtime as the loops see it: what the backend says as far as that can be, and one kind of error for whatever goes
wrong in it, so that it stops nothing else."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, ParamSpec, TypeVar

import numpy as np

from console.common.outside import storable_count, storable_text, storable_time
from deployments.backends.base import (
    BackendError,
    Floats,
    Int64s,
    Observation,
    RuntimeBackend,
    RuntimeState,
    Samples,
    Target,
)
from deployments.core import waits
from deployments.models import Replica

P = ParamSpec("P")
T = TypeVar("T")
UNKNOWN, IMPOSSIBLE = -1, -2
MOST_REQUESTS, MOST_EVER = 2**31 - 1, 2**62
KNOWN_STATES = tuple(RuntimeState)
GAUGES, COUNTERS = ("queued", "active"), ("arrived", "finished", "waited_le_1s", "waited_le_5s")


def asked(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What is answered; whatever goes wrong is a BackendError."""
    try:
        return call(*args, **kwargs)
    except BackendError as error:
        raise BackendError(storable_text(error)) from error
    except Exception as error:
        raise BackendError(storable_text(f"{type(error).__name__}: {error}")) from error


class CheckedRuntime:
    """A runtime whose answers are about what was asked, in states, times and numbers that there are."""

    def __init__(self, backend: RuntimeBackend) -> None:
        self._backend = backend

    def start(self, replicas: Sequence[Replica]) -> Mapping[int, datetime | None]:
        said = asked(lambda: dict(self._backend.start(replicas)))
        return {one.key: storable_time(said.get(one.key)) for one in replicas}

    def drain(self, keys: Sequence[int]) -> None:
        asked(self._backend.drain, keys)

    def stop(self, keys: Sequence[int]) -> None:
        asked(self._backend.stop, keys)

    def observe(self, keys: Sequence[int]) -> Mapping[int, Observation]:
        def about() -> dict[int, Observation]:
            said = self._backend.observe(keys)
            return {key: _observation(said[key]) for key in keys if key in said}

        return asked(about)

    def sample(self, targets: Sequence[Target], now: datetime) -> Samples:
        return asked(lambda: _samples(self._backend.sample(targets, now), len(targets)))

    def replicas(self) -> Sequence[int]:
        return asked(lambda: sorted({int(key) for key in self._backend.replicas()}))


def _observation(said: Observation) -> Observation:
    """A state that we do not know says no more than that the replica is there, nor for how long it has been in it."""
    known = said.state in KNOWN_STATES
    return Observation(
        RuntimeState(said.state) if known else RuntimeState.LOADING,
        storable_time(said.expected_at), storable_count(said.active), storable_count(said.crashes),
        storable_text(said.error or ""), storable_time(said.since) if known else None,
    )  # fmt: skip


def _samples(said: Samples, count: int) -> Samples:
    columns: dict[str, Any] = {name: _whole(getattr(said, name), count, MOST_REQUESTS, IMPOSSIBLE) for name in GAUGES}
    columns |= {name: _whole(getattr(said, name), count, MOST_EVER, UNKNOWN) for name in COUNTERS}
    running = len(said.replica)
    return Samples(
        **columns, service_seconds=_seconds(said.service_seconds, count), waits=_waits(said.waits, count),
        replica=_whole(said.replica, running, MOST_EVER, UNKNOWN),
        replica_active=np.maximum(_whole(said.replica_active, running, MOST_REQUESTS, 0), 0),
    )  # fmt: skip


def _waits(values: object, count: int) -> Int64s | None:
    """A row that holds what is no count is unknown as a whole."""
    if values is None:
        return None
    found = np.asarray(values)
    if found.shape != (count, waits.BUCKETS):
        raise BackendError(f"the runtime answered {found.shape} counts of waits to {count} targets")
    column = _whole(found.reshape(-1), found.size, MOST_EVER, UNKNOWN).reshape(found.shape)
    return np.where((column < 0).any(axis=1, keepdims=True), waits.UNKNOWN, column)


def _column(values: object, count: int) -> Floats:
    column = np.asarray(values, np.float64)
    if column.shape != (count,):
        raise BackendError(f"the runtime answered {column.shape} samples where {count} were asked for")
    return column


def _whole(values: object, count: int, most: int, otherwise: int) -> Int64s:
    """Numbers from 0 to `most`; what is none is unknown, and what cannot be is `otherwise`."""
    column = np.nan_to_num(_column(values, count), nan=UNKNOWN, posinf=IMPOSSIBLE, neginf=IMPOSSIBLE)
    possible = (column >= UNKNOWN) & (column <= most)
    exact = np.asarray(values)
    whole = exact if exact.dtype.kind in "iu" else column
    return np.where(possible, whole, otherwise).astype(np.int64)


def _seconds(values: object, count: int) -> Floats:
    column = _column(values, count)
    return np.where(np.isfinite(column) & (column >= 0), column, np.nan)
