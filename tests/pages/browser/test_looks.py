"""Every page in light and dark, wide and narrow: no complaint of the browser, nothing axe finds, nothing too wide."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.pages.browser.conftest import Site
from tests.pages.conftest import Running, make_running

pytestmark = [pytest.mark.browser]

MINE = "/capacity?zone=US-WEST-04A&type=gb200-4x&state=READY&holder=ours"
RESERVE = "/claims/new?zone=US-WEST-04A&type=gb200-4x&kind=CUSTOMER&count=3"


def addresses(running: Running) -> list[str]:
    claim, deployment = f"/claims/{running.claim.id}", f"/deployments/{running.deployment.id}"
    return ["/", "/deployments", "/deployments?held=1&state=short", deployment,
            f"{deployment}/why", f"{deployment}/delete", "/deployments/new", "/claims", claim,
            f"{claim}/delete", f"{claim}/resize?count=3", "/claims/new", RESERVE, "/capacity", MINE, "/nowhere"]  # fmt: skip


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_pages_are_whole_for_everybody(site: Site, theme: str, width: int) -> None:
    running = make_running(site.cast)
    page = site.open(site.cast.admin, width=width, theme=theme)
    for address in addresses(running):
        page.goto(address)
        assert page.locator("html").get_attribute("data-bs-theme") == theme
        assert too_wide(page) <= 0, address
        assert found_by_axe(page) == [], address
    site.complaints = [one for one in site.complaints if "404" not in one]  # the page that is not there


@pytest.mark.parametrize(("width", "theme"), [(1440, "dark"), (390, "light")])
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


def too_wide(page: Page) -> int:
    width: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return width


def found_by_axe(page: Page) -> list[str]:
    return [f"{one['id']}: {one['nodes'][0]['html'][:120]}" for one in Axe().run(page).response["violations"]]
