"""B5: changes that commit late are not missed; what has no price waits and is billed once; changes in mid-hour."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange

from claims import ledger, locks, metering
from claims.models import CapacityClaim, MeterCursor, Offering, Price, PriceKind, RatedSlice, UsageInterval, UsageKind
from claims.services import price_set
from console.common import clock
from console.common.errors import InvalidArgument, PermissionDenied
from console.dashboard.invariants import breaches
from console.organizations.models import AuditEvent, Organization
from tests import world
from tests.cast import Cast

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


def tenure(organization: Organization, started: datetime, of: Offering | None = None, kind: str = "SERVERLESS") -> int:
    """A claim's instance of 4 GPUs, from then on; the instance's key."""
    place = of or world.offering()
    instance = world.gone(place)
    claim = CapacityClaim(organization=organization, offering=place, name="mine", kind=kind)
    ledger.open_claim_intervals(claim=claim, instances=[instance], now=started)
    return instance.key


def ends(key: int, at: datetime) -> None:
    ledger.close_intervals(kind=UsageKind.CLAIM, resource_keys=[key], now=at)


def money_breaches() -> list[str]:
    """Of the invariants, those of the ledger and of what was rated; the machines of these tests are gone for good."""
    return [one.invariant for one in breaches() if "(B5)" in one.invariant or "(B8)" in one.invariant]


def rated_seconds() -> int:
    return sum(RatedSlice.objects.values_list("gpu_seconds", flat=True))


# --- commits that are late -------------------------------------------------------------------------
@contextmanager
def not_committed_yet(change: Callable[[], object]) -> Iterator[None]:
    """The change is made in a transaction of another connection, which commits when the block ends."""
    made, go = threading.Event(), threading.Event()

    def run() -> None:
        try:
            with transaction.atomic():
                change()
                made.set()
                go.wait(timeout=30)
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert made.wait(timeout=30)
        yield
    finally:
        go.set()
        thread.join(timeout=30)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("locked", [False, True])
def test_b5_an_interval_that_is_closed_late_is_rated_to_the_second(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, locked: bool
) -> None:
    key = tenure(cast.organization, NOON - HOUR)
    if not locked:
        monkeypatch.setattr(locks, "books_lock", lambda keys: None)
    with not_committed_yet(lambda: ends(key, NOON - 10 * SECOND)):
        metering.meter_organization(cast.organization, NOON)
    if not locked:
        assert money_breaches(), "the test cannot see the race it is about"
        return
    assert not RatedSlice.objects.exists(), "the books stay open while somebody writes"
    metering.meter_organization(cast.organization, NOON)
    assert rated_seconds() == 4 * 3590
    assert money_breaches() == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("locked", [False, True])
def test_b5_an_interval_that_is_opened_late_is_not_missed(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, locked: bool
) -> None:
    tenure(cast.organization, NOON - HOUR)
    if not locked:
        monkeypatch.setattr(locks, "books_lock", lambda keys: None)
    with not_committed_yet(lambda: tenure(cast.organization, NOON - 10 * SECOND)):
        metering.meter_organization(cast.organization, NOON)
    metering.meter_organization(cast.organization, NOON + HOUR)
    if not locked:
        assert money_breaches(), "the test cannot see the race it is about"
        return
    assert rated_seconds() == 4 * (7200 + 3610)
    assert money_breaches() == []


@pytest.mark.django_db(transaction=True)
def test_b5_a_closing_that_waits_holds_up_no_writer_for_long(cast: Cast) -> None:
    key = tenure(cast.organization, NOON - HOUR)
    with not_committed_yet(lambda: ends(key, NOON - 10 * SECOND)):
        began = clock.now()
        assert not metering.books_close(cast.organization, NOON)
        tenure(cast.organization, NOON)
        assert clock.now() - began < timedelta(seconds=20)
    assert metering.books_close(cast.organization, NOON)


# --- prices that are missing -----------------------------------------------------------------------
@pytest.mark.django_db
def test_b5_what_has_no_price_says_so_and_is_billed_once_when_it_has(cast: Cast) -> None:
    of = world.offering()
    tenure(cast.organization, NOON - HOUR)
    tenure(cast.organization, NOON - HOUR, world.offering(type_="b200-8x"))
    tenure(cast.other, NOON - HOUR, world.offering(type_="b200-8x"))
    Price.objects.filter(instance_type=of.instance_type).delete()
    assert metering.meter_pass(NOON + timedelta(minutes=5)) == 1, "the other organization's, once"
    assert metering.meter_pass(NOON + timedelta(minutes=5)) == 0
    cursor = MeterCursor.objects.get(organization=cast.organization)
    assert (cursor.rated_until, cursor.closed_until) == (NOON - HOUR, NOON)
    assert cursor.problem.startswith("gb200-4x in US-WEST-04A has no on-demand price at 2026-03-10 11:00 UTC")
    price_set(actor=world.PLATFORM, instance_type=of.instance_type, zone=None, kind=PriceKind.ON_DEMAND,
              usd=Decimal("10"), starts=NOON - 2 * HOUR)  # fmt: skip
    assert metering.meter_pass(NOON + timedelta(minutes=6)) == 2
    assert metering.meter_pass(NOON + timedelta(minutes=7)) == 0
    assert MeterCursor.objects.get(organization=cast.organization).problem == ""
    mine = RatedSlice.objects.filter(organization=cast.organization)
    assert sum(mine.values_list("usd", flat=True)) == 4 * 10 + 8 * Decimal("8.60")
    assert money_breaches() == []


@pytest.mark.django_db
def test_usage_without_a_price_is_refused_in_words(cast: Cast) -> None:
    tenure(cast.organization, clock.now() - HOUR)
    Price.objects.all().delete()
    answer = cast.billing.api().get("/api/v1/usage")
    assert (answer.status_code, answer.json()["code"]) == (412, 9)
    assert "gb200-4x in US-WEST-04A has no on-demand price" in answer.json()["message"]


# --- what changes in mid-hour ----------------------------------------------------------------------
def slices() -> list[tuple[int, int, str, Decimal]]:
    """(from, to, rate, price) of each slice; minutes from eleven o'clock."""
    return [
        (round((one.started_at - NOON + HOUR).total_seconds() / 60),
         round((one.ended_at - NOON + HOUR).total_seconds() / 60), one.rate, one.usd_per_gpu_hour.normalize())
        for one in RatedSlice.objects.order_by("interval", "started_at")
    ]  # fmt: skip


def at(minute: int) -> datetime:
    return NOON - HOUR + timedelta(minutes=minute)


@pytest.mark.django_db
def test_b5_a_price_that_changes_in_mid_hour_cuts_the_slice(cast: Cast) -> None:
    of = world.offering()
    tenure(cast.organization, NOON - HOUR)
    price_set(actor=world.PLATFORM, instance_type=of.instance_type, zone=None, kind=PriceKind.ON_DEMAND,
              usd=Decimal("12"), starts=at(20))  # fmt: skip
    price_set(actor=world.PLATFORM, instance_type=of.instance_type, zone=of.zone, kind=PriceKind.ON_DEMAND,
              usd=Decimal("9"), starts=at(50))  # fmt: skip
    metering.meter_organization(cast.organization, NOON)
    assert slices() == [
        (0, 20, "ON_DEMAND", Decimal("10.5")), (20, 50, "ON_DEMAND", Decimal("12")), (50, 60, "ON_DEMAND", Decimal("9")),
    ]  # fmt: skip
    assert money_breaches() == []


@pytest.mark.django_db
def test_b5_quota_and_other_use_that_change_in_mid_hour_cut_the_slice(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = world.offering()
    tenure(cast.organization, NOON - HOUR, kind="CUSTOMER")
    for minute, reserved, other in ((10, 1, 0), (30, 1, 1), (45, 2, 1)):
        monkeypatch.setattr(clock, "now", lambda minute=minute: at(minute))
        world.quota(cast.organization, of, limit=5, reserved=reserved, other_usage=other)
    metering.meter_organization(cast.organization, NOON)
    assert [(start, end, rate) for start, end, rate, _ in slices()] == [
        (0, 10, "ON_DEMAND"), (10, 30, "RESERVED"), (30, 45, "ON_DEMAND"), (45, 60, "RESERVED"),
    ]  # fmt: skip


@pytest.mark.django_db
def test_b5_months_end_inside_an_interval_and_add_up(cast: Cast) -> None:
    new_year = datetime(2027, 1, 1, tzinfo=UTC)
    key = tenure(cast.organization, new_year - timedelta(minutes=7))
    ends(key, new_year + timedelta(minutes=5))
    for now in (new_year + timedelta(minutes=6), new_year + 2 * HOUR):
        metering.meter_pass(now)
        december = metering.usage(cast.organization, metering.month_of(new_year - HOUR), new_year, now)
        january = metering.usage(cast.organization, new_year, new_year + HOUR, now)
        assert [(row.gpu_seconds, row.usd) for row in december] == [(4 * 420, Decimal("4.9"))]
        assert [(row.gpu_seconds, row.usd) for row in january] == [(4 * 300, Decimal("3.5"))]


# --- prices are changed through the service --------------------------------------------------------
@pytest.mark.django_db
def test_a_price_begins_where_the_one_before_ends(cast: Cast) -> None:
    of = world.offering()
    type_ = of.instance_type
    for usd, starts in (("11", NOON), ("13", NOON + 2 * HOUR), ("12", NOON + HOUR), ("11.5", NOON)):
        price_set(actor=world.PLATFORM, instance_type=type_, zone=None, kind=PriceKind.ON_DEMAND, usd=Decimal(usd),
                  starts=starts)  # fmt: skip
    found = Price.objects.filter(instance_type=type_, kind=PriceKind.ON_DEMAND).order_by("valid")
    assert [(one.usd_per_gpu_hour, one.valid.lower, one.valid.upper) for one in found][1:] == [
        (Decimal("11.5"), NOON, NOON + HOUR), (Decimal("12"), NOON + HOUR, NOON + 2 * HOUR),
        (Decimal("13"), NOON + 2 * HOUR, None),
    ]  # fmt: skip
    assert found[0].valid.upper == NOON
    assert AuditEvent.objects.filter(action="price.set").count() == 4


@pytest.mark.django_db
def test_b5_a_price_for_what_is_rated_is_refused_and_changes_nothing(cast: Cast) -> None:
    of = world.offering()
    tenure(cast.organization, NOON - HOUR)
    metering.meter_organization(cast.organization, NOON)
    before, events = list(Price.objects.order_by("pk").values()), AuditEvent.objects.count()
    block: dict[str, Any] = {
        "instance_type": of.instance_type,
        "zone": None,
        "kind": PriceKind.ON_DEMAND,
        "usd": Decimal("1"),
    }
    with pytest.raises(InvalidArgument, match="until 2026-03-10 12:00 UTC is rated already"):
        price_set(actor=world.PLATFORM, **block, starts=NOON - SECOND)
    for usd in ("-1", "1000001", "0.0000001"):
        with pytest.raises(InvalidArgument):
            price_set(actor=world.PLATFORM, **{**block, "usd": Decimal(usd)}, starts=NOON)
    with pytest.raises(PermissionDenied):
        price_set(actor=cast.admin.actor, **block, starts=NOON)
    assert list(Price.objects.order_by("pk").values()) == before
    assert AuditEvent.objects.count() == events
    price_set(actor=world.PLATFORM, **block, starts=NOON)
    price_set(actor=world.PLATFORM, **{**block, "zone": world.offering("RNO2A").zone}, starts=NOON - 5 * HOUR)
    assert Price.objects.count() == len(before) + 2


@pytest.mark.django_db
def test_prices_between_seconds_are_cut_to_the_second(cast: Cast) -> None:
    of = world.offering()
    tenure(cast.organization, NOON - HOUR)
    old = Price.objects.get(instance_type=of.instance_type, kind=PriceKind.ON_DEMAND)
    cut = at(30) + timedelta(microseconds=700_000)
    Price.objects.filter(pk=old.pk).update(valid=DateTimeTZRange(old.valid.lower, cut))
    Price.objects.create(instance_type=of.instance_type, kind=PriceKind.ON_DEMAND, usd_per_gpu_hour=Decimal(20),
                         valid=DateTimeTZRange(cut, None))  # fmt: skip
    metering.meter_organization(cast.organization, NOON)
    assert rated_seconds() == 4 * 3600
    assert UsageInterval.objects.count() == 1
    assert money_breaches() == []
