"""What windows make of a deployment's min and max at a time. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from claims.core.windows import Occurrence, Window, open_at
from deployments.core.snapshot import Scheduled

# Between the start of a replica and a plan that counts on it: a pass that decides, one that sees it ready.
MARGIN = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Scheduling:
    """A window with its bounds; None: as otherwise. `opened_for`: the beginning it was last opened for ahead of time."""

    key: int
    window: Window
    min: int | None
    max: int | None
    opened_for: datetime | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """`scheduled` are bits of core.snapshot.Scheduled; `opened` says for which beginning a window (key) now is, or has
    been opened ahead of time."""

    min: int
    max: int
    scheduled: int = Scheduled.NOTHING
    opened: tuple[int, datetime] | None = None


def bounds_at(windows: Sequence[Scheduling], low: int, high: int, now: datetime, startup: timedelta) -> Bounds:
    """Min and max at `now`, where `low` and `high` are those without a window.

    A window in force sets what it names. Before one begins its min holds already for as long as replicas take to start,
    so that they are ready when it does; a lower min and any max wait for the beginning. Where a window and what was set
    later do not fit together, what the window names wins.
    """
    found = Bounds(low, high)
    for one in windows:
        begun = open_at(one.window, now, timedelta(), None)
        if begun:
            found = _in_force(one, begun, low, high)
    return _ahead(found, windows, now, startup + MARGIN)


def _in_force(one: Scheduling, begun: Occurrence, low: int, high: int) -> Bounds:
    opened = (one.key, begun.start)
    if one.min is not None:
        most = max(one.min, high if one.max is None else one.max)
        return Bounds(one.min, most, Scheduled.MIN | (Scheduled.MAX if one.max is not None else 0), opened)
    assert one.max is not None
    return Bounds(min(low, one.max), one.max, Scheduled.MAX, opened)


def _ahead(found: Bounds, windows: Sequence[Scheduling], now: datetime, lead: timedelta) -> Bounds:
    """The same with the min of windows that begin within the lead, where that is more."""
    for one in windows:
        coming = open_at(one.window, now, lead, one.opened_for)
        if one.min is not None and one.min > found.min and coming and coming.start > now:
            bits = found.scheduled | Scheduled.MIN | Scheduled.AHEAD
            found = Bounds(one.min, max(found.max, one.min), bits, (one.key, coming.start))
    return found
