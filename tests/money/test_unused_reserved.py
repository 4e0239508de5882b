"""Unused reserved quantity against a reference that looks at every second (B2: shown, never charged)."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from hypothesis import given

from claims.core.rating import CUSTOMER, RESERVED, Interval, PricePoint, QuotaPoint, Unused, unused_reserved
from tests.money.test_rating import END, FLAT, START, at, only, price, worlds
from tests.search import examples

GPUS = {1: 4, 2: 8}


def by_the_second(intervals: list[Interval], quotas: list[QuotaPoint], prices: list[PricePoint]) -> tuple[int, Decimal]:
    total, usd = 0, Decimal(0)
    for second in range(round((END - START).total_seconds())):
        now = at(second)
        known = [one for one in quotas if one.at <= now]
        room = max(0, known[-1].reserved - known[-1].other_usage) if known else 0
        held = sum(one.started <= now and (one.ended is None or now < one.ended) for one in intervals)
        unused = max(0, room - held)
        total += unused
        usd += unused * GPUS[1] / Decimal(3600) * next(
            p.usd for p in prices if p.rate == RESERVED and (p.start is None or p.start <= now)
            and (p.end is None or now < p.end)
        )  # fmt: skip
    return total, usd


@examples(50)
@given(worlds())
def test_b2_unused_reserved_agrees_with_every_second(
    world: tuple[list[Interval], list[QuotaPoint], list[PricePoint]],
) -> None:
    intervals, quotas, prices = world
    customer = [one for one in intervals if one.claim_kind == CUSTOMER]
    found = unused_reserved(customer, quotas, prices, GPUS, START, END)
    seconds, usd = by_the_second(customer, quotas, prices)
    assert sum(one.instance_seconds for one in found) == seconds
    assert abs(sum((one.usd or Decimal(0) for one in found), Decimal(0)) - usd) < Decimal("1e-9")


def test_b2_other_use_and_instances_of_claims_use_the_reserved_quantity() -> None:
    quotas = [QuotaPoint(1, START, 5, 2)]
    (one,) = unused_reserved([only(CUSTOMER)], quotas, FLAT, GPUS, START, START + timedelta(hours=1))
    assert one == Unused(1, 2 * 3600, Decimal(2 * 4 * 6))
    held = [only(CUSTOMER, id=id) for id in range(3)]
    assert unused_reserved(held, quotas, FLAT, GPUS, START, END) == []


def test_an_offering_is_not_used_by_the_instances_of_another() -> None:
    quotas = [QuotaPoint(1, START, 1, 0), QuotaPoint(2, START, 1, 0)]
    elsewhere = replace(only(CUSTOMER), offering=2)
    found = unused_reserved([elsewhere], quotas, FLAT, GPUS, START, at(10))
    assert [(one.offering, one.instance_seconds) for one in found] == [(1, 10)]


def test_without_a_reserved_price_the_hours_are_shown_without_an_amount() -> None:
    found = unused_reserved([], [QuotaPoint(1, START, 1, 0)], [price("6", RESERVED, end=5)], GPUS, START, at(10))
    assert found == [Unused(1, 10, None)]
