"""Grafana Mimir's look-ahead: HPA over what is in flight now, and over what was a season ago in the half hour to come."""

from dataclasses import dataclass, replace

import numpy as np

from deployments.sim.grid import Int64s, Seen
from deployments.sim.peers import kubernetes
from deployments.sim.peers.rule import Floats, Policy, current, due, in_flight, samples
from deployments.sim.peers.sliding import Sliding, highest_of

MINUTE_S, AHEAD_S = 60.0, 1800.0
DAY_S, WEEK_S = 86_400.0, 7 * 86_400.0
MINUTES_A_PAGE = 60


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """What each minute had in flight on average, rounded, of which only what is less than a season old is kept.

    pages: int64 [60, L] each, the oldest first; `first` is the minute of the run that it begins with
    page: minutes that do not fill one yet
    """

    first: int = 0
    pages: tuple[Int64s, ...] = ()
    page: tuple[Int64s, ...] = ()

    def with_minute(self, mean: Int64s, kept: int) -> "Past":
        page = (*self.page, mean)
        if len(page) < MINUTES_A_PAGE:
            return replace(self, page=page)
        pages, first = (*self.pages, np.stack(page)), self.first
        while len(pages) * MINUTES_A_PAGE > kept + MINUTES_A_PAGE:
            pages, first = pages[1:], first + MINUTES_A_PAGE
        return Past(first, pages)

    def at(self, minute: int) -> Int64s | None:
        """The mean of a minute of the run; None where there was none or it is forgotten."""
        page, row = divmod(minute - self.first, MINUTES_A_PAGE)
        if page < 0 or page > len(self.pages):
            return None
        rows = self.page if page == len(self.pages) else self.pages[page]
        return rows[row] if row < len(rows) else None


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """recommended: sizes of the last 300 s
    minute: in flight in this minute, summed over `count` samples
    past: the minutes before
    ahead: the highest means of the minutes that were a season ago to half an hour later
    """

    recommended: Sliding
    minute: Int64s
    count: int
    past: Past
    ahead: Sliding


def look_ahead(targets: Floats, *, season_s: float = WEEK_S) -> Policy:
    """HPA with the larger of two external metrics: what is in flight, and the highest mean of a minute from a season
    ago to half an hour after. As long as there is no such past, only the first."""
    season = int(season_s / MINUTE_S)

    def step(state: State, seen: Seen) -> tuple[State, Int64s]:
        state = _noted(state, in_flight(seen), season)
        if not due(seen, kubernetes.EVERY_S):
            return state, current(seen)
        requests = in_flight(seen)
        if state.ahead.seen:
            requests = np.maximum(requests, state.ahead.value)
        recommended = state.recommended.push(kubernetes.in_all(requests, seen, targets))
        return replace(state, recommended=recommended), recommended.value

    none = np.zeros(len(targets), np.int64)
    begins = State(kubernetes.stabilised(), none, 0, Past(), highest_of(samples(AHEAD_S, MINUTE_S)))
    return step, begins


def _noted(state: State, requests: Int64s, season: int) -> State:
    """With this sample, and where it ends a minute with what was half an hour after it a season ago."""
    total, count = state.minute + requests, state.count + 1
    if count < samples(MINUTE_S):
        return replace(state, minute=total, count=count)
    past = state.past.with_minute(np.rint(total / count).astype(np.int64), season)
    now = past.first + MINUTES_A_PAGE * len(past.pages) + len(past.page)
    then = past.at(now - season + samples(AHEAD_S, MINUTE_S) - 1)
    ahead = state.ahead if then is None else state.ahead.push(then)
    return State(state.recommended, np.zeros_like(total), 0, past, ahead)
