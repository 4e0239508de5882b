"""A runtime that fails, and a process that is killed, at a chosen call."""

from collections.abc import Callable
from typing import Any

from deployments.backends.base import BackendError
from deployments.backends.simulated import SimulatedRuntimeBackend


class Killed(BaseException):
    """The process is gone: nothing catches it."""


class Faulty:
    """The simulated runtime, through which calls may fail before or after they were done."""

    def __init__(self, fails: Callable[[str, int, bool], BaseException | None]) -> None:
        self.real, self.fails, self.calls = SimulatedRuntimeBackend(), fails, 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            number = self.calls
            self.calls += 1
            if error := self.fails(name, number, False):
                raise error
            answer = getattr(self.real, name)(*given)
            if error := self.fails(name, number, True):
                raise error
            return answer

        return call


def killed_at(wanted: int, *, done: bool) -> Faulty:
    """Killed at the call of that number, before it reached the runtime or after."""
    return Faulty(lambda name, number, after: Killed() if (number, after) == (wanted, done) else None)


def refusing(*names: str) -> Faulty:
    """Calls of these names answer with an error."""
    return Faulty(lambda name, number, after: BackendError(f"{name} is out of order") if name in names else None)


def silent(*names: str) -> Faulty:
    """Calls of these names are done, but the answer never comes."""
    return Faulty(lambda name, number, after: BackendError("timed out") if name in names and after else None)
