"""The meter on the real ledger: again, late and at once it changes nothing; month to date is exact."""

import threading
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from claims import metering
from claims.forecast import forecast
from claims.models import CapacityClaim, MeterCursor, RatedDay, RatedSlice, UsageInterval
from console.common import clock
from console.organizations.models import Organization
from tests import world
from tests.cast import Cast


def interval(
    cast: Cast, started: datetime, ended: datetime | None, key: int = 1, kind: str = "SERVERLESS"
) -> UsageInterval:
    of = world.offering()
    instance = world.gone(of)
    claim = CapacityClaim(name="past")
    return UsageInterval.objects.create(
        kind="CLAIM", resource_key=key, organization=cast.organization, offering=of, instance=instance, gpus=4,
        claim_kind=kind, holder_id=claim.id, holder_name=claim.name, started_at=started, ended_at=ended,
    )  # fmt: skip


def whole(organization: Organization, start: datetime, end: datetime) -> Decimal:
    return sum((one.usd for one in metering.rated(organization, start, end)), Decimal(0))


@pytest.mark.django_db
def test_metering_again_and_late_changes_nothing(cast: Cast) -> None:
    # Half past an hour: right after a full one its last hour is not settled yet.
    now = metering.hour_of(clock.now()) - timedelta(minutes=30)
    interval(cast, metering.hour_of(now) - timedelta(hours=5, minutes=10), None)
    written = metering.meter_pass(now)
    assert written == 6
    before = list(RatedSlice.objects.values().order_by("id"))
    assert metering.meter_pass(now) == 0
    assert metering.meter_pass(now - timedelta(hours=2)) == 0
    assert list(RatedSlice.objects.values().order_by("id")) == before


@pytest.mark.django_db
def test_what_is_rated_and_what_is_live_make_the_whole(cast: Cast) -> None:
    now = clock.now()
    start = metering.hour_of(now) - timedelta(hours=4)
    interval(cast, start + timedelta(minutes=7), start + timedelta(hours=3, minutes=31), key=1)
    interval(cast, start + timedelta(minutes=59, seconds=59), None, key=2)
    expected = whole(cast.organization, start, now.replace(microsecond=0))
    assert metering.total(metering.usage(cast.organization, start, now, now)) == expected
    metering.meter_pass(now)
    assert metering.total(metering.usage(cast.organization, start, now, now)) == expected
    ragged = start + timedelta(minutes=40)
    assert metering.total(metering.usage(cast.organization, ragged, now, now)) == whole(
        cast.organization, ragged, now.replace(microsecond=0)
    )


@pytest.mark.django_db
@pytest.mark.parametrize("begins", [timedelta(0), timedelta(hours=5), timedelta(hours=5, minutes=17)])
def test_days_added_up_are_their_slices(cast: Cast, begins: timedelta) -> None:
    now = clock.now()
    start = metering.day_of(now) - timedelta(days=3)
    interval(cast, start + timedelta(hours=7, minutes=7), None, key=1)
    interval(cast, start + timedelta(hours=30), start + timedelta(hours=31, minutes=1), kind="CUSTOMER", key=2)
    metering.meter_pass(now - timedelta(days=1, hours=2))
    metering.meter_pass(now)
    for end in (now, start + timedelta(hours=40), start + timedelta(days=2)):
        rows = metering.usage(cast.organization, start + begins, end, now)
        assert metering.total(rows) == whole(cast.organization, start + begins, end.replace(microsecond=0))
    assert sum(RatedDay.objects.values_list("usd", flat=True)) == sum(RatedSlice.objects.values_list("usd", flat=True))


@pytest.mark.django_db
def test_a_day_that_is_added_to_while_it_is_read_is_read_again(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    now, start = clock.now(), metering.day_of(clock.now()) - timedelta(days=2)
    interval(cast, start, None)
    metering.meter_pass(now - timedelta(hours=20))
    read, stored = list[object](), metering._stored

    def while_the_meter_runs(*args: Any) -> Any:
        if not read:
            metering.meter_pass(now)
        read.append(stored(*args))
        return read[-1]

    monkeypatch.setattr(metering, "_stored", while_the_meter_runs)
    expected = whole(cast.organization, start, now.replace(microsecond=0))
    assert metering.total(metering.usage(cast.organization, start, now, now)) == expected
    assert [one is None for one in read] == [True, False]


@pytest.mark.django_db
def test_what_is_held_now_has_a_price_an_hour(cast: Cast) -> None:
    now = clock.now()
    interval(cast, now.replace(microsecond=0) - timedelta(minutes=1), None)
    assert forecast(cast.organization, now).per_hour == Decimal("42.00")


@pytest.mark.django_db(transaction=True)
def test_two_meters_at_once_rate_everything_once(cast: Cast) -> None:
    now = clock.now()
    interval(cast, metering.hour_of(now) - timedelta(hours=30), None)

    def run() -> None:
        try:
            metering.meter_pass(now)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    cursor = MeterCursor.objects.get()
    hours = (cursor.rated_until - (metering.hour_of(now) - timedelta(hours=30))) / timedelta(hours=1)
    assert RatedSlice.objects.count() == hours
    assert sum(RatedSlice.objects.values_list("gpu_seconds", flat=True)) == 4 * 3600 * hours


@pytest.mark.django_db
@pytest.mark.parametrize("statement", [
    "DELETE FROM claims_usageinterval",
    "UPDATE claims_usageinterval SET gpus = 1",
    "UPDATE claims_usageinterval SET ended_at = now() + interval '1 hour' WHERE ended_at IS NOT NULL",
    "DELETE FROM claims_ratedslice",
    "UPDATE claims_ratedslice SET usd = 0",
])  # fmt: skip
def test_b4_the_database_refuses_to_change_the_past(cast: Cast, statement: str) -> None:
    now = clock.now()
    interval(cast, now - timedelta(hours=4), now - timedelta(hours=1))
    metering.meter_pass(now)
    before = (list(UsageInterval.objects.values()), list(RatedSlice.objects.values()))
    with connection.cursor() as cursor, pytest.raises(DatabaseError), transaction.atomic():
        cursor.execute(statement)
    assert (list(UsageInterval.objects.values()), list(RatedSlice.objects.values())) == before
