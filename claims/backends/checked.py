"""The world of machines as the provision loop sees it: what the backend says as far as that can be, and one kind of
error for whatever goes wrong in it, so that it stops nothing else."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, ParamSpec, TypeVar

from claims.backends.base import BackendError, NodeBackend, NodeState, Observation
from console.common.outside import storable_text, storable_time

P = ParamSpec("P")
T = TypeVar("T")


def asked(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What is answered; whatever goes wrong is a BackendError."""
    try:
        return call(*args, **kwargs)
    except BackendError as error:
        raise BackendError(storable_text(error)) from error
    except Exception as error:
        raise BackendError(storable_text(f"{type(error).__name__}: {error}")) from error


class CheckedNodes:
    """A node backend whose answers are about what was asked, in states and times that there are."""

    def __init__(self, backend: NodeBackend) -> None:
        self._backend = backend

    def join(self, key: int) -> datetime | None:
        return storable_time(asked(self._backend.join, key))

    def adopt(self, keys: Sequence[int], now: datetime) -> None:
        asked(self._backend.adopt, keys, now)

    def observe(self, keys: Sequence[int]) -> Mapping[int, Observation]:
        return asked(lambda: _about(keys, self._backend.observe(keys)))

    def leave(self, key: int) -> bool:
        return bool(asked(self._backend.leave, key))

    def nodes(self) -> Sequence[int]:
        return asked(lambda: sorted({int(key) for key in self._backend.nodes()}))


def _about(keys: Sequence[int], said: Mapping[int, Any]) -> dict[int, Observation]:
    return {
        key: Observation(_state(said[key].state), storable_time(said[key].expected_at)) for key in keys if key in said
    }


def _state(said: str) -> NodeState:
    """A state that we do not know says no more than that the machine is there, and not yet that it has joined."""
    return NodeState(said) if said in list(NodeState) else NodeState.JOINING
