"""What Headroom asks of the world of machines. Every call is idempotent by the instance's key."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Protocol, cast, runtime_checkable

from django.conf import settings
from django.utils.module_loading import import_string

from console.common.outside import Bounded


class BackendError(Exception):
    """The backend did not answer or answered with an error; the call may be repeated."""


class NodeState(StrEnum):
    JOINING = "JOINING"
    READY = "READY"
    FAILED = "FAILED"
    GONE = "GONE"


@dataclass(frozen=True, slots=True)
class Observation:
    state: NodeState
    expected_at: datetime | None = None


class NodeBackend(Protocol):
    """A class attribute `in_database = True` says that its world is our own database: then it is asked in the caller's
    thread, on the caller's connection. Every other one is given up after a while (`console.common.outside`)."""

    def join(self, key: int) -> datetime | None:
        """Ask for a machine to join; returns when it is expected. Asking again asks for nothing more."""

    def adopt(self, keys: Sequence[int], now: datetime) -> None:
        """These machines already stand in the cluster."""

    def observe(self, keys: Sequence[int]) -> Mapping[int, Observation]:
        """What is known of the machines; one that is not there is GONE or left out."""

    def leave(self, key: int) -> bool:
        """Ask for the machine to be taken away; True once it is gone, or was never there."""

    def nodes(self) -> Sequence[int]:
        """Keys of all machines that exist or are joining and were not asked to leave."""


@runtime_checkable
class SaysJoinTime(Protocol):
    """A backend that knows how long its machines usually take."""

    def usual_join(self) -> tuple[timedelta, timedelta]:
        """At least and at most, from the request to readiness."""


def usual_join(backend: NodeBackend) -> tuple[timedelta, timedelta] | None:
    """What the backend expects of itself; None where it does not say."""
    return backend.usual_join() if isinstance(backend, SaysJoinTime) else None


@lru_cache
def _made(path: str) -> NodeBackend:
    backend: NodeBackend = import_string(path)()
    if getattr(backend, "in_database", False):
        return backend
    return cast(NodeBackend, Bounded(backend, BackendError, settings.BACKEND_TIMEOUT_S))


def node_backend() -> NodeBackend:
    """The backend that the settings name."""
    return _made(settings.NODE_BACKEND)
