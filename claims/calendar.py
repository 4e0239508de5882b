"""What is promised in the next two weeks: by a claim, by a managed pool, and what of it cannot be had as things are now.

Of a pool the bases of all its claims come first, since nothing takes away what they hold (C4), then windows in the order in
which their claims were created. Replicas on demand promise nothing; neither does what is provisioned ahead of a window.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from claims.core.states import Status
from claims.core.windows import DAY, Level
from claims.models import CapacityClaim, ClaimKind, ClaimWindow, Offering
from claims.selectors import QuotaRow
from claims.windows import claim_promised

DAYS = 14
MINUTES_A_DAY = 24 * 60


@dataclass(frozen=True, slots=True)
class Span:
    """`count` instances promised in [start, end), `lacking` of which cannot be had with today's pool or quota."""

    start: datetime
    end: datetime
    count: int
    lacking: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """A claim and what it promises."""

    claim: CapacityClaim
    levels: Sequence[Level]

    def at(self, now: datetime) -> int:
        return self.levels[bisect_right(self.levels, now, key=lambda one: one.at) - 1].count


def period(now: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """From the beginning of today in the zone, two weeks of its days; UTC."""
    today = now.astimezone(zone).date()
    return _midnight(today, zone), _midnight(today + DAYS * DAY, zone)


def pool_lines(offerings: Collection[int], start: datetime, end: datetime) -> dict[int, list[Line]]:
    """By offering key, the SERVERLESS claims of all organizations, in order of creation. Two queries."""
    claims = CapacityClaim.objects.filter(offering__in=offerings, kind=ClaimKind.SERVERLESS)
    chosen = claims.exclude(status=Status.DELETING).order_by("created_at", "key")
    found: dict[int, list[Line]] = {}
    for line in lines_of(list(chosen), start, end):
        found.setdefault(line.claim.offering_id, []).append(line)
    return found


def lines_of(claims: Sequence[CapacityClaim], start: datetime, end: datetime) -> list[Line]:
    """One query."""
    rows: dict[int, list[ClaimWindow]] = {}
    for row in ClaimWindow.objects.filter(claim__in=[one.key for one in claims]).order_by("key"):
        rows.setdefault(row.claim_id, []).append(row)
    return [Line(one, claim_promised(one.target, rows.get(one.key, []), start, end)) for one in claims]


def pool_spans(lines: Sequence[Line], pool: int, end: datetime) -> list[Span]:
    """What all claims of the pool promise together, and how many more that is than the pool is to have."""
    found = []
    for begin, until in _cuts(lines, end):
        count = sum(line.at(begin) for line in lines)
        found.append(Span(begin, until, count, max(0, count - pool)))
    return _joined(found)


def claim_spans(lines: Sequence[Line], claim: CapacityClaim, pool: int, end: datetime) -> list[Span]:
    """What the claim, one of these lines of a pool, promises, and what of a window it cannot have."""
    before = [line for line in lines if _order(line.claim) < _order(claim)]
    mine = next(line for line in lines if line.claim.key == claim.key)
    room = pool - sum(line.claim.target for line in lines)
    found = []
    for begin, until in _cuts(lines, end):
        left = room - sum(line.at(begin) - line.claim.target for line in before)
        count = mine.at(begin)
        found.append(Span(begin, until, count, max(0, min(count - claim.target, count - claim.target - left))))
    return _joined(found)


def quota_spans(line: Line, quota: QuotaRow, end: datetime) -> list[Span]:
    """The same of a CUSTOMER claim: what a window asks for beyond a quota that was lowered since (C13)."""
    base = line.claim.target
    return [
        Span(begin, until, line.at(begin), min(line.at(begin) - base, quota.over))
        for begin, until in _cuts([line], end)
    ]


def window_spans(
    claims: Iterable[CapacityClaim], quotas: Mapping[int, QuotaRow], now: datetime, zone: ZoneInfo
) -> dict[int, list[Span]]:
    """By claim key, what each of an organization's claims promises in two weeks of days of the zone. `quotas` are the
    organization's by offering key. Three queries, however many claims there are."""
    start, end = period(now, zone)
    live = [one for one in claims if one.status != Status.DELETING]
    customers = [one for one in live if one.kind == ClaimKind.CUSTOMER]
    offerings = {one.offering_id: one.offering for one in live if one.kind == ClaimKind.SERVERLESS}
    found: dict[int, list[Span]] = {}
    for line in lines_of(customers, start, end) if customers else []:
        row = quotas.get(line.claim.offering_id)
        quota = row or QuotaRow(line.claim.offering, 0, 0, 0, line.claim.promised)
        found[line.claim.key] = quota_spans(line, quota, end)
    pools = pool_lines(offerings, start, end) if offerings else {}
    for one in live:
        if one.offering_id in offerings and any(one.key == line.claim.key for line in pools.get(one.offering_id, [])):
            pool = offerings[one.offering_id].pool_wanted
            found.setdefault(one.key, claim_spans(pools[one.offering_id], one, pool, end))
    return found


@dataclass(frozen=True, slots=True)
class Bar:
    """A span inside a day, `begin` and `length` in minutes on the clock of the zone."""

    begin: int
    length: int
    count: int
    lacking: int


@dataclass(frozen=True, slots=True)
class Day:
    day: date
    bars: Sequence[Bar]

    @property
    def most(self) -> int:
        return max(one.count for one in self.bars)

    @property
    def lacking(self) -> int:
        return max(one.lacking for one in self.bars)


def days_of(spans: Sequence[Span], zone: ZoneInfo) -> list[Day]:
    """The days of the zone that the spans, one after the other, fill."""
    first, last = spans[0].start.astimezone(zone).date(), (spans[-1].end - timedelta.resolution).astimezone(zone).date()
    found = []
    for number in range((last - first).days + 1):
        day = first + number * DAY
        start, end = _midnight(day, zone), _midnight(day + DAY, zone)
        inside = [one for one in spans if one.start < end and one.end > start]
        found.append(Day(day, [_bar(one, start, end, zone) for one in inside]))
    return [one for one in found if one.bars]


def _bar(span: Span, start: datetime, end: datetime, zone: ZoneInfo) -> Bar:
    begin = 0 if span.start <= start else _minute(span.start, zone)
    until = MINUTES_A_DAY if span.end >= end else _minute(span.end, zone)
    return Bar(begin, max(1, until - begin), span.count, span.lacking)


def _minute(at: datetime, zone: ZoneInfo) -> int:
    clock = at.astimezone(zone)
    return clock.hour * 60 + clock.minute


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _order(claim: CapacityClaim) -> tuple[datetime, int]:
    return claim.created_at, claim.key


def _cuts(lines: Iterable[Line], end: datetime) -> list[tuple[datetime, datetime]]:
    """The times between any two changes."""
    at = sorted({level.at for line in lines for level in line.levels})
    return list(pairwise([*at, end]))


def _joined(spans: Iterable[Span]) -> list[Span]:
    """Neighbours that say the same as one."""
    found: list[Span] = []
    for one in spans:
        last = found[-1] if found else None
        if last and (last.count, last.lacking) == (one.count, one.lacking):
            found[-1] = Span(last.start, one.end, one.count, one.lacking)
        else:
            found.append(one)
    return found


def pool_calendar(offering: Offering, now: datetime, zone: ZoneInfo) -> list[Span]:
    """What the claims of the offering's managed pool promise in two weeks of days of the zone; empty without a claim."""
    start, end = period(now, zone)
    lines = pool_lines([offering.key], start, end).get(offering.key, [])
    return pool_spans(lines, offering.pool_wanted, end)
