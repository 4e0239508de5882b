"""What another size of a claim, or its deletion, does is shown first: instances, quota, price, time (C7, C9)."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from claims.joining import join_time
from claims.models import CapacityClaim, Instance, Price
from claims.selectors import claim_numbers, pending_changes
from claims.services import claim_delete, claim_resize, offering_claimable_set, offering_withdraw
from console.common import clock
from console.common.errors import FailedPrecondition
from deployments.impact.claims import claim_preview
from tests import fleet, world
from tests.cast import Cast, Member
from tests.pages.conftest import Running

pytestmark = pytest.mark.django_db


def resized(cast: Cast, claim: CapacityClaim, count: int) -> CapacityClaim:
    resources = world.resources(claim.offering, count, claim.kind)
    return world.reread(claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=resources))


def serverless(cast: Cast, count: int, pool: int = 4) -> CapacityClaim:
    world.pool(world.offering(), pool)
    claim = world.claim(cast.admin.actor, world.offering(), count, name="prod")
    world.settle()
    return world.reread(claim)


def customer(cast: Cast, count: int, **quota: int) -> CapacityClaim:
    world.quota(cast.organization, world.offering(), **{"limit": 8, **quota})
    claim = world.claim(cast.admin.actor, world.offering(), count, "CUSTOMER", name="own")
    world.everything_arrives()
    return world.reread(claim)


def shown(who: Member, claim: CapacityClaim, count: int) -> str:
    browser, address = who.browser(), reverse("claim-resize", args=[claim.id])
    answer = browser.get(address, {"count": count}) if count else browser.get(reverse("claim-delete", args=[claim.id]))
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def asked(who: Member, claim: CapacityClaim, body: Any) -> Any:
    return who.api().send("POST", f"/api/v1/capacityclaims/{claim.id}/preview", body)


def test_the_instances_that_go_are_named_and_are_those_that_went(cast: Cast) -> None:
    claim = serverless(cast, 3)
    foreseen = claim_preview(claim, 1, clock.now())
    assert (foreseen.before, foreseen.count, foreseen.at, foreseen.in_use) == (3, 1, None, 0)
    text = shown(cast.admin, claim, 1)
    assert "2 instances are given up" in text
    assert all(one.name in text for one in foreseen.given_up)
    resized(cast, claim, 1)
    kept = set(Instance.objects.filter(claim=claim).values_list("key", flat=True))
    assert kept.isdisjoint({one.key for one in foreseen.given_up})
    assert len(kept) == 1


def test_c7_the_time_is_shown_and_is_the_time_it_gets(cast: Cast) -> None:
    claim = resized(cast, serverless(cast, 4), 3)
    foreseen = claim_preview(claim, 1, clock.now())
    assert foreseen.at is not None
    text = shown(cast.admin, claim, 1)
    assert f"{foreseen.at:%Y-%m-%d %H:%M:%S} UTC" in text
    assert "at most once in 1 h" in text
    (change,) = pending_changes(resized(cast, claim, 1))
    assert change.effective_at == foreseen.at
    again = claim_preview(world.reread(claim), 2, clock.now())
    assert (again.before, again.at) == (3, foreseen.at), "what is held stays until then, and the time stays"
    assert claim_preview(world.reread(claim), 0, clock.now()).at is None, "a deletion starts at once"


def test_quota_before_and_after_is_what_it_then_is(cast: Cast) -> None:
    claim = customer(cast, 3, limit=6, other_usage=1)
    body = asked(cast.viewer, claim, {"instanceCount": 1}).json()
    assert body["quota"] == {"limit": 6, "committedBefore": 3, "committedAfter": 1, "freeBefore": 2, "freeAfter": 4}
    assert len(body["givenUp"]) == 2
    resized(cast, claim, 1)
    world.everything_arrives()
    after = asked(cast.viewer, world.reread(claim), {"instanceCount": 1}).json()["quota"]
    assert (after["committedBefore"], after["freeBefore"]) == (1, 4)
    assert asked(cast.viewer, claim, {"delete": True}).json()["quota"]["committedAfter"] == 0


def test_c3_a_change_that_would_be_refused_says_so_with_its_numbers(cast: Cast) -> None:
    claim = customer(cast, 2, limit=4)
    body = asked(cast.admin, claim, {"instanceCount": 5}).json()
    assert body["refusal"] == "3 more instances need quota, and 2 are free."
    assert "This will be refused" in shown(cast.admin, claim, 5)
    assert asked(cast.admin, claim, {"instanceCount": 4}).json()["refusal"] is None
    answer = cast.admin.browser().post(
        reverse("claim-resize", args=[claim.id]), {"count": 5, "confirmed": "1"}, follow=True
    )
    assert "3 more instances requested, 2 free" in answer.content.decode()
    assert world.reread(claim).target == 2


@pytest.mark.parametrize("kind", ["SERVERLESS", "CUSTOMER"])
@pytest.mark.parametrize("how", ["withdrawn", "unclaimable"])
def test_c13_a_raise_that_is_no_longer_offered_is_foreseen_to_be_refused(cast: Cast, kind: str, how: str) -> None:
    claim = serverless(cast, 1) if kind == "SERVERLESS" else customer(cast, 1)
    assert asked(cast.admin, claim, {"instanceCount": 2}).json()["refusal"] is None
    if how == "withdrawn":
        offering_withdraw(actor=world.PLATFORM, offering=claim.offering)
    else:
        offering_claimable_set(actor=world.PLATFORM, offering=claim.offering, claimable=False)
    claim = world.reread(claim)
    refusal = asked(cast.admin, claim, {"instanceCount": 2}).json()["refusal"]
    assert refusal in shown(cast.admin, claim, 2)
    with pytest.raises(FailedPrecondition, match="no longer offered") as refused:
        resized(cast, claim, 2)
    assert refusal in str(refused.value)
    assert asked(cast.admin, claim, {"delete": True}).json()["refusal"] is None
    assert asked(cast.admin, claim, {"instanceCount": 1}).json()["refusal"] is None


def test_c10_the_page_says_what_is_taken_back_and_what_is_asked_for(cast: Cast) -> None:
    claim = customer(cast, 2)
    for number, one in enumerate(claim.instances.order_by("key"), 1):
        world.take(one, cast.organization, number, claim=claim)
    claim = resized(cast, claim, 1)
    body = asked(cast.admin, claim, {"instanceCount": 3}).json()
    assert (body["added"], body["addedAtOnce"], body["takenBack"]) == (2, 1, 1)
    text = shown(cast.admin, claim, 3)
    assert "2 more instances: 1 at once, 1 after joining" in text
    assert "1 of what it gave up still drains and is taken back." in text
    assert "1 more instance: 1 at once. 1 of what it gave up" in shown(cast.admin, claim, 2)


def test_price_before_and_after_an_hour_and_a_month(cast: Cast) -> None:
    claim = serverless(cast, 3)
    text = shown(cast.admin, claim, 2)
    assert "<td>$126.00</td> <td>$84.00</td>" in text
    assert "<td>$91,980.00</td> <td>$61,320.00</td>" in text
    assert asked(cast.billing, claim, {"instanceCount": 2}).json()["price"] == {
        "currency": "USD", "of": "CLAIM", "hourBefore": "126", "hourAfter": "84", "monthBefore": "91980",
        "monthAfter": "61320",
    }  # fmt: skip


def test_b2_what_a_customer_claim_costs_goes_by_the_reserved_quantity(cast: Cast) -> None:
    claim = customer(cast, 3, reserved=4)
    other = world.claim(cast.admin.actor, world.offering(), 2, "CUSTOMER", name="second")
    price = asked(cast.admin, claim, {"instanceCount": 2}).json()["price"]
    # five instances, four of them reserved, become four: the instance at the on-demand rate goes
    assert price["of"] == "CUSTOMER_CLAIMS_OF_THE_OFFERING"
    assert Decimal(price["hourBefore"]) == 4 * (4 * Decimal("6.3") + Decimal("10.5"))
    assert Decimal(price["hourAfter"]) == 4 * 4 * Decimal("6.3")
    claim_delete(actor=cast.admin.actor, claim_id=other.id)
    assert asked(cast.admin, claim, {"instanceCount": 2}).json()["price"]["of"] == "CLAIM"


def test_more_instances_say_which_come_at_once_and_when_the_rest(cast: Cast) -> None:
    claim = serverless(cast, 1, pool=2)
    body = asked(cast.admin, claim, {"instanceCount": 4}).json()
    assert (body["added"], body["addedAtOnce"]) == (3, 1)
    assert "1 at once, the rest when the pool has free ones" in shown(cast.admin, claim, 4)
    world.claim(cast.outsider.actor, world.offering(), 3, name="first")
    assert asked(cast.admin, claim, {"instanceCount": 4}).json()["addedAtOnce"] == 0, "others were there first (C4)"


def test_c4_instances_of_ones_own_are_foreseen_to_be_converted_as_fulfil_then_does(cast: Cast) -> None:
    claim = serverless(cast, 1, pool=3)
    own = Instance.objects.filter(claim=None, source="POOL").order_by("key")[0]
    world.take(own, cast.organization, 77, gpus=2)
    body = asked(cast.admin, claim, {"instanceCount": 4}).json()
    assert (body["added"], body["addedAtOnce"], body["convertedInPlace"]) == (3, 2, 1)
    text = shown(cast.admin, claim, 4)
    assert "2 at once, the rest when the pool has free ones (1 where your own on-demand replicas run" in text
    choice = {"zone": own.offering.zone.name, "type": own.offering.instance_type.name, "kind": "SERVERLESS"}
    form = cast.admin.browser().get(reverse("claim-new"), choice | {"count": "2"}).content.decode()
    assert "(1 where your own on-demand replicas run: it becomes part of the claim" in form
    assert claim_numbers(resized(cast, claim, 4)) == (3, 1)


def test_the_time_to_join_is_measured_or_the_backends_and_says_which(cast: Cast) -> None:
    claim = serverless(cast, 1)
    own = world.offering("RNO2A", "gd-1xgh200")
    expected = join_time(own)
    assert expected is not None
    assert (expected.seen, expected.least < expected.most) == (0, True)
    assert join_time(claim.offering) == expected, "machines that were taken over say nothing"
    made = customer(cast, 3)
    now = clock.now()
    keys = made.instances.order_by("key").values_list("key", flat=True)
    for key, minutes in zip(keys, (10, 11, 40), strict=True):
        Instance.objects.filter(key=key).update(
            created_at=now - timedelta(minutes=minutes), joining_at=now - timedelta(minutes=9), ready_at=now,
            backend=settings.NODE_BACKEND,
        )  # fmt: skip
    measured = join_time(made.offering)
    assert measured is not None
    assert (measured.seen, measured.usual, measured.late) == (3, timedelta(minutes=11), timedelta(minutes=40))
    assert "about 11 min, 9 of 10 within 40 min (the last 3 here)" in shown(cast.admin, made, 4)


def test_nobody_sees_money_without_the_role(cast: Cast) -> None:
    claim = serverless(cast, 3)
    body = asked(cast.viewer, claim, {"instanceCount": 2}).json()
    assert "price" not in body
    assert len(body["givenUp"]) == 1


def test_without_a_price_there_is_none(cast: Cast) -> None:
    claim = serverless(cast, 3)
    Price.objects.all().delete()
    assert asked(cast.admin, claim, {"instanceCount": 2}).json()["price"] is None
    assert "no price set" in shown(cast.admin, claim, 2)


@pytest.mark.parametrize(("body", "field"), [
    ({}, "instance_count"), ({"instanceCount": -1}, "instance_count"), ({"instanceCount": "many"}, "instance_count"),
    ({"instanceCount": 3, "delete": True}, "delete"), ({"delete": "perhaps"}, "delete"),
])  # fmt: skip
def test_a_wrong_question_is_refused_on_its_field(cast: Cast, running: Running, body: Any, field: str) -> None:
    answer = asked(cast.admin, running.claim, body)
    assert answer.status_code == 400
    assert [one["field"] for one in answer.json()["details"][0]["fieldViolations"]] == [field]


def test_zero_asks_for_the_deletion(cast: Cast, running: Running) -> None:
    by_zero = asked(cast.admin, running.claim, {"instanceCount": 0}).json()
    assert by_zero["instanceCountAfter"] == 0
    assert [one["gpusUsed"] for one in by_zero["givenUp"]] == [2]
    assert CapacityClaim.objects.get().status != "STATUS_DELETING", "nothing is changed by asking"


def test_anothers_claim_and_one_that_is_going_are_not_found(cast: Cast, running: Running) -> None:
    assert asked(cast.outsider, running.claim, {"instanceCount": 0}).status_code == 404
    assert cast.outsider.browser().get(reverse("claim-delete", args=[running.claim.id])).status_code == 404
    claim_delete(actor=cast.admin.actor, claim_id=running.claim.id)
    assert asked(cast.admin, running.claim, {"instanceCount": 2}).status_code == 404
    answer = cast.admin.browser().get(reverse("claim-delete", args=[running.claim.id]))
    assert answer.status_code == 302, "the page of the claim says that it is being deleted"


def test_the_schema_has_the_preview_with_its_shapes(cast: Cast) -> None:
    json_of = {"accept": "application/vnd.oai.openapi+json"}
    schema = json.loads(cast.admin.browser().get(reverse("schema"), headers=json_of).content)
    operation = schema["paths"]["/api/v1/capacityclaims/{id}/preview"]["post"]
    shape = operation["responses"]["200"]["content"]["application/json"]
    assert shape["schema"] == {"$ref": "#/components/schemas/PreviewShape"}
    assert {"moves", "stops", "quota", "price", "givenUp"} <= set(
        schema["components"]["schemas"]["PreviewShape"]["properties"]
    )
    assert shape["examples"]


def test_queries_of_a_preview_do_not_grow_with_rows(cast: Cast, running: Running) -> None:
    of, browser = world.offering(), cast.admin.browser()

    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            assert browser.get(reverse("claim-delete", args=[running.claim.id])).status_code == 200
        return len(found)

    queries()  # what only a first request asks
    before = queries()
    resized(cast, running.claim, 3)
    world.claim(cast.admin.actor, of, 1, name="more")
    for number in range(3):
        fleet.deployment(cast.admin.actor, running.deployment.gateways.get(), of, name=f"more-{number}", min=2)
    fleet.run(of.instance_type, clock.now(), 2)
    world.settle()
    assert queries() == before
    assert before <= 60


def test_what_is_billed_now_is_told_apart_from_what_all_of_it_costs(cast: Cast) -> None:
    claim = serverless(cast, 3, pool=1)
    text = shown(cast.admin, claim, 0)
    assert "Billed an hour at this moment, for those that are there</th>" in text
    whole = world.reread(resized(cast, claim, 1))
    assert "Billed an hour at this moment" not in shown(cast.admin, whole, 0)


def test_what_will_be_refused_cannot_be_confirmed(cast: Cast) -> None:
    claim = customer(cast, 2)
    assert 'name="confirmed"' in shown(cast.admin, claim, 3)
    text = shown(cast.admin, claim, 20)
    assert "This will be refused" in text
    assert 'name="confirmed"' not in text
