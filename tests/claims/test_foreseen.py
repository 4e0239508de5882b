"""What a change of a claim is foreseen to do is what the fulfil loop then does."""

import pytest

from claims.core.states import InstanceState
from claims.foreseen import Growth, would_get, would_give_up
from claims.models import CapacityClaim, Instance, Work
from claims.services import claim_delete, claim_resize, instance_work_set
from tests import world
from tests.cast import Cast

pytestmark = pytest.mark.django_db
LEAVING = (InstanceState.RELEASING, InstanceState.RELEASED)


def customer(cast: Cast, count: int, limit: int = 8) -> tuple[CapacityClaim, list[Instance]]:
    of = world.offering()
    world.quota(cast.organization, of, limit=limit)
    claim = world.claim(cast.admin.actor, of, count, "CUSTOMER")
    world.everything_arrives()
    return world.reread(claim), list(claim.instances.order_by("key"))


def drained(instance: Instance) -> None:
    instance_work_set(actor=world.PLATFORM, instance_key=instance.key, work=Work.DRAIN, reason="fan is loud")
    world.settle()


def changed(cast: Cast, claim: CapacityClaim, count: int) -> None:
    if count:
        resources = world.resources(claim.offering, count, claim.kind)
        claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=resources)
    else:
        claim_delete(actor=cast.admin.actor, claim_id=claim.id)


@pytest.mark.parametrize(("count", "gone"), [(2, {0}), (1, {0, 2}), (0, {0, 1, 2}), (3, set())])
@pytest.mark.parametrize("used", [False, True], ids=["empty", "in use"])
def test_c9_a_drained_customer_machine_is_foreseen_to_go_as_it_then_does(
    cast: Cast, count: int, gone: set[int], used: bool
) -> None:
    claim, machines = customer(cast, 3)
    if used:
        world.take(machines[0], cast.organization, 7, claim=claim)
    drained(machines[0])
    foreseen = {one.key for one in would_give_up(world.reread(claim), count)}
    changed(cast, claim, count)
    if used:
        world.release(machines[0], 7)
    world.settle()
    left = {one.key for one in Instance.objects.all() if one.state in LEAVING}
    assert foreseen == left == {machines[number].key for number in gone}


def test_c3_a_drained_customer_machine_keeps_its_place_when_the_claim_grows(cast: Cast) -> None:
    claim, machines = customer(cast, 3)
    drained(machines[0])
    assert would_get(world.reread(claim), 4) == Growth(requested=1)
    changed(cast, claim, 4)
    world.settle()
    assert Instance.objects.exclude(key__in=[one.key for one in machines]).count() == 1
    assert would_get(world.reread(claim), 4) == Growth()


def test_c10_what_still_drains_is_foreseen_to_come_back_at_once(cast: Cast) -> None:
    claim, machines = customer(cast, 3)
    for number, one in enumerate(machines):
        world.take(one, cast.organization, number + 1, claim=claim)
    changed(cast, claim, 1)
    assert Instance.objects.filter(state=InstanceState.DRAINING).count() == 2
    assert would_get(world.reread(claim), 2) == Growth(taken_back=1)
    assert would_get(world.reread(claim), 4) == Growth(taken_back=2, requested=1)
    changed(cast, claim, 4)
    assert Instance.objects.filter(state=InstanceState.READY).count() == 3
    assert Instance.objects.filter(state=InstanceState.REQUESTED).count() == 1


def test_c3_machines_that_leave_keep_their_place_until_they_are_gone(cast: Cast) -> None:
    claim, _ = customer(cast, 3)
    changed(cast, claim, 1)
    assert would_get(world.reread(claim), 4) == Growth(requested=1, later=2)
    changed(cast, claim, 4)
    assert Instance.objects.filter(state=InstanceState.REQUESTED).count() == 1


def test_c10_a_serverless_claim_takes_back_before_it_asks_the_pool(cast: Cast) -> None:
    of = world.offering()
    machines = world.pool(of, 4)
    claim = world.claim(cast.admin.actor, of, 2)
    for number, one in enumerate(machines[:2]):
        world.take(one, cast.organization, number + 1, claim=claim)
    changed(cast, claim, 1)
    assert would_get(world.reread(claim), 2) == Growth(taken_back=1)
    assert would_get(world.reread(claim), 6) == Growth(taken_back=1, free=2, later=2)
    changed(cast, claim, 6)
    assert Instance.objects.filter(claim=claim, state=InstanceState.READY).count() == 4


def test_c4_the_free_instances_go_by_age_of_the_claims(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 1)
    older = world.claim(cast.admin.actor, of, 1, name="older")
    world.claim(cast.outsider.actor, of, 2, name="waits")
    younger = world.claim(cast.admin.actor, of, 1, name="younger")
    Instance.objects.create(name="new", offering=of, source="POOL", state="READY", gpus=of.instance_type.gpus)
    assert would_get(world.reread(older), 2) == Growth(free=1)
    assert would_get(world.reread(younger), 2) == Growth(later=2)
