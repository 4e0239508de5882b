"""What usage costs: intervals, quota history and prices go in, exact slices come out (B1 to B3, B5).

- A SERVERLESS claim pays the on-demand rate for each instance it holds (B1).
- A CUSTOMER claim pays the reserved rate for the instances within the organization's reserved quantity, the on-demand
  rate beyond. `other_usage` takes from the reserved quantity first, then instances by allocation time, then id (B2).
- A replica on the on-demand pool pays the on-demand rate for its GPUs (B3).

Slices end wherever the rate or the price of an interval can change, at whole hours, and so at month ends. All times
are aware UTC datetimes in whole seconds; money is Decimal, never rounded but to 12 places of a dollar.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from claims.core import quota

RESERVED, ON_DEMAND = "RESERVED", "ON_DEMAND"
CUSTOMER = "CUSTOMER"
PLACES = Decimal("1e-12")
HOUR = timedelta(hours=1)
RateAt = Callable[[datetime], str]


@dataclass(frozen=True, slots=True)
class Interval:
    """`gpus` GPUs of `offering` held in [started, ended); None: still held. `claim_kind` is empty for a replica."""

    id: int
    offering: int
    gpus: int
    claim_kind: str
    started: datetime
    ended: datetime | None


@dataclass(frozen=True, slots=True)
class QuotaPoint:
    """What an offering's quota is from `at` on, in instances."""

    offering: int
    at: datetime
    reserved: int
    other_usage: int


@dataclass(frozen=True, slots=True)
class PricePoint:
    """USD for a GPU-hour of an offering at a rate in [start, end); None: no end. Points of one key do not overlap."""

    offering: int
    rate: str
    start: datetime | None
    end: datetime | None
    usd: Decimal


@dataclass(frozen=True, slots=True)
class Slice:
    interval: int
    started: datetime
    ended: datetime
    rate: str
    usd_per_gpu_hour: Decimal
    gpu_seconds: int
    usd: Decimal


class PriceMissing(LookupError):
    """Something was used that has no price; it is not free, so nothing is rated until there is one."""

    def __init__(self, offering: int, rate: str, at: datetime) -> None:
        super().__init__(f"Offering {offering} has no {rate} price at {at.isoformat()}.")
        self.offering, self.rate, self.at = offering, rate, at


class Prices:
    """Prices looked up by time."""

    def __init__(self, points: Iterable[PricePoint]) -> None:
        self._points: Mapping[tuple[int, str], list[PricePoint]] = defaultdict(list)
        for point in points:
            self._points[point.offering, point.rate].append(point)

    def at(self, offering: int, rate: str, moment: datetime) -> Decimal:
        for point in self._points[offering, rate]:
            if (point.start is None or point.start <= moment) and (point.end is None or moment < point.end):
                return point.usd
        raise PriceMissing(offering, rate, moment)

    def changes(self, offering: int) -> Iterator[datetime]:
        for rate in (RESERVED, ON_DEMAND):
            for point in self._points[offering, rate]:
                yield from (moment for moment in (point.start, point.end) if moment is not None)


def rate(
    intervals: Sequence[Interval],
    quotas: Sequence[QuotaPoint],
    prices: Sequence[PricePoint],
    start: datetime,
    end: datetime,
) -> list[Slice]:
    """Slices of all usage of one organization in [start, end); an open interval counts up to `end`.

    Raises PriceMissing. The order is by interval, then time.
    """
    table = Prices(prices)
    by_offering: dict[int, list[Interval]] = defaultdict(list)
    for interval in intervals:
        by_offering[interval.offering].append(interval)
    slices: list[Slice] = []
    for offering, rows in by_offering.items():
        points = sorted((p for p in quotas if p.offering == offering), key=lambda p: p.at)
        slices += _rate_offering(offering, rows, points, table, start, end)
    return sorted(slices, key=lambda one: (one.interval, one.started))


@dataclass(frozen=True, slots=True)
class Unused:
    """Instance-seconds of an offering's reserved quantity that nothing used, and what they would cost at the reserved
    rate; None where there is no such price for part of the time. Shown, never charged (B2)."""

    offering: int
    instance_seconds: int
    usd: Decimal | None


def unused_reserved(
    customer: Sequence[Interval],
    quotas: Sequence[QuotaPoint],
    prices: Sequence[PricePoint],
    gpus: Mapping[int, int],
    start: datetime,
    end: datetime,
) -> list[Unused]:
    """Reserved quantity minus other use minus instances of CUSTOMER claims, summed over [start, end).

    `gpus` is the number of GPUs of an instance by offering. By offering; those with nothing unused are left out.
    """
    table = Prices(prices)
    found = []
    for offering in sorted({point.offering for point in quotas}):
        points = sorted((point for point in quotas if point.offering == offering), key=lambda point: point.at)
        rows = [row for row in customer if row.offering == offering]
        pieces = _unused_pieces(points, rows, table.changes(offering), start, end)
        seconds = sum(count * _seconds(began, ended) for began, ended, count in pieces)
        if seconds:
            found.append(Unused(offering, seconds, _cost(offering, gpus[offering], pieces, table)))
    return found


def _unused_pieces(
    points: Sequence[QuotaPoint], rows: Sequence[Interval], changes: Iterable[datetime], start: datetime, end: datetime
) -> list[tuple[datetime, datetime, int]]:
    """(from, until, unused instances) wherever some are."""
    began = sorted(row.started for row in rows)
    ended = sorted(row.ended for row in rows if row.ended is not None)
    times = [point.at for point in points]
    edges = sorted(edge for edge in {start, end, *times, *began, *ended, *changes} if start <= edge <= end)
    pieces = []
    for edge, following in pairwise(edges):
        place, paid = bisect_right(times, edge) - 1, bisect_right(began, edge) - bisect_right(ended, edge)
        if place < 0:
            continue
        unused = quota.unused_reserved(
            reserved=points[place].reserved, other_usage=points[place].other_usage, paid=paid
        )
        if unused:
            pieces.append((edge, following, unused))
    return pieces


def _cost(offering: int, gpus: int, pieces: Sequence[tuple[datetime, datetime, int]], table: Prices) -> Decimal | None:
    usd = Decimal(0)
    for began, ended, count in pieces:
        try:
            price = table.at(offering, RESERVED, began)
        except PriceMissing:
            return None
        usd += Decimal(gpus * count * _seconds(began, ended)) * price / 3600
    return usd.quantize(PLACES)


def _seconds(began: datetime, ended: datetime) -> int:
    return round((ended - began).total_seconds())


def _rate_offering(
    offering: int,
    rows: list[Interval],
    quotas: list[QuotaPoint],
    prices: Prices,
    start: datetime,
    end: datetime,
) -> Iterator[Slice]:
    customer = sorted((r for r in rows if r.claim_kind == CUSTOMER), key=lambda r: (r.started, r.id))
    edges = {start, end, *_hours(start, end), *prices.changes(offering)}
    plain = sorted(edge for edge in edges if start <= edge <= end)
    for row in rows:
        if row.claim_kind != CUSTOMER:
            yield from _cut(row, plain, lambda moment: ON_DEMAND, prices)
    edges |= {point.at for point in quotas}
    edges |= {edge for row in customer for edge in (row.started, row.ended) if edge is not None}
    ranked = sorted(edge for edge in edges if start <= edge <= end)
    reserved = _reserved_by_edge(ranked, customer, quotas)
    for row in customer:
        yield from _cut(row, ranked, _rate_of(row.id, reserved), prices)


def _rate_of(id: int, reserved: Mapping[datetime, set[int]]) -> RateAt:
    return lambda moment: RESERVED if id in reserved[moment] else ON_DEMAND


def _reserved_by_edge(
    edges: list[datetime], customer: list[Interval], quotas: list[QuotaPoint]
) -> dict[datetime, set[int]]:
    """Ids of the intervals at the reserved rate from each edge to the next (B2)."""
    times = [point.at for point in quotas]
    found = {}
    for edge in edges:
        place = bisect_right(times, edge) - 1
        room = max(0, quotas[place].reserved - quotas[place].other_usage) if place >= 0 else 0
        active = (row for row in customer if row.started <= edge and (row.ended is None or edge < row.ended))
        found[edge] = {row.id for row, _ in zip(active, range(room), strict=False)}
    return found


def _cut(row: Interval, edges: list[datetime], rate_at: RateAt, prices: Prices) -> Iterator[Slice]:
    """The interval cut at the edges, with neighbours of one rate and price inside an hour kept together."""
    if not edges:
        return
    first, last = max(row.started, edges[0]), min(row.ended or edges[-1], edges[-1])
    if first >= last:
        return
    inner = edges[bisect_right(edges, first) :]
    inner = inner[: bisect_right(inner, last)]
    began = first
    for edge in [*inner, last]:
        if edge <= began:
            continue
        # The state at the last edge not after `began` holds for the whole piece.
        known = edges[bisect_right(edges, began) - 1]
        which = rate_at(known)
        yield _slice(row, began, edge, which, prices.at(row.offering, which, began))
        began = edge


def _slice(row: Interval, began: datetime, ended: datetime, which: str, usd: Decimal) -> Slice:
    gpu_seconds = row.gpus * _seconds(began, ended)
    amount = (Decimal(gpu_seconds) * usd / 3600).quantize(PLACES)
    return Slice(row.id, began, ended, which, usd, gpu_seconds, amount)


def _hours(start: datetime, end: datetime) -> Iterator[datetime]:
    """Whole hours strictly inside (start, end)."""
    hour = start.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + HOUR
    while hour < end:
        yield hour
        hour += HOUR
