"""C12 and W1: windows changed at the same time as each other, as quota and as the fulfil loop."""

from datetime import timedelta
from typing import Any

import pytest

from claims import locks
from claims.core import windows as rule
from claims.models import CapacityClaim, ClaimWindow
from claims.selectors import claim_numbers, quota_of
from claims.services import fulfilment, window_change, window_create
from claims.services import quota as quota_service
from console.common import clock
from console.common.errors import FailedPrecondition
from console.dashboard.invariants import breaches
from tests import world
from tests.cast import Cast
from tests.claims.test_races import AT_ONCE, slow, together
from tests.claims.test_window_claims import HOUR, MINUTE, asked, later
from tests.claims.unlocked import without_quota_locks

pytestmark = pytest.mark.django_db(transaction=True)


def several(cast: Cast, kind: str, count: int) -> list[CapacityClaim]:
    return [world.claim(cast.admin.actor, world.offering(), 1, kind, name=f"claim-{number}") for number in range(count)]


def at_once(cast: Cast, claims: list[CapacityClaim], count: int) -> list[Any]:
    def create(claim: CapacityClaim) -> Any:
        return lambda: window_create(actor=cast.admin.actor, claim_id=claim.id, asked=asked(later(5), count=count))

    return together(*map(create, claims))


def test_c12_windows_asked_for_at_once_stay_within_quota(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    world.quota(cast.organization, world.offering(), limit=AT_ONCE + 5)
    claims = several(cast, "CUSTOMER", AT_ONCE)
    slow(monkeypatch, quota_service, "commitments_of")
    results = at_once(cast, claims, 3)
    assert sum(isinstance(one, FailedPrecondition) for one in results) == AT_ONCE - 2
    assert quota_of(cast.organization, world.offering()).committed == AT_ONCE + 4
    assert breaches() == []


def test_c12_without_the_quota_lock_windows_go_beyond_quota(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    world.quota(cast.organization, world.offering(), limit=AT_ONCE + 5)
    claims = several(cast, "CUSTOMER", AT_ONCE)
    without_quota_locks(monkeypatch)
    monkeypatch.setattr(locks, "offerings_lock", lambda keys: None)
    slow(monkeypatch, quota_service, "commitments_of")
    at_once(cast, claims, 3)
    assert quota_of(cast.organization, world.offering()).committed > AT_ONCE + 5, "the test cannot see the race"


def test_w1_of_overlapping_windows_asked_for_at_once_one_is_stored(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    world.pool(world.offering(), 4)
    (claim,) = several(cast, "SERVERLESS", 1)
    slow(monkeypatch, rule, "largest")
    results = at_once(cast, [claim] * AT_ONCE, 3)
    assert sum(isinstance(one, FailedPrecondition) and one.kind == "WINDOW_OVERLAP" for one in results) == AT_ONCE - 1
    assert ClaimWindow.objects.count() == 1


def test_w1_without_the_offerings_lock_windows_that_overlap_are_stored(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.pool(world.offering(), 4)
    (claim,) = several(cast, "SERVERLESS", 1)
    monkeypatch.setattr(locks, "offerings_lock", lambda keys: None)
    slow(monkeypatch, rule, "largest")
    at_once(cast, [claim] * AT_ONCE, 3)
    assert ClaimWindow.objects.count() > 1, "the test cannot see the race it is about"


def test_w1_two_changes_and_the_loop_at_once_leave_the_claim_as_its_windows_say(cast: Cast) -> None:
    world.pool(world.offering(), 8)
    (claim,) = several(cast, "SERVERLESS", 1)
    row = window_create(actor=cast.admin.actor, claim_id=claim.id, asked=asked(later(-0.25), count=2))

    def change(count: int) -> Any:
        return lambda: window_change(
            actor=cast.admin.actor, claim_id=claim.id, window_id=row.id, asked=asked(later(-0.25), count=count)
        )

    def loop(ahead: timedelta) -> Any:
        return lambda: fulfilment.fulfil_pass(now=clock.now() + ahead)

    runs = [change(3), change(6), loop(0 * MINUTE), change(4), loop(0 * MINUTE), loop(0 * MINUTE)]
    assert not [one for one in together(*runs) if isinstance(one, Exception)]
    fulfilment.fulfil_pass(now=clock.now())
    fulfilment.fulfil_pass(now=clock.now() + 2 * HOUR)  # a reduction between the changes may wait for its interval
    fulfilment.fulfil_pass(now=clock.now())
    wanted = ClaimWindow.objects.get().count
    assert (claim_numbers(world.reread(claim)), breaches()) == ((wanted, 0), [])
