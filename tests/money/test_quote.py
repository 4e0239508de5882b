"""What is quoted before something is taken is what the meter charges for it afterwards (B1, B2)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from claims.core.quote import Rates, hourly, reserved_room
from claims.core.rating import CUSTOMER, ON_DEMAND, RESERVED, Interval, PricePoint, QuotaPoint, rate

START = datetime(2026, 3, 1, 7, 0, tzinfo=UTC)
few = st.integers(0, 12)


@given(few, few, few, st.integers(1, 8))
def test_b2_a_quote_is_what_an_hour_is_charged(instances: int, reserved: int, other: int, gpus: int) -> None:
    prices = [
        PricePoint(1, ON_DEMAND, None, None, Decimal("10.5")),
        PricePoint(1, RESERVED, None, None, Decimal("6.3")),
    ]
    held = [Interval(n, 1, gpus, CUSTOMER, START - timedelta(seconds=n), None) for n in range(instances)]
    charged = rate(
        held, [QuotaPoint(1, START - timedelta(days=1), reserved, other)], prices, START, START + timedelta(hours=1)
    )
    rates = Rates(Decimal("10.5"), Decimal("6.3"), reserved_room(reserved=reserved, other_usage=other))
    assert hourly(instances, gpus, rates) == sum(one.usd for one in charged)
