"""Reserving capacity: each step offers only what is possible and says why the rest is not."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from claims.models import CapacityClaim, Instance
from claims.services import pool_resize
from console.common import clock
from tests import world
from tests.cast import Cast, Member

pytestmark = pytest.mark.django_db

HERE = {"zone": "US-WEST-04A", "type": "gb200-4x"}


def form(who: Member, **asked: str) -> str:
    answer = who.browser().get(reverse("claim-new"), asked)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def radio(text: str, value: str) -> str:
    """The control of a choice."""
    return text.split(f'value="{value}"')[1].split(">")[0]


def test_a_type_without_pool_and_quota_cannot_be_chosen(cast: Cast) -> None:
    world.pool(world.offering(), 2)
    text = form(cast.admin, zone="US-WEST-04A")
    assert "disabled" not in radio(text, "gb200-4x")
    assert "disabled" in radio(text, "b200-8x")
    assert "no pool and no quota here" in text


@pytest.mark.parametrize(("pool", "quota", "offered"), [
    (2, {"limit": 2}, {"SERVERLESS": True, "CUSTOMER": True}),
    (0, {"limit": 2}, {"SERVERLESS": False, "CUSTOMER": True}),
    (2, {"limit": 0}, {"SERVERLESS": True, "CUSTOMER": False}),
    (2, {"limit": 2, "other_usage": 2}, {"SERVERLESS": True, "CUSTOMER": False}),
])  # fmt: skip
def test_a_kind_that_is_not_possible_is_not_offered(
    cast: Cast, pool: int, quota: dict[str, int], offered: dict[str, bool]
) -> None:
    of = world.offering()
    if pool:
        world.pool(of, pool)
    world.quota(cast.organization, of, **quota)
    text = form(cast.admin, **HERE)
    assert {kind: "disabled" not in radio(text, kind) for kind in offered} == offered
    chosen = next(kind for kind, possible in offered.items() if possible)
    assert "checked" in radio(text, chosen), "the first that is possible is chosen"


def test_claims_that_wait_already_come_first(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 2)
    world.claim(cast.outsider.actor, of, 3, name="first")
    text = form(cast.admin, **HERE, kind="SERVERLESS", count="1")
    assert "0 of 2 instances, 1 waited for by claims before yours" in text
    assert "0 at once, the rest when the pool frees up" in text
    pool_resize(actor=world.PLATFORM, offering=of, size=4)
    world.settle(2)
    text = form(cast.admin, **HERE, kind="SERVERLESS", count="1")
    assert "1 instance of the pool goes to older claims first." in text
    assert "new in the pool, once joined" in text


def test_the_time_to_allocation_is_the_backends_or_measured(cast: Cast) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=4)
    assert "as the backend expects" in form(cast.admin, **HERE, kind="CUSTOMER")
    world.claim(cast.admin.actor, of, 1, "CUSTOMER")
    world.everything_arrives()
    now = clock.now()
    Instance.objects.update(
        created_at=now - timedelta(minutes=13),
        joining_at=now - timedelta(minutes=12),
        ready_at=now,
    )
    assert "about 13 min, 9 of 10 within 13 min (the last 1 here)" in form(cast.admin, **HERE, kind="CUSTOMER")


def test_b2_the_price_is_what_the_bill_grows_by(cast: Cast) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=8, reserved=2)
    world.claim(cast.admin.actor, of, 1, "CUSTOMER")
    text = form(cast.admin, **HERE, kind="CUSTOMER", count="2")
    # one more within the reserved quantity, one beyond: 4 x 6.30 + 4 x 10.50
    assert "<b>$67.20</b> more" in text
    assert "<b>$49,056.00</b> (730 hours)" in text


@pytest.mark.parametrize("count", ["", "0", "-1", "two", "²", "1e3", "99999999999999999999"])
def test_a_count_that_is_no_number_of_instances_is_refused(cast: Cast, count: str) -> None:
    world.pool(world.offering(), 2)
    body = {**HERE, "kind": "SERVERLESS", "count": count, "name": "mine", "reserve": "1"}
    assert cast.admin.browser().post(reverse("claim-new"), body).status_code == 422
    assert not CapacityClaim.objects.exists()


def test_a_kind_that_is_not_possible_is_refused_by_the_service_with_its_numbers(cast: Cast) -> None:
    world.pool(world.offering(), 2)
    body = {**HERE, "kind": "CUSTOMER", "count": "1", "name": "mine", "reserve": "1"}
    answer = cast.admin.browser().post(reverse("claim-new"), body)
    assert answer.status_code == 422
    assert "1 more instances requested, 0 free" in answer.content.decode()
    assert reverse("quota-request", args=[HERE["zone"], HERE["type"]]) in answer.content.decode()
    assert not CapacityClaim.objects.exists()


def test_queries_do_not_grow_with_what_is_offered(cast: Cast) -> None:
    of, browser = world.offering(), cast.admin.browser()
    world.pool(of, 2)

    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            assert browser.get(reverse("claim-new"), {**HERE, "kind": "SERVERLESS"}).status_code == 200
        return len(found)

    queries()
    before = queries()
    for zone in ("US-EAST-01A", "RNO2A"):
        for type_ in ("gb200-4x", "b200-8x"):
            world.pool(world.offering(zone, type_), 2)
            world.quota(cast.organization, world.offering(zone, type_), limit=3)
    assert queries() == before
    assert before <= 18
