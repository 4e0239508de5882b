"""Prices that cannot be: refused with the field and the reason, and nothing is stored."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.urls import reverse

from claims.models import Price, PriceKind
from claims.services import price_set
from console.common import clock
from console.common.errors import InvalidArgument
from console.organizations.models import AuditEvent
from tests import world
from tests.cast import Cast

pytestmark = pytest.mark.django_db


def stored() -> list[Any]:
    return [*Price.objects.order_by("pk").values(), AuditEvent.objects.count()]


@pytest.mark.parametrize("usd", ["-0.01", "1000001", "0.0000001", "NaN", "sNaN", "Infinity", "-Infinity", "1e-400"])
def test_b6_a_price_that_is_none_is_refused_by_its_field(cast: Cast, usd: str) -> None:
    of, before = world.offering(), stored()
    with pytest.raises(InvalidArgument) as refused:
        price_set(actor=world.PLATFORM, instance_type=of.instance_type, zone=None, kind=PriceKind.ON_DEMAND,
                  usd=Decimal(usd), starts=clock.now())  # fmt: skip
    assert [one.field for one in refused.value.violations] == ["usd_per_gpu_hour"]
    assert "of at most 6 decimals" in str(refused.value)
    assert stored() == before


def test_a_kind_that_there_is_not_is_refused(cast: Cast) -> None:
    of, before = world.offering(), stored()
    with pytest.raises(InvalidArgument) as refused:
        price_set(actor=world.PLATFORM, instance_type=of.instance_type, zone=None, kind="SPOT",  # type: ignore[arg-type]
                  usd=Decimal(1), starts=clock.now())  # fmt: skip
    assert [one.field for one in refused.value.violations] == ["kind"]
    assert stored() == before


@pytest.mark.parametrize("zoned", [False, True])
def test_b6_the_database_refuses_prices_whose_validity_overlaps(cast: Cast, zoned: bool) -> None:
    of, now = world.offering(), clock.now()
    zone = of.zone if zoned else None
    block = {
        "instance_type": of.instance_type,
        "zone": zone,
        "kind": PriceKind.RESERVED,
        "usd_per_gpu_hour": Decimal(1),
    }
    if zoned:
        Price.objects.create(**block, valid=DateTimeTZRange(now, now + timedelta(days=2)))
    before = stored()
    for begins, ends in ((now + timedelta(days=1), None), (None, now + timedelta(hours=1))):
        with pytest.raises(IntegrityError), transaction.atomic():
            Price.objects.create(**block, valid=DateTimeTZRange(begins, ends))
    assert stored() == before


def test_a_price_between_two_others_takes_its_place_and_never_overlaps(cast: Cast) -> None:
    of, now = world.offering(), clock.now()
    for days, usd in ((10, "3"), (5, "2"), (7, "2.5")):
        price_set(actor=world.PLATFORM, instance_type=of.instance_type, zone=of.zone, kind=PriceKind.ON_DEMAND,
                  usd=Decimal(usd), starts=now + timedelta(days=days))  # fmt: skip
    rows = Price.objects.filter(zone=of.zone, kind=PriceKind.ON_DEMAND).order_by("valid")
    assert [row.usd_per_gpu_hour for row in rows] == [Decimal(2), Decimal("2.5"), Decimal(3)]
    ranges = [row.valid for row in rows]
    assert [one.upper for one in ranges] == [ranges[1].lower, ranges[2].lower, None]


WRONG = {
    "below zero": ({"usd_per_gpu_hour": "-1"}, "greater than or equal to 0"),
    "no number": ({"usd_per_gpu_hour": "cheap"}, "Enter a number"),
    "not a number": ({"usd_per_gpu_hour": "NaN"}, "Enter a number"),
    "too fine": ({"usd_per_gpu_hour": "0.12345678"}, "no more than 6 decimal places"),
    "no time": ({"starts_0": "tomorrow"}, "Enter a valid date"),
    "a type that there is not": ({"instance_type": "999999"}, "Select a valid choice"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_the_admin_says_what_is_wrong_with_a_price(cast: Cast, wrong: str) -> None:
    of, before = world.offering(), stored()
    changes, said = WRONG[wrong]
    form = {"instance_type": of.instance_type.pk, "zone": "", "kind": "ON_DEMAND", "usd_per_gpu_hour": "9.5",
            "starts_0": "2100-01-01", "starts_1": "00:00:00"}  # fmt: skip
    answer = cast.platform.browser().post(reverse("admin:claims_price_add"), form | changes, follow=True)
    assert answer.status_code == 200
    assert said in answer.content.decode()
    assert stored() == before
    answer = cast.platform.browser().post(reverse("admin:claims_price_add"), form, follow=True)
    assert stored() != before, "the form is right but for that"


@pytest.mark.parametrize("limit", ["2.5", "-1", "1e3", "many", ""])
def test_the_admin_takes_no_negative_or_fractional_quota(cast: Cast, limit: str) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=3)
    row = cast.organization.quotas.get()
    answer = cast.platform.browser().post(
        reverse("admin:claims_quota_change", args=[row.pk]), {"limit": limit, "reserved": 0, "other_usage": 0}
    )
    assert answer.status_code == 200, "shown again, with what is wrong"
    assert "errorlist" in answer.content.decode() or "errornote" in answer.content.decode()
    row.refresh_from_db()
    assert row.limit == 3
    assert cast.organization.quota_changes.count() == 1
