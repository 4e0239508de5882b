"""`ETag` and `If-Match`: who changes what they have read changes nothing that somebody else has changed since."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connection

from claims.models import Budget, CapacityClaim, ClaimWindow, Labels, QuotaRequest
from console.notifications.models import Channel
from console.organizations import locks, services
from console.organizations.models import AuditEvent, Membership
from deployments.api.examples import WINDOW
from tests import fleet, world
from tests.api.addresses import api_views
from tests.cast import Cast

HOOK = {"name": "pager", "url": "https://hooks.example.com/headroom"}
HIGHER = {"zone": "US-WEST-04A", "instanceId": "gb200-4x", "wanted": 20, "reason": "tried"}


@dataclass
class Edited:
    """Something to change: where, how, and what the change leaves in the database."""

    path: str
    method: str
    body: Any
    rows: Callable[[], list[Any]]
    read: str = ""


def things(cast: Cast) -> list[Edited]:
    send = cast.admin.api().send
    of = world.offering()
    world.quota(cast.organization, of, limit=16)
    claim = world.claim(cast.admin.actor, of, 1, kind="CUSTOMER")
    hook = send("POST", "/api/v1/webhooks", HOOK).json()["id"]
    window = send("POST", f"/api/v1/claims/{claim.id}/windows", WINDOW.value | {"instanceCount": 2}).json()["window"][
        "id"
    ]
    asked = send("POST", "/api/v1/quota-requests", HIGHER).json()["id"]
    send("PUT", "/api/v1/budgets", {"amount": "10.00"})
    chat = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, min=1)

    def of_model(model: Any) -> Callable[[], list[Any]]:
        return lambda: list(model.objects.order_by("pk").values())

    return [
        Edited("/api/v1/members/viewer", "PATCH", {"role": "billing"}, of_model(Membership)),
        Edited(f"/api/v1/webhooks/{hook}", "PATCH", {"name": "other"}, of_model(Channel)),
        Edited("/api/v1/budgets", "PUT", {"amount": "20.00"}, of_model(Budget)),
        Edited(f"/api/v1/claims/{claim.id}/windows/{window}", "PATCH", {"instanceCount": 1}, of_model(ClaimWindow)),
        Edited(f"/api/v1/claims/{claim.id}", "PATCH", {"instanceCount": 2}, of_model(CapacityClaim)),
        Edited(f"/api/v1/claims/{claim.id}/labels", "PUT", {"labels": {"team": "ads"}}, of_model(Labels)),
        Edited(f"/api/v1/deployments/{chat.id}/labels", "PUT", {"labels": {"team": "ads"}}, of_model(Labels)),
        Edited(f"/api/v1/quota-requests/{asked}/withdraw", "POST", None, of_model(QuotaRequest),
               f"/api/v1/quota-requests/{asked}"),
    ]  # fmt: skip


@pytest.mark.django_db
def test_a_change_is_made_only_to_what_was_read(cast: Cast) -> None:
    send = cast.admin.api().send
    for one in things(cast):
        read = one.read or one.path
        tag = send("GET", read)["ETag"]
        assert send("GET", read)["ETag"] == tag, read
        before = (one.rows(), AuditEvent.objects.count())
        for header in ('"of-something-else"', f"W/{tag}", '"a", W/"b"'):
            refused = send(one.method, one.path, one.body, headers={"if-match": header})
            assert refused.status_code == 412, (read, refused.content)
            [detail] = refused.json()["details"]
            assert detail["violations"][0]["type"] == "ETAG"
        for header in ("of nothing", '"open', "", f"{tag},"):
            wrong = send(one.method, one.path, one.body, headers={"if-match": header})
            assert wrong.status_code == 400, (read, header)
            assert wrong.json()["details"][0]["fieldViolations"][0]["field"] == "if_match"
        assert (one.rows(), AuditEvent.objects.count()) == before, read
        done = send(one.method, one.path, one.body, headers={"if-match": f'"another", {tag}'})
        assert done.status_code == 200, (read, done.content)
        assert one.rows() != before[0]
        assert done["ETag"] == send("GET", read)["ETag"] != tag
        assert send(one.method, one.path, one.body, headers={"if-match": tag}).status_code == 412


@pytest.mark.django_db
def test_what_is_not_there_matches_nothing_and_what_is_there_the_star(cast: Cast) -> None:
    send = cast.admin.api().send
    assert "ETag" not in send("GET", "/api/v1/budgets").headers
    assert send("PUT", "/api/v1/budgets", {"amount": "5.00"}, headers={"if-match": "*"}).status_code == 412
    assert not Budget.objects.exists()
    send("PUT", "/api/v1/budgets", {"amount": "5.00"})
    assert send("DELETE", "/api/v1/budgets", headers={"if-match": '"old"'}).status_code == 412
    assert send("DELETE", "/api/v1/budgets", headers={"if-match": "*"}).status_code == 204
    assert not Budget.objects.exists()


def test_what_heeds_if_match_has_an_etag_to_read() -> None:
    shown = {path for path, view in api_views() if hasattr(getattr(view, "get", None), "shows_tag")}
    heed = {path for path, view in api_views() for method in ("put", "patch", "delete")
            if hasattr(getattr(view, method, None), "heeds_if_match")}  # fmt: skip
    assert heed <= shown
    assert len(shown) >= 8


def both_change(cast: Cast) -> list[int]:
    """Two who read the same change it in the same moment; what each heard."""
    tag = cast.admin.api().get("/api/v1/members/viewer")["ETag"]
    heard: list[int] = []

    def change(role: str) -> None:
        try:
            api = cast.admin.api()
            heard.append(
                api.send("PATCH", "/api/v1/members/viewer", {"role": role}, headers={"if-match": tag}).status_code
            )
        finally:
            connection.close()

    threads = [threading.Thread(target=change, args=(role,)) for role in ("billing", "admin")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return sorted(heard)


@pytest.mark.django_db(transaction=True)
def test_of_two_who_read_the_same_one_changes_it(cast: Cast) -> None:
    assert both_change(cast) == [200, 412]


@pytest.mark.django_db(transaction=True)
def test_without_the_lock_both_would_change_it(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """The race that the lock is there for: each compares before either has changed anything."""
    both, set_role = threading.Barrier(2), services.membership_set
    monkeypatch.setattr(locks, "members_lock", lambda organization: None)

    def after_both_compared(**named: Any) -> Any:
        both.wait(30)
        return set_role(**named)

    monkeypatch.setattr(services, "membership_set", after_both_compared)
    assert both_change(cast) == [200, 200]
