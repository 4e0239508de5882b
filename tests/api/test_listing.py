"""Lists of /api/v1: filters, order, pages and chosen members are the same everywhere."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from claims.models import Offering
from console.common.paging import encode_cursor
from console.dashboard.api_description import api_schema
from tests import world
from tests.cast import ApiClient, Cast

pytestmark = pytest.mark.django_db


def walked(api: ApiClient, path: str, **query: str) -> list[Any]:
    """Every item, two at a time."""
    found: list[Any] = []
    after = ""
    while True:
        answer = api.get(path, {**query, "limit": "2", "after": after})
        assert answer.status_code == 200, answer.content
        found += answer.json()["items"]
        after = answer.json()["nextCursor"]
        if not after:
            return found


@pytest.fixture
def many(cast: Cast) -> Cast:
    of = world.offering()
    world.pool(of, 2)
    for count, name in enumerate(("b", "a", "c", "a", "b"), start=1):
        world.claim(cast.admin.actor, of, count, name=name)
    for other in Offering.objects.all()[:3]:
        world.quota(cast.organization, other, limit=5)
    return cast


def test_pages_of_rows_have_every_item_once_in_every_order(many: Cast) -> None:
    api = many.admin.api()
    orders: dict[str, dict[str, Callable[[Any], Any]]] = {
        "/api/v1/claims": {"name": lambda one: (one["spec"]["name"], one["spec"]["id"]), "createdAt": lambda one: one["spec"]["id"],
                           "updatedAt": lambda one: (one["status"]["updatedAt"], one["spec"]["id"])},
        "/api/v1/audit": {"at": lambda one: one["id"]},
        "/api/v1/tokens": {"name": lambda one: (one["name"], one["id"])},
        "/api/v1/members": {"username": lambda one: one["username"], "role": lambda one: (one["role"], one["username"])},
        "/api/v1/quota": {"zone": lambda one: (one["zone"], one["instanceId"])},
        "/api/v1/capacity": {"gpusFree": lambda one: (one["gpusFree"], one["zone"], one["instanceId"])},
    }  # fmt: skip
    for path, sorts in orders.items():
        for name, key in sorts.items():
            for sign in ("", "-"):
                whole = api.get(path, {"limit": "1000", "sort": sign + name}).json()["items"]
                assert walked(api, path, sort=sign + name) == whole, (path, name)
                assert len(whole) > 1
                assert all((key(a) > key(b)) == bool(sign) for a, b in pairwise(whole)), (path, sign + name)


def test_what_comes_meanwhile_neither_repeats_nor_hides_others(many: Cast) -> None:
    api = many.admin.api()
    first = api.get("/api/v1/claims", {"limit": "3", "sort": "-createdAt"}).json()
    world.claim(many.admin.actor, world.offering(), 1, name="new")
    second = api.get("/api/v1/claims", {"sort": "-createdAt", "after": first["nextCursor"]}).json()
    assert [one["spec"]["name"] for one in first["items"] + second["items"]] == ["b", "a", "c", "a", "b"]


def test_filters_leave_out_and_members_are_chosen(many: Cast) -> None:
    api = many.admin.api()
    assert [one["spec"]["name"] for one in walked(api, "/api/v1/claims", name="a", status="STATUS_CREATING")] == [
        "a",
        "a",
    ]
    assert api.get("/api/v1/claims", {"status": "STATUS_DELETING"}).json() == {"items": [], "nextCursor": None}
    assert {one["instanceId"] for one in walked(api, "/api/v1/quota", instanceId="GB200-4X")} == {"gb200-4x"}
    only = walked(api, "/api/v1/audit", fields="action,objectName", action="claim.", objectType="CapacityClaim")
    assert only[0].keys() == {"action", "objectName"}
    assert [one["objectName"] for one in only] == ["b", "a", "c", "a", "b"]
    assert walked(api, "/api/v1/audit", since="2999-01-01T00:00:00Z") == []
    assert walked(api, "/api/v1/audit", actor="token admin", action="claim.create", until="2000-01-01T00:00:00Z") == []


@pytest.mark.parametrize(("query", "field"), [
    ({"sort": "size"}, "sort"), ({"limit": "0"}, "limit"), ({"limit": "1001"}, "limit"), ({"limit": "²"}, "limit"),
    ({"fields": "spec,nothing"}, "fields"), ({"fields": ""}, "fields"), ({"status": "READY"}, "status"),
    ({"name": "nul\x00"}, "name"), ({"updatedAfter": "soon"}, "updated_after"), ({"after": "x"}, "after"),
    *[({"sort": "updatedAt", "after": encode_cursor(values)}, "after") for values in (
        [], ["updatedAt"], ["-updatedAt", "2026-01-01T00:00:00Z", 1], ["updatedAt", "soon", 1],
        ["updatedAt", "2026-01-01T00:00:00", 1], ["updatedAt", "0001-01-01T00:00:00+23:00", 1],
        ["updatedAt", None, 1], ["updatedAt", "2026-01-01T00:00:00Z", "x"],
        ["updatedAt", "2026-01-01T00:00:00Z", float("inf")], ["updatedAt", "2026-01-01T00:00:00Z", [1]])],
    *[({"sort": "name", "after": encode_cursor(["name", text, 1])}, "after") for text in ("nul\x00", "\ud800")],
    ({"after": encode_cursor(["createdAt", 10**30])}, None), ({"after": encode_cursor([[]] * 3)}, "after"),
])  # fmt: skip
def test_what_is_asked_for_wrongly_is_named(cast: Cast, query: dict[str, str], field: str | None) -> None:
    answer = cast.viewer.api().get("/api/v1/claims", query)
    if field is None:
        assert answer.json()["items"] == []
        return
    assert answer.status_code == 400, answer.content
    assert [one["field"] for one in answer.json()["details"][0]["fieldViolations"]] == [field]


def test_a_cursor_nested_beyond_reason_is_refused(cast: Cast) -> None:
    nested = encode_cursor(["createdAt", 1]).rstrip("=")
    for text in ("W1tb" * 5000, nested + "!", "é"):
        assert cast.viewer.api().get("/api/v1/claims", {"after": text}).status_code == 400


def test_a_page_takes_as_many_queries_as_a_full_list(many: Cast) -> None:
    api = many.admin.api()
    api.get("/api/v1/claims")
    counts = []
    for limit in (1, 5):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            api.get("/api/v1/claims", {"limit": limit})
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_every_list_says_how_it_is_paged() -> None:
    """Short ones, which are always whole, and ranges of time are named here."""
    whole = {"/api/v1/budgets", "/api/v1/usage", "/api/v1/claims/{id}/windows", "/api/v1/claims/{id}/calendar",
             "/api/v1/capacity/{zone}/{instance_type}/calendar", "/api/v1/deployments/{id}/signals",
             "/api/v1/deployments/{id}/schedules"}  # fmt: skip
    lists = {
        path: {one["name"] for one in item["get"].get("parameters", [])}
        for path, item in api_schema()["paths"].items()
        if path.startswith("/api/v1/") and "get" in item and "items" in str(properties(item["get"]))
    }
    unpaged = {path for path, names in lists.items() if not {"after", "limit"} <= names}
    assert unpaged <= whole, unpaged - whole


def properties(operation: Any) -> list[str]:
    content = operation["responses"]["200"].get("content", {}).get("application/json", {}).get("schema", {})
    name = content.get("$ref", "").rpartition("/")[2]
    return list(api_schema()["components"]["schemas"].get(name, {}).get("properties", {}))
