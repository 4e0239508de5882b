"""The main job in a real browser against the real stack."""

import re
from decimal import Decimal

import pytest
from playwright.sync_api import Browser, Page, expect

from bench.running import Stack
from tests.browser.conftest import Complaints, signed_in
from tests.screens import found_by_axe, on_every_screen, too_wide

pytestmark = pytest.mark.browser

SOON_MS, JOINED_MS = 20_000, 60_000
PAGES = ["/", "/deployments", "/deployments/new", "/claims", "/capacity",
         "/claims/new?zone=RNO2A&type=b200-8x&kind=CUSTOMER&count=2"]  # fmt: skip


def all_pages(page: Page, stack: Stack) -> list[str]:
    found = list(PAGES)
    for listing in ("/deployments", "/claims"):
        page.goto(stack.url + listing)
        address = page.locator("tbody a").first.get_attribute("href")
        assert address is not None
        found.append(address)
    return found


@on_every_screen
def test_every_page_is_clean_accessible_and_fits(
    browser: Browser, stack: Stack, complaints: Complaints, theme: str, width: int
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 850}, color_scheme=theme)  # type: ignore[arg-type]
    page = signed_in(context, stack, "operator", complaints)
    for address in all_pages(page, stack):
        page.goto(stack.url + address)
        page.wait_for_timeout(400)
        assert too_wide(page) <= 0, f"{address} scrolls sideways at {width}"
        assert found_by_axe(page) == [], f"{address} in {theme}"
    context.close()


def test_the_sign_in_page_is_accessible(browser: Browser, stack: Stack, complaints: Complaints) -> None:
    page = complaints.listen(browser.new_page())
    page.goto(stack.url)
    assert found_by_axe(page) == []
    page.fill("#id_username", "operator")
    page.fill("#id_password", "wrong")
    page.click("button[type=submit]")
    expect(page.get_by_role("alert")).to_contain_text("not right")
    page.close()


def test_charts_are_drawn_with_a_table_of_the_same_data(operator: Page, stack: Stack) -> None:
    for chart in ("fleet-replicas", "fleet-queue"):  # each comes by itself, and is drawn before its table is there
        expect(operator.locator(f"#{chart}-table table")).to_have_count(1, timeout=SOON_MS)
    expect(operator.locator("#live-state")).to_have_text("Live", timeout=SOON_MS)
    painted = operator.evaluate(
        "() => { const c = document.getElementById('fleet-queue'); const p = c.getContext('2d')"
        ".getImageData(0, 0, c.width, c.height).data; return p.some((v, i) => i % 4 === 3 && v > 0); }"
    )
    assert painted


def reserve(page: Page, stack: Stack, zone: str, type_: str, kind: str, count: int, name: str) -> None:
    page.goto(f"{stack.url}/claims/new")
    page.get_by_label(zone, exact=True).check()
    page.locator(f'input[name="type"][value="{type_}"]').check()
    page.locator(f'input[name="kind"][value="{kind}"]').check()
    page.wait_for_timeout(500)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Instances").fill(str(count))
    page.get_by_label("Instances").blur()
    button = page.get_by_role("button", name=f"Reserve {count} x {type_}")
    expect(button).to_be_visible(timeout=SOON_MS)
    button.click()


def test_serverless_capacity_is_allocated_at_once_where_it_is_free(operator: Page, stack: Stack) -> None:
    reserve(operator, stack, "RNO2A", "b200-8x", "SERVERLESS", 2, "now-please")
    expect(operator.get_by_text("now-please is created: 2 instances allocated, 0 pending.")).to_be_visible()
    expect(operator.locator("#now")).to_contain_text("All instances allocated", timeout=SOON_MS)


def test_customer_capacity_is_pending_then_joins_live(operator: Page, stack: Stack) -> None:
    reserve(operator, stack, "US-EAST-01A", "gd-8xl40s-i128", "CUSTOMER", 2, "my-own")
    expect(operator.get_by_text("my-own is created: 0 instances allocated, 2 pending.")).to_be_visible()
    # Nobody reloads: the stream brings it.
    expect(operator.locator("#now")).to_contain_text("All instances allocated", timeout=JOINED_MS)


def test_beyond_quota_is_refused_until_the_platform_raises_it(
    browser: Browser, operator: Page, stack: Stack, complaints: Complaints
) -> None:
    reserve(operator, stack, "US-WEST-04A", "b200-8x", "CUSTOMER", 6, "too-many")
    refusal = operator.locator(".alert-danger")
    expect(refusal).to_contain_text("6 more instances requested, 4 free (limit 4, 0 in other use, 0 committed")
    complaints[:] = [one for one in complaints if "422" not in one]  # the browser notes the refusal's status
    platform = signed_in(browser.new_context(), stack, "platform", complaints)
    platform.goto(f"{stack.url}/admin/claims/quota/?q=demo")
    row = platform.locator("#result_list tbody tr").filter(has_text="US-WEST-04A").filter(has_text="b200-8x")
    expect(row.first).to_contain_text("4")
    row.locator("th a").first.click()
    platform.fill("#id_limit", "9")
    platform.get_by_role("button", name="Save", exact=True).click()
    expect(
        platform.locator("#result_list tbody tr").filter(has_text="US-WEST-04A").filter(has_text="b200-8x")
    ).to_contain_text("9")
    platform.context.close()
    reserve(operator, stack, "US-WEST-04A", "b200-8x", "CUSTOMER", 6, "too-many")
    expect(operator.get_by_text("too-many is created: 0 instances allocated, 6 pending.")).to_be_visible()


def test_a_change_of_autoscaling_is_answered_within_two_ticks(operator: Page, stack: Stack) -> None:
    operator.goto(f"{stack.url}/deployments")
    operator.get_by_role("link", name="moderation").click()
    operator.get_by_label("Min replicas").fill("3")
    operator.get_by_role("button", name="Preview the change").click()
    expect(operator.get_by_text("Autoscaling, before and after")).to_be_visible()
    operator.get_by_role("button", name="Save").click()
    expect(operator.get_by_text("moderation: saved.")).to_be_visible()
    shown = operator.locator("#now")
    expect(shown).to_contain_text("3 to 20", timeout=SOON_MS)
    wanted = operator.locator(".hr-kpi:has(dt:text-is('Wanted')) dd")
    expect(wanted).to_have_text(re.compile(r"^\s*([3-9]|1\d|20)\b"), timeout=SOON_MS)


def test_the_bill_grows(operator: Page, stack: Stack) -> None:
    def spent() -> Decimal:
        operator.goto(stack.url)
        text = operator.locator(".hr-kpi", has_text="Spent this month").locator("dd").inner_text()
        return Decimal(text.split()[0].strip("$").replace(",", ""))

    before = spent()
    operator.wait_for_timeout(4000)
    assert spent() > before


def test_a_claim_is_deleted_after_its_effect_was_shown(operator: Page, stack: Stack) -> None:
    reserve(operator, stack, "US-WEST-04A", "gd-8xh200ib-i128", "SERVERLESS", 1, "short-lived")
    operator.get_by_role("link", name="Delete").click()
    expect(operator.get_by_text("Back to the managed pool")).to_be_visible()
    operator.get_by_role("button", name="Delete short-lived").click()
    expect(operator.get_by_text("short-lived is being deleted")).to_be_visible()
    expect(operator.locator("#rows")).not_to_contain_text("short-lived", timeout=SOON_MS)
