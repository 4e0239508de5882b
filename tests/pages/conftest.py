import gc
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from claims.models import CapacityClaim
from console.common import clock
from deployments.models import Deployment
from tests import fleet, world
from tests.cast import Cast


@dataclass
class Running:
    """A small organization at work: a claim, a deployment with decisions and replicas."""

    claim: CapacityClaim
    deployment: Deployment


@pytest.fixture(autouse=True, scope="session")
def no_connection_is_left(django_db_setup: None) -> Iterator[None]:
    """Connections of requests that had a thread of their own go with the next collection; the database cannot be
    dropped before."""
    yield
    gc.collect()


@pytest.fixture
def running(cast: Cast) -> Running:
    return make_running(cast)


def make_running(cast: Cast) -> Running:
    of = world.offering()
    world.pool(of, 3)
    world.quota(cast.organization, of, limit=8, reserved=2, other_usage=1)
    claim = world.claim(cast.admin.actor, of, 1, name="prod")
    world.settle()
    deployment = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, min=2, max=6)
    fleet.workload(deployment, scale=0.5)
    fleet.run(of.instance_type, clock.now(), 4)
    return Running(claim, deployment)
