"""R19: operators freeze scaling or pin replicas, with reason and expiry."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from claims.models import Offering
from console.common import clock
from console.common.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, Refusal
from console.common.ids import new_id
from console.organizations.models import AuditEvent
from deployments.models import Deployment, Hold
from deployments.selectors import concerning, holds_in_force
from deployments.services import deployment_delete, hold_create, hold_end
from tests import fleet, world
from tests.cast import Cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def offering(cast: Cast) -> Offering:
    return world.offering()


@pytest.fixture
def chat(cast: Cast, offering: Offering) -> Deployment:
    return fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), offering, min=2, max=6)


def refused(error: type[Refusal], cast: Cast, **given: Any) -> Refusal:
    """The refusal of a hold, which left everything as it was."""
    before = list(Hold.objects.values()), AuditEvent.objects.count()
    with pytest.raises(error) as refusal:
        hold_create(**{"actor": cast.admin.actor, "kind": "FREEZE", "reason": "incident 7", **given})
    assert (list(Hold.objects.values()), AuditEvent.objects.count()) == before
    return refusal.value


def test_r19_an_admin_freezes_a_deployment_and_lets_it_go(cast: Cast, chat: Deployment) -> None:
    other = fleet.deployment(cast.admin.actor, chat.gateways.get(), world.offering(), name="other")
    hold = hold_create(actor=cast.admin.actor, kind="FREEZE", reason=" incident 7 ", deployment_id=chat.id)
    assert (hold.reason, hold.created_by, hold.size, hold.expires_at) == ("incident 7", "token admin", None, None)
    held = holds_in_force(cast.organization, clock.now())
    assert concerning(held, chat) == [hold]
    assert concerning(held, other) == []
    assert holds_in_force(cast.other, clock.now()) == []
    ended = hold_end(actor=cast.admin.actor, hold_id=hold.id)
    assert ended.ended_by == "token admin"
    assert holds_in_force(cast.organization, clock.now()) == []


def test_r19_what_is_held_and_let_go_is_audited_under_its_name(cast: Cast, chat: Deployment) -> None:
    pin = hold_create(actor=cast.admin.actor, kind="PIN", reason="launch", deployment_id=chat.id, size=4)
    hold_end(actor=cast.admin.actor, hold_id=pin.id)
    hold_create(actor=cast.admin.actor, kind="FREEZE", reason="audit week")
    hold_create(actor=cast.platform.actor_signed_in(), kind="FREEZE", reason="network", fleet=True)
    rows = AuditEvent.objects.order_by("id").values_list("action", "object_type", "object_id", "organization")
    assert list(rows)[-4:] == [
        ("deployment.pin", "Deployment", str(chat.id), cast.organization.key),
        ("deployment.release", "Deployment", str(chat.id), cast.organization.key),
        ("organization.freeze", "Organization", cast.organization.id, cast.organization.key),
        ("fleet.freeze", "Fleet", "fleet", cast.organization.key),
    ]
    after = AuditEvent.objects.get(action="deployment.pin").after
    assert after == {"hold": str(pin.id), "kind": "PIN", "size": 4, "reason": "launch", "expiresAt": None}


def test_r19_an_expired_hold_is_over_by_itself(cast: Cast, chat: Deployment) -> None:
    now = clock.now()
    hold = hold_create(actor=cast.admin.actor, kind="FREEZE", reason="an hour", deployment_id=chat.id,
                       expires_at=now + timedelta(hours=1))  # fmt: skip
    assert holds_in_force(cast.organization, now + timedelta(minutes=59)) == [hold]
    assert holds_in_force(cast.organization, now + timedelta(hours=1, seconds=1)) == []
    Hold.objects.update(expires_at=now)
    again = hold_create(actor=cast.admin.actor, kind="FREEZE", reason="again", deployment_id=chat.id)
    before = AuditEvent.objects.count()
    assert hold_end(actor=cast.admin.actor, hold_id=hold.id).ended_at is None, "it had expired"
    assert AuditEvent.objects.count() == before
    assert holds_in_force(cast.organization, clock.now()) == [again]


def test_r19_a_pin_outside_min_and_max_is_refused_with_the_numbers(cast: Cast, chat: Deployment) -> None:
    for size in (1, 7):
        refusal = refused(FailedPrecondition, cast, kind="PIN", deployment_id=chat.id, size=size)
        assert refusal.message == (
            f"a size of {size} lies outside 2 to 6, the min and max of chat; change these first."
        )
    for size in (2, 6):
        hold = hold_create(actor=cast.admin.actor, kind="PIN", reason="x", deployment_id=chat.id, size=size)
        hold_end(actor=cast.admin.actor, hold_id=hold.id)


@pytest.mark.parametrize(("changes", "field"), [
    ({"reason": "  "}, "reason"),
    ({"reason": "x" * 201}, "reason"),
    ({"kind": "STOP"}, "kind"),
    ({"kind": "PIN", "size": 3, "whole": True}, "deployment_id"),
    ({"kind": "PIN"}, "size"),
    ({"size": 3}, "size"),
    ({"expires_at": timedelta(seconds=-1)}, "expires_at"),
])  # fmt: skip
def test_r19_a_hold_that_says_too_little_is_refused_on_its_field(
    cast: Cast, chat: Deployment, changes: dict[str, Any], field: str
) -> None:
    given = {"deployment_id": chat.id, **changes}
    if given.pop("whole", False):
        given.pop("deployment_id")
    if "expires_at" in given:
        given["expires_at"] = clock.now() + given["expires_at"]
    refusal = refused(InvalidArgument, cast, **given)
    assert isinstance(refusal, InvalidArgument)
    assert [one.field for one in refusal.violations] == [field]


def test_r19_only_platform_staff_holds_the_fleet(cast: Cast, chat: Deployment) -> None:
    refused(PermissionDenied, cast, fleet=True)
    staff = cast.platform.actor_signed_in()
    refused(InvalidArgument, cast, actor=staff, fleet=True, deployment_id=chat.id)
    hold = hold_create(actor=staff, kind="FREEZE", reason="network", fleet=True)
    for organization in (cast.organization, cast.other):
        assert holds_in_force(organization, clock.now()) == [hold]
    assert concerning([hold], chat) == [hold]
    with pytest.raises(PermissionDenied):
        hold_end(actor=cast.admin.actor, hold_id=hold.id)
    assert Hold.objects.get().ended_at is None
    hold_end(actor=staff, hold_id=hold.id)
    assert holds_in_force(cast.organization, clock.now()) == []


def test_r19_who_may_not_write_holds_and_ends_nothing(cast: Cast, chat: Deployment) -> None:
    refused(PermissionDenied, cast, actor=cast.viewer.actor, deployment_id=chat.id)
    refused(PermissionDenied, cast, actor=cast.billing.actor)
    refused(NotFound, cast, actor=cast.outsider.actor, deployment_id=chat.id)
    hold = hold_create(actor=cast.admin.actor, kind="FREEZE", reason="x", deployment_id=chat.id)
    for actor, error in ((cast.viewer.actor, PermissionDenied), (cast.outsider.actor, NotFound)):
        with pytest.raises(error):
            hold_end(actor=actor, hold_id=hold.id)
    with pytest.raises(NotFound):
        hold_end(actor=cast.admin.actor, hold_id=new_id())
    assert holds_in_force(cast.organization, clock.now()) == [hold]


def test_r19_a_second_hold_of_a_kind_says_who_holds_already(cast: Cast, chat: Deployment) -> None:
    hold_create(actor=cast.admin.actor, kind="PIN", reason="launch", deployment_id=chat.id, size=4)
    refusal = refused(FailedPrecondition, cast, kind="PIN", deployment_id=chat.id, size=5)
    assert "pinned to 4 until it is ended by token admin (launch)" in refusal.message
    hold_create(actor=cast.admin.actor, kind="FREEZE", reason="a freeze is another thing", deployment_id=chat.id)
    hold_create(actor=cast.admin.actor, kind="FREEZE", reason="and the organization another")
    refused(FailedPrecondition, cast)
    hold_create(actor=cast.outsider.actor, kind="FREEZE", reason="theirs")


def test_r19_a_deployment_that_is_being_deleted_is_not_held(cast: Cast, chat: Deployment) -> None:
    deployment_delete(actor=cast.admin.actor, deployment_id=chat.id)
    refused(NotFound, cast, deployment_id=chat.id)


def test_r19_ending_twice_is_ending_once(cast: Cast, chat: Deployment) -> None:
    hold = hold_create(actor=cast.admin.actor, kind="FREEZE", reason="x", deployment_id=chat.id)
    first = hold_end(actor=cast.admin.actor, hold_id=hold.id)
    before = AuditEvent.objects.count()
    assert hold_end(actor=cast.admin.actor, hold_id=hold.id).ended_at == first.ended_at
    assert AuditEvent.objects.count() == before


def test_holds_are_read_in_one_query_whatever_their_number(cast: Cast, chat: Deployment) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            names = [str(one) for one in holds_in_force(cast.organization, clock.now())]
        assert names
        return len(found)

    hold_create(actor=cast.admin.actor, kind="FREEZE", reason="x", deployment_id=chat.id)
    assert queries() == 2, "the holds and the clock"
    for number in range(3):
        one = fleet.deployment(cast.admin.actor, chat.gateways.get(), world.offering(), name=f"more-{number}")
        hold_create(actor=cast.admin.actor, kind="PIN", reason="x", deployment_id=one.id, size=1)
    assert queries() == 2
