"""When something that takes its time will be there: median and 90th percentile of those that took longer than this one
has waited already.

Nearest-rank percentiles of what was measured; a range that a backend states is taken as evenly spread.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

LATE = 0.9


@dataclass(frozen=True, slots=True)
class Spread:
    """How long it takes: `times` as measured, in ascending order, or, where there are none, from `least` to `most` as
    stated by whoever does it."""

    times: Sequence[timedelta] = ()
    least: timedelta = timedelta()
    most: timedelta = timedelta()

    @property
    def seen(self) -> int:
        """How many were measured; 0: it is as stated."""
        return len(self.times)

    @property
    def usual(self) -> timedelta:
        """The median."""
        return self._beyond(timedelta(), 0.5)

    @property
    def late(self) -> timedelta:
        """The 90th percentile."""
        return self._beyond(timedelta(), LATE)

    @property
    def longest(self) -> timedelta:
        return self.times[-1] if self.times else self.most

    def left(self, waited: timedelta) -> tuple[timedelta, timedelta] | None:
        """Median and 90th percentile of the whole time of those that take longer than `waited`; None: none does."""
        if waited >= self.longest:
            return None
        return self._beyond(waited, 0.5), self._beyond(waited, LATE)

    def _beyond(self, waited: timedelta, share: float) -> timedelta:
        if not self.times:
            floor = max(waited, self.least)
            return floor + (self.most - floor) * share
        rest = [one for one in self.times if one > waited] or list(self.times)
        return rest[max(0, ceil(share * len(rest)) - 1)]


@dataclass(frozen=True, slots=True)
class Expected:
    """Something awaited. `at` and `until` are the median and the 90th percentile of what is still possible, both None
    once it has taken longer than all before it; `late_since`: from then on it was later than usual, None: it is not."""

    at: datetime | None
    until: datetime | None
    late_since: datetime | None


def expected(spread: Spread, since: datetime, now: datetime) -> Expected:
    """When what began at `since` is expected, as of `now`. "Usual" ends at the 90th percentile."""
    left = spread.left(now - since)
    usual_until = since + spread.late
    late_since = usual_until if now > usual_until else None
    if left is None:
        return Expected(None, None, late_since or usual_until)
    return Expected(since + left[0], since + left[1], late_since)
