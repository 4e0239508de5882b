"""C3 and W1 at once: sixteen clients on one quota and one pool. With the locks off the same run fails, which shows that it
would see what it looks for."""

import os
import time
from typing import Any

import pytest

from claims import locks
from claims.core.states import InstanceState
from claims.models import CapacityClaim, Instance, Offering, UsageInterval
from claims.services import quota
from console.dashboard.invariants import breaches
from tests import world
from tests.cast import Cast
from tests.claims.contest import CLIENTS, Report, contest, everything_goes
from tests.claims.unlocked import without_quota_locks

pytestmark = pytest.mark.django_db(transaction=True)

OPERATIONS, WITHIN_S = 3_000, 15.0  # fewer on a machine that does not manage them in that time
SEEN_WITHIN_S = 30.0
LONG = int(os.environ.get("HEADROOM_CONTEST", "200000"))
PAUSE_S = 0.1
POOL = LIMIT = 30  # for 16 clients who hold up to three claims each, of up to three instances


def prepared(cast: Cast) -> Offering:
    of = world.offering()
    world.pool(of, POOL)
    world.quota(cast.organization, of, limit=LIMIT + 2, other_usage=2)
    return of


def wrong_in_the_end(cast: Cast, report: Report) -> list[str]:
    """After the last claim is gone: what is stuck or leaked, and every invariant that does not hold."""
    found = [*report.wrong, *everything_goes(cast.admin.actor)]
    found += [f"{one.invariant}: {one.rows[:3]}" for one in breaches()]
    left = Instance.objects.exclude(state=InstanceState.RELEASED)
    free = left.filter(state=InstanceState.READY, source="POOL", claim=None, organization=None, kept=False)
    if (left.count(), free.count()) != (POOL, POOL):
        found.append(f"{left.count()} instances are left, {free.count()} of them free; the pool has {POOL}")
    if UsageInterval.objects.filter(ended_at=None).exists():
        found.append("something is still billed")
    return found


def kinds_of(report: Report) -> set[str]:
    return {one.split(":")[0] for one in report.wrong}


def run(cast: Cast, operations: int, within_s: float | None = None) -> None:
    report = contest(cast.admin.actor, prepared(cast), operations, within_s)
    assert wrong_in_the_end(cast, report) == []
    done = report.done
    asked = done["created"] + done["resized"] + done["deleted"] + done["QUOTA_EXCEEDED"]
    print(f"{asked} operations in {report.seconds:.1f} s: {dict(done)}, {report.looks} looks")
    assert asked == operations // CLIENTS * CLIENTS or (within_s and report.seconds >= within_s)
    assert min(done["created"], done["resized"], done["deleted"], done["QUOTA_EXCEEDED"]) > asked / 50
    assert done["passes"] >= 3
    assert report.looks > 5
    assert not CapacityClaim.objects.exists()


@pytest.mark.thorough
def test_c3_sixteen_clients_at_once_never_exceed_quota_nor_share_an_instance(cast: Cast) -> None:
    run(cast, OPERATIONS, WITHIN_S)


@pytest.mark.long
def test_c3_sixteen_clients_for_long_never_exceed_quota_nor_share_an_instance(cast: Cast) -> None:
    run(cast, LONG)


def test_w1_without_the_locks_the_same_sixteen_clients_are_seen_to_fail(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = prepared(cast)
    monkeypatch.setattr(locks, "offerings_lock", lambda keys: None)
    without_quota_locks(monkeypatch, PAUSE_S)
    # Between looking and writing: long enough that others come in between on any machine, however loaded.
    read = quota.commitments_of

    def read_and_wait(*of_what: Any) -> Any:
        found = read(*of_what)
        time.sleep(PAUSE_S)
        return found

    monkeypatch.setattr(quota, "commitments_of", read_and_wait)

    def enough(report: Report) -> bool:
        return "above quota" in kinds_of(report) and len(kinds_of(report)) > 1

    report = contest(cast.admin.actor, of, 1_600, SEEN_WITHIN_S, enough=enough)
    kinds = kinds_of(report)
    assert "above quota" in kinds, f"the test cannot see the race it is about: only {kinds}, {dict(report.done)}"
    assert kinds - {"above quota"}, "two took the same instance, and nothing was seen of it"
