"""Windows and calendars as people see them (C12): whole in every theme and width, and usable by keyboard."""

import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from claims.core.window_rules import WindowAsked
from claims.models import ClaimWindow
from claims.services import pool_resize, window_create
from tests import world
from tests.pages.browser.conftest import Site
from tests.pages.conftest import Running, make_running
from tests.screens import found_by_axe, on_every_screen, too_wide

pytestmark = [pytest.mark.browser]


def with_windows(site: Site) -> tuple[Running, ClaimWindow]:
    """A claim with two windows, one of which the pool cannot give whole any more."""
    running = make_running(site.cast)
    rows = [
        window_create(
            actor=site.cast.admin.actor, claim_id=running.claim.id,
            asked=WindowAsked(datetime(2026, 1, 5, hour), timedelta(hours=lasts), rule, "Europe/Berlin", count),  # noqa: DTZ001
        )
        for hour, lasts, rule, count in ((8, 10, "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", 3), (22, 3, "FREQ=DAILY", 2))
    ]  # fmt: skip
    pool_resize(actor=world.PLATFORM, offering=running.claim.offering, size=2)
    return running, rows[0]


def picture(page: Page, name: str) -> None:
    """Kept where HEADROOM_PICTURES says, for somebody to look at."""
    folder = os.environ.get("HEADROOM_PICTURES")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@on_every_screen
def test_pages_of_windows_are_whole_for_everybody(site: Site, theme: str, width: int) -> None:
    running, row = with_windows(site)
    claim = f"/claims/{running.claim.id}"
    page = site.open(site.cast.admin, width=width, theme=theme)
    for name, address in (
        ("claim", claim), ("new", f"{claim}/windows/new"), ("edit", f"{claim}/windows/{row.id}"), ("claims", "/claims"),
        ("delete", f"{claim}/windows/{row.id}/delete"), ("pool", "/capacity/pools/US-WEST-04A/gb200-4x"),
        ("capacity", "/capacity"),
    ):  # fmt: skip
        page.goto(address)
        picture(page, f"{name}-{width}-{theme}")
        assert too_wide(page) <= 0, address
        assert found_by_axe(page) == [], address


def test_a_window_is_added_by_keyboard_after_its_effect_was_read(site: Site) -> None:
    running = make_running(site.cast)
    page = site.open(site.cast.admin, f"/claims/{running.claim.id}/windows/new", width=390)
    page.get_by_label("Instances").fill("2")
    page.get_by_label("Time zone").select_option("Europe/Berlin")
    page.get_by_label("First begins").fill("2026-01-05T08:00")
    page.get_by_label("Lasts, hours").fill("25")
    page.keyboard.press("Enter")
    expect(page.get_by_text("begins again after 24 h")).to_be_visible()
    assert found_by_axe(page) == []
    page.get_by_label("Lasts, hours").fill("10")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Add the window?")).to_be_visible()
    picture(page, "preview-390")
    assert too_wide(page) <= 0
    assert found_by_axe(page) == []
    page.get_by_role("button", name="Edit again").press("Enter")
    expect(page.get_by_label("Lasts, hours")).to_have_value("10")
    page.get_by_role("button", name="Preview").press("Enter")
    page.get_by_role("button", name="Add the window").press("Enter")
    expect(page.get_by_role("row", name="every day from 08:00 for 10 h, Europe/Berlin")).to_be_visible()
    site.complaints = [one for one in site.complaints if "422" not in one]  # what was refused
