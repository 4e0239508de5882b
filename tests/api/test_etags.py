"""`ETag` and `If-Match`: who changes what they have read changes nothing that somebody else has changed since."""

import threading
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connection
from django.db.models import Model
from django.urls import resolve

from claims.models import Budget, CapacityClaim, ClaimWindow, Labels, QuotaRequest
from console.notifications.models import Channel, Delivery
from console.organizations import locks, services
from console.organizations.models import ApiToken, AuditEvent, Membership
from deployments.api.examples import SCHEDULE, WINDOW
from deployments.models import AutoscalingPolicy, Backtest, Deployment, DeploymentObjective, Hold, ScheduleWindow
from tests import fleet, world
from tests.api.addresses import api_views
from tests.backtest.test_backtest_api import TRACE
from tests.cast import Cast
from tests.waiting import meanwhile

HOOK = {"name": "pager", "url": "https://hooks.example.com/headroom"}
HIGHER = {"zone": "US-WEST-04A", "instanceId": "gb200-4x", "wanted": 20, "reason": "tried"}
DONE = (200, 202, 204)
REFUSED = (404, 412)  # gone meanwhile, or another by now
# What is asked about one thing and changes nothing that could have been read before.
ACTS = {"preview", "test", "restart"}


@dataclass
class Edited:
    """Something to change: where, how, and what the change leaves in the database."""

    path: str
    method: str
    body: Any
    model: type[Model]
    read: str = ""

    def rows(self) -> list[Any]:
        return list(self.model._default_manager.order_by("pk").values())


def things(cast: Cast) -> list[Edited]:
    """Every change that heeds `If-Match`, of a thing that is there, in an order in which all can be made."""
    api = cast.admin.api()

    def made(path: str, body: Any, within: str = "") -> str:
        answer = api.send("POST", f"/api/v1{path}", body).json()
        return str((answer[within] if within else answer)["id"])

    of = world.offering()
    world.quota(cast.organization, of, limit=16)
    claim = world.claim(cast.admin.actor, of, 1, kind="CUSTOMER")
    model = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, max=8)
    mine, its = f"/claims/{claim.id}", f"/deployments/{model.id}"
    window = made(f"{mine}/windows", WINDOW.value | {"instanceCount": 2}, "window")
    schedule = made(f"{its}/schedules", SCHEDULE.value, "schedule")
    hook, asked = made("/webhooks", HOOK), made("/quota-requests", HIGHER)
    hold = made("/holds", {"kind": "FREEZE", "deploymentId": str(model.id), "reason": "tried"})
    token = made("/tokens", {"name": "ci", "role": "viewer", "expiresAfter": "1h"})
    run = made("/backtests", {"deploymentId": str(model.id), "trace": {"csv": TRACE}, "baselines": ["static-mean"]})
    sent = made(f"/webhooks/{hook}/test", None)
    api.send("PUT", "/api/v1/budgets", {"amount": "10.00"})
    api.send("PUT", f"/api/v1{its}/objective", {"share": 0.9})
    done: list[tuple[type[Model], str, str, Any]] = [
        (Membership, "PATCH", "/members/viewer", {"role": "billing"}),
        (Membership, "DELETE", "/members/viewer", None),
        (ApiToken, "DELETE", f"/tokens/{token}", None),
        (Delivery, "POST", f"/deliveries/{sent} /replay", None),
        (Channel, "PATCH", f"/webhooks/{hook}", {"name": "other"}),
        (Channel, "POST", f"/webhooks/{hook} /secret", None),
        (Channel, "DELETE", f"/webhooks/{hook}", None),
        (Budget, "PUT", "/budgets", {"amount": "20.00"}),
        (Budget, "DELETE", "/budgets", None),
        (QuotaRequest, "POST", f"/quota-requests/{asked} /withdraw", None),
        (ClaimWindow, "PATCH", f"{mine}/windows/{window}", {"instanceCount": 1}),
        (ClaimWindow, "DELETE", f"{mine}/windows/{window}", None),
        (Labels, "PUT", f"{mine}/labels", {"labels": {"team": "ads"}}),
        (Labels, "PUT", f"{its}/labels", {"labels": {"team": "ads"}}),
        (CapacityClaim, "PATCH", mine, {"instanceCount": 2}),
        (CapacityClaim, "DELETE", mine, None),
        (DeploymentObjective, "PUT", f"{its}/objective", {"share": 0.95}),
        (DeploymentObjective, "DELETE", f"{its}/objective", None),
        (ScheduleWindow, "PATCH", f"{its}/schedules/{schedule}", {"min": 2}),
        (ScheduleWindow, "DELETE", f"{its}/schedules/{schedule}", None),
        (AutoscalingPolicy, "PATCH", f"{its}/look-ahead", {"lookAhead": True}),
        (Deployment, "PATCH", f"{its}/shadow", {"shadow": True}),
        (Hold, "DELETE", f"/holds/{hold}", None),
        (Backtest, "POST", f"/backtests/{run} /cancel", None),
    ]
    return [
        Edited(f"/api/v1{path.replace(' ', '')}", method, body, model, f"/api/v1{path.partition(' ')[0]}")
        for model, method, path, body in done
    ]


@pytest.mark.django_db
def test_a_change_is_made_only_to_what_was_read(cast: Cast) -> None:
    send = cast.admin.api().send
    for one in things(cast):
        tag = send("GET", one.read)["ETag"]
        assert send("GET", one.read)["ETag"] == tag, one
        before = (one.rows(), AuditEvent.objects.count())
        for header in ('"of-something-else"', f"W/{tag}", '"a", W/"b"'):
            refused = send(one.method, one.path, one.body, headers={"if-match": header})
            assert refused.status_code == 412, (one, refused.content)
            [detail] = refused.json()["details"]
            assert detail["violations"][0]["type"] == "ETAG"
        for header in ("of nothing", '"open', "", f"{tag},"):
            wrong = send(one.method, one.path, one.body, headers={"if-match": header})
            assert wrong.status_code == 400, (one, header)
            assert wrong.json()["details"][0]["fieldViolations"][0]["field"] == "if_match"
        assert (one.rows(), AuditEvent.objects.count()) == before, one
        done = send(one.method, one.path, one.body, headers={"if-match": f'"another", {tag}'})
        assert done.status_code in DONE, (one, done.content)
        assert one.rows() != before[0], one
        now = send("GET", one.read).headers.get("ETag")
        assert now != tag
        assert done.headers.get("ETag") == (None if one.method == "DELETE" else now), one
        assert send(one.method, one.path, one.body, headers={"if-match": tag}).status_code in REFUSED, one


@pytest.mark.django_db
def test_the_star_is_whatever_is_there(cast: Cast) -> None:
    send = cast.admin.api().send
    for one in things(cast):
        before = one.rows()
        assert send(one.method, one.path, one.body, headers={"if-match": "*"}).status_code in DONE, one
        assert one.rows() != before, one


@pytest.mark.django_db(transaction=True)
def test_who_waited_for_a_change_compares_with_what_it_left(cast: Cast) -> None:
    """The lock that is taken to compare is one that the change itself takes: else the old tag would still match."""
    send = cast.admin.api().send
    for one in things(cast):
        tag = send("GET", one.read)["ETag"]
        left: list[Any] = []

        def first(one: Edited = one, left: list[Any] = left) -> None:
            assert send(one.method, one.path, one.body).status_code in DONE, one
            left.extend(one.rows())

        def then(one: Edited = one, tag: str = tag) -> Any:
            return cast.admin.api().send(one.method, one.path, one.body, headers={"if-match": tag})

        assert meanwhile(first, then).status_code in REFUSED, one
        assert one.rows() == left, one


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


def changing() -> set[tuple[str, str]]:
    """Method and address of whatever changes one thing that is there."""
    found = set()
    for path, view in api_views():
        if path.startswith("api/v1/"):
            found |= {(method, path) for method in ("PUT", "PATCH", "DELETE") if hasattr(view, method.lower())}
            if hasattr(view, "post") and not hasattr(view, "get") and path.split("/")[-1] not in ACTS:
                found.add(("POST", path))
    return found


def test_whatever_changes_one_thing_heeds_if_match_and_there_is_an_etag_to_read() -> None:
    views = dict(api_views())
    for method, path in changing():
        assert hasattr(getattr(views[path], method.lower()), "heeds_if_match"), (method, path)
        read = views[path.rpartition("/")[0] if method == "POST" else path]
        assert hasattr(read.get, "shows_tag"), (method, path)


@pytest.mark.django_db
def test_every_change_is_tried(cast: Cast) -> None:
    tried = {(one.method, resolve(one.path).route) for one in things(cast)}
    assert tried == changing()


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
