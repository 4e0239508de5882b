"""Every action of the audit trail says what was before and what was after: what begins has no before, what ends no after."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from claims import services as claims
from claims.models import Instance, PriceKind, QuotaRequest, Work
from claims.services.prices import price_set
from claims.services.quota_requests import quota_request_approve, quota_request_create, quota_request_refuse
from claims.statements.closing import statements_pass
from console.common import clock
from console.dashboard.acknowledging import notice_hide, notice_show
from console.dashboard.attention import Notice
from console.dashboard.changes import Change, changes
from console.dashboard.said import ACTIONS
from console.notifications import channels
from console.notifications.delivering import delivery_record
from console.notifications.models import ChannelType, Kind
from console.notifications.sending import Outcome
from console.organizations.models import AuditEvent
from console.organizations.services import organization_create
from deployments import services
from deployments.core.rules import Autoscaling, GatewaySpec
from deployments.history.services import history_cancel
from deployments.models import Deployment, Gateway, HoldKind, Replica
from deployments.services.memory import model_memory_set
from tests import fleet, world
from tests.api.test_etags import DONE, things
from tests.cast import Cast
from tests.claims.test_reductions import reduced_once, resize
from tests.history import worlds
from tests.money.test_statements import HOUR, JUNE, THIRD, rated_to, used

BEGIN = {
    "backtest.create", "channel.create", "channel.test", "claim.create", "deployment.create", "deployment.freeze",
    "deployment.pin", "fleet.freeze", "gateway.create", "history.request", "note.create", "organization.create",
    "organization.freeze", "schedule.create", "statement.close", "token.create", "window.create",
}  # fmt: skip
END = {
    "budget.clear", "channel.delete", "claim.delete", "deployment.delete", "deployment.release", "fleet.release",
    "gateway.delete", "member.remove", "note.delete", "objective.clear", "organization.release", "schedule.delete",
    "token.revoke", "window.delete",
}  # fmt: skip
# A size is one deployment's: nobody can pin more.
NEVER = {"fleet.pin", "organization.pin"}

WHY = "launch"

pytestmark = pytest.mark.django_db


def by_the_api(cast: Cast) -> None:
    send = cast.admin.api().send
    for one in things(cast):
        assert send(one.method, one.path, one.body).status_code in DONE


def deployments(cast: Cast) -> None:
    actor, of = cast.admin.actor, world.offering()
    world.pool(of, 2)
    gateway = fleet.gateway(actor, name="edge")
    one = fleet.deployment(actor, gateway, of, name="model", min=1)
    fleet.run(of.instance_type, clock.now(), 3)
    services.replica_restart(actor=actor, deployment_id=one.id, replica_key=Replica.objects.earliest("key").key)
    other = fleet.spec(gateway, name="model", min=1, max=7, capacity_classes=("CAPACITY_CLASS_ON_DEMAND",))
    services.deployment_update(actor=actor, deployment_id=one.id, spec=other)
    services.autoscaling_update(actor=actor, deployment_id=one.id, block=Autoscaling(1, 8))
    for disabled in (True, False):
        services.deployment_set_disabled(actor=actor, deployment_id=one.id, disabled=disabled)
    model_memory_set(actor=actor, deployment_id=one.id, gib=40)
    note = services.annotation_create(actor=actor, deployment_id=one.id, text="new prompts")
    services.annotation_delete(actor=actor, annotation_id=note.id)
    services.gateway_update(actor=actor, gateway_id=gateway.id, spec=zones(gateway, "US-WEST-04A"))
    held(cast, one)
    services.deployment_delete(actor=actor, deployment_id=one.id)
    services.gateway_delete(actor=actor, gateway_id=gateway.id)


def zones(gateway: Gateway, *names: str) -> GatewaySpec:
    return GatewaySpec(gateway.name, names, gateway.auth, gateway.routing)


def held(cast: Cast, one: Deployment) -> None:
    for hold in (
        services.hold_create(actor=cast.admin.actor, kind=HoldKind.PIN, deployment_id=one.id, size=2, reason=WHY),
        services.hold_create(actor=cast.admin.actor, kind=HoldKind.FREEZE, reason=WHY),
    ):
        services.hold_end(actor=cast.admin.actor, hold_id=hold.id)
    staff = cast.platform.actor_signed_in()
    hold = services.hold_create(actor=staff, kind=HoldKind.FREEZE, fleet=True, reason=WHY)
    services.hold_end(actor=staff, hold_id=hold.id)


def capacity(cast: Cast) -> None:
    claim = reduced_once(cast, 3)
    resize(cast, claim, 1)
    claims.claim_withdraw(actor=cast.admin.actor, claim_id=claim.id)
    of, staff = world.offering("RNO2A", "gd-1xgh200"), world.PLATFORM
    machines = world.pool(of, 3)
    for work, machine in zip((Work.CORDON, Work.DRAIN, Work.BAD), machines, strict=True):
        claims.instance_work_set(actor=staff, instance_key=machine.key, work=work, reason="fan is loud")
    claims.instance_work_clear(actor=staff, instance_key=Instance.objects.get(work=Work.CORDON).key)
    claims.pool_resize(actor=staff, offering=of, size=4)
    for turn in (claims.offering_withdraw, claims.offering_restore):
        turn(actor=staff, offering=of)
    claims.offering_claimable_set(actor=staff, offering=of, claimable=not of.claimable)


def quota_and_prices(cast: Cast) -> None:
    of, staff, now = world.offering("RNO2A", "gd-1xgh200"), world.PLATFORM, clock.now()

    def asked(wanted: int) -> QuotaRequest:
        return quota_request_create(actor=cast.admin.actor, organization=cast.organization, offering=of, wanted=wanted,
                                    reason=WHY, now=now)  # fmt: skip

    quota_request_approve(actor=staff, request=asked(4), granted=3, now=now)
    quota_request_refuse(actor=staff, request=asked(9), comment="none are left", now=now)
    world.quota(cast.organization, of, limit=5)
    for hours in (1, 2):
        price_set(actor=staff, instance_type=of.instance_type, zone=of.zone, kind=PriceKind.ON_DEMAND,
                  usd=Decimal(hours), starts=now + timedelta(hours=hours))  # fmt: skip


def statements(cast: Cast) -> None:
    used(cast, JUNE - HOUR, JUNE + HOUR)
    rated_to(THIRD)
    statements_pass(now=THIRD)


def a_receiver_that_is_gone(cast: Cast) -> None:
    actor, now = cast.admin.actor, clock.now()
    channel, _ = channels.channel_create(actor=actor, organization=cast.organization, type=ChannelType.WEBHOOK,
                                         name="gone", target="https://hooks.example.com/x", kinds=[Kind.SHORTAGE])  # fmt: skip
    delivery = channels.channel_test(actor=actor, channel=channel, now=now)
    delivery_record(delivery=delivery, outcome=Outcome(False, 0.1, 410, gone=True), now=now)


def notices(cast: Cast) -> None:
    actor, now = cast.admin.actor, clock.now()
    one = Notice("warn", "short:1", "5", "chat is short", "3 of 5", ("overview",))
    notice_hide(actor=actor, notice=one, now=now, snoozed_until=now + timedelta(hours=1))
    notice_hide(actor=actor, notice=one, now=now)
    notice_show(actor=actor, notice=one)


def an_organization(cast: Cast) -> None:
    organization_create(actor=cast.platform.actor_signed_in(), id="cw56ef", slug="third", name="Third")


def history(cast: Cast) -> None:
    elsewhere = replace(cast, admin=cast.outsider)
    history_cancel(actor=cast.outsider.actor, run_id=worlds.asked(elsewhere).id)


def test_every_action_says_what_was_before_and_after(cast: Cast) -> None:
    for act in (
        statements,
        an_organization,
        history,
        deployments,
        by_the_api,
        capacity,
        quota_and_prices,
        a_receiver_that_is_gone,
        notices,
    ):
        act(cast)
    latest = {one.action: one for one in AuditEvent.objects.order_by("id")}
    assert set(ACTIONS) - set(latest) == NEVER
    for action, one in latest.items():
        sides = (bool(one.before), bool(one.after))
        assert sides == (action not in BEGIN, action not in END), (action, one.before, one.after)
        assert one.before != one.after, (action, one.before)


def test_a_change_of_a_spec_shows_what_differs_and_no_more(cast: Cast) -> None:
    actor = cast.admin.actor
    gateway = fleet.gateway(actor)
    one = fleet.deployment(actor, gateway, world.offering(), min=1)
    other = fleet.spec(
        gateway, min=1, max=7, engine_env={"VLLM_USE_V1": "1"}, capacity_classes=("CAPACITY_CLASS_RESERVED",)
    )
    services.deployment_update(actor=actor, deployment_id=one.id, spec=other)
    event = AuditEvent.objects.get(action="deployment.update")
    assert set(changes(event)) == {
        Change("engine env VLLM_USE_V1", "unset", "1"),
        Change("autoscaling: max", "5", "7"),
        Change("autoscaling: capacity classes", "unset", "reserved"),
        Change("revision", "1", "2"),
    }
