"""C1 to C11 and B1 on the real database: what a claim asks for is what it gets, in time."""

import uuid
from typing import Any

import pytest

from claims.core.rules import ClaimResources
from claims.core.states import LIVE_STATES, InstanceState, Status
from claims.models import CapacityClaim, Instance, Quota, SimulatedNode, UsageInterval
from claims.provisioning import instances_lost
from claims.selectors import claim_numbers, committed_by_offering, quota_of
from claims.services import claim_create, claim_delete, claim_resize, pool_resize, quota
from claims.services.quota import commitments_of
from console.common import clock
from console.common.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from tests import world
from tests.cast import Cast

pytestmark = pytest.mark.django_db


def test_c1_serverless_takes_what_is_free_and_the_rest_waits(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 3)
    claim = world.claim(cast.admin.actor, of, 5)
    assert claim.status == Status.CREATING
    assert claim_numbers(claim) == (3, 2)
    world.settle()
    claim = world.reread(claim)
    assert (claim.status, claim.conditions[0]["reason"]) == (Status.CREATING, "WaitingForPool")


def test_c1_customer_instances_are_pending_until_they_have_joined(cast: Cast) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=4)
    claim = world.claim(cast.admin.actor, of, 2, "CUSTOMER")
    world.settle(2)
    assert claim_numbers(world.reread(claim)) == (0, 2)
    assert not UsageInterval.objects.exists()
    world.nodes_arrive()
    world.settle()
    claim = world.reread(claim)
    assert (claim.status, claim_numbers(claim)) == (Status.READY, (2, 0))


def test_c1_beyond_quota_is_refused_with_the_numbers_and_succeeds_once_it_frees_up(cast: Cast) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=16, other_usage=4)
    first = world.claim(cast.admin.actor, of, 10, "CUSTOMER", name="first")
    with pytest.raises(FailedPrecondition) as refusal:
        world.claim(cast.admin.actor, of, 3, "CUSTOMER", name="second")
    numbers = refusal.value.quota
    assert numbers is not None
    assert (numbers.requested, numbers.limit, numbers.other_usage, numbers.committed, numbers.free) == (
        3,
        16,
        4,
        10,
        2,
    )
    assert list(CapacityClaim.objects.values_list("name", flat=True)) == ["first"]
    assert Instance.objects.count() == 10
    claim_delete(actor=cast.admin.actor, claim_id=first.id)
    world.everything_arrives()
    assert world.claim(cast.admin.actor, of, 3, "CUSTOMER", name="second").status == Status.CREATING


def test_c2_only_the_count_can_change(cast: Cast) -> None:
    of = world.offering()
    claim = world.claim(cast.admin.actor, of, 2)
    wrong = ClaimResources("b200-8x", 3, "CAPACITY_TYPE_CUSTOMER", ("RNO2A",))
    with pytest.raises(InvalidArgument) as refusal:
        claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=wrong)
    assert [v.field for v in refusal.value.violations] == [
        "resources.instance_id", "resources.capacity_type", "resources.zones",
    ]  # fmt: skip
    assert world.reread(claim).target == 2
    same = ClaimResources("GB200-4X", 3, "CAPACITY_TYPE_MANAGED", ("us-west-04a",))
    assert claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=same).target == 3


@pytest.mark.parametrize(("resources", "field"), [
    (ClaimResources("gb200-4x", 0, "CAPACITY_TYPE_SERVERLESS", ("RNO2A",)), "resources.instance_count"),
    (ClaimResources("gb200-4x", 2**32, "CAPACITY_TYPE_SERVERLESS", ("RNO2A",)), "resources.instance_count"),
    (ClaimResources("gb200-4x", 1, "CAPACITY_TYPE_SERVERLESS", ("RNO2A", "US-WEST-04A")), "resources.zones"),
    (ClaimResources("gb200-4x", 1, "CAPACITY_TYPE_SERVERLESS", ("MOON-01A",)), "resources.zones[0]"),
    (ClaimResources("gb200-4x", 1, "CAPACITY_TYPE_SERVERLESS", ("EU-NORTH-09Z",)), "resources.zones[0]"),
    (ClaimResources("abacus", 1, "CAPACITY_TYPE_SERVERLESS", ("RNO2A",)), "resources.instance_id"),
    (ClaimResources("gb200-4x", 1, "CAPACITY_TYPE_FREE", ("RNO2A",)), "resources.capacity_type"),
])  # fmt: skip
def test_c2_what_cannot_be_is_refused_on_its_field_and_stores_nothing(
    cast: Cast, resources: ClaimResources, field: str
) -> None:

    world.offering()
    with pytest.raises(InvalidArgument) as refusal:
        claim_create(actor=cast.admin.actor, organization=cast.organization, name="mine", resources=resources)
    assert [v.field for v in refusal.value.violations] == [field]
    assert not CapacityClaim.objects.exists()


def test_c3_lowering_is_always_allowed_and_raising_is_checked(cast: Cast) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=4)
    claim = world.claim(cast.admin.actor, of, 4, "CUSTOMER")
    world.quota(cast.organization, of, limit=1)
    with pytest.raises(FailedPrecondition):
        claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=world.resources(of, 5, "CUSTOMER"))
    assert world.reread(claim).target == 4
    claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=world.resources(of, 3, "CUSTOMER"))
    assert world.reread(claim).target == 3


def test_c3_what_a_creation_counts_is_what_the_quota_page_shows(cast: Cast) -> None:
    """Machines in every state, lost and bad ones, claims of another kind and place: counted by both in their own way."""
    of, other = world.offering(), world.offering(type_="gd-8xh100ib-i128")
    for place in (of, other):
        world.quota(cast.organization, place, 60)
    mine = world.claim(cast.admin.actor, of, 9, "CUSTOMER")
    down = world.claim(cast.admin.actor, of, 6, "CUSTOMER", name="down")
    world.claim(cast.admin.actor, other, 3, "CUSTOMER", name="there")
    world.pool(of, 2)
    world.claim(cast.admin.actor, of, 2)
    world.everything_arrives()
    for number, one in enumerate(mine.instances.order_by("key")[: len(LIVE_STATES)]):
        Instance.objects.filter(key=one.key).update(state=sorted(LIVE_STATES)[number])
    lost, bad = down.instances.order_by("key")[:2]
    Instance.objects.filter(key=lost.key).update(lost_at=clock.now())
    Instance.objects.filter(key=bad.key).update(work="BAD")
    CapacityClaim.objects.filter(key=down.key).update(target=1, window_peak=2)
    CapacityClaim.objects.filter(key=mine.key).update(target=1)
    shown = committed_by_offering(cast.organization)
    for place in (of, other):
        assert commitments_of(cast.organization, place, None) == (shown[place.key], None)
    total, commitment = commitments_of(cast.organization, of, down.key)
    assert commitment is not None
    assert (total, commitment.promised, commitment.unreleased) == (9 + 4, 2, 4)


def test_c3_what_is_committed_is_counted_only_where_the_bound_is_in_the_way(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=4)
    first = world.claim(cast.admin.actor, of, 1, "CUSTOMER", name="first")
    assert bound() == 1
    counted: list[int] = []

    def counting(*given: Any) -> Any:
        found = commitments_of(*given)
        counted.append(found[0])
        return found

    monkeypatch.setattr(quota, "commitments_of", counting)
    world.claim(cast.admin.actor, of, 2, "CUSTOMER", name="second")
    assert (bound(), counted) == (3, [])
    claim_resize(actor=cast.admin.actor, claim_id=first.id, resources=world.resources(of, 2, "CUSTOMER"))
    assert (bound(), counted) == (4, [3])
    with pytest.raises(FailedPrecondition, match="0 free"):
        world.claim(cast.admin.actor, of, 1, "CUSTOMER", name="third")
    assert (bound(), counted) == (4, [3, 4 + 1])
    claim_delete(actor=cast.admin.actor, claim_id=first.id)
    world.everything_arrives()
    assert bound() == 4  # what becomes less leaves it too high until somebody is in need
    world.claim(cast.admin.actor, of, 1, "CUSTOMER", name="third")
    assert (bound(), counted) == (3, [3, 4 + 1, 2 + 1])


def bound() -> int | None:
    return Quota.objects.get().committed_bound


def test_c3_no_quota_row_means_limit_zero(cast: Cast) -> None:
    with pytest.raises(FailedPrecondition, match="limit 0"):
        world.claim(cast.admin.actor, world.offering(), 1, "CUSTOMER")
    assert not CapacityClaim.objects.exists()


def test_c4_waiting_claims_are_served_in_order_of_creation_across_organizations(cast: Cast) -> None:
    of = world.offering()
    first = world.claim(cast.admin.actor, of, 2, name="first")
    second = world.claim(cast.outsider.actor, of, 1, name="second")
    world.pool(of, 2)
    world.settle()
    assert claim_numbers(world.reread(first)) == (2, 0)
    assert claim_numbers(world.reread(second)) == (0, 1)


def test_c5_creation_answers_creating_even_when_everything_is_free(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 2)
    claim = world.claim(cast.admin.actor, of, 2)
    assert (claim.status, claim_numbers(claim)) == (Status.CREATING, (2, 0))
    world.settle()
    assert world.reread(claim).status == Status.READY


def test_c6_raising_is_updating_until_allocated(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 2)
    claim = world.claim(cast.admin.actor, of, 2)
    world.settle()
    claim = claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=world.resources(of, 3))
    assert (claim.status, claim_numbers(claim)) == (Status.UPDATING, (2, 1))
    world.settle()
    assert world.reread(claim).status == Status.UPDATING
    world.pool(of, 1)
    world.settle()
    assert world.reread(claim).status == Status.READY


def test_c6_a_lost_instance_stops_billing_and_is_replaced(cast: Cast) -> None:

    of = world.offering()
    world.quota(cast.organization, of, limit=2)
    claim = world.claim(cast.admin.actor, of, 1, "CUSTOMER")
    world.everything_arrives()
    SimulatedNode.objects.all().delete()
    world.settle()
    claim = world.reread(claim)
    assert (claim.status, claim.conditions[0]["reason"], claim_numbers(claim)) == (
        Status.UPDATING, "InstanceLost", (0, 1),
    )  # fmt: skip
    assert not UsageInterval.objects.filter(ended_at__isnull=True).exists()
    world.everything_arrives()
    assert (world.reread(claim).status, claim_numbers(world.reread(claim))) == (Status.READY, (1, 0))
    assert UsageInterval.objects.count() == 2


def test_c6_a_lost_pool_instance_is_replaced_from_the_pool_and_the_claim_says_so_first(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 2)
    claim = world.claim(cast.admin.actor, of, 1)
    world.settle()
    lost = claim.instances.get()
    SimulatedNode.objects.filter(instance_key=lost.key).delete()
    assert instances_lost([lost.key]) == 1
    said = world.reread(claim)
    assert (said.status, said.conditions[0]["status"], said.conditions[0]["reason"], claim_numbers(said)) == (
        Status.UPDATING, "STATUS_FALSE", "InstanceLost", (1, 0),
    )  # fmt: skip
    old, new = UsageInterval.objects.order_by("id")
    assert (old.ended_at is None, new.ended_at, new.resource_key != lost.key) == (False, None, True)
    world.settle()
    assert world.reread(claim).status == Status.READY


def test_c11_a_deleted_claim_drains_what_is_in_use_and_goes_with_its_last_instance(cast: Cast) -> None:
    of = world.offering()
    first, second = world.pool(of, 2)
    claim = world.claim(cast.admin.actor, of, 2)
    world.settle()
    world.take(first, cast.organization, 1, claim=claim)
    gone = claim_delete(actor=cast.admin.actor, claim_id=claim.id)
    assert (gone.status, claim_numbers(gone)) == (Status.DELETING, (1, 0))
    assert Instance.objects.get(key=second.key).claim is None, "the empty one at once"
    world.settle(2)
    assert world.reread(claim).conditions[0]["message"] == "1 instance still to be released"
    assert UsageInterval.objects.filter(ended_at__isnull=True).count() == 1, "billed while it drains (B1)"
    world.release(first, 1)
    world.settle()
    assert not CapacityClaim.objects.exists()
    assert Instance.objects.filter(state=InstanceState.READY, organization__isnull=True).count() == 2


def test_c9_the_joining_and_the_newest_go_first(cast: Cast) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=4)
    claim = world.claim(cast.admin.actor, of, 2, "CUSTOMER")
    world.everything_arrives()
    kept = set(claim.instances.values_list("key", flat=True))
    claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=world.resources(of, 4, "CUSTOMER"))
    world.settle()
    claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=world.resources(of, 2, "CUSTOMER"))
    world.everything_arrives()
    assert set(claim.instances.values_list("key", flat=True)) == kept


def test_c11_deleting_releases_and_the_row_goes_when_nothing_is_left(cast: Cast) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=2)
    claim = world.claim(cast.admin.actor, of, 2, "CUSTOMER")
    world.everything_arrives()
    assert claim_delete(actor=cast.admin.actor, claim_id=claim.id).status == Status.DELETING
    assert claim_delete(actor=cast.admin.actor, claim_id=claim.id).status == Status.DELETING
    world.settle()
    assert quota_of(cast.organization, of).committed == 2, "until the release is confirmed"
    world.everything_arrives()
    with pytest.raises(NotFound):
        world.reread(claim)
    with pytest.raises(NotFound):
        claim_delete(actor=cast.admin.actor, claim_id=claim.id)
    assert quota_of(cast.organization, of).committed == 0
    assert set(Instance.objects.values_list("state", flat=True)) == {InstanceState.RELEASED}
    assert UsageInterval.objects.filter(ended_at__isnull=False).count() == 2


def test_c11_instances_still_joining_are_released_and_never_billed(cast: Cast) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=2)
    claim = world.claim(cast.admin.actor, of, 2, "CUSTOMER")
    world.settle(2)
    claim_delete(actor=cast.admin.actor, claim_id=claim.id)
    world.everything_arrives()
    assert not CapacityClaim.objects.exists()
    assert not UsageInterval.objects.exists()


def test_a_deleted_serverless_claim_gives_its_instances_back_to_the_pool(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 2)
    claim = world.claim(cast.admin.actor, of, 2)
    world.settle()
    claim_delete(actor=cast.admin.actor, claim_id=claim.id)
    world.settle()
    assert not CapacityClaim.objects.exists()
    back = Instance.objects.filter(state="READY", claim__isnull=True, organization__isnull=True)
    assert back.count() == Instance.objects.count() == 2


def test_a_chosen_id_is_kept_and_a_second_use_of_it_refused(cast: Cast) -> None:

    of, id = world.offering(), uuid.uuid4()
    wanted = world.resources(of, 1)
    claim_create(actor=cast.admin.actor, organization=cast.organization, name="a", resources=wanted, id=id)
    with pytest.raises(AlreadyExists):
        claim_create(actor=cast.outsider.actor, organization=cast.other, name="b", resources=wanted, id=id)
    assert CapacityClaim.objects.count() == 1


def test_a_creation_sent_twice_is_one_claim(cast: Cast) -> None:
    of = world.offering()
    assert world.claim(cast.admin.actor, of, 1).id == world.claim(cast.admin.actor, of, 1).id
    assert world.claim(cast.outsider.actor, of, 1).id != world.claim(cast.admin.actor, of, 1).id
    assert CapacityClaim.objects.count() == 2


def test_a_viewer_changes_nothing(cast: Cast) -> None:
    of = world.offering()
    claim = world.claim(cast.admin.actor, of, 1)
    with pytest.raises(PermissionDenied):
        world.claim(cast.viewer.actor, of, 1, name="other")
    with pytest.raises(PermissionDenied):
        claim_resize(actor=cast.viewer.actor, claim_id=claim.id, resources=world.resources(of, 2))
    with pytest.raises(PermissionDenied):
        claim_delete(actor=cast.viewer.actor, claim_id=claim.id)
    assert list(CapacityClaim.objects.values_list("target", "status")) == [(1, Status.CREATING)]


def test_another_organizations_claim_is_not_found(cast: Cast) -> None:
    claim = world.claim(cast.admin.actor, world.offering(), 1)
    with pytest.raises(NotFound):
        claim_delete(actor=cast.outsider.actor, claim_id=claim.id)
    assert world.reread(claim).status == Status.CREATING


def test_a_pool_grows_by_joining_machines_and_shrinks_by_free_ones(cast: Cast) -> None:

    of = world.offering()
    world.pool(of, 2)
    world.claim(cast.admin.actor, of, 1)
    pool_resize(actor=world.PLATFORM, offering=of, size=3)
    world.everything_arrives()
    assert Instance.objects.filter(state=InstanceState.READY).count() == 3
    pool_resize(actor=world.PLATFORM, offering=of, size=0)
    world.everything_arrives()
    left = Instance.objects.exclude(state=InstanceState.RELEASED)
    assert [one.claim is not None for one in left] == [True], "what a claim holds stays"
