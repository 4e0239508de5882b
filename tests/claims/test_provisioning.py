"""The provision loop against a world that fails, lies, is late or forgets: nothing leaks, nothing is billed wrongly."""

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import pytest
from django.db import connection

from claims import provisioning
from claims.backends.base import BackendError, NodeState, Observation
from claims.core.states import InstanceState, Status
from claims.models import CapacityClaim, Instance, Offering, UsageInterval
from claims.selectors import claim_numbers, quota_of
from claims.services import claim_delete, claim_resize, fulfilment, pool_resize
from console.common import clock
from tests import world
from tests.cast import Cast

pytestmark = pytest.mark.django_db


class Machines:
    """A small world of machines that can be told to misbehave; it counts what it is asked."""

    def __init__(self) -> None:
        self.states: dict[int, NodeState] = {}
        self.failing: Exception | None = None
        self.failing_keys: set[int] = set()
        self.calls: list[tuple[str, int]] = []

    def _asked(self, what: str, key: int) -> None:
        self.calls.append((what, key))
        if self.failing and (not self.failing_keys or key in self.failing_keys):
            raise self.failing

    def join(self, key: int) -> datetime | None:
        self._asked("join", key)
        self.states.setdefault(key, NodeState.JOINING)
        return None

    def adopt(self, keys: Sequence[int], now: datetime) -> None:
        self.states.update(dict.fromkeys(keys, NodeState.READY))

    def observe(self, keys: Sequence[int]) -> Mapping[int, Observation]:
        self._asked("observe", 0)
        return {key: Observation(self.states[key]) for key in keys if key in self.states}

    def leave(self, key: int) -> bool:
        self._asked("leave", key)
        self.states.pop(key, None)
        return True

    def nodes(self) -> Sequence[int]:
        return list(self.states)

    def all_become(self, state: NodeState) -> None:
        self.states = dict.fromkeys(self.states, state)


@pytest.fixture
def machines() -> Machines:
    return Machines()


def passes(machines: Machines, count: int = 1, after: timedelta = timedelta(0)) -> None:
    """Provision and fulfil, as the loops do, with their time moved on by `after`."""
    for _ in range(count):
        provisioning.provision_pass(now=clock.now() + after, backend=machines)
        fulfilment.fulfil_pass(now=clock.now())


def customer_claim(cast: Cast, count: int, limit: int | None = None) -> CapacityClaim:
    of = world.offering()
    world.quota(cast.organization, of, limit=limit or count)
    return world.claim(cast.admin.actor, of, count, "CUSTOMER")


def states() -> list[str]:
    return list(Instance.objects.order_by("key").values_list("state", flat=True))


def resize(cast: Cast, claim: CapacityClaim, count: int) -> CapacityClaim:
    wanted = world.resources(world.offering(), count, claim.kind)
    return claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=wanted)


# --- a backend that answers errors -----------------------------------------------------------------
def test_a_failing_join_is_repeated_later_and_later_and_nothing_is_lost(cast: Cast, machines: Machines) -> None:
    customer_claim(cast, 1)
    machines.failing = BackendError("no answer")
    waits = []
    for _ in range(9):
        asked_at = clock.now()
        passes(machines, after=timedelta(hours=1))
        one = Instance.objects.get()
        assert (one.state, one.leased_until, one.last_error) == (InstanceState.REQUESTED, None, "no answer")
        assert one.next_attempt_at is not None
        waits.append(round((one.next_attempt_at - asked_at).total_seconds()))
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    asked = len(machines.calls)
    passes(machines)
    assert ("join", Instance.objects.get().key) not in machines.calls[asked:], "it is not due yet"
    machines.failing = None
    passes(machines, after=timedelta(hours=1))
    machines.all_become(NodeState.READY)
    passes(machines)
    one = Instance.objects.get()
    assert (one.state, one.attempts, one.leased_until) == (InstanceState.READY, 0, None)
    assert list(machines.states) == [one.key]


@pytest.mark.parametrize("error", [BackendError("busy"), ValueError("nonsense"), TimeoutError()])
def test_one_machines_trouble_is_its_own(cast: Cast, machines: Machines, error: Exception) -> None:
    customer_claim(cast, 3)
    first = Instance.objects.order_by("key")[0]
    machines.failing, machines.failing_keys = error, {first.key}
    passes(machines)
    assert states() == ["REQUESTED", "JOINING", "JOINING"]
    first.refresh_from_db()
    assert (first.attempts, first.leased_until) == (1, None)


@pytest.mark.parametrize("error", [BackendError("busy"), KeyError("nodes")])
def test_a_cluster_that_cannot_be_looked_at_loses_nobody(cast: Cast, machines: Machines, error: Exception) -> None:
    claim = customer_claim(cast, 3, limit=4)
    passes(machines, 2)
    keys = Instance.objects.order_by("key").values_list("key", flat=True)
    machines.states[keys[0]] = NodeState.READY
    passes(machines)
    machines.failing, machines.failing_keys = error, {0}
    passes(machines, 3, after=timedelta(hours=1))
    assert states() == ["READY", "JOINING", "JOINING"]
    assert UsageInterval.objects.filter(ended_at__isnull=True).count() == 1
    assert claim_numbers(world.reread(claim)) == (1, 2)


def test_a_failing_release_is_repeated_and_keeps_quota_committed(cast: Cast, machines: Machines) -> None:
    claim = customer_claim(cast, 1)
    passes(machines, 2)
    machines.all_become(NodeState.READY)
    passes(machines)
    claim_delete(actor=cast.admin.actor, claim_id=claim.id)
    machines.failing = BackendError("will not")
    passes(machines, 3, after=timedelta(hours=1))
    assert states() == ["RELEASING"]
    assert world.reread(claim).status == Status.DELETING
    assert quota_of(cast.organization, world.offering()).committed == 1
    assert not UsageInterval.objects.filter(ended_at__isnull=True).exists(), "what is being taken away is not billed"
    machines.failing = None
    passes(machines, after=timedelta(hours=1))
    assert (states(), machines.states) == (["RELEASED"], {})
    assert not CapacityClaim.objects.exists()


# --- a backend that lies ---------------------------------------------------------------------------
@pytest.mark.parametrize("lie", [NodeState.FAILED, NodeState.GONE, None])
def test_a_machine_that_does_not_join_is_replaced_and_never_billed(
    cast: Cast, machines: Machines, lie: NodeState | None
) -> None:
    claim = customer_claim(cast, 1)
    passes(machines, 2)
    first = Instance.objects.get()
    if lie:
        machines.states[first.key] = lie
    else:
        machines.states.clear()
    passes(machines, 4)
    first.refresh_from_db()
    assert first.state == InstanceState.RELEASED
    second = Instance.objects.exclude(key=first.key).get()
    passes(machines, after=timedelta(seconds=11))
    assert list(machines.states) == [second.key]
    machines.all_become(NodeState.READY)
    passes(machines)
    assert claim_numbers(world.reread(claim)) == (1, 0)
    assert list(UsageInterval.objects.values_list("resource_key", flat=True)) == [second.key]


def test_c6_machines_that_do_not_join_are_asked_for_later_and_later(cast: Cast, machines: Machines) -> None:
    claim = customer_claim(cast, 2)
    pool_resize(actor=world.PLATFORM, offering=world.offering("RNO2A"), size=1)
    waits = []
    for _ in range(8):
        passes(machines, after=timedelta(hours=1))
        machines.all_become(NodeState.FAILED)
        passes(machines, 3)
        assert not machines.states
        told, joining = world.reread(claim), Instance.objects.filter(state=InstanceState.REQUESTED)
        assert (told.status, told.conditions[0]["reason"], claim_numbers(told)) == (
            Status.CREATING, "JoinFailed", (0, 2),
        )  # fmt: skip
        waits.append({round((one.next_attempt_at - one.created_at).total_seconds()) for one in joining
                      if one.next_attempt_at})  # fmt: skip
        assert joining.count() == 3
    assert waits == [{10}, {20}, {40}, {80}, {160}, {320}, {600}, {600}]
    passes(machines, after=timedelta(hours=1))
    machines.all_become(NodeState.READY)
    passes(machines, 2)
    assert (world.reread(claim).status, world.reread(claim).join_failures) == (Status.READY, 0)
    assert not Offering.objects.filter(join_failures__gt=0).exists()
    assert UsageInterval.objects.count() == 2


def test_a_machine_that_vanishes_and_comes_back_is_sent_away_again(cast: Cast, machines: Machines) -> None:
    customer_claim(cast, 1)
    passes(machines, 2)
    machines.all_become(NodeState.READY)
    passes(machines)
    first = Instance.objects.get()
    machines.states.clear()
    passes(machines, 3)
    billed = UsageInterval.objects.filter(resource_key=first.key)
    assert billed.get().ended_at is not None
    machines.states[first.key] = NodeState.READY
    passes(machines, 3)
    assert first.key not in machines.states
    assert billed.count() == 1


def test_ready_said_twice_bills_once(cast: Cast, machines: Machines) -> None:
    customer_claim(cast, 1)
    passes(machines, 2)
    machines.all_become(NodeState.READY)
    one = Instance.objects.get()
    now = clock.now()
    for wanted in (1, 0):
        assert provisioning.change(one, InstanceState.JOINING, InstanceState.READY, now, ready_at=now) == wanted
    assert UsageInterval.objects.count() == 1


# --- a backend that is late ------------------------------------------------------------------------
def test_a_machine_that_joins_after_release_is_released_again_and_never_billed(cast: Cast, machines: Machines) -> None:
    claim = customer_claim(cast, 1)
    passes(machines, 2)
    claim_delete(actor=cast.admin.actor, claim_id=claim.id)
    passes(machines, 3)
    (key,) = Instance.objects.values_list("key", flat=True)
    assert (states(), machines.states) == (["RELEASED"], {})
    machines.states[key] = NodeState.READY
    passes(machines)
    assert machines.states == {}
    assert not UsageInterval.objects.exists()


def test_a_stray_that_will_not_go_does_not_keep_the_others(cast: Cast, machines: Machines) -> None:
    world.offering()
    machines.states = {901: NodeState.READY, 902: NodeState.READY}
    machines.failing, machines.failing_keys = BackendError("stuck"), {901}
    passes(machines)
    assert list(machines.states) == [901]


def test_an_answer_that_comes_after_the_claim_let_go_changes_nothing(cast: Cast) -> None:
    """The machine is given up between the backend's answer to `join` and the row that records it."""
    claim = customer_claim(cast, 1)

    class LetGoMeanwhile(Machines):
        def join(self, key: int) -> datetime | None:
            super().join(key)
            claim_delete(actor=cast.admin.actor, claim_id=claim.id)
            return None

    late = LetGoMeanwhile()
    passes(late)
    assert states() == ["RELEASING"]
    passes(late, 2)
    assert (states(), late.states) == (["RELEASED"], {})
    assert not UsageInterval.objects.exists()
    assert not CapacityClaim.objects.exists()


def test_an_error_that_comes_after_the_claim_let_go_does_not_delay_the_release(cast: Cast) -> None:
    claim = customer_claim(cast, 1)

    class LetGoMeanwhile(Machines):
        def join(self, key: int) -> datetime | None:
            super().join(key)
            claim_delete(actor=cast.admin.actor, claim_id=claim.id)
            raise BackendError("timed out, yet did it")

    late = LetGoMeanwhile()
    passes(late)
    assert Instance.objects.get().next_attempt_at is None
    passes(late, 2)
    assert (states(), late.states) == (["RELEASED"], {})


# --- workers that die ------------------------------------------------------------------------------
def test_an_abandoned_lease_is_taken_up_once_it_ran_out(cast: Cast, machines: Machines) -> None:
    customer_claim(cast, 2)
    now = clock.now()
    assert len(provisioning.lease(now=now)) == 2  # by a worker that dies here
    passes(machines)
    assert (states(), machines.states) == (["REQUESTED"] * 2, {})
    passes(machines, after=provisioning.LEASE + timedelta(seconds=1))
    assert states() == ["JOINING"] * 2


def test_those_that_wait_keep_nobody_waiting(cast: Cast, machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provisioning, "BATCH", 2)
    customer_claim(cast, 7)
    passes(machines, 4)
    assert states() == ["JOINING"] * 7
    last = Instance.objects.order_by("-key")[0]
    machines.states[last.key] = NodeState.READY
    passes(machines, 4)
    last.refresh_from_db()
    assert last.state == InstanceState.READY


# --- quota while machines come and go --------------------------------------------------------------
def test_lowering_and_raising_again_never_holds_more_machines_than_quota(cast: Cast, machines: Machines) -> None:
    claim = customer_claim(cast, 4)
    passes(machines, 2)
    machines.all_become(NodeState.READY)
    passes(machines)
    machines.failing = BackendError("slow to leave")
    for count in (1, 4, 2, 4):
        resize(cast, claim, count)
        passes(machines, after=timedelta(hours=1))
        assert len(machines.states) == 4
        assert quota_of(cast.organization, world.offering()).committed == 4
    assert claim_numbers(world.reread(claim)) == (1, 3)
    machines.failing = None
    for _ in range(6):
        passes(machines, after=timedelta(hours=1))
        machines.all_become(NodeState.READY)
        assert len(machines.states) <= 4
    assert claim_numbers(world.reread(claim)) == (4, 0)


def test_a_lost_machine_is_replaced_within_quota_at_once(cast: Cast, machines: Machines) -> None:
    claim = customer_claim(cast, 2)
    passes(machines, 2)
    machines.all_become(NodeState.READY)
    passes(machines)
    del machines.states[Instance.objects.order_by("key")[0].key]
    passes(machines)
    assert Instance.objects.filter(state__in=["REQUESTED", "JOINING"]).count() == 1
    assert quota_of(cast.organization, world.offering()).committed == 2
    passes(machines, 2)
    machines.all_become(NodeState.READY)
    passes(machines, 2)
    assert claim_numbers(world.reread(claim)) == (2, 0)


def test_a_pool_loses_a_machine_and_gets_another(cast: Cast, machines: Machines) -> None:
    of = world.offering()
    pool_resize(actor=world.PLATFORM, offering=of, size=2)
    passes(machines, 3)
    machines.all_become(NodeState.READY)
    passes(machines)
    assert states() == ["READY"] * 2
    machines.states.popitem()
    passes(machines, 4)
    machines.all_become(NodeState.READY)
    passes(machines, 2)
    assert sorted(states()) == ["READY", "READY", "RELEASED"]
    assert len(machines.states) == 2


# --- at once ---------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_ask_for_each_machine_once(cast: Cast, machines: Machines) -> None:
    customer_claim(cast, 12)
    barrier = threading.Barrier(4)

    def run() -> None:
        try:
            barrier.wait(timeout=20)
            provisioning.provision_pass(now=clock.now(), backend=machines)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    joined = [key for what, key in machines.calls if what == "join"]
    assert sorted(joined) == sorted(Instance.objects.values_list("key", flat=True))
    assert states() == ["JOINING"] * 12
