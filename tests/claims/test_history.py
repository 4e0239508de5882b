"""The history of a claim: who asked for what, what became of it, and which instances it had."""

import re
from datetime import datetime
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from claims import metering
from claims.history import claim_history
from claims.models import CapacityClaim, ClaimEvent, SimulatedNode
from claims.services import claim_delete, claim_resize
from console.common import clock
from console.common.ids import new_id
from console.dashboard.templatetags.headroom import usd
from tests import world
from tests.cast import Cast

pytestmark = pytest.mark.django_db


def lived(cast: Cast) -> CapacityClaim:
    """Created, raised, lost one, deleted and gone, each in a second of its own."""
    of = world.offering()
    world.quota(cast.organization, of, limit=3)
    claim = world.claim(cast.admin.actor, of, 2, "CUSTOMER", name="own")
    world.everything_arrives()
    claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=world.resources(of, 3, "CUSTOMER"))
    world.everything_arrives()
    world.a_second_passes()
    SimulatedNode.objects.filter(instance_key=claim.instances.order_by("key")[0].key).delete()
    world.settle()
    world.everything_arrives()
    world.a_second_passes()
    claim_delete(actor=cast.admin.actor, claim_id=claim.id)
    world.everything_arrives()
    assert not CapacityClaim.objects.filter(id=claim.id).exists()
    return claim


def told(cast: Cast, claim: CapacityClaim, **query: Any) -> dict[str, Any]:
    answer = cast.viewer.api().get(f"/api/v1/claims/{claim.id}/history", query)
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = answer.json()
    return found


def test_a_life_is_told_from_request_to_end_with_who_and_when(cast: Cast) -> None:
    claim = lived(cast)
    items = told(cast, claim)["items"][::-1]
    times = [datetime.fromisoformat(one["at"]).replace(microsecond=0) for one in items]
    assert times == sorted(times)
    by_status = [(one["before"], one["after"], one["who"]) for one in items if one["kind"] == "STATUS"]
    who = cast.admin.actor.name
    assert by_status == [
        ("STATUS_CREATING", "STATUS_READY", "fulfil loop"), ("STATUS_READY", "STATUS_UPDATING", who),
        ("STATUS_UPDATING", "STATUS_READY", "fulfil loop"), ("STATUS_READY", "STATUS_UPDATING", "provision loop"),
        ("STATUS_UPDATING", "STATUS_READY", "fulfil loop"), ("STATUS_READY", "STATUS_DELETING", who),
        ("STATUS_DELETING", "GONE", "fulfil loop"),
    ]  # fmt: skip
    asked = [(one["what"], one["text"], one["who"]) for one in items if one["kind"] == "REQUEST"]
    assert asked == [("claim.create", "2 instances", who), ("claim.resize", "from 2 instances to 3 instances", who),
                     ("claim.delete", "3 instances", who)]  # fmt: skip
    held = [(one["what"], one["instances"]) for one in items if one["kind"] == "INSTANCES"]
    came = sum(count for what, count in held if what == "ALLOCATED")
    assert (came, ("LOST", 1) in held) == (4, True)
    assert sum(count for what, count in held if what == "GIVEN_UP") == 3
    conditions = [(one["what"], one["after"]) for one in items if one["kind"] == "CONDITION"]
    assert conditions == [("Degraded", "STATUS_TRUE"), ("Degraded", "STATUS_FALSE")]


@pytest.mark.thorough
@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_pages_put_together_are_the_whole_history(cast: Cast, limit: int) -> None:
    claim = lived(cast)
    whole, pages, cursor = told(cast, claim)["items"], list[Any](), None
    while True:
        page = told(cast, claim, limit=limit, **({"after": cursor} if cursor else {}))
        assert len(page["items"]) <= limit
        pages += page["items"]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert pages == whole


@pytest.mark.parametrize("cursor", ["x", "WzFd", "WyJhIiwgMSwgMV0", "WyIyMDI2LTAxLTAxVDAwOjAwOjAwKzAwOjAwIiwgMSwgLTFd"])
def test_a_cursor_that_was_not_given_out_is_refused(cast: Cast, cursor: str) -> None:
    claim = world.claim(cast.admin.actor, world.offering(), 1)
    answer = cast.viewer.api().get(f"/api/v1/claims/{claim.id}/history", {"after": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, 3)


def test_another_organizations_claim_has_no_history(cast: Cast) -> None:
    claim = lived(cast)
    assert cast.outsider.api().get(f"/api/v1/claims/{claim.id}/history").status_code == 404
    assert cast.outsider.browser().get(reverse("claim-history", args=[claim.id])).status_code == 404


def test_many_instances_of_one_moment_are_one_entry(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 40)
    claim = world.claim(cast.admin.actor, of, 40)
    entries, _ = claim_history(cast.organization, claim.id, 50)
    (one,) = [entry for entry in entries if entry.what == "ALLOCATED"]
    assert (one.instances, one.text) == (40, "40 instances allocated")


def test_queries_do_not_grow_with_what_happened(cast: Cast) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=30)
    claim = world.claim(cast.admin.actor, of, 1, "CUSTOMER", name="own")

    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            claim_history(cast.organization, claim.id, 100)
        return len(found)

    assert queries() == 5
    for count in range(2, 9):
        claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=world.resources(of, count, "CUSTOMER"))
        world.everything_arrives()
    assert queries() == 5


def test_the_page_of_a_claim_that_is_gone_tells_its_history(cast: Cast) -> None:
    claim = lived(cast)
    text = cast.viewer.browser().get(reverse("claim-history", args=[claim.id])).content.decode()
    for part in (
        "History of own",
        "The claim itself is gone",
        "Claim created",
        "fulfil loop",
        "Gone",
        "1 instance lost",
    ):
        assert part in text


def test_a_claim_that_is_gone_keeps_a_page_with_its_life_and_what_it_cost(cast: Cast) -> None:
    claim = lived(cast)
    address = reverse("claim", args=[claim.id])
    spent = metering.total(metering.month_to_date(cast.organization, clock.now()))
    assert spent > 0, "nothing else was used"
    for member in (cast.admin, cast.billing, cast.platform):
        found = member.browser().get(address)
        assert found.context["whole"].total == spent
        text = " ".join(re.sub("<[^>]*>", " ", found.content.decode()).split())
        for part in ("own deleted", "This claim is gone", "gb200-4x in US-WEST-04A, customer claim", "Claim deleted",
                     "when its last instance was released", f"Cost {usd(spent)}"):  # fmt: skip
            assert part in text
        assert (
            f'href="{reverse("billing-lines")}?month={clock.now():%Y-%m}&amp;claim={claim.id}"'
            in found.content.decode()
        )
        bill = member.browser().get(reverse("billing")).content.decode()
        assert f'<a href="{address}"><b>own</b></a> <span class="tag">deleted</span>' in bill
    seen = cast.viewer.browser().get(address)
    assert (seen.status_code, "$" in seen.content.decode(), "Claim deleted" in seen.content.decode()) == (
        200,
        False,
        True,
    )
    assert cast.outsider.browser().get(address).status_code == 404
    assert cast.admin.browser().get(address.replace(str(claim.id), str(new_id()))).status_code == 404
    assert cast.admin.api().get(f"/v1alpha1/inference/capacityclaims/{claim.id}").status_code == 404
    open_page = cast.admin.browser().get(address, headers={"HX-Request": "true"})
    assert open_page.headers["HX-Refresh"] == "true", "a page that was open when the claim went is loaded anew"


def test_the_history_is_never_altered(cast: Cast) -> None:
    lived(cast)
    for act in (lambda: ClaimEvent.objects.update(actor="nobody"), lambda: ClaimEvent.objects.all().delete()):
        with pytest.raises(DatabaseError), transaction.atomic():
            act()
    assert not ClaimEvent.objects.filter(actor="nobody").exists()
