"""When machines that join, and instances that the pool will have free, are expected."""

from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st

from claims import joining
from claims.core.waits import Expected, Spread, expected
from claims.models import CapacityClaim, Instance
from claims.services import claim_resize
from claims.supply import Why, supply_for_new, supply_of
from console.common import clock
from tests import world
from tests.cast import Cast

MIN = timedelta(minutes=1)
BEGAN = datetime(2026, 11, 27, 10, tzinfo=UTC)
MEASURED = Spread([10 * MIN, 11 * MIN, 12 * MIN, 13 * MIN, 14 * MIN, 15 * MIN, 16 * MIN, 17 * MIN, 18 * MIN, 40 * MIN])


@pytest.mark.parametrize(("waited", "at", "until", "late"), [
    (0, 14, 18, None), (13, 16, 40, None), (18, 40, 40, None), (19, 40, 40, 18), (40, None, None, 18),
])  # fmt: skip
def test_what_is_expected_is_corrected_as_time_passes(
    waited: int, at: int | None, until: int | None, late: int | None
) -> None:
    def moment(minutes: int | None) -> datetime | None:
        return None if minutes is None else BEGAN + minutes * MIN

    found = expected(MEASURED, BEGAN, BEGAN + waited * MIN)
    assert found == Expected(moment(at), moment(until), moment(late))


def test_before_any_join_it_is_the_range_that_the_backend_states() -> None:
    stated = Spread(least=10 * MIN, most=20 * MIN)
    assert (stated.usual, stated.late) == (15 * MIN, 19 * MIN)
    assert expected(stated, BEGAN, BEGAN + 16 * MIN) == Expected(BEGAN + 18 * MIN, BEGAN + 19.6 * MIN, None)
    assert expected(stated, BEGAN, BEGAN + 20 * MIN) == Expected(None, None, BEGAN + 19 * MIN)


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=60), st.integers(0, 6000))
def test_nothing_is_expected_in_the_past_and_the_range_is_one(seconds: list[int], waited: int) -> None:
    spread = Spread([timedelta(seconds=one) for one in sorted(seconds)])
    now = BEGAN + timedelta(seconds=waited)
    found = expected(spread, BEGAN, now)
    if found.at is None or found.until is None:
        assert waited >= max(seconds)
        assert found.late_since is not None
    else:
        assert now < found.at <= found.until
        assert found.until - BEGAN in spread.times


def own(cast: Cast, count: int, name: str = "own") -> CapacityClaim:
    of = world.offering()
    world.quota(cast.organization, of, limit=20)
    return world.claim(cast.admin.actor, of, count, "CUSTOMER", name)


def joined(claim: CapacityClaim, *minutes: int) -> None:
    """Its machines have joined just now, having taken so long."""
    now = clock.now()
    for one, took in zip(claim.instances.order_by("key"), minutes, strict=True):
        Instance.objects.filter(key=one.key).update(
            created_at=now - took * MIN, joining_at=now - took * MIN, ready_at=now, state="READY",
            backend=settings.NODE_BACKEND,
        )  # fmt: skip


@pytest.mark.django_db
def test_join_times_are_of_the_place_and_the_backend(cast: Cast) -> None:
    claim = own(cast, 3)
    world.settle()
    assert set(claim.instances.values_list("backend", flat=True)) == {settings.NODE_BACKEND}
    joined(claim, 10, 12, 30)
    here = joining.join_time(claim.offering)
    assert here is not None
    assert (here.seen, here.usual, here.late) == (3, 12 * MIN, 30 * MIN)
    elsewhere = joining.join_time(world.offering("RNO2A", "gd-1xgh200"))
    assert elsewhere is not None
    assert elsewhere.seen == 0
    Instance.objects.filter(ready_at__isnull=False).update(backend="another.Backend")
    assert joining.join_time(claim.offering) == elsewhere, "what another backend took says nothing"


@pytest.mark.django_db
def test_a_machine_asked_for_late_since_others_failed_is_no_measure_and_is_awaited_from_then(cast: Cast) -> None:
    claim = own(cast, 2)
    world.settle()
    joined(claim, 10, 10)
    Instance.objects.filter(key=claim.instances.order_by("key")[0].key).update(join_failures=3)
    assert joining.join_times([claim.offering_id])[claim.offering_id].seen == 1
    other, now = own(cast, 1, "other"), clock.now()
    one = other.instances.get()
    one.joining_at, one.next_attempt_at = None, now + 5 * MIN
    assert joining.expected([one], now)[one.key].at == now + 15 * MIN


@pytest.mark.django_db
def test_c4_a_claim_that_waits_gets_what_older_ones_leave_of_what_is_freed(cast: Cast) -> None:
    """A reduction in an hour frees two, and the pool's new machine comes; the older claim takes the first of them."""
    of = world.offering()
    world.pool(of, 4)
    big = world.claim(cast.admin.actor, of, 4, name="big")
    world.settle()
    for count in (3, 1):
        big = claim_resize(actor=cast.admin.actor, claim_id=big.id, resources=world.resources(of, count))
    older = world.claim(cast.admin.actor, of, 2, name="older")
    younger = world.claim(cast.admin.actor, of, 4, name="younger")
    now = clock.now()
    assert big.reduction_at is not None
    assert world.reread(older).allocated == 1  # type: ignore[attr-defined]
    first = supply_of(world.reread(older), now)
    assert [(one.at, one.count, one.why, one.claim) for one in first.freed] == [
        (big.reduction_at, 1, Why.REDUCTION, big)
    ]
    assert (first.unknown, first.ahead) == (0, 0)
    second = supply_of(world.reread(younger), now)
    assert [(one.at, one.count) for one in second.freed] == [(big.reduction_at, 1)]
    assert (second.unknown, second.ahead) == (3, 1)
    assert (supply_for_new(of, 1, now).unknown, supply_for_new(of, 1, now).ahead) == (1, 5)


@pytest.mark.django_db
def test_the_api_says_when_pending_instances_are_expected(cast: Cast) -> None:
    measured = own(cast, 3)
    world.settle()
    joined(measured, 10, 12, 30)
    waiting = own(cast, 1, "waiting")
    url = f"/api/v1/capacityclaims/{waiting.id}/expected"
    body = cast.viewer.api().get(url).json()
    (one,) = body["joining"]
    asked_at = waiting.instances.get().created_at
    assert body["pending"] == 1
    assert body["joinTime"] == {"medianSeconds": 720.0, "p90Seconds": 1800.0, "measured": 3}
    assert datetime.fromisoformat(one["expectedAt"]) == asked_at + 12 * MIN
    assert datetime.fromisoformat(one["expectedUntil"]) == asked_at + 30 * MIN
    assert one["laterThanUsualSince"] is None
    Instance.objects.filter(claim=waiting).update(created_at=asked_at - 40 * MIN, next_attempt_at=None)
    (one,) = cast.viewer.api().get(url).json()["joining"]
    assert (one["expectedAt"], one["expectedUntil"]) == (None, None)
    assert datetime.fromisoformat(one["laterThanUsualSince"]) == asked_at - 10 * MIN
    assert cast.outsider.api().get(url).status_code == 404
