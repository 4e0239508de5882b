"""C4 and C10: who waits gets what frees up, in order; own replicas stay in place; drains are taken back first."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from claims.core.allocation import InUse, to_convert, to_keep
from claims.core.states import InstanceState, Status
from claims.models import CapacityClaim, Instance, UsageInterval
from claims.provisioning import instances_lost
from claims.selectors import claim_numbers
from claims.services import claim_delete, claim_resize
from console.common import clock
from tests import world
from tests.cast import Cast


def numbers(claim: CapacityClaim) -> tuple[int, int]:
    return claim_numbers(world.reread(claim))


def kept() -> list[int]:
    return list(Instance.objects.filter(kept=True).order_by("key").values_list("key", flat=True))


def resize(cast: Cast, claim: CapacityClaim, count: int) -> CapacityClaim:
    wanted = world.resources(claim.offering, count, claim.kind)
    return claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=wanted)


# --- order -----------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_c4_partial_fills_are_kept_and_the_first_is_filled_first(cast: Cast) -> None:
    of = world.offering()
    busy = world.pool(of, 3)
    for replica, one in enumerate(busy):
        world.take(one, cast.organization if replica else cast.other, replica)
    first = world.claim(cast.outsider.actor, of, 2, name="first")
    second = world.claim(cast.outsider.actor, of, 1, name="second")
    assert (numbers(first), numbers(second)) == ((1, 1), (0, 1)), "its own instance, converted"
    for replica, expected in ((1, ((2, 0), (0, 1))), (2, ((2, 0), (1, 0)))):
        world.release(busy[replica], replica)
        world.settle()
        assert (numbers(first), numbers(second)) == expected


@pytest.mark.django_db
def test_c4_a_raised_claim_keeps_its_place_in_the_queue(cast: Cast) -> None:
    of = world.offering()
    (busy,) = world.pool(of, 1)
    first = world.claim(cast.admin.actor, of, 1, name="first")
    second = world.claim(cast.outsider.actor, of, 1, name="second")
    resize(cast, first, 2)
    world.pool(of, 1)
    world.settle()
    assert (numbers(first), numbers(second)) == ((2, 0), (0, 1))
    assert Instance.objects.get(key=busy.key).claim == first


@pytest.mark.django_db
def test_c4_nothing_grows_on_demand_on_what_a_claim_waits_for(cast: Cast) -> None:
    of = world.offering()
    first, second = world.pool(of, 2)
    world.take(first, cast.other, 1)
    world.take(second, cast.other, 2)
    claim = world.claim(cast.admin.actor, of, 1)
    world.release(second, 2)
    assert not world.take(second, cast.other, 3)
    assert not world.take(second, cast.organization, 4), "nor does the claimant's own"
    assert not world.take(first, cast.other, 5), "the emptiest is kept"
    world.settle()
    assert numbers(claim) == (1, 0)
    assert world.take(first, cast.other, 5), "and released once nobody waits"


@pytest.mark.django_db
def test_c4_a_claim_never_evicts(cast: Cast) -> None:
    of = world.offering()
    (busy,) = world.pool(of, 1)
    world.take(busy, cast.other, 1, gpus=4)
    claim = world.claim(cast.admin.actor, of, 1)
    world.settle(3)
    assert numbers(claim) == (0, 1)
    busy.refresh_from_db()
    assert (busy.state, busy.gpus_used, busy.organization) == (InstanceState.READY, 4, cast.other)
    assert world.reread(claim).status == Status.CREATING


# --- the instance that is kept ---------------------------------------------------------------------
@pytest.mark.django_db
def test_c4_the_emptiest_is_kept_and_does_not_hop(cast: Cast) -> None:
    of = world.offering()
    one, two, three = world.pool(of, 3)
    for replica, (instance, gpus) in enumerate([(one, 3), (two, 2), (three, 2)]):
        world.take(instance, cast.other, replica, gpus)
    claim = world.claim(cast.admin.actor, of, 1)
    assert kept() == [two.key], "fewest GPUs in use, then key"
    world.take(three, cast.other, 8)
    world.release(one, 0, gpus=2)
    world.settle()
    assert kept() == [two.key], "the first is emptier now"
    assert world.take(one, cast.other, 9)
    claim_delete(actor=cast.admin.actor, claim_id=claim.id)
    assert kept() == []


@pytest.mark.django_db
def test_c4_another_is_kept_when_the_kept_one_is_lost(cast: Cast) -> None:
    of = world.offering()
    one, two = world.pool(of, 2)
    world.take(one, cast.other, 1)
    world.take(two, cast.other, 2, gpus=2)
    world.claim(cast.admin.actor, of, 1)
    assert kept() == [one.key]
    assert instances_lost([one.key]) == 1
    assert instances_lost([one.key]) == 0
    assert kept() == [two.key]


# How long it takes says something about the machine, not about the rule.
whenever = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
use = st.builds(InUse, st.integers(1, 40), st.integers(0, 8), st.booleans())


@whenever
@given(st.lists(use, unique_by=lambda one: one.key))
def test_c4_what_is_kept_does_not_depend_on_the_order_of_rows(rows: list[InUse]) -> None:
    chosen = to_keep(rows)
    assert chosen == to_keep(rows[::-1])
    assert (chosen is None) == (not rows)
    if any(one.kept for one in rows):
        assert chosen in {one.key for one in rows if one.kept}
    elif rows:
        assert chosen == min(rows, key=lambda one: (one.gpus_used, one.key)).key


# --- conversion in place ---------------------------------------------------------------------------
def intervals(kind: str) -> list[UsageInterval]:
    return list(UsageInterval.objects.filter(kind=kind).order_by("id"))


@pytest.mark.django_db
def test_c4_own_replicas_are_converted_in_place_once_nothing_is_free(cast: Cast) -> None:
    of = world.offering()
    own, free, foreign = world.pool(of, 3)
    world.take(own, cast.organization, 1, gpus=2)
    world.take(foreign, cast.other, 2)
    claim = world.claim(cast.admin.actor, of, 1)
    free.refresh_from_db()
    own.refresh_from_db()
    assert (free.claim, own.claim, numbers(claim)) == (claim, None, (1, 0)), "an empty one goes first"
    resize(cast, claim, 2)
    own.refresh_from_db()
    assert (own.claim, own.gpus_used, own.organization, numbers(claim)) == (claim, 2, cast.organization, (2, 0))
    world.release(own, 1, gpus=2)
    own.refresh_from_db()
    assert (own.gpus_used, own.organization) == (0, cast.organization)
    assert len(intervals("REPLICA")) == 2


@pytest.mark.django_db
def test_b8_a_conversion_ends_one_bill_and_begins_the_other_at_the_same_second(cast: Cast) -> None:
    of = world.offering()
    (own,) = world.pool(of, 1)
    for replica in (1, 2):
        world.take(own, cast.organization, replica)
    world.claim(cast.admin.actor, of, 1)
    (tenure,) = intervals("CLAIM")
    assert [one.ended_at for one in intervals("REPLICA")] == [tenure.started_at] * 2
    assert tenure.started_at.microsecond == 0
    assert (tenure.gpus, tenure.ended_at) == (own.gpus, None)


@pytest.mark.django_db
def test_c4_those_are_converted_first_that_are_used_most(cast: Cast) -> None:
    of = world.offering()
    one, two, three = world.pool(of, 3)
    for replica, (instance, gpus) in enumerate([(one, 1), (two, 4), (three, 2)]):
        world.take(instance, cast.organization, replica, gpus)
    claim = world.claim(cast.admin.actor, of, 2)
    assert set(claim.instances.values_list("key", flat=True)) == {two.key, three.key}


@pytest.mark.django_db
def test_c4_instances_that_share_a_replica_are_converted_together_or_not_at_all(cast: Cast) -> None:
    of = world.offering()
    one, two, three = world.pool(of, 3)
    assert world.takes(1, [(one, 4), (two, 4)], cast.organization) == {1}
    world.take(three, cast.organization, 2)
    claim = world.claim(cast.admin.actor, of, 1)
    assert set(claim.instances.values_list("key", flat=True)) == {three.key}
    resize(cast, claim, 2)
    assert numbers(claim) == (1, 1)
    resize(cast, claim, 3)
    assert numbers(claim) == (3, 0)


def test_c4_a_replica_that_reaches_beyond_what_is_convertible_keeps_its_instances() -> None:
    own = [InUse(1, 4), InUse(2, 4), InUse(3, 1)]
    assert to_convert(own, [(7, 1), (7, 9), (8, 2), (9, 3)], 3) == [2, 3]
    assert to_convert(own, [(7, 1), (7, 2), (8, 2), (8, 3)], 2) == []
    assert to_convert(own, [(7, 1), (7, 2), (8, 2), (8, 3)], 3) == [1, 2, 3]
    assert to_convert(own, [], 2) == [1, 2]
    assert to_convert(own, [], 0) == []


spans = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 12)), max_size=14)


@whenever
@given(st.lists(use, unique_by=lambda one: one.key, max_size=8), spans, st.integers(0, 9))
def test_c4_conversions_never_split_a_replica(own: list[InUse], pairs: list[tuple[int, int]], count: int) -> None:
    chosen = to_convert(own, pairs, count)
    assert len(chosen) == len(set(chosen)) <= count
    assert set(chosen) <= {one.key for one in own}
    for replica in {replica for replica, _ in pairs}:
        places = {instance for other, instance in pairs if other == replica}
        assert places <= set(chosen) or not places & set(chosen)
    assert to_convert(own[::-1], pairs[::-1], count) == chosen


# --- draining --------------------------------------------------------------------------------------
def draining(cast: Cast, kind: str) -> tuple[CapacityClaim, list[Instance]]:
    """A claim of three that gave up two in use."""
    of = world.offering()
    if kind == "CUSTOMER":
        world.quota(cast.organization, of, limit=3)
    else:
        world.pool(of, 3)
    claim = world.claim(cast.admin.actor, of, 3, kind)
    world.everything_arrives()
    held = list(claim.instances.order_by("key"))
    for replica, one in enumerate(held):
        world.take(one, cast.organization, replica, claim=claim)
    world.take(held[1], cast.organization, 9, claim=claim)
    resize(cast, claim, 1)
    return world.reread(claim), held


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["SERVERLESS", "CUSTOMER"])
def test_c10_what_is_given_up_in_use_drains_and_is_freed_when_it_is_empty(cast: Cast, kind: str) -> None:
    claim, held = draining(cast, kind)
    world.settle()
    said = world.reread(claim)
    assert (said.status, claim_numbers(said)) == (Status.READY, (1, 0))
    assert [one["reason"] for one in said.conditions] == ["AllAllocated", "Draining", "Draining"]
    first, second, third = (Instance.objects.get(key=one.key) for one in held)
    assert [first.state, second.state, third.state] == ["DRAINING", "READY", "DRAINING"], "fewest replicas move (C9)"
    assert third.drain_until is not None
    assert timedelta(minutes=9) < third.drain_until - clock.now() <= timedelta(minutes=10)
    assert not world.take(third, cast.organization, 7, claim=claim)
    assert len([one for one in intervals("CLAIM") if one.ended_at is None]) == 3, "billed while they drain (B1)"
    world.release(third, 2)
    world.settle()
    third.refresh_from_db()
    assert (third.claim, third.state) == (
        (None, "READY") if kind == "SERVERLESS" else (claim, "RELEASING")
    )  # fmt: skip
    assert len([one for one in intervals("CLAIM") if one.ended_at is None]) == 2


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["SERVERLESS", "CUSTOMER"])
def test_c10_a_raise_takes_draining_instances_back_before_it_asks_for_others(cast: Cast, kind: str) -> None:
    claim, held = draining(cast, kind)
    world.pool(world.offering(), 1)
    before = Instance.objects.count()
    raised = resize(cast, claim, 2)
    assert (claim_numbers(raised), Instance.objects.count()) == ((2, 0), before)
    assert Instance.objects.get(key=held[0].key).state == "READY", "the older of two with as many replicas"
    resize(cast, claim, 3)
    assert {Instance.objects.get(key=one.key).state for one in held} == {"READY"}
    assert set(claim.instances.values_list("key", flat=True)) == {one.key for one in held}
    assert [one.ended_at for one in intervals("CLAIM")] == [None] * 3, "nothing was given back meanwhile"


@pytest.mark.django_db
def test_c10_the_deadline_is_a_setting(cast: Cast, settings: Settings) -> None:
    settings.DRAIN_DEADLINE = timedelta(minutes=3)
    _, held = draining(cast, "SERVERLESS")
    until = Instance.objects.get(key=held[2].key).drain_until
    assert until is not None
    assert timedelta(minutes=2) < until - clock.now() <= timedelta(minutes=3)


@pytest.mark.django_db
def test_c9_fewest_replicas_not_fewest_gpus(cast: Cast) -> None:
    of = world.offering()
    one, two = world.pool(of, 2)
    claim = world.claim(cast.admin.actor, of, 2)
    world.take(one, cast.organization, 1, gpus=4, claim=claim)
    for replica in (2, 3):
        world.take(two, cast.organization, replica, gpus=1, claim=claim)
    resize(cast, claim, 1)
    assert dict(Instance.objects.values_list("key", "state")) == {
        one.key: "DRAINING", two.key: "READY",
    }  # fmt: skip
