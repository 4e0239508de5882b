"""The recount itself: every second on its own, what each holder pays in it, added up in whole GPU-seconds.

Slow on purpose, and plain: it looks at B1 to B3 by the letter, cuts nothing into slices, and keeps no money until the
seconds are counted; then GPU-seconds times price over 3600, as a fraction.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from math import floor

from claims.recount import read
from claims.recount.read import Held, Line, Price

HOUR = 3600
NEAR = Fraction(1, 10**9)
ONE_REQUEST = 2  # seconds between the time a request reads and the one its transaction writes
Tally = dict[tuple[int, str, Decimal], int]
Prices = dict[tuple[int, str], list[Price]]


@dataclass
class Recount:
    """How much was looked at, and every difference in a sentence."""

    intervals: int = 0
    lines: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def summary(self) -> str:
        return f"{self.intervals} intervals, {self.lines} lines, {len(self.differences)} differences"


def recount(start: int | None = None, end: int | None = None) -> Recount:
    """Count all organizations again, in [start, end) in seconds since 1970, whole hours, as far as they are rated."""
    found, prices = Recount(), read.prices()
    for key, slug, rated_until in read.organizations():
        every = read.held(key)
        first = min((one.since for one in every), default=rated_until)
        begin = max(first, start if start is not None else first) // HOUR * HOUR
        until = min(rated_until, end if end is not None else rated_until)
        _organization(found, key, slug, every, prices, begin, until)
    return found


def _organization(found: Recount, key: int, slug: str, every: list[Held], prices: Prices, start: int, end: int) -> None:
    mine = [one for one in every if one.since < end and (one.until is None or one.until > start)]
    found.intervals += len(mine)
    found.differences += [f"{slug}: {one}" for one in overlaps(mine)]
    found.differences += [f"{slug}: {one}" for one in too_early(mine, read.created(key))]
    quotas = read.quotas(key)
    rated = set(read.rated_hours(key, start, end))
    by_line: dict[str, dict[Line, int]] = defaultdict(lambda: defaultdict(int))
    held = {one.id: one for one in every}
    for hour in hours(mine, rated, start, end):
        there = [one for one in mine if one.since < hour + HOUR and (one.until is None or one.until > hour)]
        tally, missing = count_hour(there, quotas, prices, hour)
        found.differences += [f"{slug}: {one}" for one in missing]
        found.differences += [f"{slug}, {name(hour)}: {one}" for one in compare(tally, read.slices(key, hour))]
        for (id, rate, usd), gpu_seconds in tally.items():
            one = held[id]
            line = (one.kind, one.holder, one.name, one.offering, rate, usd)
            by_line[month(hour)][line] += gpu_seconds
    found.lines += sum(map(len, by_line.values()))
    since = start if start > min((one.since for one in every), default=start) else None
    for which in months(start, end):
        if since is not None and name(since) > f"{which}-01 00:00 UTC":
            continue  # a part of the month says nothing about its lines
        found.differences += [f"{slug}, {which}: {one}" for one in compare_lines(key, which, by_line[which])]


def hours(mine: Iterable[Held], rated: set[int], start: int, end: int) -> Iterator[int]:
    """Hours in which anything was held or rated."""
    busy = set(rated)
    for one in mine:
        until = end if one.until is None else min(one.until, end)
        busy.update(range(max(one.since, start) // HOUR * HOUR, until, HOUR))
    return iter(sorted(hour for hour in busy if start <= hour < end))


def count_hour(
    there: list[Held], quotas: dict[int, list[tuple[int, int]]], prices: Prices, hour: int
) -> tuple[Tally, list[str]]:
    """GPU-seconds by interval, rate and price of the 3600 seconds; and what has no price."""
    tally: Tally = defaultdict(int)
    missing: set[str] = set()
    for second in range(hour, hour + HOUR):
        active = [one for one in there if one.since <= second and (one.until is None or second < one.until)]
        reserved = reserved_at(active, quotas, second)
        for one in active:
            rate = "RESERVED" if one.id in reserved else "ON_DEMAND"
            usd = price_at(prices.get((one.offering, rate), []), second)
            if usd is None:
                missing.add(f"{one.name} has no {rate} price in the hour of {name(hour)}")
            else:
                tally[one.id, rate, usd] += one.gpus
    return dict(tally), sorted(missing)


def reserved_at(active: list[Held], quotas: dict[int, list[tuple[int, int]]], second: int) -> set[int]:
    """Intervals of CUSTOMER claims at the reserved rate: the first allocated, as many as are reserved then (B2)."""
    found: set[int] = set()
    customer = sorted((one for one in active if one.claim_kind == "CUSTOMER"), key=lambda one: (one.since, one.id))
    for offering in {one.offering for one in customer}:
        room = 0
        for since, left in quotas.get(offering, []):
            if since <= second:
                room = left
        found.update([one.id for one in customer if one.offering == offering][:room])
    return found


def price_at(points: list[Price], second: int) -> Decimal | None:
    """The zone's own price where it has one, the type's otherwise."""
    valid = [
        one
        for one in points
        if (one.since is None or one.since <= second) and (one.until is None or second < one.until)
    ]
    own = [one.usd for one in valid if one.of_zone] or [one.usd for one in valid]
    return own[0] if own else None


def compare(tally: Tally, rated: dict[tuple[int, str, Decimal], tuple[int, Decimal]]) -> Iterator[str]:
    """The hour counted again against the meter's slices: to the second, and to a billionth of a dollar."""
    for key in sorted(tally.keys() | rated.keys()):
        id, rate, usd = key
        mine, (theirs, cost) = tally.get(key, 0), rated.get(key, (0, Decimal(0)))
        what = f"interval {id} {rate} at {usd}"
        if mine != theirs:
            yield f"{what}: {mine} GPU-seconds counted, {theirs} rated"
        elif abs(money(mine, usd) - Fraction(cost)) > NEAR:
            yield f"{what}: {float(money(mine, usd)):.9f} USD counted, {cost} rated"


def compare_lines(organization: int, which: str, counted: dict[Line, int]) -> Iterator[str]:
    """A closed month counted again against its lines. Corrections belong to the month they correct, and each is rounded
    on its own."""
    totals = read.closed(organization, which)
    if totals is None:
        return
    if totals[0] != totals[1]:
        yield f"total {totals[0]} USD, but its lines are {totals[1]}"
    stored: dict[Line, list[tuple[int, Decimal]]] = defaultdict(list)
    for line, gpu_seconds, amount in read.lines(organization, which):
        stored[line].append((gpu_seconds, amount))
    for line in sorted(stored.keys() | counted.keys()):
        seconds, parts = counted.get(line, 0), stored.get(line, [])
        if seconds != sum(part for part, _ in parts):
            yield f"line {line[2]}: {seconds} GPU-seconds counted, {sum(part for part, _ in parts)} stated"
        for part, amount in parts:
            if cents(money(part, line[5])) != amount * 100:
                yield f"line {line[2]}: {cents(money(part, line[5]))} cents counted, {amount} USD stated"


def money(gpu_seconds: int, usd: Decimal) -> Fraction:
    return Fraction(usd) * gpu_seconds / HOUR


def cents(usd: Fraction) -> int:
    """Half a cent is a cent."""
    return floor(usd * 100 + Fraction(1, 2))


def too_early(mine: Iterable[Held], created: dict[str, int]) -> Iterator[str]:
    """What a claim is said to have held before the audit trail has it made."""
    for one in mine:
        if one.kind == "CLAIM" and one.since < created.get(one.holder, one.since) - ONE_REQUEST:
            yield f"interval {one.id} of {one.name} begins {name(one.since)}, before the claim was made"


def overlaps(mine: Iterable[Held]) -> Iterator[str]:
    """Tenures of one instance that overlap, or overlap what replicas pay for there (B8)."""
    by_instance: dict[int, list[Held]] = defaultdict(list)
    for one in mine:
        by_instance[one.instance].append(one)
    for instance, there in by_instance.items():
        for place, one in enumerate(there):
            for other in there[place + 1 :]:
                begin = max(one.since, other.since)
                both = all(each.until is None or begin < each.until for each in (one, other))
                if both and "CLAIM" in (one.kind, other.kind):
                    yield f"intervals {one.id} and {other.id} both hold instance {instance}"


def name(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M} UTC"


def month(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m}"


def months(start: int, end: int) -> list[str]:
    """Those that begin before `end` and have ended by then."""
    found = sorted({month(second) for second in range(start, end, HOUR)})
    return [one for one in found if one != month(end)]
