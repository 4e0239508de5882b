"""C12: windows of claims in the loops, the quota and the pool; what is refused changes nothing."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.forms.models import model_to_dict

from claims import provisioning
from claims.core.states import InstanceState, Status
from claims.core.window_rules import WindowAsked
from claims.models import CapacityClaim, ClaimWindow, Instance, Offering
from claims.selectors import claim_numbers, pending_changes, quota_of
from claims.services import (
    claim_delete,
    claim_resize,
    claim_withdraw,
    fulfilment,
    offering_withdraw,
    pool_resize,
    window_change,
    window_create,
    window_delete,
)
from claims.services.windows import MOST_WINDOWS
from console.common import clock
from console.common.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from console.dashboard.invariants import breaches
from console.organizations.models import AuditEvent
from tests import world
from tests.cast import Cast

pytestmark = pytest.mark.django_db
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def asked(start: datetime, duration: timedelta = HOUR, count: int = 3, **more: Any) -> WindowAsked:
    """A daily window from a time on, UTC."""
    wall = start.astimezone(UTC).replace(tzinfo=None, second=0, microsecond=0)
    return WindowAsked(
        wall, duration, more.pop("recurrence", "FREQ=DAILY"), more.pop("time_zone", "UTC"), count, **more
    )


def later(hours: float) -> datetime:
    """A whole minute so far ahead."""
    return (clock.now() + hours * HOUR).replace(second=0, microsecond=0)


def serverless(cast: Cast, base: int = 1, pool: int = 8) -> CapacityClaim:
    of = world.offering()
    world.pool(of, pool)
    claim = world.claim(cast.admin.actor, of, base)
    world.settle()
    return world.reread(claim)


def customer(cast: Cast, base: int = 1, limit: int = 8) -> CapacityClaim:
    of = world.offering()
    world.quota(cast.organization, of, limit=limit)
    claim = world.claim(cast.admin.actor, of, base, "CUSTOMER")
    world.everything_arrives()
    return world.reread(claim)


def create(cast: Cast, claim: CapacityClaim, wanted: WindowAsked) -> ClaimWindow:
    return window_create(actor=cast.admin.actor, claim_id=claim.id, asked=wanted)


def resize(cast: Cast, claim: CapacityClaim, count: int) -> None:
    wanted = world.resources(claim.offering, count, claim.kind)
    claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=wanted)


def passes(now: datetime) -> None:
    fulfilment.fulfil_pass(now=now)
    assert breaches() == []


def standing(claim: CapacityClaim) -> tuple[str, int, tuple[int, int]]:
    """Status, `spec.instanceCount`, (allocated, pending)."""
    now = world.reread(claim)
    return now.status, now.target, claim_numbers(now)


def instant_joins(monkeypatch: pytest.MonkeyPatch, minutes: float = 0) -> None:
    monkeypatch.setattr("claims.services.edges.lead_of", lambda offering: minutes * MINUTE)


def test_c12_a_window_raises_the_claim_while_it_is_open_and_the_base_stays(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    instant_joins(monkeypatch)
    claim, start = serverless(cast, 1), later(2)
    create(cast, claim, asked(start))
    assert standing(claim) == (Status.READY, 1, (1, 0))
    for now, held in [(-1, 1), (0, 3), (59, 3), (60, 1), (24 * 60 - 1, 1), (24 * 60, 3), (25 * 60, 1)]:
        passes(start + now * MINUTE)
        assert standing(claim) == (Status.READY, 1, (held, 0)), now
    assert world.reread(claim).window_peak == 3


def test_c12_a_pass_after_an_outage_and_one_that_runs_twice_find_the_state_of_their_time(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    instant_joins(monkeypatch)
    claim, start = serverless(cast, 1), later(2)
    create(cast, claim, asked(start))
    for now, held in [(0, 3), (0, 3), (5 * 24 * 60 + 30, 3), (5 * 24 * 60 + 30, 3), (9 * 24 * 60 + 90, 1), (60, 1)]:
        passes(start + now * MINUTE)
        assert standing(claim)[2] == (held, 0), now


def test_c12_a_window_opens_early_by_the_90th_percentile_of_the_join_times(cast: Cast) -> None:
    claim, start = customer(cast, 1), later(30)
    joined = Instance.objects.get(claim=claim)
    # Nine joins of 10 minutes and one of 25: the 90th percentile is 10.
    for number, took in enumerate([10] * 9 + [25]):
        at = clock.now() - DAY + number * HOUR
        Instance.objects.create(
            name=f"was-{number}", offering=claim.offering, source="POOL", state="RELEASED", gpus=4, created_at=at,
            joining_at=at + MINUTE, ready_at=at + took * MINUTE, backend=joined.backend,
        )  # fmt: skip
    Instance.objects.filter(key=joined.key).update(joining_at=None)
    create(cast, claim, asked(start))
    passes(start - 11 * MINUTE)
    assert claim.instances.count() == 1
    passes(start - 10 * MINUTE)
    assert claim.instances.filter(state=InstanceState.REQUESTED).count() == 2
    assert standing(claim) == (Status.UPDATING, 1, (1, 2))
    # What has joined since made the percentile smaller: what was opened stays open.
    Instance.objects.filter(name__startswith="was-").delete()
    passes(start - 9 * MINUTE)
    assert standing(claim) == (Status.UPDATING, 1, (1, 2))


def test_c12_a_customer_window_joins_ahead_is_ready_at_the_start_and_is_released_at_the_end(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    instant_joins(monkeypatch, 20)
    claim, start = customer(cast, 1), later(2)
    create(cast, claim, asked(start))
    passes(start - 20 * MINUTE)
    assert standing(claim) == (Status.UPDATING, 1, (1, 2))
    world.settle()
    world.nodes_arrive()
    Instance.objects.filter(state=InstanceState.JOINING).update(next_attempt_at=None)
    provisioning.provision_pass(now=clock.now())
    passes(start)
    assert standing(claim) == (Status.READY, 1, (3, 0))
    passes(start + HOUR)
    assert standing(claim) == (Status.READY, 1, (1, 0))
    assert claim.instances.filter(state=InstanceState.RELEASING).count() == 2


def test_c12_the_end_of_a_window_soon_after_a_reduction_waits_for_the_interval(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    instant_joins(monkeypatch)
    claim, start = serverless(cast, 2), later(2)
    create(cast, claim, asked(start))
    passes(start)
    reduced = start + 30 * MINUTE
    CapacityClaim.objects.filter(key=claim.key).update(reduced_at=reduced)
    passes(start + HOUR)
    assert standing(claim) == (Status.READY, 2, (3, 0))
    (change,) = pending_changes(world.reread(claim))
    assert (change.instance_count, change.effective_at) == (2, reduced + HOUR)
    passes(reduced + HOUR)
    assert standing(claim) == (Status.READY, 2, (2, 0))
    assert world.reread(claim).reduced_at == reduced + HOUR


def test_c12_a_window_end_and_a_reduction_due_together_are_one_change(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    instant_joins(monkeypatch)
    claim, start = serverless(cast, 4), later(2)
    create(cast, claim, asked(start, count=6))
    passes(start)
    assert standing(claim)[2] == (6, 0)
    # Lowered in the window from 4 to 2: nothing to give up before its end. Then both at once, though one had been due.
    CapacityClaim.objects.filter(key=claim.key).update(reduced_at=clock.now())
    resize(cast, claim, 2)
    assert pending_changes(world.reread(claim)) == []
    due = start + 40 * MINUTE
    CapacityClaim.objects.filter(key=claim.key).update(reduction_at=due, target=2, window_count=5)
    ClaimWindow.objects.update(count=5)
    passes(start + 2 * HOUR)
    assert standing(claim) == (Status.READY, 2, (2, 0))
    assert world.reread(claim).reduced_at == start + 2 * HOUR


def test_c12_a_reduction_that_waits_is_moot_once_a_window_wants_what_is_held(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    instant_joins(monkeypatch)
    claim, start = serverless(cast, 3), later(0.5)
    create(cast, claim, asked(start, 3 * HOUR))
    CapacityClaim.objects.filter(key=claim.key).update(reduced_at=clock.now())
    resize(cast, claim, 1)
    assert pending_changes(world.reread(claim))[0].instance_count == 1
    passes(start)
    assert (standing(claim), pending_changes(world.reread(claim))) == ((Status.READY, 1, (3, 0)), [])
    with pytest.raises(FailedPrecondition):
        claim_withdraw(actor=cast.admin.actor, claim_id=claim.id)
    passes(start + 3 * HOUR)
    assert standing(claim) == (Status.READY, 1, (1, 0))


def test_c12_a_window_that_is_open_now_acts_at_once_and_so_does_its_deletion(cast: Cast) -> None:
    claim = serverless(cast, 1)
    row = create(cast, claim, asked(later(-0.25), count=4))
    assert standing(claim) == (Status.READY, 1, (4, 0))
    window_delete(actor=cast.admin.actor, claim_id=claim.id, window_id=row.id)
    assert standing(claim)[1:] == (1, (1, 0))
    now = world.reread(claim)
    assert (now.window_count, now.window_until, now.window_peak) == (0, None, 0)
    assert breaches() == []


def test_c10_what_runs_on_the_instances_of_a_window_is_drained_when_it_ends(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    instant_joins(monkeypatch)
    claim, start = serverless(cast, 1), later(2)
    create(cast, claim, asked(start))
    passes(start)
    for number, one in enumerate(claim.instances.all()):
        world.take(one, cast.organization, number + 1, claim=claim)
    fulfilment.fulfil_pass(now=start + HOUR)
    assert claim.instances.filter(state=InstanceState.DRAINING, drain_until__gt=start + HOUR).count() == 2
    assert standing(claim)[2] == (1, 0)


def test_c12_quota_is_committed_at_the_largest_window_for_good(cast: Cast) -> None:
    claim = customer(cast, 2, limit=6)
    row = create(cast, claim, asked(later(5), count=5))
    assert quota_of(cast.organization, claim.offering).committed == 5
    with pytest.raises(FailedPrecondition) as refusal:
        world.claim(cast.admin.actor, claim.offering, 2, "CUSTOMER", name="another")
    assert refusal.value.quota is not None
    assert (refusal.value.quota.committed, refusal.value.quota.free) == (5, 1)
    resize(cast, claim, 5)  # no more than is committed
    with pytest.raises(FailedPrecondition):
        resize(cast, claim, 7)
    resize(cast, claim, 1)
    assert quota_of(cast.organization, claim.offering).committed == 5
    window_delete(actor=cast.admin.actor, claim_id=claim.id, window_id=row.id)
    world.everything_arrives()
    assert quota_of(cast.organization, claim.offering).committed == 1


def test_c12_a_window_that_is_over_for_good_commits_nothing(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    instant_joins(monkeypatch)
    claim, start = customer(cast, 1), later(2)
    create(cast, claim, asked(start, count=4, until=start.date()))
    assert quota_of(cast.organization, claim.offering).committed == 4
    fulfilment.fulfil_pass(now=start + HOUR)
    assert quota_of(cast.organization, claim.offering).committed == 1


def everything() -> list[Any]:
    """All that a refusal must leave alone."""
    rows = [*CapacityClaim.objects.order_by("key"), *ClaimWindow.objects.order_by("key")]
    return [*map(model_to_dict, rows), AuditEvent.objects.count(), Instance.objects.count()]


def refused(error: type[Exception], act: Callable[[], Any]) -> Any:
    before = everything()
    with pytest.raises(error) as found:
        act()
    assert everything() == before
    return found.value


@pytest.mark.parametrize(
    ("wrong", "field", "said"),
    [
        ({"time_zone": "Mars/Olympus"}, "time_zone", "no time zone"),
        ({"time_zone": ""}, "time_zone", "no time zone"),
        ({"recurrence": "FREQ=HOURLY"}, "recurrence", "FREQ must be"),
        ({"duration": 25 * HOUR}, "duration", "begins again after 24 h"),
        ({"duration": timedelta()}, "duration", "whole minutes"),
        ({"duration": timedelta(seconds=90)}, "duration", "whole minutes"),
        ({"duration": 32 * DAY, "recurrence": "FREQ=MONTHLY"}, "duration", "whole minutes"),
        ({"count": 0}, "instance_count", "from 1"),
        ({"count": -1}, "instance_count", "from 1"),
        ({"until": date(2020, 1, 1)}, "until", "from the first"),
        ({"recurrence": "FREQ=MONTHLY;INTERVAL=12;BYMONTHDAY=31", "start": datetime(2027, 2, 1, tzinfo=UTC)}, "recurrence",
         "no such day"),
        ({"start": datetime(1990, 1, 1, tzinfo=UTC)}, "start", "years"),
        ({"start": datetime(2020, 1, 1, tzinfo=UTC), "until": date(2020, 1, 2)}, "until", "are over"),
    ],
)  # fmt: skip
def test_c12_bad_windows_are_refused_with_field_and_reason(
    cast: Cast, wrong: dict[str, Any], field: str, said: str
) -> None:
    claim = serverless(cast)
    wanted = asked(**{"start": later(2), **wrong})
    refusal = refused(InvalidArgument, lambda: create(cast, claim, wanted))
    assert [(one.field, said in one.description) for one in refusal.violations] == [(field, True)]
    row = create(cast, claim, asked(later(2)))
    refused(InvalidArgument, lambda: window_change(
        actor=cast.admin.actor, claim_id=claim.id, window_id=row.id, asked=wanted))  # fmt: skip


def test_c12_a_start_with_an_offset_or_seconds_is_refused(cast: Cast) -> None:
    claim = serverless(cast)
    for start in (datetime(2027, 1, 1, 8, tzinfo=UTC), datetime(2027, 1, 1, 8, 0, 1)):  # noqa: DTZ001
        wanted = WindowAsked(start, HOUR, "FREQ=DAILY", "UTC", 2)
        refusal = refused(InvalidArgument, lambda wanted=wanted: create(cast, claim, wanted))  # type: ignore[misc]
        assert refusal.violations[0].field == "start"


def test_c12_windows_that_overlap_are_refused(cast: Cast) -> None:
    claim, start = serverless(cast), later(2)
    row = create(cast, claim, asked(start))
    refusal = refused(FailedPrecondition, lambda: create(cast, claim, asked(start + 30 * MINUTE)))
    assert refusal.kind == "WINDOW_OVERLAP"
    create(cast, claim, asked(start + HOUR))
    moved = asked(start + 30 * MINUTE)
    refused(FailedPrecondition, lambda: window_change(
        actor=cast.admin.actor, claim_id=claim.id, window_id=row.id, asked=moved))  # fmt: skip
    shorter = asked(start, 30 * MINUTE)
    window_change(actor=cast.admin.actor, claim_id=claim.id, window_id=row.id, asked=shorter)  # not with itself


def test_c12_counts_beyond_pool_and_quota_are_refused_with_the_numbers(cast: Cast) -> None:
    claim = serverless(cast, 1, pool=8)
    refusal = refused(FailedPrecondition, lambda: create(cast, claim, asked(later(2), count=9)))
    assert (refusal.kind, "have 8 instances" in refusal.message) == ("POOL_TOO_SMALL", True)
    other = world.claim(cast.admin.actor, claim.offering, 1, "SERVERLESS", name="other")
    create(cast, other, asked(later(2), count=8))
    own = customer(cast, 1, limit=4)
    refusal = refused(FailedPrecondition, lambda: create(cast, own, asked(later(2), count=5)))
    assert refusal.kind == "QUOTA_EXCEEDED"
    assert (refusal.quota.requested, refusal.quota.free, refusal.quota.committed) == (4, 3, 1)


def test_c13_a_window_may_not_grow_what_is_no_longer_offered_and_may_shrink(cast: Cast) -> None:
    claim = serverless(cast, 1)
    row = create(cast, claim, asked(later(2), count=4))
    offering_withdraw(actor=world.PLATFORM, offering=claim.offering)
    for wanted in (asked(later(2), count=5), asked(later(6), count=5)):
        refused(FailedPrecondition, lambda wanted=wanted: window_change(  # type: ignore[misc]
            actor=cast.admin.actor, claim_id=claim.id, window_id=row.id, asked=wanted))  # fmt: skip
    refused(FailedPrecondition, lambda: create(cast, claim, asked(later(6), count=2)))
    window_change(actor=cast.admin.actor, claim_id=claim.id, window_id=row.id, asked=asked(later(2), count=3))


def test_c12_twenty_windows_and_no_more(cast: Cast) -> None:
    claim, start = serverless(cast), later(2)
    for number in range(MOST_WINDOWS):
        create(cast, claim, asked(start + number * HOUR, HOUR))
    refusal = refused(FailedPrecondition, lambda: create(cast, claim, asked(start + MOST_WINDOWS * HOUR)))
    assert refusal.kind == "TOO_MANY_WINDOWS"


def test_c12_only_admins_of_the_organization_change_windows(cast: Cast) -> None:
    claim = serverless(cast)
    row = create(cast, claim, asked(later(2)))
    for who, error in ((cast.viewer.actor, PermissionDenied), (cast.outsider.actor, NotFound)):
        for act in (
            lambda who=who: window_create(actor=who, claim_id=claim.id, asked=asked(later(5))),
            lambda who=who: window_change(actor=who, claim_id=claim.id, window_id=row.id, asked=asked(later(5))),
            lambda who=who: window_delete(actor=who, claim_id=claim.id, window_id=row.id),
        ):
            refused(error, act)


def test_c12_a_window_of_another_claim_or_of_one_that_goes_is_not_found(cast: Cast) -> None:
    claim = serverless(cast)
    row = create(cast, claim, asked(later(2)))
    other = world.claim(cast.admin.actor, claim.offering, 1, name="other")
    refused(NotFound, lambda: window_delete(actor=cast.admin.actor, claim_id=other.id, window_id=row.id))
    claim_delete(actor=cast.admin.actor, claim_id=claim.id)
    if CapacityClaim.objects.filter(key=claim.key).exists():
        refused(NotFound, lambda: window_delete(actor=cast.admin.actor, claim_id=claim.id, window_id=row.id))
        refused(NotFound, lambda: create(cast, claim, asked(later(5))))
    world.settle()
    assert not ClaimWindow.objects.exists()


def test_c12_windows_are_in_the_audit_trail_and_the_same_change_is_none(cast: Cast) -> None:
    claim, start = serverless(cast), later(2)
    row = create(cast, claim, asked(start))
    for wanted in (asked(start, count=4), asked(start, count=4)):
        window_change(actor=cast.admin.actor, claim_id=claim.id, window_id=row.id, asked=wanted)
    window_delete(actor=cast.admin.actor, claim_id=claim.id, window_id=row.id)
    events = AuditEvent.objects.filter(action__startswith="window.").order_by("id")
    counts = [tuple((each or {}).get("instanceCount") for each in (one.before, one.after)) for one in events]
    assert [one.action for one in events] == ["window.create", "window.change", "window.delete"]
    assert counts == [(None, 3), (3, 4), (4, None)]


def test_c13_a_pool_that_shrinks_leaves_a_window_waiting_and_it_is_no_error(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    instant_joins(monkeypatch)
    claim, start = serverless(cast, 1, pool=4), later(2)
    create(cast, claim, asked(start, count=4))
    pool_resize(actor=world.PLATFORM, offering=claim.offering, size=2)
    world.settle()
    passes(start)
    assert standing(claim) == (Status.UPDATING, 1, (2, 2))
    assert world.reread(claim).conditions[0]["reason"] == "WaitingForPool"
    passes(start + HOUR)
    assert standing(claim) == (Status.READY, 1, (1, 0))


def test_c8_allocated_and_pending_are_the_open_window(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    instant_joins(monkeypatch)
    of: Offering = world.offering()
    world.pool(of, 3)
    claim = world.claim(cast.admin.actor, of, 1)
    create(cast, claim, asked(later(-0.25), count=3))
    other = world.claim(cast.admin.actor, of, 1, name="other")
    assert (standing(claim)[2], standing(other)[2]) == ((3, 0), (0, 1))
