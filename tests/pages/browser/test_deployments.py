"""The deployment pages in a browser: with everything that can be on them, and what an operator does there."""

from datetime import timedelta

import pytest
from django.db.models import F
from playwright.sync_api import Page, expect

from console.common import clock
from deployments.models import Annotation, AutoscalingPolicy, Deployment, Hold, SignalBlock
from deployments.services import annotation_create, hold_create
from tests import fleet, world
from tests.pages.browser.conftest import Site
from tests.pages.conftest import make_running
from tests.screens import found_by_axe, on_every_screen, too_wide

pytestmark = [pytest.mark.browser]


def crowded(site: Site) -> Deployment:
    """A deployment that is short, pinned, noted on, beside a frozen organization."""
    one, actor = make_running(site.cast).deployment, site.cast.admin.actor
    AutoscalingPolicy.objects.filter(deployment=one).update(min=20, max=20)
    fleet.tick(one.instance_type, clock.now())
    hold_create(actor=actor, kind="PIN", reason="a launch at noon", deployment_id=one.id, size=20)
    hold_create(actor=actor, kind="FREEZE", reason="network work")
    annotation_create(actor=actor, deployment_id=one.id, text="1.4 out")
    return one


@on_every_screen
def test_a_crowded_page_and_its_previews_are_whole(site: Site, theme: str, width: int) -> None:
    one = crowded(site)
    page = site.open(site.cast.admin, f"/deployments/{one.id}", width=width, theme=theme)
    expect(page.get_by_role("heading", name="Who holds the GPUs, and with what right")).to_be_visible()
    whole(page)
    page.get_by_label("Max replicas").fill("30")
    page.get_by_role("button", name="Preview the change").click()
    expect(page.get_by_role("heading", name="Who is affected in the next pass")).to_be_visible()
    whole(page)
    page.goto("/deployments")
    page.get_by_label("Choose chat").check()
    page.get_by_label("Priority", exact=True).fill("700")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("heading", name="Set the priority of 1 deployment to 700?")).to_be_visible()
    whole(page)
    page.get_by_role("button", name="Set the priority").click()
    expect(page.get_by_text("1 of 1 deployment changed")).to_be_visible()
    page.get_by_text("Freeze all of Ours").click()
    whole(page)


def whole(page: Page) -> None:
    assert too_wide(page) <= 0, page.url
    assert found_by_axe(page) == [], page.url


def test_r19_a_pin_by_keyboard_shows_on_another_screen_until_it_is_ended(site: Site) -> None:
    one = make_running(site.cast).deployment
    watching = site.open(site.cast.viewer, f"/deployments/{one.id}")
    expect(watching.locator("#live-state")).to_have_text("Live")
    page = site.open(site.cast.admin, f"/deployments/{one.id}")
    page.get_by_label("What", exact=True).select_option("PIN")
    page.get_by_label("Replicas", exact=True).fill("4")
    page.get_by_label("Until").select_option("1h")
    page.get_by_label("Reason").fill("a launch")
    page.get_by_label("Reason").press("Enter")
    expect(page.get_by_text("chat is pinned to 4 replicas")).to_be_visible()
    expect(watching.locator("#holds")).to_contain_text("Pinned to 4 replicas", timeout=10_000)
    assert watching.get_by_role("button", name="End the pin").count() == 0
    page.get_by_role("button", name="End the pin").click()
    expect(watching.locator("#holds")).not_to_contain_text("Pinned", timeout=10_000)
    assert Hold.objects.get().ended_by == "admin"


def test_a_note_is_drawn_on_every_chart_until_it_is_deleted(site: Site) -> None:
    one = make_running(site.cast).deployment
    # Its passes are seconds apart and were made at once: however fast, all that they saw is past for the charts.
    SignalBlock.objects.update(at=F("at") - timedelta(minutes=1))
    page = site.open(site.cast.admin, f"/deployments/{one.id}")
    page.get_by_label("What happened").fill("1.4 out")
    page.get_by_role("button", name="Add note").click()
    expect(page.locator("#notes")).to_contain_text("1.4 out")
    for name in ("replicas", "queue", "waits"):
        assert marks_on(page, name) == ["1.4 out"]
    page.get_by_role("button", name="Delete the note 1.4 out").click()
    expect(page.locator("#notes")).to_contain_text("Nothing is marked in this range.")
    assert not Annotation.objects.exists()


def marks_on(page: Page, chart: str) -> list[str]:
    """Labels that are drawn on a chart, once its data is there. (The policy of the pages lets no string be polled.)"""
    expect(page.locator(f"#{chart}-table tbody tr").first).to_be_attached()
    found: list[str] = page.evaluate(
        f"() => Object.values(Chart.getChart('{chart}').options.plugins.annotation.annotations)"
        ".map(one => one.label.content)"
    )
    return found


def test_boxes_that_are_ticked_stay_ticked_while_the_list_lives(site: Site) -> None:
    one = make_running(site.cast).deployment
    page = site.open(site.cast.admin, "/deployments")
    expect(page.locator("#live-state")).to_have_text("Live")
    box = page.get_by_label("Choose chat")
    box.check()
    page.get_by_role("heading", name="Deployments").click()
    fleet.tick(one.instance_type, clock.now())
    page.wait_for_timeout(4_500)  # longer than the pause between two looks
    expect(box).to_be_checked()
    box.uncheck()
    page.locator("h1").click()
    box.evaluate("box => box.blur()")
    fleet.deployment(site.cast.admin.actor, one.gateways.get(), world.offering(), name="late")
    expect(page.get_by_role("link", name="late")).to_be_visible(timeout=10_000)
