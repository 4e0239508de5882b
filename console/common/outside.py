"""The outside world, asked with care: a call ends in time, and what is said is no more than can be stored."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from math import isnan
from typing import Any

from django.db import connections

MOST_OVERDUE = 3
# One that hangs longer than this will hang until the process ends: another is tried in its place.
TRIED_AGAIN_AFTER_S = 300.0


class Bounded:
    """A backend each of whose calls ends within `within_s` seconds, with what it says or with an `error`: so no loop waits
    for ever.

    A thread cannot be stopped, so a call that hangs goes on hanging in one of its own. A few of those are tolerated; while
    they hang, further calls are refused at once, so that a pass over a thousand machines is over after a few time limits
    and not after a thousand.
    """

    def __init__(self, backend: object, error: type[Exception], within_s: float) -> None:
        self._backend, self._error, self._within_s = backend, error, within_s
        self._overdue: list[tuple[float, threading.Thread]] = []
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(self._call, name, getattr(self._backend, name))

    def _call(self, name: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if overdue := self._still_overdue():
            raise self._error(f"{name} was not asked for: {overdue} earlier calls have not been answered")
        answer: Future[Any] = Future()
        thread = threading.Thread(target=_answer, args=(answer, partial(call, *args, **kwargs)), daemon=True)
        thread.start()
        thread.join(self._within_s)
        if not answer.done():
            with self._lock:
                self._overdue.append((time.monotonic(), thread))
            raise self._error(f"{name} was not answered within {self._within_s:g} s")
        return answer.result()

    def _still_overdue(self) -> int:
        """Calls that hang, when there are too many of them for another; else 0."""
        recent = time.monotonic() - TRIED_AGAIN_AFTER_S
        with self._lock:
            self._overdue = [(at, one) for at, one in self._overdue if at > recent and one.is_alive()]
            return len(self._overdue) if len(self._overdue) >= MOST_OVERDUE else 0


def _answer(answer: "Future[Any]", call: Callable[[], Any]) -> None:
    try:
        answer.set_result(call())
    except Exception as error:
        answer.set_exception(error)
    finally:
        connections.close_all()  # of this thread alone


def storable_text(text: object, most: int = 2000) -> str:
    """What was said, without what PostgreSQL cannot store."""
    return str(text)[:most].replace("\0", "").encode(errors="replace").decode()


def storable_time(at: object) -> datetime | None:
    """A moment; None where it is none, or nobody knows in which time zone."""
    return at if isinstance(at, datetime) and at.utcoffset() is not None and 1 < at.year < 9999 else None


def storable_count(count: object, most: int = 2**31 - 1) -> int:
    """A number from 0 to `most`; the nearest of those where it lies outside, 0 where it is none."""
    return int(min(max(count, 0), most)) if isinstance(count, int | float) and not isnan(count) else 0
