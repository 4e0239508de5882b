"""A small world with requests, and a history asked for it."""

from datetime import timedelta

from console.common import clock
from console.organizations.models import Organization
from deployments.history.services import history_request
from deployments.models import Deployment, HistoryRun, SimulatedWorkload
from tests import fleet, world
from tests.cast import Cast

SHORT = timedelta(minutes=130)  # three hours by the clock, or four: two batches


def deployments(cast: Cast, *, names: str = "ab") -> list[Deployment]:
    """Two deployments on one pool, with little traffic, that began at the same moment."""
    of = world.offering()
    if not of.instances.exists():
        world.pool(of, 2)
    at = fleet.gateway(cast.admin.actor)
    made = [fleet.deployment(cast.admin.actor, at, of, name=name * 3, max=6) for name in names]
    for one in made:
        fleet.workload(one, 0.15)
    return made


def asked(cast: Cast, length: timedelta = SHORT) -> HistoryRun:
    return history_request(actor=cast.admin.actor, deployments=deployments(cast), now=clock.now(), length=length)


def organization_of(run: HistoryRun) -> Organization:
    return run.organization


def begun_at(made: list[Deployment], minute: int) -> None:
    """They began at this minute of an hour that is past."""
    hour = clock.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    at = hour + timedelta(minutes=minute)
    Deployment.objects.filter(key__in=[one.key for one in made]).update(created_at=at)
    SimulatedWorkload.objects.update(origin=at)
    for one in made:
        one.refresh_from_db()
