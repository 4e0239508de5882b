"""C13: pools that shrink and offerings that are withdrawn while they are in use; quota below what is committed."""

import pytest

from claims.core.states import InstanceState, Status
from claims.models import CapacityClaim, Instance, Offering
from claims.selectors import claim_numbers, offerings_claimable, quota_of
from claims.services import (
    claim_delete,
    claim_resize,
    offering_claimable_set,
    offering_restore,
    offering_withdraw,
    pool_resize,
)
from console.common.errors import FailedPrecondition, InvalidArgument, PermissionDenied
from console.organizations.models import AuditEvent
from tests import world
from tests.cast import Cast

pytestmark = pytest.mark.django_db


def shrink(of: Offering, size: int) -> None:
    pool_resize(actor=world.PLATFORM, offering=of, size=size)


def in_pool(of: Offering) -> int:
    return Instance.objects.filter(offering=of, source="POOL", state=InstanceState.READY).count()


def test_c13_a_smaller_pool_gives_free_instances_now_and_the_rest_as_it_frees_up(cast: Cast) -> None:
    of = world.offering()
    first, second, *_ = world.pool(of, 4)
    world.take(first, cast.organization, 1)
    world.take(second, cast.other, 2)
    shrink(of, 0)
    assert in_pool(of) == 2, "at once"
    assert Instance.objects.filter(state=InstanceState.RELEASING).count() == 2
    world.settle(2)
    assert in_pool(of) == 2
    world.release(first, 1)
    assert not world.take(first, cast.organization, 3), "it is spoken for"
    assert world.take(second, cast.other, 3), "what goes on there may go on"
    world.settle()
    assert in_pool(of) == 1
    for replica in (2, 3):
        world.release(second, replica)
    world.everything_arrives()
    assert in_pool(of) == 0
    assert Instance.objects.exclude(state=InstanceState.RELEASED).count() == 0


def test_c13_a_freed_instance_goes_to_a_waiting_claim_before_the_pool_shrinks(cast: Cast) -> None:
    of = world.offering()
    first, second = world.pool(of, 2)
    world.take(first, cast.other, 1)
    world.take(second, cast.other, 2)
    claim = world.claim(cast.admin.actor, of, 1)
    shrink(of, 0)
    world.release(second, 2)
    world.settle()
    assert claim_numbers(world.reread(claim)) == (1, 0)
    world.release(first, 1)
    world.settle()
    assert in_pool(of) == 1, "the next one goes"
    claim_delete(actor=cast.admin.actor, claim_id=claim.id)
    world.settle()
    assert in_pool(of) == 0


def test_c13_machines_that_a_claim_waits_for_still_join(cast: Cast) -> None:
    of = world.offering()
    shrink(of, 3)
    claim = world.claim(cast.admin.actor, of, 1)
    shrink(of, 0)
    assert Instance.objects.filter(state=InstanceState.REQUESTED).count() == 1
    world.everything_arrives()
    assert claim_numbers(world.reread(claim)) == (1, 0)


def test_c13_a_withdrawn_offering_takes_nothing_new_and_goes_as_it_frees_up(cast: Cast) -> None:
    of = world.offering()
    _, second, third = world.pool(of, 3)
    claim = world.claim(cast.admin.actor, of, 1)
    world.take(second, cast.other, 1)
    world.settle()
    offering_withdraw(actor=world.PLATFORM, offering=of)
    assert Instance.objects.get(key=third.key).state == InstanceState.RELEASING
    assert Instance.objects.get(key=second.key).kept
    assert not world.take(second, cast.other, 2), "its replicas go on, and no new one comes"
    with pytest.raises(InvalidArgument, match="cannot be claimed"):
        world.claim(cast.outsider.actor, of, 1, name="other")
    with pytest.raises(FailedPrecondition, match="no longer offered"):
        claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=world.resources(of, 2))
    assert of not in offerings_claimable()
    assert (world.reread(claim).status, CapacityClaim.objects.count()) == (Status.READY, 1)
    world.release(second, 1)
    claim_delete(actor=cast.admin.actor, claim_id=claim.id)
    world.everything_arrives()
    assert set(Instance.objects.values_list("state", flat=True)) == {InstanceState.RELEASED}
    offering_restore(actor=world.PLATFORM, offering=of)
    world.everything_arrives()
    assert in_pool(of) == 3
    assert of in offerings_claimable()
    assert world.claim(cast.outsider.actor, of, 1, name="other").status == Status.CREATING


def test_c13_a_withdrawal_undone_in_time_changes_nothing_in_use(cast: Cast) -> None:
    of = world.offering()
    (one,) = world.pool(of, 1)
    world.take(one, cast.organization, 1)
    for _ in range(2):
        offering_withdraw(actor=world.PLATFORM, offering=of)
    for _ in range(2):
        offering_restore(actor=world.PLATFORM, offering=of)
    assert world.take(one, cast.organization, 2)
    assert in_pool(of) == Instance.objects.count() == 1
    actions = AuditEvent.objects.filter(object_type="Offering").order_by("id").values_list("action", flat=True)
    assert list(actions) == ["pool.adopt", "offering.withdraw", "offering.restore"]


def test_c13_quota_below_what_is_committed_takes_nothing_away(cast: Cast) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=4)
    claim = world.claim(cast.admin.actor, of, 3, "CUSTOMER")
    world.everything_arrives()
    world.quota(cast.organization, of, limit=1, other_usage=1)
    world.settle(2)
    assert claim_numbers(world.reread(claim)) == (3, 0)
    shown = quota_of(cast.organization, of)
    assert (shown.limit, shown.committed, shown.used, shown.free, shown.over) == (1, 3, 4, 0, 3)
    with pytest.raises(FailedPrecondition):
        world.claim(cast.admin.actor, of, 1, "CUSTOMER", name="other")
    with pytest.raises(FailedPrecondition):
        claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=world.resources(of, 4, "CUSTOMER"))
    lowered = claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=world.resources(of, 2, "CUSTOMER"))
    assert claim_numbers(lowered) == (2, 0)


def test_an_offering_may_keep_its_pool_and_take_no_claims(cast: Cast) -> None:
    of = world.offering()
    (one,) = world.pool(of, 1)
    offering_claimable_set(actor=world.PLATFORM, offering=of, claimable=False)
    with pytest.raises(InvalidArgument):
        world.claim(cast.admin.actor, of, 1)
    assert world.take(one, cast.organization, 1)
    assert AuditEvent.objects.filter(action="offering.claimable").count() == 1


def test_only_the_platform_changes_what_is_offered(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 2)
    before, events = Offering.objects.filter(key=of.key).values().get(), AuditEvent.objects.count()
    actor = cast.admin.actor
    with pytest.raises(PermissionDenied):
        offering_withdraw(actor=actor, offering=of)
    with pytest.raises(PermissionDenied):
        offering_restore(actor=actor, offering=of)
    with pytest.raises(PermissionDenied):
        pool_resize(actor=actor, offering=of, size=0)
    with pytest.raises(PermissionDenied):
        offering_claimable_set(actor=actor, offering=of, claimable=False)
    with pytest.raises(InvalidArgument):
        pool_resize(actor=world.PLATFORM, offering=of, size=-1)
    assert Offering.objects.filter(key=of.key).values().get() == before
    assert (in_pool(of), AuditEvent.objects.count()) == (2, events)
