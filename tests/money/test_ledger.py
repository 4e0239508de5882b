"""B4, B5 and B8 in the ledger itself: what the database refuses, and times that are entered late."""

import uuid
from datetime import datetime, timedelta

import pytest
from django.db import IntegrityError, transaction

from claims import ledger, metering
from claims.models import CapacityClaim, Instance, MeterCursor, QuotaChange, UsageInterval, UsageKind
from console.common import clock
from tests import world
from tests.cast import Cast

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)


def enter(
    cast: Cast, instance: Instance, start: datetime, end: datetime | None, kind: str = "REPLICA", key: int = 1
) -> UsageInterval:
    """An interval as it is, past every function that would have seen to it."""
    with transaction.atomic():
        return UsageInterval.objects.create(
            kind=kind, resource_key=instance.key if kind == "CLAIM" else key, organization=cast.organization,
            offering=instance.offering, instance=instance, gpus=1, holder_id=uuid.uuid4(), holder_name="x",
            claim_kind="SERVERLESS" if kind == "CLAIM" else "", started_at=start, ended_at=end,
        )  # fmt: skip


def replica_row(cast: Cast, instance: Instance, key: int) -> UsageInterval:
    return UsageInterval(
        kind=UsageKind.REPLICA, resource_key=key, organization=cast.organization, offering=instance.offering,
        instance=instance, gpus=1, holder_id=uuid.uuid4(), holder_name="x",
    )  # fmt: skip


def claim_of(cast: Cast, instance: Instance) -> CapacityClaim:
    return CapacityClaim(organization=cast.organization, offering=instance.offering, name="mine", kind="SERVERLESS")


def tenures() -> UsageInterval:
    return UsageInterval.objects.filter(kind=UsageKind.CLAIM).latest("id")


@pytest.mark.parametrize(("first", "second"), [("CLAIM", "REPLICA"), ("REPLICA", "CLAIM"), ("CLAIM", "CLAIM")])
@pytest.mark.parametrize(("start", "end"), [(-5, 5), (5, 15), (2, 3), (-1, None), (0, 10)])
def test_b8_the_database_refuses_what_overlaps_a_tenure(
    cast: Cast, first: str, second: str, start: int, end: int | None
) -> None:
    instance, now = world.gone(world.offering()), ledger.whole_second(clock.now())
    enter(cast, instance, now, now + 10 * SECOND, first)
    with pytest.raises(IntegrityError, match="usage_one_tenure"):
        enter(cast, instance, now + start * SECOND, None if end is None else now + end * SECOND, second)
    assert UsageInterval.objects.count() == 1


def test_b8_what_only_touches_a_tenure_or_lies_elsewhere_is_taken(cast: Cast) -> None:
    of = world.offering()
    instance, other, now = world.gone(of), world.gone(of), ledger.whole_second(clock.now())
    enter(cast, instance, now, now + 10 * SECOND, "CLAIM")
    enter(cast, instance, now - 5 * SECOND, now)
    enter(cast, instance, now + 10 * SECOND, None)
    enter(cast, instance, now + 11 * SECOND, None, key=2)
    enter(cast, instance, now + 5 * SECOND, now + 5 * SECOND)
    enter(cast, other, now, None, "CLAIM")
    assert UsageInterval.objects.count() == 6


def test_b4_one_replica_is_on_one_instance_once_at_a_time(cast: Cast) -> None:
    of = world.offering()
    instance, other, now = world.gone(of), world.gone(of), ledger.whole_second(clock.now())
    enter(cast, instance, now, None)
    enter(cast, other, now, None)
    enter(cast, instance, now, None, key=2)
    with pytest.raises(IntegrityError):
        enter(cast, instance, now + SECOND, None)


def test_b8_a_pass_that_began_earlier_opens_its_tenure_where_the_last_bill_ended(cast: Cast) -> None:
    instance, now = world.gone(world.offering()), ledger.whole_second(clock.now())
    enter(cast, instance, now - 9 * SECOND, now + 4 * SECOND)
    enter(cast, instance, now + 6 * SECOND, None, key=2)
    ledger.close_on_demand(instance_keys=[instance.key], now=now)
    assert UsageInterval.objects.get(resource_key=2).ended_at == now + 6 * SECOND, "it never ends before it began"
    ledger.open_claim_intervals(claim=claim_of(cast, instance), instances=[instance], now=now)
    assert tenures().started_at == now + 6 * SECOND


def test_b8_a_replica_placed_by_an_earlier_pass_pays_from_the_end_of_the_tenure(cast: Cast) -> None:
    instance, now = world.gone(world.offering()), ledger.whole_second(clock.now())
    enter(cast, instance, now - 9 * SECOND, now + 4 * SECOND, "CLAIM")
    on_demand = UsageInterval.objects.filter(kind=UsageKind.CLAIM)
    ledger.open_intervals(rows=[replica_row(cast, instance, 3)], before=on_demand, now=now)
    assert UsageInterval.objects.get(resource_key=3, kind="REPLICA").started_at == now + 4 * SECOND


def test_b5_nothing_is_entered_before_the_books_were_closed(cast: Cast) -> None:
    of = world.offering()
    first, second = world.gone(of), world.gone(of)
    hour = metering.hour_of(clock.now())
    enter(cast, first, hour - 90 * SECOND, None)
    assert metering.books_close(cast.organization, hour)
    late = hour - 20 * SECOND
    assert ledger.close_intervals(kind=UsageKind.REPLICA, resource_keys=[1], now=late) == 1
    ledger.open_claim_intervals(claim=claim_of(cast, second), instances=[second], now=late)
    assert (UsageInterval.objects.get(resource_key=1, kind="REPLICA").ended_at, tenures().started_at) == (hour, hour)
    assert ledger.close_intervals(kind=UsageKind.REPLICA, resource_keys=[1], now=late) == 0
    other = world.gone(of)
    claim = CapacityClaim(organization=cast.other, offering=of, name="theirs", kind="SERVERLESS")
    ledger.open_claim_intervals(claim=claim, instances=[other], now=late)
    assert tenures().started_at == late, "other organizations' books are their own"


def test_b5_a_quota_change_that_comes_late_counts_from_where_the_books_are_open(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, hour = world.offering(), metering.hour_of(clock.now())
    assert metering.books_close(cast.organization, hour)
    monkeypatch.setattr(clock, "now", lambda: hour - 20 * SECOND)
    world.quota(cast.organization, of, limit=3, reserved=2)
    world.quota(cast.other, of, limit=3, reserved=2)
    at = dict(QuotaChange.objects.values_list("organization", "at"))
    assert at == {cast.organization.key: hour, cast.other.key: hour - 20 * SECOND}


def test_b5_books_close_forwards_only(cast: Cast) -> None:
    hour = metering.hour_of(clock.now())
    for until, expected in ((0, 0), (-2, 0), (1, 1)):
        assert metering.books_close(cast.organization, hour + until * timedelta(hours=1))
        assert MeterCursor.objects.get().closed_until == hour + expected * timedelta(hours=1)
