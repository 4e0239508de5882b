"""Where a pass can be cut off, and cutting it there.

A process may be killed before any statement, before and after any commit. Only commits (of a transaction that wrote,
or of a statement by itself) change what the next process finds, so between two of them one place stands for all:
`Cut`s are those places, the last before each change and the end. The simulated backends write their world through the
same connection, so calls to them are among the changes, each by itself.
"""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connection, connections

from tests.loop.faults import Killed

WRITES = re.compile(r"\s*(INSERT|UPDATE|DELETE|WITH|MERGE|TRUNCATE)\b", re.IGNORECASE)
OURS = ("claims.", "deployments.", "console.loops.")
GENERIC = re.compile(r"^(claims\.(locks|ledger)|console\.common)\b")


@dataclass(frozen=True)
class Cut:
    """The boundary of that number, and which step of the program is cut off there."""

    number: int
    step: str
    what: str

    def __str__(self) -> str:
        return f"{self.number}: {self.what} in {self.step}"


def killed() -> None:
    """The session is gone, and whatever was open in it."""
    connection.close()
    raise Killed


@dataclass
class Boundaries:
    """Counts boundaries while it is installed, notes those before a change, and at one of them does `end`."""

    at: int | None = None
    end: Callable[[], None] = killed
    changed: Callable[[Cut], None] = lambda cut: None
    cuts: list[Cut] = field(default_factory=list)
    count: int = 0
    reached: bool = False
    _wrote: bool = False
    _looking: bool = False

    @contextmanager
    def installed(self) -> Iterator["Boundaries"]:
        session = connections[DEFAULT_DB_ALIAS]  # the object that the proxy `connection` stands for
        commit = session.commit
        session.commit = lambda: self._commit(commit)  # type: ignore[method-assign]
        try:
            with connection.execute_wrapper(self._statement):
                yield self
                self._boundary("the end", changes=True)
        finally:
            del session.commit  # the class's own again

    def _statement(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        if self._looking:
            return execute(sql, params, many, context)
        writes = WRITES.match(str(sql)) is not None
        alone = writes and not connection.in_atomic_block
        self._boundary(str(sql).split(None, 1)[0].upper(), changes=alone)
        answer = execute(sql, params, many, context)
        self._wrote = writes or self._wrote
        if alone:
            self._change()
        return answer

    def _commit(self, commit: Callable[[], None]) -> None:
        changes = self._wrote
        self._boundary("COMMIT", changes=changes)
        commit()
        if changes:
            self._change()
            connection.connection.rollback()  # what the look has begun
        self._boundary("after COMMIT", changes=False)

    def _change(self) -> None:
        self._wrote, self._looking = False, True
        self.changed(self.cuts[-1])
        self._looking = False

    def _boundary(self, what: str, *, changes: bool) -> None:
        if self.count == self.at:
            self.reached = True
            self.end()
        if changes:
            self.cuts.append(Cut(self.count, _step(), what))
        self.count += 1


def _step() -> str:
    """The innermost function of the program that is at work, of those that say what is done."""
    frame, found = sys._getframe(), "the loop"
    while frame := frame.f_back:  # type: ignore[assignment]
        name = frame.f_globals.get("__name__", "")
        if name.startswith(OURS):
            found = f"{name}.{frame.f_code.co_name}"
            if not GENERIC.match(name):
                break
    return found
