"""Labels as people see them: whole in every theme and width, and edited by keyboard."""

import pytest
from playwright.sync_api import expect

from claims.services import claim_labels_set
from deployments.services import deployment_labels_set
from tests.pages.browser.conftest import Site
from tests.pages.browser.test_windows import picture
from tests.pages.conftest import make_running
from tests.screens import found_by_axe, on_every_screen, too_wide

pytestmark = [pytest.mark.browser]
LABELS = {
    "team": "search", "environment": "production", "example.com/cost-center": "4711", "spot": "",
    "infrastructure.example.com/the-part-of-the-company-that-this-belongs-to": "retrieval-and-ranking-of-documents",
}  # fmt: skip


@on_every_screen
def test_pages_with_labels_are_whole_for_everybody(site: Site, theme: str, width: int) -> None:
    running, actor = make_running(site.cast), site.cast.admin.actor
    claim_labels_set(actor=actor, claim_id=running.claim.id, labels=LABELS)
    deployment_labels_set(actor=actor, deployment_id=running.deployment.id, labels={**LABELS, "team": "ads"})
    page = site.open(site.cast.admin, width=width, theme=theme)
    for name, address in (
        ("claim", f"/claims/{running.claim.id}"), ("deployment", f"/deployments/{running.deployment.id}"),
        ("claims", "/claims?label=team%3Dsearch"), ("deployments", "/deployments?label=team%3Dads"),
        ("billing", "/billing?by=label%3Ateam"), ("deployment-new", "/deployments/new"),
        ("claim-new", "/claims/new?zone=US-WEST-04A&type=gb200-4x&kind=SERVERLESS"),
    ):  # fmt: skip
        page.goto(address)
        picture(page, f"labels-{name}-{width}-{theme}")
        assert too_wide(page) <= 0, address
        assert found_by_axe(page) == [], address


def test_labels_are_edited_by_keyboard_and_lead_to_the_list(site: Site) -> None:
    running = make_running(site.cast)
    page = site.open(site.cast.admin, f"/claims/{running.claim.id}", width=390)
    page.get_by_label("One key=value a line").fill("team=search\nno label")
    page.get_by_role("button", name="Save labels").press("Enter")
    expect(page.get_by_text("line 2 is not key=value")).to_be_visible()
    assert found_by_axe(page) == []
    page.get_by_label("One key=value a line").fill("team=search")
    page.get_by_role("button", name="Save labels").press("Enter")
    page.get_by_role("link", name="team=search").press("Enter")
    expect(page.get_by_label("Has the label")).to_have_value("team=search")
    expect(page.get_by_role("link", name="prod", exact=True)).to_be_visible()
    site.complaints = [one for one in site.complaints if "422" not in one]  # what was refused
