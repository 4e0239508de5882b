"""C7 and C8: a SERVERLESS claim shrinks at most once an interval; until then it keeps, and says, what it holds."""

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from claims.core.states import InstanceState, Status
from claims.foreseen import would_give_up
from claims.models import CapacityClaim, Instance, UsageInterval
from claims.selectors import claim_numbers, pending_changes, pools, reduction_time
from claims.services import claim_delete, claim_resize, claim_withdraw, fulfilment
from console.common import clock
from console.common.errors import FailedPrecondition, NotFound, PermissionDenied
from console.organizations.models import AuditEvent
from tests import world
from tests.cast import Cast

HOUR = timedelta(hours=1)
ROOT = "/v1alpha1/inference/capacityclaims"


def resize(cast: Cast, claim: CapacityClaim, count: int) -> CapacityClaim:
    wanted = world.resources(claim.offering, count, claim.kind)
    return claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=wanted)


def holding(cast: Cast, count: int, target: int | None = None) -> CapacityClaim:
    """A SERVERLESS claim that holds `count` instances."""
    of = world.offering()
    world.pool(of, count)
    claim = world.claim(cast.admin.actor, of, target or count)
    world.settle()
    return world.reread(claim)


def reduced_once(cast: Cast, count: int) -> CapacityClaim:
    """A READY claim with `count` instances that was reduced a moment ago."""
    claim = holding(cast, count + 1)
    resize(cast, claim, count)
    world.settle()
    claim = world.reread(claim)
    assert (claim.status, claim_numbers(claim)) == (Status.READY, (count, 0))
    return claim


def time_comes(claim: CapacityClaim) -> None:
    """The reduction of the claim is due now."""
    past = clock.now() - timedelta(seconds=1)
    assert CapacityClaim.objects.filter(key=claim.key, reduction_at__isnull=False).update(reduction_at=past)


def standing(claim: CapacityClaim) -> tuple[str, int, tuple[int, int], bool]:
    """Status, target, (allocated, pending), and whether a reduction waits."""
    now = world.reread(claim)
    return now.status, now.target, claim_numbers(now), now.reduction_at is not None


@pytest.mark.django_db
def test_c7_a_claim_never_reduced_is_reduced_at_once(cast: Cast) -> None:
    claim = holding(cast, 3)
    changed = resize(cast, claim, 1)
    assert (changed.status, claim_numbers(changed), pending_changes(changed)) == (Status.UPDATING, (1, 0), [])
    assert Instance.objects.filter(claim__isnull=True, state=InstanceState.READY).count() == 2
    world.settle()
    assert standing(claim) == (Status.READY, 1, (1, 0), False)


@pytest.mark.django_db
def test_c7_a_second_reduction_waits_for_its_interval_and_the_claim_is_ready(cast: Cast) -> None:
    claim = reduced_once(cast, 3)
    assert claim.reduced_at is not None
    effective_at = claim.reduced_at + HOUR
    changed = resize(cast, claim, 1)
    for _ in range(2):
        assert (changed.status, changed.target, claim_numbers(changed)) == (Status.READY, 1, (3, 0))
        assert [(one.instance_count, one.effective_at) for one in pending_changes(changed)] == [(1, effective_at)]
        said = {one["type"]: (one["status"], one["reason"]) for one in changed.conditions}
        assert said == {
            "Ready": ("STATUS_TRUE", "AllAllocated"), "Progressing": ("STATUS_TRUE", "ReductionScheduled"),
            "ResourcesApplied": ("STATUS_TRUE", "Applied"),
        }  # fmt: skip
        assert effective_at.isoformat().replace("+00:00", "Z") in changed.conditions[1]["message"]
        world.settle(2)
        changed = world.reread(claim)
    assert UsageInterval.objects.filter(ended_at__isnull=True).count() == 3, "billed until it takes effect (B1)"


@pytest.mark.django_db
def test_c7_when_its_time_has_come_it_takes_effect_and_starts_the_next_interval(cast: Cast) -> None:
    claim = reduced_once(cast, 3)
    resize(cast, claim, 1)
    time_comes(claim)
    assert sum(claim_numbers(world.reread(claim))) == 3, "held until it is carried out (C8)"
    world.settle()
    assert standing(claim) == (Status.READY, 1, (1, 0), False)
    assert [one["type"] for one in world.reread(claim).conditions] == ["Ready", "ResourcesApplied"]
    again = resize(cast, resize(cast, claim, 2), 1)
    assert again.reduction_at is not None
    assert again.reduction_at - clock.now() > timedelta(minutes=59)


@pytest.mark.django_db
def test_c7_the_last_patch_wins(cast: Cast) -> None:
    claim = reduced_once(cast, 4)
    effective_at = resize(cast, claim, 3).reduction_at
    lower = resize(cast, claim, 1)
    assert (lower.reduction_at, claim_numbers(lower)) == (effective_at, (4, 0)), "a lower target keeps the time"
    higher = resize(cast, claim, 2)
    assert (higher.reduction_at, claim_numbers(higher)) == (effective_at, (4, 0))
    same = resize(cast, claim, 4)
    assert (same.reduction_at, claim_numbers(same)) == (None, (4, 0)), "what is held withdraws it"
    resize(cast, claim, 1)
    world.pool(world.offering(), 1)
    more = resize(cast, claim, 6)
    assert (more.reduction_at, more.status, claim_numbers(more)) == (None, Status.UPDATING, (6, 0))
    assert pending_changes(more) == []


@pytest.mark.django_db
def test_c7_a_target_that_gives_up_nothing_is_no_reduction(cast: Cast) -> None:
    claim = holding(cast, 2, target=9)
    for target in (7, 4, 2):
        assert claim_numbers(resize(cast, claim, target)) == (2, target - 2)
    world.settle()
    assert standing(claim) == (Status.READY, 2, (2, 0), False)
    assert claim_numbers(resize(cast, claim, 1)) == (1, 0), "it was never reduced"


@pytest.mark.django_db
def test_c7_customer_reductions_start_at_once_every_time(cast: Cast) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=4)
    claim = world.claim(cast.admin.actor, of, 4, "CUSTOMER")
    world.everything_arrives()
    for target in (3, 2, 1):
        changed = resize(cast, claim, target)
        assert (claim_numbers(changed), changed.reduction_at, changed.reduced_at) == ((target, 0), None, None)


@pytest.mark.django_db
def test_c7_a_deletion_waits_for_no_interval(cast: Cast) -> None:
    claim = reduced_once(cast, 3)
    resize(cast, claim, 1)
    gone = claim_delete(actor=cast.admin.actor, claim_id=claim.id)
    assert (gone.status, pending_changes(gone), gone.conditions[0]["reason"]) == (Status.DELETING, [], "Deleting")
    world.settle()
    assert not CapacityClaim.objects.exists()
    assert not UsageInterval.objects.filter(ended_at__isnull=True).exists()


@pytest.mark.django_db
def test_c7_the_interval_is_a_setting(cast: Cast, settings: Settings) -> None:
    settings.REDUCTION_INTERVAL = timedelta(0)
    claim = reduced_once(cast, 3)
    assert claim_numbers(resize(cast, claim, 2)) == (2, 0)
    settings.REDUCTION_INTERVAL = timedelta(minutes=5)
    changed = resize(cast, claim, 1)
    assert changed.reduced_at is not None
    assert changed.reduction_at == changed.reduced_at + timedelta(minutes=5)


@pytest.mark.django_db
def test_c7_a_reduction_is_forgotten_once_it_would_give_up_nothing(cast: Cast) -> None:
    claim = reduced_once(cast, 3)
    resize(cast, claim, 2)
    Instance.objects.filter(key=claim.instances.earliest("key").key).update(
        lost_at=clock.now(), state=InstanceState.DRAINING
    )
    world.settle()
    now = world.reread(claim)
    assert (now.reduction_at, now.reduced_at, claim_numbers(now)) == (None, claim.reduced_at, (2, 0))


@pytest.mark.django_db
def test_c8_allocated_and_pending_are_the_effective_count(cast: Cast) -> None:
    claim = holding(cast, 3, target=7)
    for count, effective in ((5, 5), (2, 2), (9, 9), (1, 3), (4, 4), (2, 3)):
        changed = resize(cast, claim, count)
        assert sum(claim_numbers(changed)) == effective, count
        world.settle()
        assert (sum(claim_numbers(world.reread(claim))), world.reread(claim).target) == (effective, count)
    assert [row.pending_claims for row in pools() if row.claimed] == [0], "who is to shrink waits for nothing"


@pytest.mark.django_db
def test_withdrawing_keeps_what_is_held(cast: Cast) -> None:
    claim = reduced_once(cast, 3)
    resize(cast, claim, 1)
    kept = claim_withdraw(actor=cast.admin.actor, claim_id=claim.id)
    assert (kept.status, kept.target, claim_numbers(kept), kept.reduction_at) == (Status.UPDATING, 3, (3, 0), None)
    world.settle()
    assert standing(claim) == (Status.READY, 3, (3, 0), False)
    event = AuditEvent.objects.filter(action="claim.withdraw").get()
    assert event.before is not None
    assert event.before["instanceCount"] == 1
    assert "effectiveAt" in event.before
    assert event.after == {"instanceCount": 3}


@pytest.mark.django_db
def test_withdrawing_nothing_is_refused_and_changes_nothing(cast: Cast) -> None:
    claim = reduced_once(cast, 3)
    before, events = CapacityClaim.objects.values().get(), AuditEvent.objects.count()
    with pytest.raises(FailedPrecondition, match="No reduction of mine waits"):
        claim_withdraw(actor=cast.admin.actor, claim_id=claim.id)
    resize(cast, claim, 1)
    waiting = CapacityClaim.objects.values().get()
    with pytest.raises(PermissionDenied):
        claim_withdraw(actor=cast.viewer.actor, claim_id=claim.id)
    with pytest.raises(NotFound):
        claim_withdraw(actor=cast.outsider.actor, claim_id=claim.id)
    assert CapacityClaim.objects.values().get() == waiting != before
    assert AuditEvent.objects.count() == events + 1


@pytest.mark.django_db
def test_what_would_be_given_up_and_when_is_known_before(cast: Cast) -> None:
    claim = holding(cast, 4)
    first, second, *_ = keys = [one.key for one in claim.instances.order_by("key")]
    Instance.objects.filter(key=keys[3]).update(gpus_used=2, replicas=2)
    Instance.objects.filter(key=keys[2]).update(gpus_used=1, replicas=1)
    now = clock.now()
    assert [one.key for one in would_give_up(claim, 1)] == [second, first, keys[2]]
    assert [one.key for one in would_give_up(claim, 0)] == [second, first, keys[2], keys[3]]
    assert would_give_up(claim, 4) == would_give_up(claim, 9) == []
    assert reduction_time(claim, 1, now) is None
    claim = resize(cast, claim, 3)
    assert claim.reduced_at is not None
    assert reduction_time(claim, 1, clock.now()) == claim.reduced_at + HOUR
    assert reduction_time(claim, 3, clock.now()) is reduction_time(claim, 0, clock.now()) is None


@pytest.mark.django_db
def test_pending_changes_are_on_rest_with_their_time(cast: Cast) -> None:
    claim = reduced_once(cast, 3)
    api, path = cast.admin.api(), f"{ROOT}/{claim.id}"
    assert api.get(path).json()["capacityClaim"]["status"]["pendingChanges"] == []
    block = {"instanceId": "gb200-4x", "instanceCount": 1, "capacityType": "CAPACITY_TYPE_SERVERLESS",
             "zones": ["US-WEST-04A"]}  # fmt: skip
    sent = api.send("PATCH", path, {"resources": block}).json()["capacityClaim"]
    assert sent["status"]["status"] == "STATUS_READY"
    assert sent["spec"]["resources"]["instanceCount"] == 1
    assert (sent["status"]["allocatedInstances"], sent["status"]["pendingInstances"]) == (3, 0)
    (change,) = sent["status"]["pendingChanges"]
    assert change["instanceCount"] == 1
    left = datetime.fromisoformat(change["effectiveAt"]) - clock.now()
    assert timedelta(minutes=59) < left <= HOUR


@pytest.mark.django_db
def test_a_pass_asks_no_more_for_claims_that_wait(cast: Cast) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            fulfilment.fulfil_pass(now=clock.now())
        return len(found)

    claim = reduced_once(cast, 3)
    before = queries()
    resize(cast, claim, 1)
    assert queries() == before


# --- whatever is asked, of the services and the loop ----------------------------------------------
MOST = 6
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("resize"), st.integers(1, MOST)),
        st.tuples(st.just("withdraw"), st.just(0)),
        st.tuples(st.just("wait"), st.sampled_from([5, 600, 1800, 3595, 3600])),
    ),
    min_size=4,
    max_size=14,
)


class Asked:
    """A claim whose raises are filled at once. Time is let pass by moving what is stored into the past."""

    def __init__(self, cast: Cast) -> None:
        self.cast, self.passed = cast, timedelta()
        self.claim = holding(cast, MOST)
        self.held, self.taken = MOST, list[datetime]()

    def now(self) -> datetime:
        return clock.now() + self.passed

    def resize(self, count: int) -> None:
        assert resize(self.cast, self.claim, count).target == count

    def withdraw(self, _: int) -> None:
        before = CapacityClaim.objects.values().get()
        try:
            kept = claim_withdraw(actor=self.cast.admin.actor, claim_id=self.claim.id)
        except FailedPrecondition:
            assert before["reduction_at"] is None
            assert CapacityClaim.objects.values().get() == before, "what is refused changes nothing"
        else:
            assert (kept.target, kept.reduction_at) == (self.held, None)
            assert before["reduction_at"] is not None

    def wait(self, seconds: int) -> None:
        step = timedelta(seconds=seconds)
        self.passed += step
        CapacityClaim.objects.update(reduced_at=F("reduced_at") - step, reduction_at=F("reduction_at") - step)
        fulfilment.fulfil_pass(now=clock.now())

    def look(self) -> None:
        """Whatever was done: what is held follows the target at once or has its time, and falls once an interval."""
        now, held = world.reread(self.claim), self.claim.instances.filter(state=InstanceState.READY).count()
        if held < self.held:
            self.taken.append(self.now())
        self.held = held
        assert (now.reduction_at is None) == (held == now.target), "what was asked for last is had, or will be"
        assert now.reduction_at is None or now.reduction_at - clock.now() <= HOUR
        assert claim_numbers(now) == (held, 0)
        assert all(later - earlier >= HOUR for earlier, later in pairwise(self.taken))


@pytest.mark.thorough
@pytest.mark.django_db
def test_c7_whatever_is_asked_reductions_are_an_interval_apart(cast: Cast) -> None:
    """Through the services and the fulfil loop, on real rows."""
    reductions = 0

    @hypothesis_settings(deadline=None, max_examples=25, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(STEPS)
    def run(steps: list[tuple[str, int]]) -> None:
        nonlocal reductions
        with transaction.atomic():
            asked = Asked(cast)
            for name, number in steps:
                getattr(asked, name)(number)
                asked.look()
            reductions += len(asked.taken) > 1
            transaction.set_rollback(True)

    run()
    assert reductions > 2, "of some claims more than one reduction was carried out"
