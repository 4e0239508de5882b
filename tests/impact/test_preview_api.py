"""`?preview=true` on /api/v1/claims: what a change would do, refused as the change is, and nothing is changed."""

from typing import Any

import pytest
from django.apps import apps
from django.urls import reverse

from claims.models import CapacityClaim, Instance
from claims.services import claim_delete
from tests import world
from tests.cast import Cast, Member

pytestmark = pytest.mark.django_db


def body_of(count: int, kind: str = "SERVERLESS", name: str = "new", **fields: Any) -> dict[str, Any]:
    of = world.offering()
    resources = {"instanceId": of.instance_type.name, "instanceCount": count, "capacityType": f"CAPACITY_TYPE_{kind}",
                 "zones": [of.zone.name]}  # fmt: skip
    return {"name": name, "resources": resources | fields}


def asked(who: Member, method: str, path: str = "", body: Any = None, preview: str = "true") -> Any:
    return who.api().send(method, f"/api/v1/claims{path}?preview={preview}", body)


def contents() -> dict[str, list[Any]]:
    """Every row of every table; when a token was last used is not the preview's doing."""
    rows = {}
    for model in apps.get_models(include_auto_created=True):
        names = [
            one.attname for one in model._meta.concrete_fields if one.attname not in ("last_used_at", "last_login")
        ]
        rows[model._meta.label] = sorted(map(str, model._default_manager.values_list(*names)))
    return rows


@pytest.mark.parametrize("kind", ["SERVERLESS", "CUSTOMER"])
def test_a_preview_changes_nothing_in_the_database(cast: Cast, kind: str) -> None:
    world.pool(world.offering(), 4)
    world.quota(cast.organization, world.offering(), limit=6)
    claim = world.claim(cast.admin.actor, world.offering(), 2, kind)
    world.everything_arrives()
    asked(cast.admin, "GET")
    before = contents()
    assert asked(cast.admin, "POST", body=body_of(2, kind)).json()["preview"]["added"] == 2
    for count in (1, 3):
        assert asked(cast.admin, "PATCH", f"/{claim.id}", {"instanceCount": count}).status_code == 200
    assert asked(cast.admin, "DELETE", f"/{claim.id}").json()["preview"]["instanceCountAfter"] == 0
    assert contents() == before
    assert asked(cast.admin, "DELETE", f"/{claim.id}", preview="false").status_code == 200
    assert contents() != before, "the comparison sees what the act does"


def test_what_a_creation_is_foreseen_to_get_it_then_gets(cast: Cast) -> None:
    pool = world.pool(world.offering(), 4)
    world.take(pool[0], cast.organization, 7)
    preview = asked(cast.admin, "POST", body=body_of(5)).json()["preview"]
    assert (preview["instanceCountBefore"], preview["instanceCountAfter"]) == (0, 5)
    assert (preview["added"], preview["addedAtOnce"], preview["convertedInPlace"]) == (5, 4, 1)
    assert preview["price"]["hourBefore"] == "0"
    made = asked(cast.admin, "POST", body=body_of(5), preview="false").json()["capacityClaim"]
    assert made["status"]["allocatedInstances"] == 4
    again = asked(cast.admin, "PATCH", f"/{made['spec']['id']}", {"instanceCount": 5}).json()["preview"]
    assert again["price"]["hourBefore"] == preview["price"]["hourAfter"]


def test_c3_a_creation_says_what_it_commits_of_the_quota(cast: Cast) -> None:
    world.quota(cast.organization, world.offering(), limit=5, other_usage=1)
    preview = asked(cast.admin, "POST", body=body_of(3, "CUSTOMER")).json()["preview"]
    assert preview["quota"] == {"limit": 5, "committedBefore": 0, "committedAfter": 3, "freeBefore": 4, "freeAfter": 1}
    assert (preview["added"], preview["addedAtOnce"]) == (3, 0)


def refusals(cast: Cast) -> list[tuple[Member, str, str, Any]]:
    of = world.offering()
    world.quota(cast.organization, of, limit=2)
    world.pool(of, 1)
    own = world.claim(cast.admin.actor, of, 1, "CUSTOMER")
    going = world.claim(cast.admin.actor, of, 1, name="going")
    claim_delete(actor=cast.admin.actor, claim_id=going.id)
    return [
        (cast.admin, "POST", "", body_of(2, "CUSTOMER")),
        (cast.admin, "POST", "", body_of(0)),
        (cast.admin, "POST", "", body_of(1, name="Not A Name")),
        (cast.admin, "POST", "", body_of(1, instanceId="none-1x")),
        (cast.admin, "POST", "", body_of(1) | {"id": str(own.id)}),
        (cast.viewer, "POST", "", body_of(1)),
        (cast.billing, "POST", "", body_of(1)),
        (cast.admin, "PATCH", f"/{own.id}", {"instanceCount": 3}),
        (cast.admin, "PATCH", f"/{own.id}", {"instanceCount": 0}),
        (cast.admin, "PATCH", f"/{own.id}", {}),
        (cast.viewer, "PATCH", f"/{own.id}", {"instanceCount": 2}),
        (cast.outsider, "PATCH", f"/{own.id}", {"instanceCount": 2}),
        (cast.admin, "PATCH", f"/{going.id}", {"instanceCount": 2}),
        (cast.viewer, "DELETE", f"/{own.id}", None),
        (cast.outsider, "DELETE", f"/{own.id}", None),
        (cast.admin, "DELETE", "/no-id", None),
    ]


def test_a_preview_is_refused_as_the_act_is_and_both_store_nothing(cast: Cast) -> None:
    cases = refusals(cast)
    before = contents()
    for who, method, path, body in cases:
        preview, act = (asked(who, method, path, body, which) for which in ("true", "false"))
        assert preview.status_code == act.status_code >= 400, (method, path, body)
        assert without_request(preview.json()) == without_request(act.json())
    assert contents() == before


def without_request(body: dict[str, Any]) -> dict[str, Any]:
    """An error without the number of its request."""
    return {**body, "details": [one for one in body.get("details", []) if "RequestInfo" not in str(one.get("@type"))]}


def test_deleting_again_is_no_refusal_and_previews_nothing(cast: Cast) -> None:
    world.pool(world.offering(), 2)
    claim = world.claim(cast.admin.actor, world.offering(), 2)
    one = claim.instances.order_by("key")[0]
    world.take(one, cast.organization, 3, claim=claim)
    claim_delete(actor=cast.admin.actor, claim_id=claim.id)
    preview = asked(cast.admin, "DELETE", f"/{claim.id}").json()["preview"]
    assert (preview["instanceCountBefore"], preview["instanceCountAfter"]) == (0, 0)
    assert preview["givenUp"] == []
    assert preview["price"]["hourBefore"] == preview["price"]["hourAfter"] == "0"


def test_c4_what_becomes_free_goes_to_claims_that_wait_then_to_anybody(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 5)
    claim = world.claim(cast.admin.actor, of, 5, name="first")
    theirs = world.claim(cast.outsider.actor, of, 1, name="theirs")
    mine = world.claim(cast.admin.actor, of, 2, name="second")
    world.settle()
    freed = asked(cast.admin, "DELETE", f"/{claim.id}").json()["preview"]["freed"]
    assert freed == {
        "instances": 5, "claims": [{"id": str(mine.id), "name": "second", "instances": 2}], "otherClaims": 1,
        "pool": 2, "leavePool": 0, "released": 0, "quota": 0,
    }  # fmt: skip
    page = cast.admin.browser().get(reverse("claim-delete", args=[claim.id])).content.decode()
    assert "1 to claims of others that wait" in page
    assert theirs.name not in page
    assert "2 free in the pool for anybody" in " ".join(page.split())
    claim_delete(actor=cast.admin.actor, claim_id=claim.id)
    world.settle()
    assert Instance.objects.filter(claim=mine).count() == 2
    assert Instance.objects.filter(claim=theirs).count() == 1
    assert Instance.objects.filter(claim__isnull=True, organization__isnull=True).count() == 2


def test_c13_a_pool_that_is_to_be_smaller_takes_what_claims_leave(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 3)
    claim = world.claim(cast.admin.actor, of, 3)
    world.settle()
    type(of).objects.filter(key=of.key).update(pool_size=1)
    freed = asked(cast.admin, "DELETE", f"/{claim.id}").json()["preview"]["freed"]
    assert (freed["leavePool"], freed["pool"]) == (2, 1)


def test_machines_of_ones_own_go_away_and_quota_becomes_free(cast: Cast) -> None:
    world.quota(cast.organization, world.offering(), limit=4)
    claim = world.claim(cast.admin.actor, world.offering(), 3, "CUSTOMER")
    world.everything_arrives()
    freed = asked(cast.admin, "PATCH", f"/{claim.id}", {"instanceCount": 1}).json()["preview"]["freed"]
    assert (freed["instances"], freed["released"], freed["quota"]) == (2, 2, 2)


def test_claims_are_made_changed_and_deleted_here_too(cast: Cast) -> None:
    world.pool(world.offering(), 3)
    made = cast.admin.api().send("POST", "/api/v1/claims", body_of(1)).json()["capacityClaim"]
    path = f"/api/v1/claims/{made['spec']['id']}"
    assert cast.admin.api().send("PATCH", path, {"instanceCount": 2}).status_code == 200
    world.settle()
    seen = cast.viewer.api().send("GET", path).json()["capacityClaim"]
    assert seen["status"]["allocatedInstances"] == 2
    assert cast.viewer.api().send("GET", "/api/v1/claims").json() == {"items": [seen], "nextCursor": None}
    assert cast.outsider.api().send("GET", path).status_code == 404
    assert cast.admin.api().send("DELETE", path).status_code == 200
    world.settle()
    assert not CapacityClaim.objects.exists()


def test_preview_is_true_or_false_and_nothing_else(cast: Cast) -> None:
    world.pool(world.offering(), 1)
    answer = asked(cast.admin, "POST", body=body_of(1), preview="yes")
    assert answer.status_code == 400
    assert "preview" in str(answer.json())
    assert not CapacityClaim.objects.exists()
