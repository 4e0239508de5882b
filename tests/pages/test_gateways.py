"""The gateways' pages: made, changed after a preview, deleted where nothing uses them; no secret is shown."""

import re
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from console.dashboard.views import gateways as views
from deployments.models import Gateway
from tests import fleet, world
from tests.cast import Cast
from tests.pages.conftest import Running

pytestmark = pytest.mark.django_db

FORM: dict[str, Any] = {"name": "front", "zones": ["US-WEST-04A"], "auth": "core_weave_auth",
                        "routing": "header_based_routing", "header_name": "X-Model", "dns": "a.example.com\nb.example.com"}  # fmt: skip


def plain(page: bytes) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", page.decode()).split())


def test_a_gateway_is_made_from_the_form(cast: Cast) -> None:
    world.offering()
    answer = cast.admin.browser().post(reverse("gateway-new"), FORM, follow=True)
    one = Gateway.objects.get()
    assert (one.sent_zones, one.auth, one.routing) == (
        ["US-WEST-04A"], {"core_weave_auth": {}}, {"header_based_routing": {"header_name": "X-Model"}},
    )  # fmt: skip
    assert one.endpoint_configuration == {"additional_dns": ["a.example.com", "b.example.com"]}
    assert "By a header X-Model" in plain(answer.content)
    assert "No deployment uses it" in plain(answer.content)


@pytest.mark.parametrize(("changes", "field", "said"), [
    ({"name": "-x"}, "name", "hostname label"),
    ({"name": ""}, "name", "required"),
    ({"header_name": ""}, "header_name", "value length must be from 1 to 100"),
    ({"dns": "not_a_name!"}, "dns", "valid hostname"),
    ({"dns": "a.example a.example"}, "dns", "unique"),
    ({"zones": ["MOON-1"]}, "", "Select a valid choice"),
])  # fmt: skip
def test_a_wrong_form_is_refused_on_its_field(cast: Cast, changes: dict[str, Any], field: str, said: str) -> None:
    world.offering()
    answer = cast.admin.browser().post(reverse("gateway-new"), {**FORM, **changes})
    assert answer.status_code == 422
    page = answer.content.decode()
    assert said in page.replace("&#x27;", "'")
    assert not field or f'id="id_{field}_error"' in page
    assert not Gateway.objects.exists()


def test_a_name_that_is_taken_is_refused(cast: Cast) -> None:
    fleet.gateway(cast.admin.actor, name="FRONT")
    answer = cast.admin.browser().post(reverse("gateway-new"), {**FORM, "zones": []})
    assert "exists already" in answer.content.decode()
    assert Gateway.objects.count() == 1


def test_a_change_is_previewed_with_the_replicas_it_would_strand(cast: Cast, running: Running) -> None:
    browser, one = cast.admin.browser(), running.deployment.gateways.get()
    address = reverse("gateway-edit", args=[one.id])
    form = {"zones": ["US-WEST-04A", "US-EAST-01A"], "auth": "core_weave_auth", "routing": "path_based_routing"}
    assert "No replica runs in RNO2A" in plain(browser.post(address, form).content)
    assert "Rolls: chat . All their replicas are replaced" in plain(browser.post(address, form).content)
    assert "Rolls" not in plain(browser.post(address, {**form, "zones": []}).content)
    preview = browser.post(address, {**form, "zones": ["US-EAST-01A"]}).content
    assert re.search(r"In zones that it would leave out: [1-9] of chat in US-WEST-04A", plain(preview))
    one.refresh_from_db()
    assert one.sent_zones == [], "nothing is saved by a preview"
    hidden = dict(re.findall(r'type="hidden" name="([a-z_]+)" value="([^"]*)"', preview.decode()))
    assert (hidden["zones"], hidden["routing"]) == ("US-EAST-01A", "path_based_routing")
    browser.post(address, {**form, "confirmed": "1"})
    one.refresh_from_db()
    assert one.sent_zones == ["US-WEST-04A", "US-EAST-01A"]


def test_zones_that_offer_no_deployment_its_type_are_refused(cast: Cast, running: Running) -> None:
    of = running.deployment.instance_type.offerings.exclude(zone__name="US-WEST-04A")
    of.delete()
    one = running.deployment.gateways.get()
    form = {"zones": ["RNO2A"], "auth": "core_weave_auth", "routing": "path_based_routing", "confirmed": "1"}
    answer = cast.admin.browser().post(reverse("gateway-edit", args=[one.id]), form)
    assert answer.status_code == 422
    assert "deployment chat needs gb200-4x" in answer.content.decode()
    one.refresh_from_db()
    assert one.sent_zones == []


def test_what_the_form_does_not_show_stays(cast: Cast) -> None:
    world.offering()
    one = fleet.gateway(cast.admin.actor, "us-west-04a")
    Gateway.objects.update(auth={"weights_and_biases_auth": {"enable_usage_reports": True}})
    page = cast.admin.browser().get(reverse("gateway-edit", args=[one.id])).content.decode()
    assert re.search(r'value="US-WEST-04A"[^>]*checked', page)
    form = {"zones": ["US-WEST-04A"], "auth": "weights_and_biases_auth", "usage_reports": "on",
            "rate_limiting": "on", "routing": "path_based_routing", "confirmed": "1"}  # fmt: skip
    cast.admin.browser().post(reverse("gateway-edit", args=[one.id]), form)
    one.refresh_from_db()
    assert one.sent_zones == ["us-west-04a"], "as it was sent"
    assert one.auth == {"weights_and_biases_auth": {"enable_usage_reports": True, "enable_rate_limiting": True}}


def test_a_secret_is_on_no_page(cast: Cast) -> None:
    one = fleet.gateway(cast.admin.actor)
    Gateway.objects.update(
        auth={"weights_and_biases_auth": {"api_key": "s3cret-key", "server_url": "https://w.example"}}
    )
    browser = cast.admin.browser()
    for name, args in (("gateways", []), ("gateway", [one.id]), ("gateway-edit", [one.id]), ("audit", [])):
        page = browser.get(reverse(name, args=args)).content.decode()
        assert "s3cret-key" not in page, name
    assert "a key is set (never shown)" in browser.get(reverse("gateway", args=[one.id])).content.decode()


def test_deleting_is_refused_while_it_is_used(cast: Cast, running: Running) -> None:
    browser, one = cast.admin.browser(), running.deployment.gateways.get()
    address = reverse("gateway-delete", args=[one.id])
    page = browser.get(address).content.decode()
    assert "In use" in page
    assert 'type="submit" disabled' in " ".join(page.split())
    answer = browser.post(address, follow=True)
    assert "is used by chat" in answer.content.decode()
    one.refresh_from_db()
    assert one.status != "STATUS_DELETING"


def test_an_unused_one_is_deleted_after_a_question(cast: Cast) -> None:
    one, browser = fleet.gateway(cast.admin.actor), cast.admin.browser()
    assert "No deployment uses it" in browser.get(reverse("gateway-delete", args=[one.id])).content.decode()
    browser.post(reverse("gateway-delete", args=[one.id]))
    one.refresh_from_db()
    assert one.status == "STATUS_DELETING"


@pytest.mark.parametrize("who", ["viewer", "billing"])
def test_who_may_only_read_changes_nothing(cast: Cast, running: Running, who: str) -> None:
    browser, one = getattr(cast, who).browser(), running.deployment.gateways.get()
    page = browser.get(reverse("gateway", args=[one.id])).content.decode()
    assert "chat" in page
    assert "Edit</a>" not in page
    for name, args in (("gateway-new", []), ("gateway-edit", [one.id]), ("gateway-delete", [one.id])):
        assert browser.get(reverse(name, args=args)).status_code == 403
        assert browser.post(reverse(name, args=args), {**FORM, "confirmed": "1"}).status_code == 403
    assert Gateway.objects.count() == 1
    one.refresh_from_db()
    assert (one.sent_zones, one.status) == ([], "STATUS_CREATING")


def test_the_pages_ask_no_more_for_many(cast: Cast, running: Running) -> None:
    browser, at = cast.admin.browser(), running.deployment.gateways.get()

    def queries(address: str) -> int:
        with CaptureQueriesContext(connection) as found:
            assert browser.get(address).status_code == 200
        return len(found)

    addresses = [reverse("gateways"), reverse("gateway", args=[at.id])]
    [queries(one) for one in addresses]
    before = [queries(one) for one in addresses]
    for number in range(4):
        fleet.gateway(cast.admin.actor, name=f"more-{number}")
        fleet.deployment(cast.admin.actor, at, world.offering(), name=f"more-{number}")
    assert [queries(one) for one in addresses] == before


def test_a_gateway_that_many_use_shows_a_page_of_them(
    cast: Cast, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "PAGE_SIZE", 2)
    browser, at = cast.admin.browser(), running.deployment.gateways.get()
    for number in range(2):
        fleet.deployment(cast.admin.actor, at, world.offering(), name=f"zz-{number}")
    first = browser.get(reverse("gateway", args=[at.id])).content.decode()
    last = browser.get(reverse("gateway", args=[at.id]), {"page": "2"}).content.decode()
    assert "Page 1 of 2; 3 deployments" in " ".join(first.split())
    assert ("zz-0" in first, "zz-1" in first, "zz-0" in last, "zz-1" in last) == (True, False, False, True)
