"""Times are exact in the viewer's zone, with UTC beside them; what comes later by itself too."""

import re
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import expect

from console.common import clock
from deployments.services import hold_create
from tests.pages.browser.conftest import Site
from tests.pages.conftest import make_running

pytestmark = [pytest.mark.browser]

EXACT = "%Y-%m-%d %H:%M:%S"


def test_exact_times_are_in_the_viewers_zone_with_utc_beside_them(site: Site) -> None:
    one = make_running(site.cast).deployment
    ends = clock.now().replace(microsecond=0) + timedelta(hours=3)
    hold_create(actor=site.cast.admin.actor, kind="FREEZE", reason="a launch", deployment_id=one.id, expires_at=ends)
    page = site.open(site.cast.admin, f"/deployments/{one.id}", zone="Asia/Kolkata")
    exact = page.locator("#holds time[data-exact]")
    expect(exact).to_have_text(f"{ends.astimezone(ZoneInfo('Asia/Kolkata')):{EXACT}} GMT+5:30")
    expect(exact).to_have_attribute("title", f"{ends:{EXACT}} UTC")
    beside = re.compile(r"GMT\+5:30 \(.* UTC\)$")
    expect(page.locator("#decisions time").first).to_have_attribute("title", beside)
    expect(page.locator("#answer time").first).to_be_visible()  # a part that came later
    for time in page.locator("#answer time:not([data-exact])").all():
        expect(time).to_have_attribute("title", beside)


def test_sentences_say_times_in_the_viewers_zone_too(site: Site) -> None:
    make_running(site.cast)
    hold_create(actor=site.cast.admin.actor, kind="FREEZE", reason="a launch")
    page = site.open(site.cast.admin, "/", zone="Asia/Kolkata")
    page.locator(".hr-notice summary", has_text="Snooze").first.click()
    page.get_by_role("button", name="Until tomorrow").first.click()
    said = page.locator(".alert time")
    expect(said).to_have_text(re.compile(r"^\d{4}-\d\d-\d\d 13:30 GMT\+5:30$"))  # 08:00 in UTC
    expect(said).to_have_attribute("title", re.compile(r"08:00 UTC$"))


def test_in_utc_times_stay_as_they_were_sent(site: Site) -> None:
    one = make_running(site.cast).deployment
    ends = clock.now().replace(microsecond=0) + timedelta(hours=3)
    hold_create(actor=site.cast.admin.actor, kind="FREEZE", reason="a launch", deployment_id=one.id, expires_at=ends)
    page = site.open(site.cast.admin, f"/deployments/{one.id}")
    expect(page.locator("#holds time[data-exact]")).to_have_text(f"{ends:{EXACT}} UTC")
