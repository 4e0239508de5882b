"""Labels of claims and deployments over /api/v1: who may give them, what is refused, what is kept, and lists by them."""

import threading
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from claims import locks
from claims.api.examples import CLAIM
from claims.labels import labels_get
from claims.models import CapacityClaim, Labels, UsageKind
from claims.services import labels as claims_labels
from console.dashboard.changes import changes
from console.organizations.models import AuditEvent
from deployments.models import Deployment
from deployments.services import deployment_delete
from deployments.services import labels as deployments_labels
from deployments.services.deployments import deployment_remove
from tests import fleet, world
from tests.cast import Cast

pytestmark = pytest.mark.django_db
TEAM = {"team": "search", "environment": "PRODUCTION", "secret": ""}
WRONG: list[Any] = [
    None, [], "team=search", {"team": 1}, {"team": None}, {"team": {"a": "b"}}, {"": "x"}, {"-a": "x"}, {"a": "-"},
    {"a b": "x"}, {"a": "x y"}, {"headroom/kind": "x"}, {"a/b/c": "x"}, {"A.example/b": "x"}, {"a": "x" * 64},
    {"x" * 64: "a"}, {f"k{number}": "v" for number in range(33)}, {"nul\0": "x"}, {"a": "nul\0"}, {"a": "\ud800"},
    {"a\n": "x"}, {"a": "x\n"},
]  # fmt: skip


@dataclass
class Thing:
    path: str
    action: str
    row: CapacityClaim | Deployment

    @property
    def updated_at(self) -> Any:
        self.row.refresh_from_db()
        return self.row.updated_at


def claim_of(cast: Cast, name: str = "mine") -> CapacityClaim:
    return world.claim(cast.admin.actor, world.offering(), 1, name=name)


def deployment_of(cast: Cast) -> Deployment:
    return fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), world.offering(), min=1)


@pytest.fixture(params=["claims", "deployments"])
def thing(request: pytest.FixtureRequest, cast: Cast) -> Thing:
    row = claim_of(cast) if request.param == "claims" else deployment_of(cast)
    return Thing(f"/api/v1/{request.param}/{row.id}/labels", f"{request.param[:-1]}.labels", row)


def state() -> list[Any]:
    return [list(Labels.objects.order_by("id").values()), AuditEvent.objects.count()]


def test_labels_are_read_replaced_and_told_in_the_audit_trail(cast: Cast, thing: Thing) -> None:
    api, before = cast.admin.api(), thing.updated_at
    assert api.get(thing.path).json() == {"labels": {}}
    assert api.send("PUT", thing.path, {"labels": TEAM}).json() == {"labels": TEAM}
    assert api.send("PUT", thing.path, {"labels": {"team": "ads", "example.com/x": ""}}).status_code == 200
    assert cast.viewer.api().get(thing.path).json() == {"labels": {"team": "ads", "example.com/x": ""}}
    first, second = AuditEvent.objects.filter(action=thing.action).order_by("id")
    assert (first.before, first.after) == ({"labels": {}}, {"labels": TEAM})
    assert second.before == first.after
    assert {(one.field, one.before, one.after) for one in changes(first)} == {
        ("label team", "unset", "search"), ("label environment", "unset", "PRODUCTION"), ("label secret", "unset", '""'),
    }  # fmt: skip
    assert thing.updated_at == before, "the vendor's clients are not told"
    assert api.send("PUT", thing.path, {"labels": {}}).json() == {"labels": {}}
    assert api.get(thing.path).json() == {"labels": {}}


def test_the_same_labels_again_change_nothing(cast: Cast, thing: Thing) -> None:
    api = cast.admin.api()
    api.send("PUT", thing.path, {"labels": {}})
    assert state() == [[], AuditEvent.objects.exclude(action=thing.action).count()]
    api.send("PUT", thing.path, {"labels": TEAM})
    before = state()
    assert api.send("PUT", thing.path, {"labels": dict(reversed(TEAM.items()))}).status_code == 200
    assert state() == before


def test_what_is_no_label_is_refused_and_nothing_is_stored(cast: Cast, thing: Thing) -> None:
    api = cast.admin.api()
    api.send("PUT", thing.path, {"labels": TEAM})
    before = state()
    for labels in WRONG:
        answer = api.send("PUT", thing.path, {"labels": labels})
        assert answer.status_code == 400, labels
        assert answer.json()["details"][0]["fieldViolations"][0]["field"].startswith("labels"), answer.content
    assert api.send("PUT", thing.path, {}).status_code == 400
    assert state() == before


def test_admins_give_labels_members_read_them_and_others_find_nothing(cast: Cast, thing: Thing) -> None:
    before = state()
    for member, read, write in ((cast.viewer, 200, 403), (cast.billing, 200, 403), (cast.outsider, 404, 404)):
        assert member.api().get(thing.path).status_code == read
        assert member.api().send("PUT", thing.path, {"labels": TEAM}).status_code == write
    for id in ("0198c0de-0000-7000-8000-000000000000", "nonsense"):
        other = thing.path.replace(str(thing.row.id), id)
        assert cast.admin.api().get(other).status_code == 404
        assert cast.admin.api().send("PUT", other, {"labels": TEAM}).status_code == 404
    assert state() == before


def both_label(cast: Cast, path: str) -> list[Any]:
    """Two give labels to the same thing in the same moment, what each heard."""
    heard: list[Any] = []

    def label(name: str) -> None:
        try:
            heard.append(cast.admin.api().send("PUT", path, {"labels": {"by": name}}).status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=label, args=(name,)) for name in ("one", "other")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return heard


def a_trail(action: str) -> bool:
    """Whether each change of the audit trail begins where the one before ended."""
    rows = list(AuditEvent.objects.filter(action=action).order_by("id").values_list("before", "after"))
    return rows[0][0] == {"labels": {}} and all(one[1] == next_[0] for one, next_ in pairwise(rows))


@pytest.mark.django_db(transaction=True)
def test_two_who_label_at_once_go_one_after_the_other(
    cast: Cast, thing: Thing, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_read(monkeypatch)
    assert both_label(cast, thing.path) == [200, 200]
    assert a_trail(thing.action)
    assert AuditEvent.objects.filter(action=thing.action).latest("id").after == {"labels": Labels.objects.get().labels}


@pytest.mark.django_db(transaction=True)
def test_without_the_lock_both_begin_with_the_same(cast: Cast, thing: Thing, monkeypatch: pytest.MonkeyPatch) -> None:
    """The race that the lock is there for."""
    slow_read(monkeypatch, both=True)
    monkeypatch.setattr(locks, "claim_lock", lambda organization, id: CapacityClaim.objects.get(id=id))
    monkeypatch.setattr(deployments_labels, "deployment_locked", lambda organization, id: Deployment.objects.get(id=id))
    assert both_label(cast, thing.path) == [200, 200]
    assert not a_trail(thing.action)


def slow_read(monkeypatch: pytest.MonkeyPatch, *, both: bool = False) -> None:
    """Between reading labels and writing others lies a moment; with `both`, until both have read."""
    read, met = labels_get, threading.Barrier(2)

    def slowly(*given: Any) -> dict[str, str]:
        found = read(*given)
        met.wait(30) if both else time.sleep(0.3)
        return found

    monkeypatch.setattr(claims_labels, "labels_get", slowly)


def test_what_is_being_deleted_takes_no_labels(cast: Cast, thing: Thing) -> None:
    api = cast.admin.api()
    api.send("PUT", thing.path, {"labels": TEAM})
    parent = thing.path.removesuffix("/labels").replace("/api/v1/deployments", "/v1alpha1/inference/deployments")
    assert api.send("DELETE", parent).status_code == 200
    before = state()
    assert api.get(thing.path).json() == {"labels": TEAM}
    assert api.send("PUT", thing.path, {"labels": {}}).status_code == 404
    assert state() == before


def test_a_claim_shows_its_labels_over_our_own_api_alone(cast: Cast) -> None:
    one, api = claim_of(cast), cast.admin.api()
    api.send("PUT", f"/api/v1/claims/{one.id}/labels", {"labels": TEAM})
    assert api.get(f"/api/v1/claims/{one.id}").json()["capacityClaim"]["labels"] == TEAM
    assert api.get("/api/v1/claims").json()["items"][0]["labels"] == TEAM
    assert api.get("/api/v1/claims?fields=labels").json()["items"] == [{"labels": TEAM}]
    resized = api.send("PATCH", f"/api/v1/claims/{one.id}", {"instanceCount": 2})
    assert resized.json()["capacityClaim"]["labels"] == TEAM
    for path in ("capacityclaims", f"capacityclaims/{one.id}"):
        assert "labels" not in api.get(f"/v1alpha1/inference/{path}").content.decode()


def test_a_claim_may_be_made_with_labels_or_not_at_all(cast: Cast) -> None:
    world.offering()
    api, before = cast.admin.api(), state()
    body = {**CLAIM.value, "labels": TEAM}
    for path, wrong in (("", {"team": "a b"}), ("?preview=true", {"team": "a b"}), ("", ["team"]), ("", {"team": 1})):
        refused = api.send("POST", f"/api/v1/claims{path}", {**body, "labels": wrong})
        assert refused.status_code == 400
        assert refused.json()["details"][0]["fieldViolations"][0]["field"] == "labels"
    assert api.send("POST", "/api/v1/claims?preview=true", body).json().keys() == {"preview"}
    assert cast.viewer.api().send("POST", "/api/v1/claims", body).status_code == 403
    assert (state(), CapacityClaim.objects.count()) == (before, 0)
    made = api.send("POST", "/api/v1/claims", body).json()["capacityClaim"]
    assert made["labels"] == TEAM
    again = api.send("POST", "/api/v1/claims", body).json()["capacityClaim"]
    assert (again["spec"]["id"], again["labels"]) == (made["spec"]["id"], TEAM)
    assert [one.action for one in AuditEvent.objects.order_by("id")][-2:] == ["claim.create", "claim.labels"]
    refused = api.send("POST", "/v1alpha1/inference/capacityclaims", {**body, "name": "other"}).json()
    assert "labels" not in str(refused), "the vendor's API knows none"


def test_a_deployment_shows_its_labels_over_our_own_api_alone(cast: Cast) -> None:
    one, api = deployment_of(cast), cast.admin.api()
    api.send("PUT", f"/api/v1/deployments/{one.id}/labels", {"labels": TEAM})
    vendors = api.get(f"/v1alpha1/inference/deployments/{one.id}").json()["deployment"]
    assert api.get(f"/api/v1/deployments/{one.id}").json() == {"deployment": {**vendors, "labels": TEAM}}
    assert api.get("/api/v1/deployments").json() == {"items": [{**vendors, "labels": TEAM}], "nextCursor": None}
    assert "labels" not in api.get("/v1alpha1/inference/deployments").content.decode()
    assert cast.viewer.api().get(f"/api/v1/deployments/{one.id}").status_code == 200
    assert cast.outsider.api().get(f"/api/v1/deployments/{one.id}").status_code == 404
    assert cast.outsider.api().get("/api/v1/deployments").json()["items"] == []
    for path in ("nonsense", "0198c0de-0000-7000-8000-000000000000"):
        assert api.get(f"/api/v1/deployments/{path}").status_code == 404


def test_a_list_of_deployments_is_filtered_sorted_and_paged(cast: Cast) -> None:
    api, at, of = cast.admin.api(), fleet.gateway(cast.admin.actor), world.offering()
    other = fleet.gateway(cast.admin.actor, name="other")
    names = {"b": {"team": "search"}, "a": {"team": "search", "env": "prod"}, "c": {}}
    for name, labels in names.items():
        one = fleet.deployment(cast.admin.actor, other if name == "c" else at, of, name=name, min=1)
        api.send("PUT", f"/api/v1/deployments/{one.id}/labels", {"labels": labels})

    def listed(query: str) -> str:
        return "".join(one["spec"]["name"] for one in api.get(f"/api/v1/deployments?{query}").json()["items"])

    assert listed("") == "bac"
    assert listed("sort=name") == "abc"
    assert listed("label=team=search&sort=-name") == "ba"
    assert listed("label=team&label=env=prod") == "a"
    assert listed("label=team=nobody") == listed("label=team=a&label=team=b") == listed("instanceType=b200-8x") == ""
    assert listed(f"gatewayId={other.id}") == listed("name=C") == "c"
    assert listed("status=STATUS_CREATING&instanceType=GB200-4X") == "bac"
    assert api.get("/api/v1/deployments?fields=labels&limit=1").json()["items"] == [{"labels": {"team": "search"}}]
    first = api.get("/api/v1/deployments?limit=2&sort=name").json()
    assert listed(f"sort=name&after={first['nextCursor']}") == "c"
    with CaptureQueriesContext(connection) as few:
        listed("limit=1")
    with CaptureQueriesContext(connection) as many:
        listed("limit=3")
    assert len(many) == len(few)


def test_a_list_of_claims_is_filtered_by_labels_with_as_many_queries_however_many_there_are(cast: Cast) -> None:
    api = cast.admin.api()
    names = {
        "a": {"team": "search", "env": "prod"},
        "b": {"team": "search"},
        "c": {"team": "ads", "env": "prod"},
        "d": {},
    }
    for name, labels in names.items():
        api.send("PUT", f"/api/v1/claims/{claim_of(cast, name).id}/labels", {"labels": labels})

    def listed(query: str) -> str:
        return "".join(one["spec"]["name"] for one in api.get(f"/api/v1/claims?{query}").json()["items"])

    assert listed("") == "abcd"
    assert listed("label=team=search") == "ab"
    assert listed("label=team%3Dsearch&label=env=prod") == "a"
    assert listed("label=env") == "ac"
    assert listed("label=team=search&label=team=ads") == ""
    assert listed("label=team=") == ""
    assert listed("label=team=search&name=b") == "b"
    assert listed("label=team=search&limit=1") == "a"
    wrong = api.get("/api/v1/claims?label=team%20x")
    assert wrong.json()["details"][0]["fieldViolations"][0]["field"] == "label"
    with CaptureQueriesContext(connection) as few:
        listed("label=team&limit=1")
    with CaptureQueriesContext(connection) as many:
        listed("label=team&limit=100")
    assert len(many) == len(few)


def test_labels_of_another_organization_or_kind_count_for_nothing(cast: Cast) -> None:
    one = claim_of(cast)
    for organization, kind in ((cast.other, UsageKind.CLAIM), (cast.organization, UsageKind.REPLICA)):
        Labels.objects.create(organization=organization, kind=kind, holder_id=one.id, labels=TEAM)
    api = cast.admin.api()
    assert api.get(f"/api/v1/claims/{one.id}/labels").json() == {"labels": {}}
    assert api.get("/api/v1/claims?label=team=search").json()["items"] == []


def test_labels_outlast_what_they_were_given_to(cast: Cast) -> None:
    one = deployment_of(cast)
    cast.admin.api().send("PUT", f"/api/v1/deployments/{one.id}/labels", {"labels": TEAM})
    deployment_delete(actor=cast.admin.actor, deployment_id=one.id)
    one.refresh_from_db()
    assert deployment_remove(one) == 1
    assert Labels.objects.get().labels == TEAM


@pytest.mark.parametrize(
    "labels", [[], "text", 1, None, {"a": 1}, {"a": None}, {"a": {}}, {str(one): "" for one in range(33)}]
)
def test_the_database_itself_keeps_labels_few_and_text(cast: Cast, labels: Any) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Labels.objects.create(
            organization=cast.organization, kind=UsageKind.CLAIM, holder_id=claim_of(cast).id,
            labels=labels,
        )  # fmt: skip
    assert not Labels.objects.exists()
