"""Platform work on machines: what a cordon, a drain and a bad machine mean for replicas, claims and money."""

import pytest

from claims.core.states import InstanceState, Status
from claims.models import CapacityClaim, Instance, UsageInterval, Work
from claims.selectors import claim_numbers, quota_of
from claims.services import claim_delete, claim_resize, instance_work_clear, instance_work_set, pool_resize
from console.common import clock
from console.common.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from console.organizations.models import AuditEvent
from tests import world
from tests.cast import Cast

pytestmark = pytest.mark.django_db


def work(instance: Instance, kind: Work, reason: str = "fan is loud") -> Instance:
    return instance_work_set(actor=world.PLATFORM, instance_key=instance.key, work=kind, reason=reason)


def clear(instance: Instance) -> Instance:
    return instance_work_clear(actor=world.PLATFORM, instance_key=instance.key)


def now(instance: Instance) -> Instance:
    return Instance.objects.get(key=instance.key)


def open_claim_bills() -> list[int]:
    return sorted(
        UsageInterval.objects.filter(kind="CLAIM", ended_at__isnull=True).values_list("resource_key", flat=True)
    )


def serverless(cast: Cast, pool: int, count: int) -> tuple[CapacityClaim, list[Instance]]:
    """A READY claim on a pool, and the pool's instances by key."""
    of = world.offering()
    made = world.pool(of, pool)
    claim = world.claim(cast.admin.actor, of, count)
    world.settle()
    return world.reread(claim), made


def customer(cast: Cast, count: int) -> tuple[CapacityClaim, list[Instance]]:
    of = world.offering()
    world.quota(cast.organization, of, limit=count)
    claim = world.claim(cast.admin.actor, of, count, "CUSTOMER")
    world.everything_arrives()
    return world.reread(claim), list(claim.instances.order_by("key"))


# --- cordon ----------------------------------------------------------------------------------------
def test_a_cordoned_machine_takes_neither_replica_nor_claim(cast: Cast) -> None:
    first, second = world.pool(world.offering(), 2)
    world.take(first, cast.organization, 1)
    cordoned = work(first, Work.CORDON)
    work(second, Work.CORDON)
    assert (cordoned.state, cordoned.work, cordoned.work_reason) == (InstanceState.READY, "CORDON", "fan is loud")
    assert cordoned.work_at is not None
    assert not world.take(first, cast.organization, 2)
    assert not world.take(second, cast.organization, 3)
    claim = world.claim(cast.admin.actor, world.offering(), 1)
    assert claim_numbers(claim) == (0, 1)
    assert now(first).gpus_used == 1, "what runs there goes on"
    clear(second)
    world.settle()
    assert claim_numbers(world.reread(claim)) == (1, 0)


def test_a_cordoned_machine_stays_in_its_claim(cast: Cast) -> None:
    claim, (one,) = serverless(cast, 1, 1)
    work(one, Work.CORDON)
    world.settle(2)
    assert (world.reread(claim).status, claim_numbers(world.reread(claim))) == (Status.READY, (1, 0))
    assert open_claim_bills() == [one.key]
    assert not world.take(one, cast.organization, 1, claim=claim)
    clear(one)
    assert world.take(one, cast.organization, 1, claim=claim)


# --- drain -----------------------------------------------------------------------------------------
def test_a_drained_pool_machine_empties_and_stays_cordoned(cast: Cast) -> None:
    (one,) = world.pool(world.offering(), 1)
    world.take(one, cast.organization, 1)
    draining = work(one, Work.DRAIN)
    assert draining.state == InstanceState.DRAINING
    assert draining.drain_until is not None
    assert 590 < (draining.drain_until - clock.now()).total_seconds() <= 600
    world.settle()
    world.release(one, 1)
    world.settle()
    rested = now(one)
    assert (rested.state, rested.work, rested.drain_until, rested.organization) == (
        InstanceState.READY, "DRAIN", None, None,
    )  # fmt: skip
    assert not world.take(one, cast.organization, 2)
    assert Instance.objects.count() == 1, "it is not replaced"
    clear(one)
    assert world.take(one, cast.organization, 2)


def test_clearing_a_drain_lets_what_is_left_stay(cast: Cast) -> None:
    (one,) = world.pool(world.offering(), 1)
    world.take(one, cast.organization, 1)
    work(one, Work.DRAIN)
    back = clear(one)
    assert (back.state, back.work, back.work_reason, back.work_at, back.drain_until) == (
        InstanceState.READY, "", "", None, None,
    )  # fmt: skip
    assert world.take(one, cast.organization, 2)


def test_b1_a_drained_machine_of_a_claim_is_replaced_and_the_bill_moves_without_gap_or_overlap(cast: Cast) -> None:
    claim, (first, second) = serverless(cast, 2, 1)
    world.take(first, cast.organization, 1, claim=claim)
    work(first, Work.DRAIN)
    claim = world.reread(claim)
    assert (claim.status, claim_numbers(claim)) == (Status.READY, (1, 0))
    assert (now(first).claim, now(first).state, now(second).claim) == (claim, InstanceState.DRAINING, claim)
    old, new = UsageInterval.objects.order_by("id")
    assert (old.resource_key, new.resource_key, new.started_at, new.ended_at) == (
        first.key, second.key, old.ended_at, None,
    )  # fmt: skip
    world.settle()
    world.release(first, 1)
    world.settle()
    rested = now(first)
    assert (rested.claim, rested.organization, rested.state, rested.work) == (None, None, InstanceState.READY, "DRAIN")
    assert UsageInterval.objects.count() == 2
    clear(first)
    world.settle()
    assert claim_numbers(world.reread(claim)) == (1, 0)
    assert now(first).claim is None


def test_b1_without_a_replacement_the_claim_pays_until_the_machine_has_left(cast: Cast) -> None:
    claim, (one,) = serverless(cast, 1, 1)
    world.take(one, cast.organization, 1, claim=claim)
    work(one, Work.DRAIN)
    said = world.reread(claim)
    assert (said.status, said.conditions[0]["reason"], claim_numbers(said)) == (
        Status.UPDATING, "InstanceDrained", (0, 1),
    )  # fmt: skip
    assert open_claim_bills() == [one.key]
    world.release(one, 1)
    world.settle()
    assert (now(one).claim, open_claim_bills()) == (None, [])
    assert world.reread(claim).status == Status.UPDATING
    clear(one)
    world.settle()
    assert (world.reread(claim).status, open_claim_bills()) == (Status.READY, [one.key])


def test_a_drain_that_is_cleared_before_a_replacement_came_changes_nothing_for_the_claim(cast: Cast) -> None:
    claim, (one,) = serverless(cast, 1, 1)
    world.take(one, cast.organization, 1, claim=claim)
    work(one, Work.DRAIN)
    clear(one)
    assert (world.reread(claim).status, claim_numbers(world.reread(claim))) == (Status.READY, (1, 0))
    assert UsageInterval.objects.get(kind="CLAIM").ended_at is None


def test_a_drain_cleared_after_a_replacement_came_still_gives_the_machine_back(cast: Cast) -> None:
    claim, (first, second) = serverless(cast, 2, 1)
    world.take(first, cast.organization, 1, claim=claim)
    work(first, Work.DRAIN)
    clear(first)
    world.settle()
    assert (now(first).state, claim_numbers(world.reread(claim)), open_claim_bills()) == (
        InstanceState.DRAINING, (1, 0), [second.key],
    )  # fmt: skip
    world.release(first, 1)
    world.settle()
    assert (now(first).claim, now(first).state, now(first).relieved_at) == (None, InstanceState.READY, None)


def test_a_drained_customer_machine_keeps_its_place_and_its_bill(cast: Cast) -> None:
    claim, (first, second) = customer(cast, 2)
    world.take(first, cast.organization, 1, claim=claim)
    work(first, Work.DRAIN)
    world.release(first, 1)
    world.settle(2)
    said = world.reread(claim)
    assert (said.status, claim_numbers(said), now(first).state) == (Status.UPDATING, (1, 1), InstanceState.READY)
    assert Instance.objects.count() == 2, "no other is asked for"
    assert open_claim_bills() == [first.key, second.key]
    assert quota_of(cast.organization, world.offering()).committed == 2
    clear(first)
    assert (world.reread(claim).status, claim_numbers(world.reread(claim))) == (Status.READY, (2, 0))


@pytest.mark.parametrize("used", [True, False])
def test_c9_a_drained_customer_machine_goes_first_when_its_claim_shrinks(cast: Cast, used: bool) -> None:
    claim, (first, second) = customer(cast, 2)
    world.take(first, cast.organization, 1, claim=claim)
    work(first, Work.DRAIN)
    if not used:
        world.release(first, 1)
        world.settle()
    claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=world.resources(world.offering(), 1, "CUSTOMER"))
    if used:
        assert now(first).state == InstanceState.DRAINING
        world.release(first, 1)
    world.everything_arrives()
    assert (now(first).state, now(second).state) == (InstanceState.RELEASED, InstanceState.READY)
    assert (world.reread(claim).status, open_claim_bills()) == (Status.READY, [second.key])


def test_c11_a_deleted_claim_gives_drained_machines_back_too(cast: Cast) -> None:
    claim, (first, _) = customer(cast, 2)
    work(first, Work.DRAIN)
    claim_delete(actor=cast.admin.actor, claim_id=claim.id)
    world.everything_arrives()
    assert not CapacityClaim.objects.exists()
    assert set(Instance.objects.values_list("state", flat=True)) == {InstanceState.RELEASED}


# --- bad -------------------------------------------------------------------------------------------
def test_a_bad_pool_machine_goes_and_a_fresh_one_comes(cast: Cast) -> None:
    (one,) = world.pool(world.offering(), 1)
    world.take(one, cast.organization, 1)
    work(one, Work.BAD)
    assert Instance.objects.filter(state=InstanceState.REQUESTED).count() == 1, "at once"
    world.release(one, 1)
    world.everything_arrives()
    assert now(one).state == InstanceState.RELEASED
    (fresh,) = Instance.objects.exclude(key=one.key)
    assert (fresh.state, fresh.work) == (InstanceState.READY, "")


def test_a_bad_machine_that_is_empty_goes_at_once(cast: Cast) -> None:
    claim, (one,) = serverless(cast, 1, 1)
    work(one, Work.BAD)
    assert (now(one).state, open_claim_bills()) == (InstanceState.RELEASING, [])
    world.everything_arrives()
    assert (claim_numbers(world.reread(claim)), world.reread(claim).status) == ((1, 0), Status.READY)
    assert len(open_claim_bills()) == 1


def test_b1_a_bad_machine_is_paid_for_until_it_is_given_back_or_replaced(cast: Cast) -> None:
    claim, (first, second) = customer(cast, 2)
    for replica, one in enumerate((first, second)):
        world.take(one, cast.organization, replica, claim=claim)
        work(one, Work.BAD)
    assert claim_numbers(world.reread(claim)) == (0, 2)
    assert quota_of(cast.organization, world.offering()).committed == 2, "replacements fit the same quota"
    assert open_claim_bills() == [first.key, second.key]
    world.release(first, 0)
    world.settle()
    assert (now(first).state, open_claim_bills()) == (InstanceState.RELEASING, [second.key])
    world.everything_arrives()
    fresh = set(claim.instances.filter(state=InstanceState.READY).values_list("key", flat=True))
    assert len(fresh) == 2
    assert set(open_claim_bills()) == fresh, "the second was relieved while it still drains"
    assert now(second).state == InstanceState.DRAINING
    world.release(second, 1)
    world.everything_arrives()
    assert now(second).state == InstanceState.RELEASED
    assert (world.reread(claim).status, set(open_claim_bills())) == (Status.READY, fresh)


def test_a_drained_machine_may_turn_out_bad(cast: Cast) -> None:
    (one,) = world.pool(world.offering(), 1)
    work(one, Work.DRAIN)
    assert now(one).state == InstanceState.READY
    work(one, Work.BAD, "memory errors")
    assert now(one).state == InstanceState.RELEASING


# --- refusals --------------------------------------------------------------------------------------
def everything() -> tuple[object, ...]:
    return (*Instance.objects.order_by("key").values(), *UsageInterval.objects.values(), AuditEvent.objects.count())


def test_what_cannot_be_is_refused_and_changes_nothing(cast: Cast) -> None:
    one, bad = world.pool(world.offering(), 2)
    world.take(bad, cast.organization, 1)
    work(bad, Work.BAD)
    away = Instance.objects.get(state=InstanceState.REQUESTED)
    before, platform = everything(), {"actor": world.PLATFORM}
    with pytest.raises(PermissionDenied):
        instance_work_set(actor=cast.admin.actor, instance_key=one.key, work=Work.CORDON, reason="mine")
    with pytest.raises(PermissionDenied):
        instance_work_clear(actor=cast.admin.actor, instance_key=one.key)
    for reason in ("", "  ", "x" * 201):
        with pytest.raises(InvalidArgument) as refusal:
            instance_work_set(**platform, instance_key=one.key, work=Work.CORDON, reason=reason)
        assert [violation.field for violation in refusal.value.violations] == ["reason"]
    with pytest.raises(InvalidArgument):
        instance_work_set(**platform, instance_key=one.key, work="PAINT", reason="red")  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        instance_work_set(**platform, instance_key=0, work=Work.CORDON, reason="which")
    with pytest.raises(FailedPrecondition, match="not in the cluster"):
        work(away, Work.CORDON)
    for undo in (clear, lambda instance: work(instance, Work.CORDON)):
        with pytest.raises(FailedPrecondition, match="on its way out"):
            undo(bad)
    assert everything() == before


def test_work_is_audited_and_repeating_it_is_nothing_new(cast: Cast) -> None:
    claim, (one,) = serverless(cast, 1, 1)
    for _ in range(2):
        work(one, Work.CORDON)
    for _ in range(2):
        clear(one)
    first, second = AuditEvent.objects.filter(object_type="Instance").order_by("id")
    assert (first.action, first.object_name, first.organization) == ("instance.cordon", one.name, cast.organization)
    assert (first.before, first.after) == (
        {"work": "", "reason": "", "state": "READY"},
        {"work": "CORDON", "reason": "fan is loud", "state": "READY"},
    )
    assert second.action == "instance.clear"
    assert world.reread(claim).status == Status.READY


def test_a_shrinking_pool_gives_drained_machines_back_first(cast: Cast) -> None:
    of = world.offering()
    first, second = world.pool(of, 2)
    work(first, Work.DRAIN)
    pool_resize(actor=world.PLATFORM, offering=of, size=1)
    assert (now(first).state, now(second).state) == (InstanceState.RELEASING, InstanceState.READY)
