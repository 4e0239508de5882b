"""W1 and C3 shown: without the lock the race is there; with it, it is not."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from claims import locks
from claims.core.states import LIVE_STATES
from claims.models import CapacityClaim, Instance, Quota, UsageInterval
from claims.selectors import quota_of
from claims.services import GpuTake, fulfilment, gpus_take, instances
from claims.services import quota as quota_service
from console.common import clock
from console.common.errors import FailedPrecondition
from tests import fleet, world
from tests.cast import Cast
from tests.claims.unlocked import without_quota_locks

pytestmark = pytest.mark.django_db(transaction=True)

AT_ONCE = 6


def together(*runs: Callable[[], Any]) -> list[Any]:
    """Run all at once, each with a connection of its own; what each returned, or the refusal or error it met."""
    results: list[Any] = []
    barrier = threading.Barrier(len(runs))

    def one(run: Callable[[], Any]) -> None:
        try:
            barrier.wait(timeout=20)
            results.append(run())
        except (FailedPrecondition, DatabaseError) as refusal:
            results.append(refusal)
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(results) == len(runs)
    return results


def claims_at_once(cast: Cast, count: int, kind: str) -> list[Any]:
    of = world.offering()

    def create(number: int) -> Callable[[], Any]:
        return lambda: world.claim(cast.admin.actor, of, count, kind, name=f"claim-{number}")

    return together(*[create(number) for number in range(AT_ONCE)])


def slow(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    """Pause after a read, as a busy machine would, so that the others read the same."""
    real = getattr(owner, name)

    def paused(*args: Any, **kwargs: Any) -> Any:
        found = real(*args, **kwargs)
        time.sleep(0.3)
        return found

    monkeypatch.setattr(owner, name, paused)


def test_c3_without_the_quota_lock_claims_go_beyond_quota(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=5)
    without_quota_locks(monkeypatch)
    slow(monkeypatch, quota_service, "commitments_of")
    claims_at_once(cast, 2, "CUSTOMER")
    assert quota_of(cast.organization, of).committed > 5, "the test cannot see the race it is about"


def test_c3_with_the_quota_lock_claims_stay_within_quota(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=5)
    slow(monkeypatch, quota_service, "commitments_of")
    results = claims_at_once(cast, 2, "CUSTOMER")
    assert quota_of(cast.organization, of).committed == 4
    assert sum(isinstance(one, FailedPrecondition) for one in results) == AT_ONCE - 2
    assert Instance.objects.filter(state__in=LIVE_STATES).count() == 4


def bounded(cast: Cast) -> None:
    """A quota of seven whose row knows of one that is committed: creations need not count."""
    world.quota(cast.organization, world.offering(), limit=7)
    world.claim(cast.admin.actor, world.offering(), 1, "CUSTOMER", name="before")
    assert Quota.objects.get().committed_bound == 1


def test_c3_without_its_lock_the_bound_lets_claims_go_beyond_quota(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    bounded(cast)
    without_quota_locks(monkeypatch)
    claims_at_once(cast, 2, "CUSTOMER")
    assert quota_of(cast.organization, world.offering()).committed > 7, "the test cannot see the race it is about"


def test_c3_with_its_lock_the_bound_keeps_claims_within_quota(cast: Cast) -> None:
    bounded(cast)
    results = claims_at_once(cast, 2, "CUSTOMER")
    assert quota_of(cast.organization, world.offering()).committed == Quota.objects.get().committed_bound == 7
    assert sum(isinstance(one, FailedPrecondition) for one in results) == AT_ONCE - 3


def test_w1_without_the_offerings_lock_an_instance_goes_to_two_claims(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = world.offering()
    world.pool(of, 3)
    monkeypatch.setattr(locks, "offerings_lock", lambda keys: None)
    slow(monkeypatch, instances, "free_pool_keys")
    results = claims_at_once(cast, 2, "SERVERLESS")
    # Only the ledger's exclusion constraint is left to refuse the second tenure of an instance.
    assert any(isinstance(one, DatabaseError) for one in results), "the test cannot see the race it is about"


def test_w1_with_the_offerings_lock_every_instance_has_one_holder(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 5)
    claims_at_once(cast, 2, "SERVERLESS")
    assert UsageInterval.objects.count() == Instance.objects.filter(claim__isnull=False).count() == 5
    assert sorted(CapacityClaim.objects.order_by("created_at").values_list("target", flat=True)) == [2] * AT_ONCE


def test_fulfil_twice_at_once_changes_nothing_twice(cast: Cast) -> None:
    of = world.offering()
    world.claim(cast.admin.actor, of, 4)
    world.pool(of, 6)
    now = clock.now()
    together(*[lambda: fulfilment.fulfil_pass(now=now)] * 4)
    assert Instance.objects.filter(claim__isnull=False).count() == UsageInterval.objects.count() == 4


def test_provision_twice_at_once_joins_and_bills_each_machine_once(cast: Cast) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=6)
    world.claim(cast.admin.actor, of, 6, "CUSTOMER")
    world.settle(2)
    world.nodes_arrive()
    together(*[world.settle] * 4)
    assert UsageInterval.objects.filter(ended_at__isnull=True).count() == 6
    assert Instance.objects.count() == 6


def test_w2_gpus_are_never_promised_twice(cast: Cast) -> None:
    (instance,) = world.pool(world.offering(), 1)
    served = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), world.offering())

    def taking(replica: int) -> Callable[[], set[int]]:
        one = GpuTake(instance.key, replica, 3, cast.organization.key, 2, None, served.id, "chat")

        def run() -> set[int]:
            with transaction.atomic():
                return gpus_take(takes=[one], now=clock.now())

        return run

    got = together(*[taking(replica) for replica in range(1, 5)])
    assert sum(len(one) for one in got) == 1
    instance.refresh_from_db()
    assert instance.gpus_used == 3
    assert UsageInterval.objects.count() == 1
