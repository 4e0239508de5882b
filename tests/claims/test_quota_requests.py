"""Requests for quota: asked for, withdrawn, approved whole or in part, refused; each decided once."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.urls import reverse

from claims.models import Offering, Quota, QuotaChange, QuotaRequest, RequestState
from claims.selectors import quota_of
from claims.services import (
    quota_request_approve,
    quota_request_create,
    quota_request_refuse,
    quota_request_withdraw,
)
from console.common import clock
from console.common.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, Refusal
from console.notifications.models import Kind, Notification
from console.organizations.models import AuditEvent
from tests import world
from tests.cast import Cast

pytestmark = pytest.mark.django_db
REQUESTS = "/api/v1/quota-requests"


@pytest.fixture
def of(cast: Cast) -> Offering:
    found = world.offering()
    world.quota(cast.organization, found, limit=8, reserved=3, other_usage=1)
    return found


def ask(cast: Cast, of: Offering, wanted: int = 12, reason: str = "launch in June") -> QuotaRequest:
    return quota_request_create(actor=cast.admin.actor, organization=cast.organization, offering=of, wanted=wanted,
                                reason=reason, now=clock.now())  # fmt: skip


def platform(cast: Cast) -> Any:
    return cast.platform.actor_signed_in()


def everything() -> list[Any]:
    return [
        list(model.objects.order_by("pk").values())
        for model in (Quota, QuotaChange, QuotaRequest, AuditEvent, Notification)
    ]


def test_an_approval_raises_the_limit_and_nothing_else(cast: Cast, of: Offering) -> None:
    one = ask(cast, of)
    assert (one.state, one.limit_before, quota_of(cast.organization, of).limit) == (RequestState.PENDING, 8, 8)
    quota_request_approve(actor=platform(cast), request=one, granted=12, comment="fine", now=clock.now())
    row = quota_of(cast.organization, of)
    assert (row.limit, row.reserved, row.other_usage) == (12, 3, 1)
    one.refresh_from_db()
    assert (one.state, one.granted, one.decided_by, one.comment) == (RequestState.APPROVED, 12, "platform", "fine")
    assert list(QuotaChange.objects.order_by("id").values_list("limit", flat=True)) == [8, 12]
    actions = list(
        AuditEvent.objects.filter(action__startswith="quota").order_by("id").values_list("action", flat=True)
    )
    assert actions[-3:] == ["quota.request", "quota.set", "quota.approve"]
    told = Notification.objects.get()
    assert (told.kind, told.organization, told.data["granted"]) == (Kind.QUOTA_REQUEST, cast.organization, 12)
    assert "approved: the limit is 12. fine" in told.text


def test_part_of_it_may_be_granted(cast: Cast, of: Offering) -> None:
    one = quota_request_approve(actor=platform(cast), request=ask(cast, of), granted=10, now=clock.now())
    assert (one.state, one.granted, quota_of(cast.organization, of).limit) == (RequestState.PARTLY, 10, 10)
    assert "10 of 12 asked for" in Notification.objects.get().text


def test_a_refusal_says_why_and_leaves_the_quota(cast: Cast, of: Offering) -> None:
    one = quota_request_refuse(actor=platform(cast), request=ask(cast, of), comment="none left", now=clock.now())
    assert (one.state, quota_of(cast.organization, of).limit) == (RequestState.REFUSED, 8)
    assert "none left" in Notification.objects.get().text
    assert ask(cast, of).state == RequestState.PENDING, "one may ask again"


def test_what_was_asked_for_may_be_withdrawn(cast: Cast, of: Offering) -> None:
    one = ask(cast, of)
    with pytest.raises(FailedPrecondition, match="waiting already"):
        ask(cast, of, 13)
    quota_request_withdraw(actor=cast.admin.actor, request=one, now=clock.now())
    quota_request_withdraw(actor=cast.admin.actor, request=one, now=clock.now())
    one.refresh_from_db()
    assert one.state == RequestState.WITHDRAWN
    assert ask(cast, of, 13).wanted == 13
    assert not Notification.objects.exists()


def test_what_is_decided_stays_so(cast: Cast, of: Offering) -> None:
    one = ask(cast, of)
    quota_request_refuse(actor=platform(cast), request=one, comment="no", now=clock.now())
    before = everything()
    acts: list[Callable[[], object]] = [
        lambda: quota_request_approve(actor=platform(cast), request=one, granted=12, now=clock.now()),
        lambda: quota_request_refuse(actor=platform(cast), request=one, comment="no", now=clock.now()),
        lambda: quota_request_withdraw(actor=cast.admin.actor, request=one, now=clock.now()),
    ]
    for act in acts:
        with pytest.raises(FailedPrecondition, match="decided before"):
            act()
    assert everything() == before


def test_an_approval_never_lowers_a_limit_that_was_raised_meanwhile(cast: Cast, of: Offering) -> None:
    one = ask(cast, of)
    world.quota(cast.organization, of, limit=20)
    before = everything()
    with pytest.raises(FailedPrecondition, match="is 20 already"):
        quota_request_approve(actor=platform(cast), request=one, granted=12, now=clock.now())
    assert everything() == before


@pytest.mark.parametrize(("wanted", "reason"), [(8, "x"), (0, "x"), (-1, "x"), (1_000_001, "x"), (12, ""), (12, " "),
                                                 (12, "x" * 1001), (12, "a\0b")])  # fmt: skip
def test_a_wrong_request_is_refused_and_nothing_is_stored(cast: Cast, of: Offering, wanted: int, reason: str) -> None:
    before = everything()
    with pytest.raises(InvalidArgument):
        ask(cast, of, wanted, reason)
    assert everything() == before


@pytest.mark.parametrize("granted", [0, -1, 13])
def test_no_more_than_was_asked_for_is_granted(cast: Cast, of: Offering, granted: int) -> None:
    one = ask(cast, of)
    before = everything()
    with pytest.raises(InvalidArgument):
        quota_request_approve(actor=platform(cast), request=one, granted=granted, now=clock.now())
    with pytest.raises(InvalidArgument):
        quota_request_refuse(actor=platform(cast), request=one, comment=" ", now=clock.now())
    assert everything() == before


def test_each_does_what_the_role_allows(cast: Cast, of: Offering) -> None:
    one = ask(cast, of)
    before, now = everything(), clock.now()
    for member in (cast.viewer, cast.billing):
        with pytest.raises(PermissionDenied):
            quota_request_create(actor=member.actor, organization=cast.organization, offering=of, wanted=99, reason="x",
                                 now=now)  # fmt: skip
        with pytest.raises(PermissionDenied):
            quota_request_withdraw(actor=member.actor, request=one, now=now)
    with pytest.raises(NotFound):
        quota_request_withdraw(actor=cast.outsider.actor, request=one, now=now)
    for member in (cast.admin, cast.outsider):
        with pytest.raises(PermissionDenied):
            quota_request_approve(actor=member.actor, request=one, granted=12, now=now)
        with pytest.raises(PermissionDenied):
            quota_request_refuse(actor=member.actor, request=one, comment="x", now=now)
    assert everything() == before


@pytest.mark.django_db(transaction=True)
def test_decided_by_two_at_once_it_is_decided_once(cast: Cast, of: Offering) -> None:
    one = ask(cast, of)
    results: list[QuotaRequest | Refusal] = []
    barrier = threading.Barrier(4)

    def decide(granted: int) -> None:
        barrier.wait(timeout=20)
        try:
            results.append(quota_request_approve(actor=platform(cast), request=one, granted=granted, now=clock.now()))
        except Refusal as refusal:
            results.append(refusal)
        finally:
            connection.close()

    threads = [threading.Thread(target=decide, args=(granted,)) for granted in (9, 10, 11, 12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    (decided,) = [one for one in results if isinstance(one, QuotaRequest)]
    assert quota_of(cast.organization, of).limit == decided.granted
    assert QuotaChange.objects.count() == 2
    assert Notification.objects.count() == 1


# --- over the API ----------------------------------------------------------------------------------
def body(of: Offering, **changes: Any) -> dict[str, Any]:
    return {"zone": of.zone.name, "instanceId": of.instance_type.name, "wanted": 12, "reason": "launch", **changes}


def test_the_api_asks_lists_and_withdraws(cast: Cast, of: Offering) -> None:
    api = cast.admin.api()
    answer = api.send("POST", REQUESTS, body(of))
    assert answer.status_code == 201
    made = answer.json()
    assert (made["state"], made["wanted"], made["limitBefore"], made["createdBy"]) == ("PENDING", 12, 8, "token admin")
    assert cast.viewer.api().get(REQUESTS).json() == {"items": [made], "nextCursor": None}
    assert api.get(f"{REQUESTS}/{made['id']}").json() == made
    assert cast.outsider.api().get(f"{REQUESTS}/{made['id']}").status_code == 404
    assert cast.outsider.api().send("POST", f"{REQUESTS}/{made['id']}/withdraw").status_code == 404
    assert cast.viewer.api().send("POST", f"{REQUESTS}/{made['id']}/withdraw").status_code == 403
    assert api.send("POST", REQUESTS, body(of)).status_code == 412
    assert api.get(REQUESTS, {"state": "REFUSED"}).json()["items"] == []
    gone = api.send("POST", f"{REQUESTS}/{made['id']}/withdraw").json()
    assert gone["state"] == "WITHDRAWN"


@pytest.mark.parametrize(("changes", "field"), [
    ({"wanted": 8}, "wanted"), ({"wanted": "many"}, "wanted"), ({"wanted": 1.5}, "wanted"), ({"wanted": -3}, "wanted"),
    ({"reason": ""}, "reason"), ({"zone": "NOWHERE"}, "zone"), ({"instanceId": "none"}, "zone"), ({"zone": 3}, "zone"),
])  # fmt: skip
def test_the_api_names_the_field_that_is_wrong(cast: Cast, of: Offering, changes: dict[str, Any], field: str) -> None:
    answer = cast.admin.api().send("POST", REQUESTS, body(of, **changes))
    assert answer.status_code == 400
    assert [one["field"] for one in answer.json()["details"][0]["fieldViolations"]] == [field]
    assert not QuotaRequest.objects.exists()


# --- on the pages ----------------------------------------------------------------------------------
def test_the_quota_page_asks_and_withdraws(cast: Cast, of: Offering) -> None:
    names = [of.zone.name, of.instance_type.name]
    browser, address = cast.admin.browser(), reverse("quota-request", args=names)
    assert b"Ask for more" in browser.get(reverse("quota-of", args=names)).content
    assert b"Ask for more" not in cast.viewer.browser().get(reverse("quota-of", args=names)).content
    wrong = browser.post(address, {"wanted": "8", "reason": "x"})
    assert (wrong.status_code, b"more than the present limit of 8" in wrong.content) == (422, True)
    assert browser.post(address, {"wanted": "12", "reason": "<i>launch</i>"}).status_code == 302
    page = browser.get(reverse("quota-of", args=names)).content.decode()
    assert "&lt;i&gt;launch&lt;/i&gt;" in page
    assert "Pending" in page
    assert "Pending" in cast.viewer.browser().get(reverse("quota")).content.decode()
    one = QuotaRequest.objects.get()
    browser.post(reverse("quota-request-withdraw", args=[one.id]))
    one.refresh_from_db()
    assert one.state == RequestState.WITHDRAWN


# --- in the admin ----------------------------------------------------------------------------------
def test_staff_decide_in_the_admin(cast: Cast, of: Offering) -> None:
    one = ask(cast, of)
    browser, address = cast.platform.browser(), reverse("admin:claims_quotarequest_change", args=[one.pk])
    page = browser.get(address).content.decode()
    assert "launch in June" in page
    assert browser.post(address, {"decision": "approve", "granted": "13", "comment": ""}).status_code == 200
    assert quota_of(cast.organization, of).limit == 8
    assert browser.post(address, {"decision": "approve", "granted": "10", "comment": "half"}).status_code == 302
    one.refresh_from_db()
    assert (one.state, one.decided_by, quota_of(cast.organization, of).limit) == ("PARTLY", "platform", 10)
    assert "half" in browser.get(address).content.decode()
    another = ask(cast, of, 20)
    address = reverse("admin:claims_quotarequest_change", args=[another.pk])
    assert browser.post(address, {"decision": "refuse", "comment": ""}).status_code == 200
    assert browser.post(address, {"decision": "refuse", "comment": "no machines"}).status_code == 302
    another.refresh_from_db()
    assert (another.state, another.comment) == ("REFUSED", "no machines")


def test_many_are_approved_as_asked_at_once(cast: Cast, of: Offering) -> None:
    one = ask(cast, of)
    browser, address = cast.platform.browser(), reverse("admin:claims_quotarequest_changelist")
    form = {"action": "approve", "_selected_action": [str(one.pk)]}
    assert "limit from 8 to 12" in browser.post(address, form).content.decode()
    assert quota_of(cast.organization, of).limit == 8
    browser.post(address, {**form, "confirmed": "yes"})
    assert quota_of(cast.organization, of).limit == 12
