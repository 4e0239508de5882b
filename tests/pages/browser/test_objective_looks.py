"""The page of an objective, and its part of the deployment's page, in light and dark, wide and narrow."""

import pytest

from deployments.models import DeploymentObjective, Why
from deployments.objective.services import objective_set
from tests import fleet, world
from tests.pages.browser.conftest import Site
from tests.pages.test_objective_page import chosen
from tests.screens import found_by_axe, on_every_screen, too_wide

pytestmark = [pytest.mark.browser]

ADVICE = [{"kind": "share", "share": 0.981}, {"kind": "max", "max": 12, "share": 0.9935},
          {"kind": "startup", "seconds": 25.0, "share": 0.9921}, {"kind": "capacity", "hours": 3.5}]  # fmt: skip


def addresses(site: Site) -> list[str]:
    """One that nothing meets, with choices of every kind, and one without an objective."""
    actor = site.cast.admin.actor
    at, of = fleet.gateway(actor), world.offering()
    one, other = (fleet.deployment(actor, at, of, name=name, max=8) for name in ("chat", "code"))
    objective_set(actor=actor, deployment_id=one.id, share=0.99)
    chosen(one, why=Why.PRESET, lacks="STARTUPS", share=None, expected_share=None, expected_gpu_hours=None, hours=0)
    chosen(one, changed=False, why=Why.KEPT)
    last = chosen(one, why=Why.NEAREST, advice=ADVICE, floor=4, floor_share=1.2)
    DeploymentObjective.objects.update(choice=last, reached=0.9777, started=123456, target=9, floor=4)
    return [f"/deployments/{one.id}/objective", f"/deployments/{other.id}/objective", f"/deployments/{one.id}"]


@on_every_screen
def test_the_page_of_an_objective_is_whole_for_everybody(site: Site, theme: str, width: int) -> None:
    found = addresses(site)
    page = site.open(site.cast.admin, width=width, theme=theme)
    for address in found:
        page.goto(address)
        assert too_wide(page) <= 0, address
        assert found_by_axe(page) == [], address
