"""Every page by everybody who may come to its door; what each shows, what each may do."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from claims.models import CapacityClaim
from console.organizations.models import AuditEvent
from deployments.models import AutoscalingPolicy, Deployment
from tests import fleet, world
from tests.cast import PASSWORD, Cast
from tests.pages.conftest import Running

pytestmark = pytest.mark.django_db

PLAIN = ["overview", "deployments", "claims", "capacity"]
WRITING = ["deployment-new", "claim-new"]
OF_DEPLOYMENT = ["deployment", "chart-replicas", "chart-queue", "chart-waits"]
OF_CLAIM = ["claim", "chart-claim"]


def addresses(running: Running) -> dict[str, str]:
    found = {name: reverse(name) for name in [*PLAIN, *WRITING, "chart-fleet-replicas", "chart-claims", "chart-spend"]}
    found |= {name: reverse(name, args=[running.deployment.id]) for name in [*OF_DEPLOYMENT, "deployment-delete"]}
    return found | {name: reverse(name, args=[running.claim.id]) for name in [*OF_CLAIM, "claim-delete"]}


def test_an_admin_sees_every_page(cast: Cast, running: Running) -> None:
    browser = cast.admin.browser()
    for name, address in addresses(running).items():
        assert browser.get(address).status_code == 200, name


def test_a_viewer_sees_everything_but_money_and_changes(cast: Cast, running: Running) -> None:
    browser = cast.viewer.browser()
    for name, address in addresses(running).items():
        expected = 403 if name in [*WRITING, "chart-spend", "deployment-delete", "claim-delete"] else 200
        assert browser.get(address).status_code == expected, name
    for name in ("overview", "claim", "deployment"):
        page = browser.get(addresses(running)[name]).content.decode()
        assert "$" not in page, name
        assert "Reserve capacity</a>" not in page.split("page-header")[1]


def test_billing_sees_money(cast: Cast, running: Running) -> None:
    page = cast.billing.browser().get(reverse("overview")).content.decode()
    assert "Spent this month" in page
    assert cast.billing.browser().get(reverse("chart-spend")).status_code == 200


def test_an_outsider_finds_nothing_of_ours(cast: Cast, running: Running) -> None:
    browser = cast.outsider.browser()
    for name in [*OF_DEPLOYMENT, *OF_CLAIM, "deployment-delete", "claim-delete"]:
        assert browser.get(addresses(running)[name]).status_code == 404, name
    for name in PLAIN:
        page = browser.get(reverse(name)).content.decode()
        assert running.deployment.name not in page.replace("Chat", "")
        assert str(running.claim.id) not in page


def test_nobody_is_sent_to_sign_in(cast: Cast, running: Running) -> None:
    for address in addresses(running).values():
        answer = Client().get(address)
        assert (answer.status_code, answer.headers["Location"].split("?")[0]) == (302, reverse("sign-in"))


def test_platform_staff_may_look_at_any_organization(cast: Cast, running: Running) -> None:
    browser = cast.platform.browser()
    browser.post(reverse("switch-organization"), {"organization": cast.other.key})
    assert browser.get(addresses(running)["claim"]).status_code == 404
    browser.post(reverse("switch-organization"), {"organization": cast.organization.key})
    assert browser.get(addresses(running)["claim"]).status_code == 200


def test_switching_to_a_foreign_organization_changes_nothing(cast: Cast, running: Running) -> None:
    browser = cast.outsider.browser()
    browser.post(reverse("switch-organization"), {"organization": cast.organization.key})
    assert browser.get(addresses(running)["claim"]).status_code == 404


def test_the_policy_allows_no_inline_script_or_style(cast: Cast) -> None:
    policy = cast.admin.browser().get(reverse("overview")).headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "style-src 'self'" in policy
    assert "unsafe" not in policy


@pytest.mark.thorough
@pytest.mark.parametrize("name", [*PLAIN, "deployment", "claim"])
def test_queries_do_not_grow_with_rows(cast: Cast, running: Running, name: str) -> None:
    browser, address = cast.admin.browser(), addresses(running).get(name, "")

    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            assert browser.get(address).status_code == 200
        return len(found)

    of, at = world.offering(), running.deployment.gateways.get()

    def more(numbers: range) -> None:
        for number in numbers:
            world.claim(cast.admin.actor, of, 1, name=f"more-{number}")
            fleet.deployment(cast.admin.actor, at, of, name=f"more-{number}")
        fleet.tick(of.instance_type)

    more(range(1))
    world.a_second_passes()
    queries()  # what only a first request asks
    before = queries()
    more(range(1, 6))
    assert queries() == before


def test_reserving_offers_only_what_is_possible_and_shows_price_pool_and_quota(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 3)
    world.quota(cast.organization, of, limit=5, other_usage=1)
    page = cast.admin.browser().get(
        reverse("claim-new"), {"zone": of.zone.name, "type": of.instance_type.name, "kind": "CUSTOMER", "count": "2"}
    )
    text = page.content.decode()
    assert "3 of 3 free in the pool" in text
    assert "3 of 3 instances" not in text, "its machines do not come from there"
    assert "$84.00" in text  # 2 instances x 4 GPUs x 10.50
    assert "4 free: limit 5, 1 other use, 0 committed" in text


def test_reserving_creates_and_says_what_is_allocated(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 1)
    form = {"zone": of.zone.name, "type": of.instance_type.name, "kind": "SERVERLESS", "count": 2, "name": "mine",
            "reserve": "1"}  # fmt: skip
    answer = cast.admin.browser().post(reverse("claim-new"), form, follow=True)
    assert "1 instance allocated, 1 pending" in answer.content.decode()
    assert CapacityClaim.objects.get().target == 2


def test_beyond_quota_the_page_shows_the_numbers_and_stores_nothing(cast: Cast) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=3, other_usage=1)
    form = {"zone": of.zone.name, "type": of.instance_type.name, "kind": "CUSTOMER", "count": 3, "name": "mine",
            "reserve": "1"}  # fmt: skip
    answer = cast.admin.browser().post(reverse("claim-new"), form)
    assert answer.status_code == 422
    assert (
        "3 more instances requested, 2 free (limit 3, 1 in other use, 0 committed to claims)" in answer.content.decode()
    )
    assert not CapacityClaim.objects.exists()


def test_a_change_of_autoscaling_is_previewed_then_saved(cast: Cast, running: Running) -> None:
    browser, one = cast.admin.browser(), running.deployment
    address = reverse("deployment-autoscaling", args=[one.id])
    form = {"min": 1, "max": 9, "concurrency": 4, "priority": 700, "classes": "", "seen_at": now_of(one)}
    preview = browser.post(address, form).content.decode()
    assert "<b>9</b>" in preview
    assert AutoscalingPolicy.objects.get().max == 6, "nothing is saved by a preview"
    browser.post(address, {**form, "confirmed": "1"})
    policy = AutoscalingPolicy.objects.get()
    assert (policy.min, policy.max, policy.concurrency, policy.priority) == (1, 9, 4, 700)
    event = AuditEvent.objects.filter(action="deployment.autoscaling").get()
    assert event.before is not None
    assert event.before is not None
    assert event.before["max"] == 6


def now_of(one: Deployment) -> str:
    return Deployment.objects.get(key=one.key).updated_at.isoformat()


def test_a_change_that_somebody_else_overtook_is_refused(cast: Cast, running: Running) -> None:
    browser, one = cast.admin.browser(), running.deployment
    address = reverse("deployment-autoscaling", args=[one.id])
    form = {
        "min": 1,
        "max": 9,
        "concurrency": "",
        "priority": "",
        "classes": "",
        "seen_at": now_of(one),
        "confirmed": "1",
    }
    browser.post(address, form)
    answer = browser.post(address, {**form, "max": 3}, follow=True)
    assert "was changed at" in answer.content.decode()
    assert AutoscalingPolicy.objects.get().max == 9


@pytest.mark.parametrize(("changes", "said"), [
    ({"min": 0}, "greater than or equal to 1"),
    ({"min": 5, "max": 2}, "max must be greater than or equal to min"),
    ({"priority": 1001}, "less than or equal to 1000"),
])  # fmt: skip
def test_a_wrong_autoscaling_block_is_refused_on_its_field(
    cast: Cast, running: Running, changes: dict[str, Any], said: str
) -> None:
    address = reverse("deployment-autoscaling", args=[running.deployment.id])
    form = {"min": 1, "max": 9, "concurrency": "", "priority": "", "classes": "", **changes}
    answer = cast.admin.browser().post(address, form)
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert AutoscalingPolicy.objects.get().max == 6


def test_a_viewer_cannot_change_by_hand_written_requests(cast: Cast, running: Running) -> None:
    browser, before = cast.viewer.browser(), CapacityClaim.objects.values().get()
    attempts: list[Callable[[], Any]] = [
        lambda: browser.post(reverse("claim-resize", args=[running.claim.id]), {"count": 5, "confirmed": 1}),
        lambda: browser.post(reverse("claim-delete", args=[running.claim.id])),
        lambda: browser.post(reverse("deployment-delete", args=[running.deployment.id])),
        lambda: browser.post(reverse("deployment-switch", args=[running.deployment.id]), {"disabled": "1"}),
        lambda: browser.post(reverse("deployment-autoscaling", args=[running.deployment.id]), {"min": 1, "max": 2}),
    ]
    assert [attempt().status_code for attempt in attempts] == [403] * 5
    assert CapacityClaim.objects.values().get() == before
    assert not Deployment.objects.get().disabled


def test_resizing_and_deleting_a_claim_are_previewed(cast: Cast, running: Running) -> None:
    browser, claim = cast.admin.browser(), running.claim
    preview = browser.post(reverse("claim-resize", args=[claim.id]), {"count": 2}).content.decode()
    assert "From 1 to 2 instances" in preview
    assert CapacityClaim.objects.get().target == 1
    browser.post(reverse("claim-resize", args=[claim.id]), {"count": 2, "confirmed": "1"})
    assert CapacityClaim.objects.get().target == 2
    assert "Delete prod?" in browser.get(reverse("claim-delete", args=[claim.id])).content.decode()
    browser.post(reverse("claim-delete", args=[claim.id]))
    assert CapacityClaim.objects.get().status == "STATUS_DELETING"


def test_a_deployment_is_created_from_the_form(cast: Cast, running: Running) -> None:
    at = running.deployment.gateways.get()
    form = {"name": "second", "gateway": str(at.id), "engine": "vllm 0.21.0", "instance_type": "gb200-4x", "gpu_count": 2,
            "model_name": "llama-4", "model_bucket": "weights", "model_path": "a/b", "min": 1, "max": 3,
            "concurrency": "", "priority": "", "classes": ""}  # fmt: skip
    browser = cast.admin.browser()
    assert browser.post(reverse("deployment-new"), form).status_code == 302
    assert Deployment.objects.get(name="second").gpu_count == 2
    again = browser.post(reverse("deployment-new"), form)
    assert again.status_code == 422
    assert "exists already" in again.content.decode()
    wrong = browser.post(reverse("deployment-new"), {**form, "name": "third", "model_path": "../x"})
    assert "path traversal" in wrong.content.decode()
    assert not Deployment.objects.filter(name="third").exists()


def test_five_failed_sign_ins_lock_the_name(cast: Cast) -> None:
    browser, address = Client(), reverse("sign-in")
    for _ in range(5):
        browser.post(address, {"username": "admin", "password": "wrong"})
    answer = browser.post(address, {"username": "admin", "password": PASSWORD})
    assert answer.status_code == 429
    assert b"locked" in answer.content
    assert Client(REMOTE_ADDR="10.9.8.7").post(address, {"username": "viewer", "password": PASSWORD}).status_code == 302


def test_an_unknown_address_answers_in_the_language_of_its_place(cast: Cast) -> None:
    assert b"Nothing is here" in Client().get("/nowhere").content
    body = Client().get("/v1alpha1/inference/nowhere").json()
    assert (body["code"], body["details"]) == (5, [])


def test_the_schema_of_the_api_is_served(cast: Cast) -> None:
    answer = cast.admin.browser().get(reverse("schema"))
    assert answer.status_code == 200
    assert {"/v1alpha1/inference/capacityclaims/{id}", "/api/v1/deployments/{id}/decisions"} <= set(
        answer.json()["paths"]
    )
