"""What gives replicas a new revision, and what does not (R9, R10)."""

from collections.abc import Callable
from typing import Any

import pytest

from claims.core.states import Status
from console.common import clock
from console.organizations.models import AuditEvent
from deployments.core.rules import Autoscaling, GatewaySpec
from deployments.models import Deployment
from deployments.services import (
    autoscaling_update,
    deployment_set_disabled,
    deployment_update,
    gateway_create,
    gateway_update,
)
from tests import fleet, world
from tests.cast import Cast

pytestmark = pytest.mark.django_db

RESERVED, ON_DEMAND = "CAPACITY_CLASS_RESERVED", "CAPACITY_CLASS_ON_DEMAND"
WEST, EAST = "US-WEST-04A", "US-EAST-01A"


@pytest.fixture
def one(cast: Cast) -> Deployment:
    """READY, with a replica, on a gateway of every zone."""
    of = world.offering()
    world.pool(of, 2)
    made = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of)
    fleet.run(of.instance_type, clock.now(), 3)
    made = fleet.reread(made)
    assert (made.status, made.revision) == (Status.READY, 1)
    return made


def told(one: Deployment) -> tuple[str, int]:
    one = fleet.reread(one)
    return one.status, one.revision


ROLLS: list[dict[str, Any]] = [
    {"engine": "dynamo-vllm", "version": "1.0.0"}, {"version": "0.22.0"}, {"engine_config": {"dtype": "auto"}},
    {"engine_env": {"VLLM_USE_V1": "1"}}, {"gpu_count": 2}, {"model_name": "meta/llama-4"}, {"model_bucket": "other"},
    {"model_path": "llama/71b"}, {"capacity_classes": (ON_DEMAND,)}, {"capacity_classes": (ON_DEMAND, RESERVED)},
]  # fmt: skip
STAYS: list[dict[str, Any]] = [
    {"min": 1, "max": 9}, {"priority": 7}, {"concurrency": 3}, {"capacity_classes": (RESERVED, ON_DEMAND)},
]  # fmt: skip


@pytest.mark.parametrize("changes", ROLLS, ids=lambda one: ",".join(one))
def test_r10_a_change_of_what_runs_or_where_is_a_new_revision(
    cast: Cast, one: Deployment, changes: dict[str, Any]
) -> None:
    spec = fleet.spec(one.gateways.get(), **changes)
    deployment_update(actor=cast.admin.actor, deployment_id=one.id, spec=spec)
    assert told(one) == (Status.UPDATING, 2)
    deployment_update(actor=cast.admin.actor, deployment_id=one.id, spec=spec)
    assert told(one) == (Status.UPDATING, 2), "the same again is no change"


@pytest.mark.parametrize("changes", STAYS, ids=lambda one: ",".join(one))
def test_r9_a_change_of_autoscaling_alone_is_ready_at_once(
    cast: Cast, one: Deployment, changes: dict[str, Any]
) -> None:
    spec = fleet.spec(one.gateways.get(), **changes)
    deployment_update(actor=cast.admin.actor, deployment_id=one.id, spec=spec)
    assert told(one) == (Status.READY, 1)
    fleet.tick(one.instance_type)
    assert told(one) == (Status.READY, 1)


def test_r10_classes_roll_where_autoscaling_is_edited_alone_too(cast: Cast, one: Deployment) -> None:
    def edit(*classes: str) -> tuple[str, int]:
        autoscaling_update(actor=cast.admin.actor, deployment_id=one.id, block=Autoscaling(1, 5, None, None, classes))
        return told(one)

    assert edit(RESERVED, ON_DEMAND) == (Status.READY, 1), "what unset means (R15)"
    assert edit(ON_DEMAND) == (Status.UPDATING, 2)
    assert edit(ON_DEMAND) == (Status.UPDATING, 2)


def zones(cast: Cast, one: Deployment) -> Callable[..., None]:
    gateway = one.gateways.get()

    def change(*names: str) -> None:
        spec = GatewaySpec(gateway.name, names, {"core_weave_auth": {}}, {"path_based_routing": {}})
        gateway_update(actor=cast.admin.actor, gateway_id=gateway.id, spec=spec)

    return change


def test_r10_a_change_of_a_gateways_zones_rolls_what_may_run_elsewhere_now(cast: Cast, one: Deployment) -> None:
    at = one.gateways.get()
    west = fleet.gateway(cast.admin.actor, WEST, name="west")
    both = fleet.deployment(cast.admin.actor, at, world.offering(), name="both")
    deployment_update(actor=cast.admin.actor, deployment_id=both.id,
                      spec=fleet.spec(at, name="both", gateway_ids=(str(at.id), str(west.id))))  # fmt: skip
    assert told(both)[1] == 2
    change = zones(cast, one)
    change(WEST.lower(), EAST)
    assert told(one) == (Status.UPDATING, 2)
    assert told(both)[1] == 2, "the other gateway leaves it the one zone it had"
    event = AuditEvent.objects.get(action="deployment.zones")
    assert (event.object_name, event.after) == (one.name, {"zones": sorted([EAST, WEST]), "revision": 2})
    change(EAST, WEST)
    assert told(one) == (Status.UPDATING, 2), "the same zones"


def test_r10_another_gateway_of_the_same_zones_starts_nothing_anew(cast: Cast, one: Deployment) -> None:
    spec = GatewaySpec("second", (), {"core_weave_auth": {}}, {"path_based_routing": {}})
    second = gateway_create(actor=cast.admin.actor, organization=cast.organization, spec=spec)
    deployment_update(actor=cast.admin.actor, deployment_id=one.id, spec=fleet.spec(second))
    assert told(one) == (Status.UPDATING, 1)
    fleet.tick(one.instance_type)
    assert told(one) == (Status.READY, 1)


def test_switching_off_and_on_is_no_new_revision(cast: Cast, one: Deployment) -> None:
    for disabled in (True, False):
        deployment_set_disabled(actor=cast.admin.actor, deployment_id=one.id, disabled=disabled)
        assert told(one) == (Status.UPDATING, 1)
