"""What the managed pool of an offering will have free, and when, as far as it is known: scheduled reductions, windows
that end, drains, and machines on their way. Replicas that stop when load falls are not foreseen here."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from django.conf import settings

from claims import joining
from claims.core.reductions import takes_effect
from claims.core.states import PENDING_STATES
from claims.holdings import Holding, awaited, holdings_of
from claims.models import CapacityClaim, ClaimKind, Instance, Offering, Source, Work


class Why(StrEnum):
    REDUCTION = "REDUCTION"
    WINDOW_END = "WINDOW_END"
    DRAIN = "DRAIN"
    JOIN = "JOIN"


@dataclass(frozen=True, slots=True)
class Freed:
    """So many instances of the pool are free at `at`, or by then at the latest (DRAIN). `claim` gives them up; None: the
    machines are new in the pool."""

    at: datetime
    count: int
    why: Why
    claim: CapacityClaim | None = None


@dataclass(frozen=True, slots=True)
class Supply:
    """How a claim that waits for the pool is expected to be filled: instances and what they come from, soonest first.
    `unknown` of those it lacks come from nowhere that is known; `ahead` instances go to older claims first (C4)."""

    freed: Sequence[Freed]
    unknown: int
    ahead: int


def _frees(offering: Offering, holdings: Iterable[Holding], now: datetime) -> Iterator[Freed]:
    for holding in holdings:
        claim = holding.claim
        if claim.kind != ClaimKind.SERVERLESS:
            continue
        going = len(holding.counting) - claim.wanted
        if claim.reduction_at is not None and going > 0:
            yield Freed(max(now, claim.reduction_at), going, Why.REDUCTION, claim)
        ending = window_end(claim, len(holding.counting))
        if ending is not None and not holding.deleting:
            at, count = ending
            yield Freed(max(now, at), count, Why.WINDOW_END, claim)
        yield from _drains(holding, now)
    yield from _joins(offering, now)


def window_end(claim: CapacityClaim, held: int) -> tuple[datetime, int] | None:
    """When a SERVERLESS claim that holds so many gives up how many, since the window that is open ends (C12): at most one
    reduction an interval (C7). None: no window of it is open, or it has no more than its base."""
    if claim.window_until is None or held <= claim.target or claim.kind != ClaimKind.SERVERLESS or claim.reduction_at:
        return None
    at = takes_effect(
        held=held, target=claim.target, scheduled=None, last=claim.reduced_at, interval=settings.REDUCTION_INTERVAL,
        now=claim.window_until,
    )  # fmt: skip
    return None if at is None else (at, held - claim.target)


def _drains(holding: Holding, now: datetime) -> Iterator[Freed]:
    deadlines = [one.drain_until or now for one in holding.draining if one.work != Work.BAD]
    for at in sorted(set(deadlines)):
        yield Freed(max(now, at), deadlines.count(at), Why.DRAIN, holding.claim)


def _joins(offering: Offering, now: datetime) -> Iterator[Freed]:
    coming = Instance.objects.filter(
        offering=offering, source=Source.POOL, state__in=PENDING_STATES, claim__isnull=True
    )
    for one in joining.expected(list(coming), now).values():
        if one.at is not None:
            yield Freed(one.at, 1, Why.JOIN)


def supply_of(claim: CapacityClaim, now: datetime) -> Supply:
    """Where what a SERVERLESS claim lacks will come from. Older claims are served first (C4)."""
    holdings = holdings_of(claim.offering)
    mine, ahead = next((one.missing for one in holdings if one.claim.key == claim.key), 0), awaited(holdings, claim)
    freed = _sorted(claim.offering, holdings, now)
    # Its own window that ends gives it nothing.
    others = [one for one in freed if one.why != Why.WINDOW_END or one.claim is None or one.claim.key != claim.key]
    return _dealt(others, ahead, mine)


def supply_for_new(offering: Offering, count: int, now: datetime) -> Supply:
    """The same for `count` instances of a claim that does not exist yet, and beyond what is free now."""
    holdings = holdings_of(offering)
    return _dealt(_sorted(offering, holdings, now), awaited(holdings), count)


def _sorted(offering: Offering, holdings: Iterable[Holding], now: datetime) -> list[Freed]:
    return sorted(_frees(offering, holdings, now), key=lambda one: (one.at, one.why, one.count))


def _dealt(freed: Sequence[Freed], ahead: int, missing: int) -> Supply:
    """What is left of what is freed once `ahead` instances have gone to others, until `missing` are filled."""
    mine, passed, lacking = [], ahead, missing
    for one in freed:
        theirs = min(passed, one.count)
        passed -= theirs
        got = min(one.count - theirs, lacking)
        lacking -= got
        if got:
            mine.append(replace(one, count=got))
    return Supply(mine, lacking, ahead)
