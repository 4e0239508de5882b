"""Loops that are late: which, since when, and what that means for somebody who looks at a page."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import Error as DatabaseError
from django.db import connection

from console.common import clock
from console.loops.models import Loop
from console.loops.selectors import loops_late
from deployments.loop.tick import shards

SCALE = "scale"
MEANINGS = {
    SCALE: "sizes stay as they are; nothing is scaled up or down",
    "actuate": "replicas are neither started nor stopped; those that run go on",
    "fulfil": "claims get no instances and give none up; reductions wait",
    "provision": "machines are neither asked for nor given back",
    "meter": "usage is recorded but not rated ahead; amounts stay right, pages are slower",
    "deliver": "notifications are kept and not sent; they go out once it runs again",
    "quota-notices": "nobody is told that quota fills up",
    "budget-notices": "nobody is told of budgets that are reached",
    "shortage-notices": "nobody is told of deployments that are short",
    "objectives": "settings that objectives chose are gone by and not chosen anew",
    "roll-up": "charts of the past are not written; that is caught up later",
}
OTHERWISE = "what it does waits; nothing is lost"


@dataclass(frozen=True, slots=True)
class Late:
    """A kind of loop of which some passes are late: `parts` names the shards, where it has any."""

    kind: str
    parts: tuple[str, ...]
    since: datetime
    completed: bool
    meaning: str
    error: str

    @property
    def name(self) -> str:
        shown, more = ", ".join(self.parts[:2]), len(self.parts) - 2
        return self.kind + (f" of {shown}" if shown else "") + (f" and {more} more" if more > 0 else "")


def late_kinds(now: datetime) -> list[Late]:
    """Late loops by kind, longest first. A shard that nothing uses any more has no passes and is not late."""
    return grouped(in_use(loops_late(now=now)))


def in_use(loops: Iterable[Loop]) -> list[Loop]:
    late = list(loops)
    if not any(":" in loop.name for loop in late):
        return late
    used = {f"{SCALE}:{shard.name}" for shard in shards()}
    return [loop for loop in late if not loop.name.startswith(f"{SCALE}:") or loop.name in used]


def grouped(loops: Iterable[Loop]) -> list[Late]:
    by_kind: dict[str, list[Loop]] = {}
    for loop in loops:
        by_kind.setdefault(loop.name.partition(":")[0], []).append(loop)
    return sorted((kind_of(kind, found) for kind, found in by_kind.items()), key=lambda one: (one.since, one.kind))


def kind_of(kind: str, loops: list[Loop]) -> Late:
    first = min(loops, key=last_pass)
    return Late(
        kind=kind,
        parts=tuple(sorted(part for loop in loops if (part := loop.name.partition(":")[2]))),
        since=last_pass(first),
        completed=first.ended_at is not None,
        meaning=MEANINGS.get(kind, OTHERWISE),
        error=next((loop.last_error for loop in loops if loop.last_error), ""),
    )


def last_pass(loop: Loop) -> datetime:
    """When the last complete pass ended; where there was none, when the first began."""
    at = loop.ended_at or loop.started_at
    assert at is not None, "a loop that never began is not late"
    return at


def late_names_apart() -> frozenset[str] | None:
    """Names of the late loops, for a thread of its own; None when the database does not answer."""
    try:
        return frozenset(loop.name for loop in loops_late(now=clock.now()))
    except DatabaseError:
        return None
    finally:
        connection.close()
