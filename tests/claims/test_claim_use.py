"""Use of claims, by looking: added up by the hour, kept for a month."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from claims.models import ClaimUse, Instance
from claims.services import claim_delete
from claims.tasks import meter
from claims.use import KEPT, claim_use_look, use_of_day
from tests import world
from tests.cast import Cast

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


def test_looks_add_up_by_the_hour(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 2)
    claim = world.claim(cast.admin.actor, of, 2)
    world.everything_arrives()
    size = of.instance_type.gpus
    first = claim.instances.order_by("key")[0]
    for minute, busy in enumerate((0, size, size)):
        Instance.objects.filter(key=first.key).update(gpus_used=busy)
        claim_use_look(now=NOON + timedelta(minutes=minute))
    claim_use_look(now=NOON + timedelta(hours=1))
    assert list(ClaimUse.objects.order_by("hour").values_list("hour", "looks", "gpus_used", "gpus_held")) == [
        (NOON, 3, 2 * size, 6 * size), (NOON + timedelta(hours=1), 1, size, 2 * size),
    ]  # fmt: skip


def test_what_is_not_ready_or_lost_is_not_looked_at_and_old_looks_go(cast: Cast) -> None:
    claim = world.claim(cast.admin.actor, world.offering(), 2)
    claim_use_look(now=NOON)
    assert not ClaimUse.objects.exists(), "nothing is free yet"
    world.pool(world.offering(), 2)
    world.everything_arrives()
    Instance.objects.filter(key=claim.instances.order_by("key")[0].key).update(lost_at=NOON)
    claim_use_look(now=NOON)
    assert ClaimUse.objects.get().gpus_held == world.offering().instance_type.gpus
    claim_use_look(now=NOON + KEPT + timedelta(hours=1))
    assert ClaimUse.objects.get().hour == NOON + KEPT + timedelta(hours=1)


def test_the_meter_looks_and_a_claim_goes_with_its_looks(cast: Cast) -> None:
    world.pool(world.offering(), 1)
    claim = world.claim(cast.admin.actor, world.offering(), 1)
    world.everything_arrives()
    meter()
    assert ClaimUse.objects.get().claim_id == claim.key
    claim_delete(actor=cast.admin.actor, claim_id=claim.id)
    world.settle()
    assert not ClaimUse.objects.exists()


def test_use_is_read_in_one_query_and_known_only_of_a_whole_day(cast: Cast) -> None:
    claims = [world.claim(cast.admin.actor, world.offering(), 1, name=f"c{number}") for number in range(3)]
    ClaimUse.objects.bulk_create(
        ClaimUse(claim=claims[0], hour=NOON - timedelta(hours=ago), looks=60, gpus_used=60, gpus_held=240)
        for ago in range(40)
    )
    with CaptureQueriesContext(connection) as asked:
        found = use_of_day(claims, NOON + timedelta(minutes=59))
    assert len(asked) == 1
    assert {key: (one.share, one.gpus, one.under) for key, one in found.items()} == {claims[0].key: (0.25, 4.0, False)}
    assert use_of_day(claims, NOON - timedelta(hours=30)) == {}
