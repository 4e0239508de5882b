"""Every page in light and dark, wide and narrow: no complaint of the browser, nothing axe finds, nothing too wide."""

import re
from datetime import timedelta

import pytest
from playwright.sync_api import expect

from console.common import clock
from console.dashboard.acknowledging import notice_hide
from console.dashboard.attention import notices
from console.dashboard.views.overview import facts_of
from console.loops.models import Loop
from console.organizations.models import Membership, Role
from console.organizations.services import token_create
from deployments.models import Decision
from deployments.services.holds import hold_create
from tests import world
from tests.pages.browser.conftest import Site
from tests.pages.conftest import Running, make_running
from tests.screens import found_by_axe, on_every_screen, too_wide

pytestmark = [pytest.mark.browser]

MINE = "/capacity?zone=US-WEST-04A&type=gb200-4x&state=READY&holder=ours"
RESERVE = "/claims/new?zone=US-WEST-04A&type=gb200-4x&kind=CUSTOMER&count=3"


def addresses(running: Running) -> list[str]:
    claim, deployment = f"/claims/{running.claim.id}", f"/deployments/{running.deployment.id}"
    decision = Decision.objects.filter(deployment=running.deployment).latest("id")
    return ["/", "/deployments", "/deployments?held=1&state=short", deployment,
            f"{deployment}/why", f"{deployment}/why?at={clock.now():%Y-%m-%dT%H:%M:%S}", "/decisions",
            f"/decisions/{decision.id}", f"{deployment}/delete", "/deployments/new", "/claims", claim,
            f"{claim}/delete", f"{claim}/resize?count=3", f"{claim}/sizing", "/claims/new", RESERVE, "/capacity", MINE, "/nowhere"]  # fmt: skip


def organization_addresses(site: Site, running: Running) -> list[str]:
    """Pages of the organization itself, with a late loop, notices of every level and one of them hidden."""
    cast, now = site.cast, clock.now()
    world.quota(cast.organization, world.offering(), limit=2, reserved=2, other_usage=3)
    token, _ = token_create(
        actor=cast.admin.actor, organization=cast.organization, name="ci", role=Role.VIEWER, now=now
    )
    member = Membership.objects.get(organization=cast.organization, user=cast.viewer.user)
    for reason in ("load test", "look"):
        kind, size = ("PIN", 2) if reason == "look" else ("FREEZE", None)
        hold_create(actor=cast.admin.actor, kind=kind, reason=reason, deployment_id=running.deployment.id, size=size)
    hidden = next(one for one in notices(facts_of(cast.organization, now)) if one.title.endswith("frozen"))
    notice_hide(actor=cast.admin.actor, notice=hidden, now=now)
    long_ago = now - timedelta(hours=1)
    Loop.objects.create(name="meter", period=timedelta(seconds=60), started_at=long_ago, ended_at=long_ago)
    gateway = f"/gateways/{running.deployment.gateways.get().id}"
    return ["/?hidden=1", "/quota", "/quota/US-WEST-04A/gb200-4x", "/billing", "/billing?by=deployment", "/billing/lines",
            "/billing/statements",
            "/billing/budget", f"/billing/statements/{now:%Y-%m}",
            "/gateways", gateway, f"{gateway}/edit", f"{gateway}/delete", "/gateways/new", "/members",
            f"/members/{member.id}/remove", "/tokens", "/tokens?ended=1", "/tokens/new", f"/tokens/{token.id}/revoke",
            "/audit", "/audit?who=nobody&since=2026-01-01T00:00", "/accounts/organizations"]  # fmt: skip


@on_every_screen
def test_pages_of_the_organization_are_whole_for_everybody(site: Site, theme: str, width: int) -> None:
    addresses = organization_addresses(site, make_running(site.cast))
    page = site.open(site.cast.admin, width=width, theme=theme)
    for address in addresses:
        page.goto(address)
        if page.locator("summary", has_text="Snooze").count():
            page.locator("summary", has_text="Snooze").first.click()
        assert too_wide(page) <= 0, address
        assert found_by_axe(page) == [], address


def test_a_token_is_made_and_its_secret_copied_by_keyboard(site: Site) -> None:
    page = site.open(site.cast.admin, "/tokens/new", width=390)
    page.get_by_label("Name").fill("terraform")
    page.keyboard.press("Enter")
    secret = page.get_by_label("Secret")
    expect(secret).to_have_value(re.compile("hr_.{40,}"))
    assert "hr_" not in page.url
    assert too_wide(page) <= 0
    assert found_by_axe(page) == []
    page.get_by_role("link", name="I have copied it").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("row", name="terraform")).to_be_visible()


@on_every_screen
def test_pages_are_whole_for_everybody(site: Site, theme: str, width: int) -> None:
    running = make_running(site.cast)
    page = site.open(site.cast.admin, width=width, theme=theme)
    for address in addresses(running):
        page.goto(address)
        assert page.locator("html").get_attribute("data-bs-theme") == theme
        assert too_wide(page) <= 0, address
        assert found_by_axe(page) == [], address
    site.complaints = [one for one in site.complaints if "404" not in one]  # the page that is not there


@on_every_screen
def test_pages_of_the_platform_are_whole_too(site: Site, width: int, theme: str) -> None:
    running = make_running(site.cast)
    instance = f"/capacity/instances/{running.claim.instances.get().key}"
    page = site.open(site.cast.platform, width=width, theme=theme)
    for address in ("/capacity", instance, f"{instance}?work=DRAIN"):
        page.goto(address)
        assert too_wide(page) <= 0, address
        assert found_by_axe(page) == [], address


def test_the_sign_in_page_is_whole_too(site: Site) -> None:
    page = site.browser.new_context(base_url=site.address).new_page()
    page.goto("/accounts/sign-in")
    assert found_by_axe(page) == []
    page.context.close()
