"""W1 for each writer of this half: with the lock off its race is seen, with the lock on it is gone."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection

from claims import locks
from claims.core.states import InstanceState
from claims.models import CapacityClaim, Instance, UsageInterval, Work
from claims.selectors import claim_numbers
from claims.services import (
    claim_resize,
    claim_withdraw,
    fulfilment,
    gpus,
    instance_work_set,
    instances,
    offering_withdraw,
)
from console.common import clock
from console.common.errors import FailedPrecondition
from console.dashboard.invariants import breaches
from tests import world
from tests.cast import Cast

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE_S = 2.0


@pytest.fixture(params=[False, True], ids=["lock-off", "lock-on"])
def locked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if not request.param:
        monkeypatch.setattr(locks, "offerings_lock", lambda keys: None)
    return bool(request.param)


def between(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, first: Callable[[], Any], second: Callable[[], Any]
) -> tuple[Any, Any]:
    """Run `first` until it has read what `owner.name` reads, then `second`, as far as locks let it, then the rest of
    `first`. What each returned or raised."""
    read, done, real = threading.Event(), threading.Event(), getattr(owner, name)
    results: dict[str, Any] = {}

    def paused(*args: Any, **kwargs: Any) -> Any:
        found = real(*args, **kwargs)
        if threading.current_thread().name == "first" and not read.is_set():
            read.set()
            done.wait(timeout=PATIENCE_S)
        return found

    def run(name: str, job: Callable[[], Any]) -> None:
        try:
            if name == "second":
                assert read.wait(timeout=30), "the first never read"
            results[name] = job()
        except Exception as error:
            results[name] = error
        finally:
            if name == "second":
                done.set()
            connection.close()

    monkeypatch.setattr(owner, name, paused)
    threads = [threading.Thread(target=run, args=one, name=one[0]) for one in (("first", first), ("second", second))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return results["first"], results["second"]


def fulfil() -> int:
    return fulfilment.fulfil_pass(now=clock.now())


def due(cast: Cast) -> CapacityClaim:
    """A claim that holds three, and whose reduction to one is due; one more instance is free."""
    of = world.offering()
    world.pool(of, 4)
    claim = world.claim(cast.admin.actor, of, 4)
    world.settle()
    for count in (3, 1):
        claim = claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=world.resources(of, count))
    CapacityClaim.objects.update(reduction_at=clock.now() - timedelta(seconds=1))
    return claim


def test_w1_a_raise_and_a_reduction_that_is_due(cast: Cast, monkeypatch: pytest.MonkeyPatch, locked: bool) -> None:
    claim = due(cast)
    wanted = world.resources(claim.offering, 4)
    _, raised = between(
        monkeypatch, fulfilment, "holdings_of", fulfil,
        lambda: claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=wanted),
    )  # fmt: skip
    assert claim_numbers(raised) == (4, 0), "what the caller was told"
    allocated, _ = claim_numbers(world.reread(claim))
    assert (allocated == 4) == locked
    if locked:
        assert breaches() == []


def test_w1_a_withdrawal_and_a_reduction_that_is_due(cast: Cast, monkeypatch: pytest.MonkeyPatch, locked: bool) -> None:
    claim = due(cast)
    _, withdrawn = between(
        monkeypatch, fulfilment, "holdings_of", fulfil,
        lambda: claim_withdraw(actor=cast.admin.actor, claim_id=claim.id),
    )  # fmt: skip
    now = world.reread(claim)
    if not locked:
        assert withdrawn.target == 3
        assert claim_numbers(now)[0] < 3, "kept, and given up all the same"
        return
    assert isinstance(withdrawn, FailedPrecondition), "it came too late, and says so"
    assert (now.target, claim_numbers(now)) == (1, (1, 0))
    assert breaches() == []


def test_w1_a_conversion_and_the_release_of_a_replica(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, locked: bool
) -> None:
    of = world.offering()
    (own,) = world.pool(of, 1)
    world.take(own, cast.organization, 1)
    released, claim = between(
        monkeypatch, gpus, "_locked", lambda: world.release(own, 1), lambda: world.claim(cast.admin.actor, of, 1)
    )
    own.refresh_from_db()
    if not locked:
        # It would leave a claimed instance without its holder; only the constraint is left to refuse that.
        assert isinstance(released, IntegrityError)
        return
    assert released is None
    assert (own.claim, own.gpus_used, own.replicas) == (claim, 0, 0)
    assert UsageInterval.objects.filter(kind="REPLICA", ended_at__isnull=True).count() == 0
    assert breaches() == []


def test_w1_work_on_a_machine_and_a_claim_that_takes_it(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, locked: bool
) -> None:
    of = world.offering()
    claim = world.claim(cast.admin.actor, of, 1)
    (one,) = world.pool(of, 1)
    between(
        monkeypatch, instances, "free_pool_keys", fulfil,
        lambda: instance_work_set(actor=world.PLATFORM, instance_key=one.key, work=Work.BAD, reason="smoke"),
    )  # fmt: skip
    one.refresh_from_db()
    if not locked:
        assert (one.state, one.claim) == (InstanceState.RELEASING, claim), "a machine that goes, taken and paid for"
        assert breaches() != []
        return
    assert breaches() == []
    assert one.work == "BAD"
    assert one.state == InstanceState.RELEASING


def test_w1_a_withdrawal_of_an_offering_and_a_replica_that_grows_there(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, locked: bool
) -> None:
    of = world.offering()
    (one,) = world.pool(of, 1)
    took, _ = between(
        monkeypatch, gpus, "offerings_spoken_for", lambda: world.take(one, cast.organization, 1),
        lambda: offering_withdraw(actor=world.PLATFORM, offering=of),
    )  # fmt: skip
    state = Instance.objects.get(key=one.key)
    if not locked:
        assert isinstance(took, IntegrityError), "GPUs of a machine that goes; only the constraint refuses them"
        return
    assert took is True
    assert (state.state, state.kept, state.gpus_used) == (InstanceState.READY, True, 1), "in use, so it stays for now"
