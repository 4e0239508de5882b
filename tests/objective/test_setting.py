"""An objective is set and cleared by who may change autoscaling, and the database refuses what makes no sense."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from console.common.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from console.organizations.models import AuditEvent
from deployments.core.objective import Choice
from deployments.models import Deployment, DeploymentObjective, ObjectiveChoice, Trigger, Why
from deployments.objective.selectors import objective_get, objective_of
from deployments.objective.services import objective_clear, objective_set
from deployments.services import autoscaling_update
from tests import fleet, world
from tests.cast import Cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def chat(cast: Cast) -> Deployment:
    return fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), world.offering(), max=8)


def test_it_is_set_begins_with_the_preset_and_is_cleared(cast: Cast, chat: Deployment) -> None:
    row = objective_set(actor=cast.admin.actor, deployment_id=chat.id, share=0.99)
    assert (row.target, row.scale_down_delay, row.ahead) == (12, timedelta(seconds=300), 0.99), "all of 12 slots"
    assert (row.due, row.choice, row.floor, row.ceiling) == (Trigger.SET, None, 0, None)
    event = AuditEvent.objects.get(action="objective.set")
    assert (event.object_id, event.before) == (str(chat.id), None)
    assert event.after == {"share": 0.99, "longestWait": "1s", "priceCeiling": None}
    kept = fleet.reread(chat)
    assert (kept.updated_at, kept.revision) == (chat.updated_at, 1), "nothing rolls (R10)"
    objective_clear(actor=cast.admin.actor, deployment_id=chat.id)
    objective_clear(actor=cast.admin.actor, deployment_id=chat.id)
    assert objective_of(chat) is None
    assert AuditEvent.objects.filter(action="objective.clear").count() == 1


def test_setting_it_again_asks_for_another_choice_only_when_it_differs(cast: Cast, chat: Deployment) -> None:
    objective_set(actor=cast.admin.actor, deployment_id=chat.id, share=0.99)
    DeploymentObjective.objects.update(due=None, due_at=None, target=9, lease="0198c0de-0000-7000-8000-000000000000",
                                       leased_until=chat.created_at)  # fmt: skip
    assert objective_set(actor=cast.admin.actor, deployment_id=chat.id, share=0.99).due is None
    row = objective_set(actor=cast.admin.actor, deployment_id=chat.id, share=0.95)
    assert (row.due, row.lease, row.target) == (Trigger.SET, None, 9), "what is gone by stays until then"
    assert AuditEvent.objects.filter(action="objective.set").count() == 2


def test_a_price_ceiling_pays_for_whole_replicas_at_the_dearest_zone(cast: Cast, chat: Deployment) -> None:
    price = Decimal("10.5")  # of a GPU of a GB200 on demand
    given = objective_set(actor=cast.admin.actor, deployment_id=chat.id, share=0.99, price_ceiling=Decimal("31.49"))
    assert given.ceiling == 2, f"31.49 USD are not three times {price} USD"
    with pytest.raises(FailedPrecondition) as refused:
        objective_set(actor=cast.admin.actor, deployment_id=chat.id, share=0.99, price_ceiling=Decimal("10.49"))
    assert refused.value.kind == "CEILING_BELOW_MIN"
    assert objective_get(chat).price_ceiling == Decimal("31.49")


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"share": 0.49}, "share"), ({"share": 1.0}, "share"), ({"share": float("nan")}, "share"),
        ({"longest_wait": timedelta(seconds=5)}, "longest_wait"),
        ({"price_ceiling": Decimal(0)}, "price_ceiling"), ({"price_ceiling": Decimal("NaN")}, "price_ceiling"),
        ({"price_ceiling": Decimal("1.001")}, "price_ceiling"), ({"price_ceiling": Decimal(10**9)}, "price_ceiling"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(cast: Cast, chat: Deployment, asked: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        objective_set(actor=cast.admin.actor, deployment_id=chat.id, **{"share": 0.99, **asked})
    assert [one.field for one in refused.value.violations] == [field]
    assert not DeploymentObjective.objects.exists()
    assert not AuditEvent.objects.filter(action="objective.set").exists()


def test_who_may_not_change_autoscaling_may_not_set_it(cast: Cast, chat: Deployment) -> None:
    for actor, error in ((cast.viewer.actor, PermissionDenied), (cast.outsider.actor, NotFound)):
        with pytest.raises(error):
            objective_set(actor=actor, deployment_id=chat.id, share=0.99)
    objective_set(actor=cast.admin.actor, deployment_id=chat.id, share=0.99)
    for actor, error in ((cast.viewer.actor, PermissionDenied), (cast.outsider.actor, NotFound)):
        with pytest.raises(error):
            objective_clear(actor=actor, deployment_id=chat.id)
    assert objective_get(chat).share == 0.99


def test_the_database_refuses_what_no_objective_can_be(cast: Cast, chat: Deployment) -> None:
    objective_set(actor=cast.admin.actor, deployment_id=chat.id, share=0.99)
    for wrong in ({"share": 1.0}, {"longest_wait": timedelta(seconds=5)}, {"target": 0}, {"due": None}, {"due": 99},
                  {"reached": 1.5}, {"price_ceiling": Decimal(0)},
                  {"lease": "0198c0de-0000-7000-8000-000000000000"}):  # fmt: skip
        with pytest.raises(IntegrityError), transaction.atomic():
            DeploymentObjective.objects.update(**wrong)
    sane: dict[str, Any] = {
        "deployment": chat, "trigger": Trigger.SET, "why": Why.CHEAPEST, "objective": 0.99, "goal": 0.992, "target": 5,
        "scale_down_delay": timedelta(seconds=60), "changed": True, "slots": 8, "min": 1, "max": 4, "gpu_count": 1,
    }  # fmt: skip
    ObjectiveChoice.objects.create(**sane)
    for odd in ({"why": 9}, {"trigger": 9}, {"goal": 1.1}, {"share": -0.1}, {"target": 0}, {"slots": 0}):
        with pytest.raises(IntegrityError), transaction.atomic():
            ObjectiveChoice.objects.create(**{**sane, **odd})


def test_the_words_of_why_are_those_of_the_core() -> None:
    assert [(one.name, one.value) for one in Choice] == [(one.name, one.value) for one in Why]


def test_a_change_of_autoscaling_leaves_it(cast: Cast, chat: Deployment) -> None:
    objective_set(actor=cast.admin.actor, deployment_id=chat.id, share=0.99)
    block = fleet.spec(chat.gateways.get(), max=12).autoscaling
    autoscaling_update(actor=cast.admin.actor, deployment_id=chat.id, block=block)
    assert objective_get(chat).share == 0.99
