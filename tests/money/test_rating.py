"""Rating against a reference that looks at every second, and the rules B1 to B3 by name."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claims.core.rating import (
    CUSTOMER,
    ON_DEMAND,
    RESERVED,
    Interval,
    PriceMissing,
    PricePoint,
    QuotaPoint,
    rate,
)
from tests.search import examples

# Just before a month, an hour and a day end, so that every kind of edge is near.
START = datetime(2026, 2, 28, 23, 59, 30, tzinfo=UTC)
END = START + timedelta(seconds=90)


def at(second: int) -> datetime:
    return START + timedelta(seconds=second)


def price(usd: str, which: str = ON_DEMAND, start: int | None = None, end: int | None = None) -> PricePoint:
    begin, stop = (None if one is None else at(one) for one in (start, end))
    return PricePoint(1, which, begin, stop, Decimal(usd))


FLAT = [price("10"), price("6", RESERVED)]


def by_the_second(
    intervals: list[Interval], quotas: list[QuotaPoint], prices: list[PricePoint]
) -> dict[tuple[int, str], tuple[int, Decimal]]:
    """(GPU-seconds, USD) by interval and rate: each second is looked at on its own."""
    sums: dict[tuple[int, str], tuple[int, Decimal]] = {}
    for second in range(round((END - START).total_seconds())):
        now = at(second)
        known = [one for one in quotas if one.at <= now]
        room = max(0, known[-1].reserved - known[-1].other_usage) if known else 0
        active = [one for one in intervals if one.started <= now and (one.ended is None or now < one.ended)]
        customer = sorted((one for one in active if one.claim_kind == CUSTOMER), key=lambda one: (one.started, one.id))
        for one in active:
            which = RESERVED if one in customer[:room] else ON_DEMAND
            usd = next(p.usd for p in prices if p.rate == which and (p.start is None or p.start <= now)
                       and (p.end is None or now < p.end))  # fmt: skip
            seconds, amount = sums.get((one.id, which), (0, Decimal(0)))
            sums[one.id, which] = (seconds + one.gpus, amount + one.gpus * usd / 3600)
    return sums


seconds = st.integers(-20, 110)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Interval], list[QuotaPoint], list[PricePoint]]:
    intervals = []
    for id in range(draw(st.integers(1, 6))):
        started = draw(seconds)
        ended = draw(st.one_of(st.none(), st.integers(started, 115)))
        kind = draw(st.sampled_from([CUSTOMER, CUSTOMER, "SERVERLESS", ""]))
        end = None if ended is None else at(ended)
        intervals.append(Interval(id, 1, draw(st.integers(1, 8)), kind, at(started), end))
    changes = sorted(draw(st.lists(seconds, max_size=3, unique=True)))
    quotas = [QuotaPoint(1, at(one), draw(st.integers(0, 4)), draw(st.integers(0, 2))) for one in changes]
    turn = draw(st.integers(0, 90))
    prices = [price("10.5", end=turn), price("8.25", start=turn), price("6.3", RESERVED, end=turn),
              price("4.75", RESERVED, start=turn)]  # fmt: skip
    return intervals, quotas, prices


@examples(50)
@given(worlds())
def test_slices_agree_with_every_second(world: tuple[list[Interval], list[QuotaPoint], list[PricePoint]]) -> None:
    intervals, quotas, prices = world
    sums: dict[tuple[int, str], tuple[int, Decimal]] = {}
    for one in rate(intervals, quotas, prices, START, END):
        known, amount = sums.get((one.interval, one.rate), (0, Decimal(0)))
        sums[one.interval, one.rate] = (known + one.gpu_seconds, amount + one.usd)
    expected = by_the_second(intervals, quotas, prices)
    assert {key: value[0] for key, value in sums.items()} == {key: value[0] for key, value in expected.items()}
    for key, (_, usd) in expected.items():
        assert abs(sums[key][1] - usd) < Decimal("1e-9")


@examples(40)
@given(worlds(), st.integers(0, 90))
def test_rating_in_two_parts_is_rating_at_once(
    world: tuple[list[Interval], list[QuotaPoint], list[PricePoint]], cut: int
) -> None:
    intervals, quotas, prices = world
    whole = rate(intervals, quotas, prices, START, END)
    parts = rate(intervals, quotas, prices, START, at(cut)) + rate(intervals, quotas, prices, at(cut), END)
    assert sum(one.gpu_seconds for one in whole) == sum(one.gpu_seconds for one in parts)
    difference = sum((one.usd for one in whole), Decimal(0)) - sum((one.usd for one in parts), Decimal(0))
    assert abs(difference) < Decimal("1e-9")


def only(kind: str, gpus: int = 4, id: int = 1, start: int = 0) -> Interval:
    return Interval(id, 1, gpus, kind, at(start), None)


def test_b1_a_serverless_claim_pays_on_demand_whatever_is_reserved() -> None:
    slices = rate([only("SERVERLESS")], [QuotaPoint(1, START, 5, 0)], FLAT, START, START + timedelta(hours=1))
    assert {one.rate for one in slices} == {ON_DEMAND}
    assert sum(one.usd for one in slices) == 40


def test_b2_other_use_takes_from_the_reserved_quantity_first_then_the_oldest_instances() -> None:
    intervals = [only(CUSTOMER, id=1, start=2), only(CUSTOMER, id=2, start=1), only(CUSTOMER, id=3, start=1)]
    slices = rate(intervals, [QuotaPoint(1, START, 3, 1)], FLAT, at(10), at(20))
    assert {one.interval: one.rate for one in slices} == {2: RESERVED, 3: RESERVED, 1: ON_DEMAND}


def test_b2_an_instance_that_leaves_makes_room_for_the_next() -> None:
    first = Interval(1, 1, 4, CUSTOMER, at(0), at(10))
    slices = rate([first, only(CUSTOMER, id=2, start=1)], [QuotaPoint(1, START, 1, 0)], FLAT, START, at(20))
    second = [(one.started, one.rate) for one in slices if one.interval == 2]
    assert second == [(at(1), ON_DEMAND), (at(10), RESERVED)]


def test_b3_a_replica_pays_on_demand_for_its_gpus() -> None:
    (one,) = rate([only("", gpus=2)], [], FLAT, START, at(18))
    assert (one.gpu_seconds, one.usd) == (36, Decimal("0.1"))


def test_b5_slices_end_at_the_month() -> None:
    slices = rate([only("SERVERLESS")], [], FLAT, START, END)
    assert [one.ended for one in slices] == [datetime(2026, 3, 1, tzinfo=UTC), END]


def test_what_has_no_price_is_an_error_and_never_free() -> None:
    with pytest.raises(PriceMissing, match="no ON_DEMAND price"):
        rate([only("SERVERLESS")], [], [price("10", end=5)], START, END)
