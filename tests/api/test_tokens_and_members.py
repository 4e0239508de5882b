"""`/api/v1/tokens` and `/members`: by the services of the console's pages, with the same refusals."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from console.common import clock
from console.organizations.models import ApiToken, AuditEvent, IdempotencyKey, Membership
from tests.cast import ApiClient, Cast, Member

pytestmark = pytest.mark.django_db

TOKENS, MEMBERS = "/api/v1/tokens", "/api/v1/members"
CI = {"name": "ci", "role": "viewer", "expiresAfter": "30d", "comment": "Nightly report"}
LASTS = {"1h": timedelta(hours=1), "8h": timedelta(hours=8), "30d": timedelta(days=30), "90d": timedelta(days=90),
         "1y": timedelta(days=365), "never": None}  # fmt: skip


def stored() -> list[Any]:
    """All that these addresses may change; a token's last use is no change."""
    tokens = ApiToken.objects.order_by("pk").values("id", "role", "revoked_at")
    return [list(tokens), list(Membership.objects.order_by("pk").values()), AuditEvent.objects.count()]


def test_a_token_is_made_used_named_in_the_audit_trail_and_revoked(cast: Cast) -> None:
    api = cast.admin.api()
    answer = api.send("POST", TOKENS, CI | {"role": "admin"})
    assert answer.status_code == 201, answer.content
    made = answer.json()
    secret = made.pop("secret")
    assert (made["comment"], made["valid"], made["lastUsedAt"], made["createdBy"]) == (
        "Nightly report",
        True,
        None,
        None,
    )
    assert ApiClient(secret).send("PUT", "/api/v1/budgets", {"amount": "7.00"}).status_code == 200
    [event] = api.get("/api/v1/audit", {"actor": "token ci"}).json()["items"]
    assert (event["action"], event["objectType"]) == ("budget.set", "Budget")
    read = api.get(f"{TOKENS}/{made['id']}").json()
    assert read["lastUsedAt"]
    assert read | {"lastUsedAt": None} == made
    assert made["id"] in [one["id"] for one in api.get(TOKENS).json()["items"]]
    ended = [api.send("DELETE", f"{TOKENS}/{made['id']}").json() for _ in range(2)]
    assert (ended[0]["valid"], ended[0]["revokedAt"]) == (False, ended[1]["revokedAt"])
    assert ApiClient(secret).get("/api/v1/quota").status_code == 401
    assert [one["id"] for one in api.get(TOKENS, {"state": "ended"}).json()["items"]] == [made["id"]]
    assert made["id"] not in [one["id"] for one in api.get(TOKENS).json()["items"]]
    assert secret not in str([list(model.objects.values()) for model in (ApiToken, AuditEvent, IdempotencyKey)])
    told = AuditEvent.objects.filter(object_id=made["id"]).order_by("id")
    assert [(one.action, one.actor) for one in told] == [
        ("token.create", "token admin"),
        ("token.revoke", "token admin"),
    ]


def test_it_lasts_as_long_as_it_was_asked_to(cast: Cast) -> None:
    for name, lasts in LASTS.items():
        before = clock.now()
        made = cast.admin.api().send("POST", TOKENS, CI | {"expiresAfter": name}).json()
        if lasts is None:
            assert made["expiresAt"] is None
        else:
            assert before + lasts <= datetime.fromisoformat(made["expiresAt"]) <= clock.now() + lasts


def test_a_creation_that_is_sent_again_makes_one_and_keeps_no_secret(cast: Cast) -> None:
    first, again = (cast.admin.api().send("POST", TOKENS, CI, headers={"idempotency-key": "k"}) for _ in range(2))
    assert again.json() == first.json() | {"secret": None}
    assert ApiToken.objects.filter(name="ci").count() == 1


@pytest.mark.parametrize(("change", "field"), [
    ({"name": ""}, "name"), ({"name": "x" * 101}, "name"), ({"name": "nul\x00"}, "name"), ({"name": "a\nb"}, "name"),
    ({"role": "owner"}, "role"), ({"role": 5}, "role"), ({"expiresAfter": "7d"}, "expires_after"), ({"expiresAfter": None}, "expires_after"),
    ({"comment": "x" * 501}, "comment"), ({"comment": "nul\x00"}, "comment"),
])  # fmt: skip
def test_a_wrong_token_is_refused_on_its_field(cast: Cast, change: dict[str, Any], field: str) -> None:
    before = stored()
    answer = cast.admin.api().send("POST", TOKENS, CI | change)
    assert answer.status_code == 400, answer.content
    assert {one["field"] for one in answer.json()["details"][0]["fieldViolations"]} == {field}
    assert stored() == before


def test_members_come_change_and_go(cast: Cast) -> None:
    api = cast.admin.api()
    assert [one["username"] for one in api.get(MEMBERS).json()["items"]] == ["admin", "billing", "viewer"]
    added = api.send("POST", MEMBERS, {"username": "outsider", "role": "viewer"})
    assert (added.status_code, added.json()) == (
        201, {"username": "outsider", "role": "viewer", "canSignIn": True, "liveTokens": 0}
    )  # fmt: skip
    assert api.send("PATCH", f"{MEMBERS}/outsider", {"role": "billing"}).json()["role"] == "billing"
    assert [one["username"] for one in api.get(MEMBERS, {"role": "billing"}).json()["items"]] == ["billing", "outsider"]
    assert api.send("DELETE", f"{MEMBERS}/outsider").status_code == 204
    assert api.get(f"{MEMBERS}/outsider").status_code == 404
    told = AuditEvent.objects.filter(object_name="outsider", actor="token admin").order_by("id")
    assert [one.action for one in told] == ["member.set", "member.set", "member.remove"]


def test_the_last_admin_stays(cast: Cast) -> None:
    before = stored()
    for method, body in (("PATCH", {"role": "viewer"}), ("DELETE", None)):
        answer = cast.admin.api().send(method, f"{MEMBERS}/admin", body)
        assert answer.status_code == 412
        assert answer.json()["details"][0]["violations"][0]["type"] == "LAST_ADMIN"
    assert stored() == before


@pytest.mark.parametrize(("method", "path", "body", "status"), [
    ("POST", MEMBERS, {"username": "nobody", "role": "viewer"}, 400),
    ("POST", MEMBERS, {"username": "viewer", "role": "viewer"}, 400),
    ("POST", MEMBERS, {"username": "nul\x00", "role": "viewer"}, 400),
    ("POST", MEMBERS, {"username": "outsider", "role": "owner"}, 400),
    ("POST", MEMBERS, {"username": "outsider"}, 400),
    ("PATCH", f"{MEMBERS}/viewer", {"role": "owner"}, 400),
    ("PATCH", f"{MEMBERS}/viewer", {}, 400),
    ("PATCH", f"{MEMBERS}/outsider", {"role": "viewer"}, 404),
    ("DELETE", f"{MEMBERS}/outsider", None, 404),
    ("GET", f"{MEMBERS}/nul%00", None, 404),
    ("DELETE", f"{TOKENS}/7", None, 404),
])  # fmt: skip
def test_what_is_wrong_about_members_is_refused(cast: Cast, method: str, path: str, body: Any, status: int) -> None:
    before = stored()
    assert cast.admin.api().send(method, path, body).status_code == status
    assert stored() == before


@pytest.mark.parametrize(("who", "status"), [("viewer", 403), ("billing", 403), ("outsider", 404)])
def test_only_admins_of_the_organization_come_in(cast: Cast, who: str, status: int) -> None:
    token, before = ApiToken.objects.get(name="viewer"), stored()
    member: Member = getattr(cast, who)
    tried = [("GET", f"{TOKENS}/{token.pk}", None), ("DELETE", f"{TOKENS}/{token.pk}", None),
             ("GET", f"{MEMBERS}/viewer", None), ("PATCH", f"{MEMBERS}/viewer", {"role": "admin"}),
             ("DELETE", f"{MEMBERS}/viewer", None)]  # fmt: skip
    if who != "outsider":
        tried += [("GET", TOKENS, None), ("POST", TOKENS, CI), ("GET", MEMBERS, None),
                  ("POST", MEMBERS, {"username": "outsider", "role": "viewer"})]  # fmt: skip
    for method, path, body in tried:
        assert member.api().send(method, path, body).status_code == status, (method, path)
    assert stored() == before


def test_the_audit_trail_shows_each_what_the_role_allows(cast: Cast) -> None:
    cast.admin.api().send("POST", TOKENS, CI)
    cast.admin.api().send("PUT", "/api/v1/budgets", {"amount": "7.00"})
    seen = {who: {one["action"] for one in getattr(cast, who).api().get("/api/v1/audit").json()["items"]}
            for who in ("admin", "viewer", "outsider")}  # fmt: skip
    assert {"token.create", "budget.set"} <= seen["admin"]
    assert "budget.set" in seen["viewer"]
    assert "token.create" not in seen["viewer"]
    assert "budget.set" not in seen["outsider"]
