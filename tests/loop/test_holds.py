"""Freezes and pins reach the planner, and nothing is scaled past them (R19)."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from claims.models import InstanceType
from console.common import clock
from deployments.core.params import Params
from deployments.core.reasons import Reason
from deployments.loop.snapshot import read_shard
from deployments.models import Decision, Deployment, Hold, Replica
from deployments.replay.search import Asked, decisions_found
from deployments.services import hold_create, hold_end
from tests import fleet, world
from tests.cast import Cast

pytestmark = pytest.mark.django_db


def three(cast: Cast) -> list[Deployment]:
    """Two of ours and one of theirs."""
    of = world.offering()
    world.pool(of, 6)
    at = fleet.gateway(cast.admin.actor)
    return [
        fleet.deployment(cast.admin.actor, at, of, "one", max=9),
        fleet.deployment(cast.admin.actor, at, of, "two", max=9),
        fleet.deployment(cast.outsider.actor, fleet.gateway(cast.outsider.actor), of, "theirs", max=9),
    ]


def columns(type_: InstanceType) -> list[tuple[bool, int]]:
    """(frozen, pin) of each deployment in order of creation."""
    table = read_shard(type_, Params(), clock.now()).snapshot.deployments
    return list(zip(table.freeze.tolist(), table.pin.tolist(), strict=True))


def live(of: Deployment) -> int:
    return Replica.objects.filter(deployment=of, state__in=[1, 2]).count()


def test_r19_a_freeze_holds_the_deployment_the_organization_or_the_fleet(cast: Cast) -> None:
    one, *_ = three(cast)
    type_, ours = one.instance_type, cast.admin.actor
    assert columns(type_) == [(False, -1)] * 3
    first = hold_create(actor=ours, kind="FREEZE", reason="an incident", deployment_id=one.id)
    assert columns(type_) == [(True, -1), (False, -1), (False, -1)]
    second = hold_create(actor=ours, kind="FREEZE", reason="a migration")
    assert columns(type_) == [(True, -1), (True, -1), (False, -1)]
    hold_create(actor=world.PLATFORM, kind="FREEZE", reason="an upgrade", fleet=True)
    assert columns(type_) == [(True, -1)] * 3
    Hold.objects.filter(organization__isnull=True).update(expires_at=clock.now())
    hold_end(actor=ours, hold_id=second.id)
    assert columns(type_) == [(True, -1), (False, -1), (False, -1)]
    hold_end(actor=ours, hold_id=first.id)
    assert columns(type_) == [(False, -1)] * 3


def test_r19_a_pin_beats_a_freeze_and_the_newest_pin_wins(cast: Cast) -> None:
    one, *_ = three(cast)
    now = clock.now()
    hold_create(actor=cast.admin.actor, kind="PIN", reason="a test", deployment_id=one.id, size=3)
    hold_create(actor=cast.admin.actor, kind="FREEZE", reason="an incident", deployment_id=one.id)
    hold_create(actor=world.PLATFORM, kind="FREEZE", reason="an upgrade", fleet=True)
    assert columns(one.instance_type) == [(False, 3), (True, -1), (True, -1)]
    Hold.objects.create(kind="PIN", organization=cast.organization, deployment=one, size=5, reason="made by hand",
                        created_by="admin", created_at=now - timedelta(hours=1))  # fmt: skip
    assert columns(one.instance_type)[0] == (False, 3)


def test_r19_what_is_held_is_not_scaled_and_the_decision_says_so(cast: Cast) -> None:
    one, two, theirs = three(cast)
    for each in (one, two, theirs):
        fleet.workload(each, scale=2.0)
    hold_create(actor=cast.admin.actor, kind="PIN", reason="a test", deployment_id=one.id, size=4)
    hold_create(actor=cast.admin.actor, kind="FREEZE", reason="an incident", deployment_id=two.id)
    now = fleet.run(one.instance_type, clock.now(), 30)
    assert (live(one), live(two)) == (4, 1)
    assert live(theirs) > 1
    told = {each.name: Decision.objects.filter(deployment=each).order_by("id").last() for each in (one, two)}
    assert told["one"].bound == told["two"].bound == "HOLD"  # type: ignore[union-attr]
    for hold in Hold.objects.all():
        hold_end(actor=cast.admin.actor, hold_id=hold.id)
    fleet.run(one.instance_type, now, 6)
    assert live(two) > 1


def test_r19_a_freeze_that_begins_or_ends_is_a_decision_where_gpus_are_short_as_well(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 1)
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of, "one", min=1, max=9)
    fleet.workload(one, scale=2.0)
    now = fleet.run(of.instance_type, clock.now(), 30)
    mine = Decision.objects.filter(deployment=one).order_by("id")
    short = mine.last()
    assert short is not None
    assert (short.granted, short.bound) == (4, "CAPACITY")
    hold = hold_create(actor=cast.admin.actor, kind="FREEZE", reason="an incident", deployment_id=one.id)
    now = fleet.run(of.instance_type, now, 3)
    frozen = mine.filter(id__gt=short.id)
    assert [row.record["wanted_code"] for row in frozen] == [Reason.FROZEN]
    assert (frozen[0].wanted, frozen[0].granted, frozen[0].bound) == (short.wanted, 4, "CAPACITY")
    found = decisions_found(one.organization, Asked(bound="HOLD"), 9)
    assert frozen[0].id in [row.id for row in found]
    said = cast.viewer.api().get(f"/api/v1/deployments/{one.id}/decisions?bound=HOLD").json()
    assert [row["id"] for row in said["items"]] == [row.id for row in found]
    hold_end(actor=cast.admin.actor, hold_id=hold.id)
    fleet.run(of.instance_type, now, 3)
    after = mine.filter(id__gt=frozen[0].id).first()
    assert after is not None
    assert after.record["wanted_code"] != Reason.FROZEN


def test_r19_holds_are_read_in_one_query_however_many(cast: Cast) -> None:
    one, two, _ = three(cast)
    columns(one.instance_type)  # start-up times are read once another replica is ready
    counts = []
    for each in (one, two):
        hold_create(actor=cast.admin.actor, kind="FREEZE", reason="an incident", deployment_id=each.id)
        with CaptureQueriesContext(connection) as queries:
            columns(one.instance_type)
        counts.append(len(queries))
        assert sum("deployments_hold" in query["sql"] for query in queries) == 1
    assert counts[0] == counts[1]
