"""The demo: made once through the services, whole, and leaving room as promised."""

import stat
from datetime import timedelta
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from claims.models import CapacityClaim, ClaimWindow, Instance, Offering
from claims.selectors import quotas_of
from console.dashboard.demo import demo_load
from console.organizations.models import AuditEvent, Organization, User
from deployments.models import Deployment, HistoryRun, SimulatedWorkload
from tests import world

pytestmark = pytest.mark.django_db


def everything() -> tuple[int, ...]:
    models = (Organization, User, Offering, Instance, CapacityClaim, Deployment, SimulatedWorkload, AuditEvent)
    return tuple(model.objects.count() for model in models)


def test_the_demo_is_made_once(tmp_path: Path) -> None:
    demo_load(tmp_path)
    before, sign_ins = everything(), (tmp_path / "sign-ins").read_text()
    demo_load(tmp_path)
    assert everything() == before
    assert (tmp_path / "sign-ins").read_text() == sign_ins
    assert stat.S_IMODE((tmp_path / "sign-ins").stat().st_mode) == 0o600
    assert [line.split()[0] for line in sign_ins.splitlines()] == ["operator", "platform"]


@pytest.mark.parametrize("hours", [24, 1, 0])
def test_so_much_history_is_made_for_it_as_is_set(tmp_path: Path, settings: Settings, hours: int) -> None:
    settings.DEMO_HISTORY = timedelta(hours=hours)
    demo_load(tmp_path)
    asked = [one.ends_at - one.starts_at for one in HistoryRun.objects.all()]
    assert asked == ([timedelta(hours=hours)] if hours else [])


def test_the_demo_is_what_it_says(tmp_path: Path) -> None:
    demo_load(tmp_path)
    world.everything_arrives()
    demo = Organization.objects.get(slug="demo")
    assert demo.id == "cwde30"
    quotas = {(row.instance_type, row.zone): row for row in quotas_of(demo)}
    west = quotas["gb200-4x", "US-WEST-04A"]
    assert (west.limit, west.reserved, west.other_usage) == (16, 8, 4)
    east = quotas["gd-8xh100ib-i128", "US-EAST-01A"]
    assert (east.limit, east.reserved, east.other_usage) == (8, 4, 2)
    reno = quotas["gd-1xgh200", "RNO2A"]
    assert (reno.limit, reno.reserved, reno.other_usage) == (20, 0, 0)
    assert set(quotas) == {(one.instance_type.name, one.zone.name) for one in Offering.objects.filter(claimable=True)}
    assert min(row.free for row in quotas.values()) >= 2
    claims = CapacityClaim.objects.filter(organization=demo)
    assert set(claims.values_list("kind", "status")) == {("CUSTOMER", "STATUS_READY"), ("SERVERLESS", "STATUS_READY")}
    (window,) = ClaimWindow.objects.all()
    assert (window.claim.name, window.count, window.time_zone) == ("prod-west", 3, "America/Los_Angeles")
    deployments = Deployment.objects.filter(organization=demo)
    assert deployments.count() == 8
    assert set(deployments.values_list("gpu_count", flat=True)) == {1, 2, 4, 8}
    assert max(deployments.values_list("autoscaling__max", flat=True)) == 20
    assert SimulatedWorkload.objects.count() == Deployment.objects.count() > 8, "the rival competes"
