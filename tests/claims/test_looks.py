"""The fulfil loop looks at the claims that there may be something to do for, and at no others."""

import random
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest

from claims.core.states import Status
from claims.holdings import Holding, holdings_of
from claims.models import CapacityClaim, Instance, Offering, UsageInterval, Work
from claims.provisioning import instances_lost
from claims.services import (
    claim_create,
    claim_delete,
    claim_resize,
    claim_withdraw,
    fulfilment,
    instance_work_clear,
    instance_work_set,
    pool_resize,
    window_create,
)
from console.common import clock
from console.common.errors import Refusal
from console.organizations.models import AuditEvent
from tests import world
from tests.cast import Cast
from tests.claims.test_window_claims import asked, later

pytestmark = pytest.mark.django_db

STEPS, SEEDS = 15, range(2)


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """By offering that was settled, the names of the claims that were read under its lock."""
    found: list[set[str]] = []

    def noting(offering: Offering, keys: Any) -> list[Holding]:
        read = holdings_of(offering, keys)
        found.append({one.claim.name for one in read})
        return read

    monkeypatch.setattr(fulfilment, "holdings_of", noting)
    return found


def passed(looked: list[set[str]]) -> set[str]:
    """The claims that one pass reads."""
    looked.clear()
    fulfilment.fulfil_pass(now=clock.now())
    return set().union(*looked)


def test_w1_a_pass_reads_no_claim_that_needs_nothing(cast: Cast, looked: list[set[str]]) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=9)
    world.pool(of, 4)
    for number in range(3):
        world.claim(cast.admin.actor, of, 2, "CUSTOMER", name=f"own-{number}")
    pool = world.claim(cast.admin.actor, of, 2, name="pool")
    assert passed(looked) == {"own-0", "own-1", "own-2", "pool"}
    passed(looked)
    world.settle()
    assert passed(looked) == set(), "some join and one is ready: there is nothing to do but to wait"
    world.nodes_arrive()
    world.settle()
    passed(looked)
    assert set(CapacityClaim.objects.values_list("status", flat=True)) == {Status.READY}
    assert passed(looked) == set()
    claim_resize(actor=cast.admin.actor, claim_id=pool.id, resources=world.resources(of, 3))
    assert passed(looked) == {"pool"}
    instances_lost([Instance.objects.filter(claim__name="own-1").order_by("key")[0].key])
    assert "own-1" in passed(looked)


def test_c4_a_claim_that_waits_for_the_pool_is_read_by_every_pass(cast: Cast, looked: list[set[str]]) -> None:
    of = world.offering()
    world.pool(of, 1)
    world.claim(cast.admin.actor, of, 2, name="waits")
    world.claim(cast.outsider.actor, of, 1, name="waits-too")
    for _ in range(3):
        assert passed(looked) == {"waits", "waits-too"}


def test_c12_a_claim_with_windows_is_read_by_every_pass(cast: Cast, looked: list[set[str]]) -> None:
    of = world.offering()
    world.pool(of, 3)
    claim = world.claim(cast.admin.actor, of, 1, name="windows")
    window_create(actor=cast.admin.actor, claim_id=claim.id, asked=asked(later(5), count=2))
    for _ in range(3):
        assert passed(looked) == {"windows"}


def test_c7_a_reduction_is_seen_when_it_is_due(cast: Cast, looked: list[set[str]]) -> None:
    of = world.offering()
    world.pool(of, 3)
    claim = world.claim(cast.admin.actor, of, 3, name="shrinks")
    world.settle(2)
    for count in (2, 1):
        claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=world.resources(of, count))
        world.settle(2)
    assert world.reread(claim).reduction_at is not None
    assert passed(looked) == set()
    fulfilment.fulfil_pass(now=clock.now() + timedelta(hours=2))
    assert world.reread(claim).reduction_at is None
    assert Instance.objects.filter(claim=claim).count() == 1


def test_w1_what_a_pass_did_not_leave_as_it_was_is_looked_at_when_it_is_so_again(
    cast: Cast, looked: list[set[str]]
) -> None:
    """UPDATING with all it wants, on its way to READY: the pass that moves it on remembers nothing of it."""
    of = world.offering()
    world.pool(of, 2)
    claim = world.claim(cast.admin.actor, of, 1, name="there-and-back")
    world.settle(3)
    wanted = world.resources(of, 2)
    claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=wanted)
    fulfilment.fulfil_pass(now=clock.now())
    CapacityClaim.objects.update(status=Status.UPDATING)
    assert passed(looked) == {"there-and-back"}
    assert world.reread(claim).status == Status.READY


@pytest.mark.thorough
@pytest.mark.parametrize("seed", SEEDS)
def test_w1_whatever_happened_what_a_pass_does_not_look_at_needs_nothing(cast: Cast, seed: int) -> None:
    """After anything, passes are repeated until one changes nothing; then one that looks at every claim changes nothing."""
    world.quota(cast.organization, world.offering(), limit=9)
    world.pool(world.offering(), 6)
    chance = random.Random(seed)
    for _ in range(STEPS):
        for _ in range(chance.randint(1, 4)):
            something_happens(cast, chance)
        now = clock.now() + timedelta(minutes=chance.choice([0, 0, 0, 30, 90]))
        passes_until_nothing_changes(now)
        CapacityClaim.objects.update(looked_at=None)
        assert fulfilment.fulfil_pass(now=now) == 0
    assert AuditEvent.objects.filter(action="claim.create").count() > 3


def passes_until_nothing_changes(now: datetime) -> None:
    for _ in range(10):
        if fulfilment.fulfil_pass(now=now) == 0:
            return
    raise AssertionError("ten passes do not settle it")


def something_happens(cast: Cast, chance: random.Random) -> None:
    of, actor = world.offering(), cast.admin.actor
    claims = list(CapacityClaim.objects.exclude(status=Status.DELETING).order_by("key"))
    machines = list(Instance.objects.filter(state__in=["READY", "DRAINING"], lost_at=None).order_by("key"))
    runs = list(UsageInterval.objects.filter(kind="REPLICA", ended_at=None).select_related("instance").order_by("id"))
    kind = chance.choice(["SERVERLESS", "CUSTOMER"])
    wanted = world.resources(of, chance.randint(1, 4), kind)
    happens: list[Callable[[], object]] = [
        lambda: fulfilment.fulfil_pass(now=clock.now()),
        lambda: pool_resize(actor=world.PLATFORM, offering=of, size=chance.randint(2, 8)),
        world.nodes_arrive,
        world.settle,
        world.settle,
    ]
    name = f"claim-{chance.randrange(10**9)}"
    happens += [lambda: claim_create(actor=actor, organization=cast.organization, name=name, resources=wanted)] * 4
    if claims:
        one = chance.choice(claims)
        same = world.resources(of, chance.randint(1, 4), one.kind)
        happens += [lambda: claim_resize(actor=actor, claim_id=one.id, resources=same)] * 2
        happens.append(lambda: claim_delete(actor=actor, claim_id=one.id))
        happens.append(lambda: claim_withdraw(actor=actor, claim_id=one.id))
        happens.append(lambda: window_create(actor=actor, claim_id=one.id, asked=asked(later(1), count=2)))
    if machines:
        machine, work = chance.choice(machines), chance.choice(list(Work))
        happens.append(lambda: instances_lost([machine.key]))
        happens.append(
            lambda: instance_work_set(actor=world.PLATFORM, instance_key=machine.key, work=work, reason="tried")
        )
        happens.append(lambda: instance_work_clear(actor=world.PLATFORM, instance_key=machine.key))
        happens.append(lambda: world.take(machine, cast.organization, 1 + UsageInterval.objects.count()))
    if runs:
        replica = chance.choice(runs)
        happens += [lambda: world.release(replica.instance, replica.resource_key)] * 2
    with suppress(Refusal):
        chance.choice(happens)()
