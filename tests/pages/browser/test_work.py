"""An operator's work in a browser: reserve, be refused, edit autoscaling, watch it live."""

import pytest
from playwright.sync_api import Page, expect

from claims.models import CapacityClaim
from console.common import clock
from deployments.models import AutoscalingPolicy
from tests import fleet, world
from tests.pages.browser.conftest import Site
from tests.pages.conftest import make_running

pytestmark = [pytest.mark.browser]


def test_capacity_is_reserved_step_by_step(site: Site) -> None:
    of = world.offering()
    world.pool(of, 2)
    world.quota(site.cast.organization, of, limit=3, other_usage=1)
    page = site.open(site.cast.admin, "/claims/new")
    page.get_by_label("US-WEST-04A").check()
    page.get_by_label("gb200-4x").check()
    page.get_by_label("Customer").check()
    page.get_by_label("Name").fill("mine")
    expect(page.get_by_text("More than the quota leaves")).to_be_hidden()
    page.get_by_label("Instances").fill("3")
    expect(page.get_by_text("$126.00")).to_be_visible()
    expect(page.get_by_text("More than the quota leaves")).to_be_visible()
    expect(page.get_by_label("Name")).to_have_value("mine")
    page.get_by_role("button", name="Reserve 3 x gb200-4x").click()
    expect(page.get_by_role("alert")).to_contain_text("3 more instances requested, 2 free")
    assert not CapacityClaim.objects.exists()
    page.get_by_label("Instances").fill("2")
    page.get_by_role("button", name="Reserve").click()
    expect(page.get_by_role("heading", name="mine")).to_be_visible()
    assert CapacityClaim.objects.get().target == 2
    site.complaints = [one for one in site.complaints if "422" not in one]  # the refusal


def test_autoscaling_is_changed_by_keyboard_alone(site: Site) -> None:
    running = make_running(site.cast)
    page = site.open(site.cast.admin, f"/deployments/{running.deployment.id}")
    page.get_by_label("Max replicas").focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("9")
    page.keyboard.press("Enter")
    expect(page.get_by_role("row", name="Max replicas")).to_contain_text("9")
    page.get_by_role("button", name="Save").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="saved")).to_be_visible()
    assert AutoscalingPolicy.objects.get().max == 9


def test_a_pass_of_the_loop_reaches_open_pages_through_the_stream(site: Site) -> None:
    running = make_running(site.cast)
    page = site.open(site.cast.viewer, f"/deployments/{running.deployment.id}")
    expect(page.locator("#live-state")).to_have_text("Live")
    page.locator("summary", has_text="Table of replicas").click()
    rows = page.locator("#replicas-table tbody tr")
    expect(rows.first).to_be_visible()
    before = rows.first.inner_text()
    fleet.tick(running.deployment.instance_type, clock.now())
    expect(rows.first).not_to_have_text(before)
    fleet.deployment(site.cast.admin.actor, running.deployment.gateways.get(), world.offering(), name="late")
    page.goto("/deployments")
    expect(page.get_by_role("link", name="late")).to_be_visible()


def test_a_claim_that_is_allocated_shows_without_a_reload(site: Site) -> None:
    of = world.offering()
    world.quota(site.cast.organization, of, limit=3)
    claim = world.claim(site.cast.admin.actor, of, 1, "CUSTOMER", name="slow")
    page = site.open(site.cast.viewer, f"/claims/{claim.id}")
    expect(page.locator("#live-state")).to_have_text("Live")
    status = page.locator(".hr-kpi", has_text="Status")
    expect(status).to_contain_text("Creating")
    world.everything_arrives()
    expect(status).to_contain_text("Ready", timeout=10_000)


def test_without_the_stream_the_page_says_that_it_polls(site: Site) -> None:
    running = make_running(site.cast)
    page = site.open(site.cast.viewer)
    page.route("**/events*", lambda route: route.abort())
    page.goto(f"/deployments/{running.deployment.id}")
    expect(page.locator("#live-state")).to_contain_text("looking every 10 seconds", timeout=10_000)
    site.complaints = [one for one in site.complaints if "ERR_FAILED" not in one]


def test_the_theme_is_kept_and_charts_are_drawn_anew(site: Site) -> None:
    running = make_running(site.cast)
    page = site.open(site.cast.viewer, f"/deployments/{running.deployment.id}")
    expect(page.locator("#live-state")).to_have_text("Live")
    light, colours = pixels(page), page.get_by_role("button", name="Colours")
    colours.click()  # from auto to light
    colours.click()
    assert page.locator("html").get_attribute("data-bs-theme") == "dark"
    assert pixels(page) != light
    page.reload()
    assert page.locator("html").get_attribute("data-bs-theme") == "dark"


def pixels(page: Page) -> str:
    drawn: str = page.locator("#replicas").evaluate("canvas => canvas.toDataURL()")
    return drawn
