"""The rules of the peers once more, slow and obvious: one deployment, plain numbers, whole histories, from the table of
what each publishes. `look` is asked each 5 s with what is in flight, ready and starting, and says the size wanted."""

from dataclasses import dataclass, field
from math import ceil, floor


def mean(values: list[int]) -> float:
    return sum(values) / len(values)


@dataclass
class Slow:
    target: float
    at_s: int = 0
    flights: list[int] = field(default_factory=list)

    def look(self, flight: int, ready: int, starting: int) -> int:
        self.at_s += 5
        self.flights.append(flight)
        return self.wanted(ready, starting)

    def wanted(self, ready: int, starting: int) -> int:
        raise NotImplementedError

    def last(self, window_s: float) -> list[int]:
        """In flight at the samples younger than the window."""
        return self.flights[-ceil(window_s / 5) :]


@dataclass
class SlowKpa(Slow):
    stable_s: float = 60
    panic_s: float = 6
    panicked_at: int | None = None
    most: int = 0

    def wanted(self, ready: int, starting: int) -> int:
        ready = max(ready, 1)
        sudden, steady = (ceil(mean(self.last(window)) / self.target) for window in (self.panic_s, self.stable_s))
        if sudden / ready >= 2:
            self.panicked_at = self.at_s
        elif self.panicked_at is not None and self.at_s >= self.panicked_at + self.stable_s:
            self.panicked_at, self.most = None, 0
        sudden, steady = (max(floor(ready / 2), min(1000 * ready, size)) for size in (sudden, steady))
        if self.panicked_at is None:
            return steady
        self.most = max(self.most, steady, sudden)
        return self.most


@dataclass
class Recommending(Slow):
    """The highest recommendation of a time counts."""

    shrinks_after_s: float = 300
    every_s: int = 15
    recommended: list[tuple[int, int]] = field(default_factory=list)

    def wanted(self, ready: int, starting: int) -> int:
        if self.at_s % self.every_s:
            return ready + starting
        self.recommended.append((self.at_s, self.recommend(ready, starting)))
        lately = self.recommended[-ceil(self.shrinks_after_s / self.every_s) :]
        return max(size for at, size in lately if self.at_s - at < self.shrinks_after_s)

    def recommend(self, ready: int, starting: int) -> int:
        raise NotImplementedError


class SlowHpa(Recommending):
    def recommend(self, ready: int, starting: int) -> int:
        if ready == 0:
            return starting
        ratio = self.flights[-1] / ready / self.target
        counted = 0.0 if ratio > 1 else self.target
        again = (self.flights[-1] + counted * starting) / (ready + starting) / self.target
        if abs(again - 1) <= 0.1 or (again > 1) != (ratio > 1):
            return ready + starting
        return ceil(again * (ready + starting))


@dataclass
class SlowKeda(Recommending):
    polled: int = 0

    def wanted(self, ready: int, starting: int) -> int:
        if self.at_s % 30 == 0:
            self.polled = self.flights[-1]
        return super().wanted(ready, starting)

    def recommend(self, ready: int, starting: int) -> int:
        return self.of(self.polled, ready + starting)

    def of(self, flight: int, size: int) -> int:
        if abs(flight / max(size, 1) / self.target - 1) <= 0.1:
            return size
        return ceil(flight / self.target)


@dataclass
class SlowLookAhead(SlowKeda):
    season_s: int = 7 * 86_400

    def recommend(self, ready: int, starting: int) -> int:
        begins = [self.at_s // 60 * 60 - self.season_s + 60 * minute for minute in range(30)]
        # The samples of a minute are those at its end and up to 55 s before.
        past = [self.flights[at // 5 : at // 5 + 12] for at in begins if at >= 0]
        means = [round(mean(minute)) for minute in past if len(minute) == 12]
        return self.of(max([self.flights[-1], *means]), ready + starting)


@dataclass
class SlowRay(Slow):
    way: int = 0
    since_s: int = 0

    def wanted(self, ready: int, starting: int) -> int:
        size = ready + starting
        desired = ceil(mean(self.last(30)) / self.target)
        way = (desired > size) - (desired < size)
        if way != self.way:
            self.way, self.since_s = way, self.at_s
        if way == 0 or self.at_s - self.since_s < (30 if way > 0 else 600):
            return size
        self.way = 0
        return desired


class SlowApa(Recommending):
    def recommend(self, ready: int, starting: int) -> int:
        size = ready + starting
        value = mean(self.last(180)) / max(size, 1)
        if abs(value / self.target - 1) <= 0.1:
            return size
        return max(floor(0.5 * size), min(2 * max(size, 1), ceil(mean(self.last(180)) / self.target)))


class SlowBaseten(Recommending):
    def recommend(self, ready: int, starting: int) -> int:
        return ceil(mean(self.last(60)) / self.target)


class SlowFireworks(Slow):
    def wanted(self, ready: int, starting: int) -> int:
        size = ready + starting
        least, _ = self.range_of(30)
        _, most = self.range_of(600)
        return least if size < least else most if size > most else size

    def range_of(self, window_s: float) -> tuple[int, int]:
        wanted = [ceil(flight / self.target) for flight in self.last(window_s)]
        return min(wanted), max(wanted)


@dataclass
class SlowSageMaker(Slow):
    shrunk_at: int | None = None

    def wanted(self, ready: int, starting: int) -> int:
        size, desired = ready + starting, ceil(mean(self.last(60)) / self.target)
        if desired >= size:
            return desired
        if self.shrunk_at is not None and self.at_s - self.shrunk_at < 300:
            return size
        self.shrunk_at = self.at_s
        return desired
