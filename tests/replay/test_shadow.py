"""Shadow: sizes are decided and nothing is acted on; what would have been is compared with what was."""

import numpy as np
import pytest

from console.common import clock
from console.organizations.models import AuditEvent
from deployments.core.explain import rerun
from deployments.models import Decision, Replica
from deployments.replay.shadow import compared
from tests import fleet, world
from tests.cast import Cast


def test_both_sides_are_measured_over_the_time_in_which_both_are_known() -> None:
    at = np.arange(0.0, 600.0, 60.0)
    ran = np.array([np.nan, 2, 2, 2, 2, 2, 3, 3, 3, 3])
    load = np.array([0, 16, 17, 8, 8, 8, 8, 8, 8, 40.0])
    sizes = [(90.0, 4), (300.0, 1), (500.0, None)]
    found = compared(sizes, at, ran, load, step_s=60.0, target=8, gpu_count=2)
    assert found is not None
    # Seven points: from 120 s to 480 s.
    assert found.hours == pytest.approx(7 / 60)
    assert found.would.gpu_hours == pytest.approx(2 * (3 * 4 + 4 * 1) / 60)
    assert found.did.gpu_hours == pytest.approx(2 * (4 * 2 + 3 * 3) / 60)
    assert (found.would.changes, found.did.changes) == (1, 1)
    assert (found.would.peak, found.did.peak) == (4, 3)
    assert (found.more_share, found.fewer_share) == (3 / 7, 4 / 7)
    assert (found.would.busy_share, found.did.busy_share) == (0, 1 / 7)
    assert compared([(9999.0, 1)], at, ran, load, step_s=60.0, target=8, gpu_count=1) is None


@pytest.mark.django_db
def test_in_shadow_replicas_stay_and_out_of_it_decisions_are_acted_on(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 2)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, min=1, max=6, concurrency=1)
    now = fleet.run(of.instance_type, clock.now(), 3)
    address = f"/api/v1/deployments/{one.id}/shadow"
    api = cast.admin.api()
    assert api.send("GET", address).json() == {"shadow": False, "comparison": None}
    assert api.send("PATCH", address, {"shadow": True}).json()["shadow"]
    assert api.send("PATCH", address, {"shadow": True}).status_code == 200
    assert AuditEvent.objects.filter(action="deployment.shadow").count() == 1
    assert api.send("PATCH", address, {"shadow": "yes"}).status_code == 400
    assert cast.viewer.api().send("PATCH", address, {"shadow": False}).status_code == 403
    assert cast.outsider.api().send("PATCH", address, {"shadow": False}).status_code == 404
    fleet.workload(one, scale=2.0)
    now = fleet.run(of.instance_type, now, 20)
    decision = Decision.objects.order_by("id").last()
    assert decision is not None
    assert decision.bound == "SHADOW"
    assert decision.wanted > 1
    assert rerun(decision.record).same
    assert Replica.objects.filter(state__in=[1, 2]).count() == 1
    browser = cast.admin.browser()
    page = str(browser.get(f"/deployments/{one.id}").content.decode())
    assert "In shadow" in page
    assert browser.post(f"/deployments/{one.id}/shadow", {"shadow": "0"}).status_code == 302
    fleet.run(of.instance_type, now, 2)
    assert Replica.objects.filter(state__in=[1, 2]).count() > 1
