"""Which hours there are to make, newest first, and how many side by side.

Hours are simulated apart, each by the clock and with a warm-up, so that the newest need not wait for the oldest
(docs/decisions/0007 says what that costs at their joints).
"""

from dataclasses import dataclass

HOUR = 3600
# After so long a run has forgotten how it began, as far as one can see.
WARM_UP = 900


@dataclass(frozen=True, slots=True)
class Hour:
    """The part [start, end) of the hour that begins at `begins`. Unix seconds."""

    begins: int
    start: float
    end: float


def hours_before(end: float, start: float) -> list[Hour]:
    """The hours of [start, end), newest first; the first and the last may be parts of one."""
    last, first = int(-(-end // HOUR)) * HOUR - HOUR, int(start // HOUR) * HOUR
    return [Hour(at, max(start, at), min(end, at + HOUR)) for at in range(last, first - 1, -HOUR)]


def batches(hours: list[Hour], most: int) -> list[list[Hour]]:
    """What is made side by side: first the hour that has begun with the one before it, then as many as fit."""
    rest = hours[2:]
    return [hours[:2], *(rest[at : at + most] for at in range(0, len(rest), most))]
