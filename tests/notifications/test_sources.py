"""What is told, when, and how often: quota, budgets, claims, statements, shortages."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from claims import metering
from claims.budgets import budget_set
from claims.models import CapacityClaim, Instance, Offering, QuotaLevel, UsageInterval
from claims.notices import budget_notices_pass, quota_level_move, quota_notices_pass
from claims.selectors import quota_of
from claims.services import claim_resize
from claims.services.fulfilment import fulfil_pass
from claims.statements.closing import statements_pass
from claims.tasks import budget_notices, quota_notices
from console.common import clock
from console.common.ids import new_id
from console.loops.models import Loop
from console.notifications.models import Kind, Notification
from deployments.models import Decision, Deployment
from deployments.notices import MOST_OF_ONE, SHORT_FOR, shortage_notices_pass
from deployments.tasks import shortage_notices
from tests import fleet, world
from tests.cast import Cast

pytestmark = pytest.mark.django_db

HOUR, DAY, MINUTE = timedelta(hours=1), timedelta(days=1), timedelta(minutes=1)
NOON = datetime(2026, 6, 10, 12, tzinfo=UTC)


def told(kind: Kind) -> list[str]:
    """Subjects, oldest first."""
    return list(Notification.objects.filter(kind=kind).order_by("created_at", "id").values_list("subject", flat=True))


# --- quota -----------------------------------------------------------------------------------------
@pytest.fixture
def of(cast: Cast) -> Offering:
    found = world.offering()
    world.quota(cast.organization, found, limit=20)
    return found


def quota_pass() -> None:
    quota_notices_pass(now=clock.now())


def test_each_crossing_of_80_and_95_percent_is_told_once(cast: Cast, of: Offering) -> None:
    claim = world.claim(cast.admin.actor, of, 15, "CUSTOMER")
    quota_pass()
    assert told(Kind.QUOTA_NOTICE) == []
    claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=world.resources(of, 16, "CUSTOMER"))
    quota_pass()
    quota_pass()
    assert told(Kind.QUOTA_NOTICE) == [f"80 % of the quota of {of} is used"]
    claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=world.resources(of, 19, "CUSTOMER"))
    quota_pass()
    quota_pass()
    assert told(Kind.QUOTA_NOTICE)[1:] == [f"95 % of the quota of {of} is used"]
    one = Notification.objects.get(key__contains=":95:")
    assert one.data == {"zone": of.zone.name, "instanceId": of.instance_type.name, "percent": 95, "limit": 20,
                        "committed": 19, "otherUsage": 0}  # fmt: skip
    assert one.path == f"/quota/{of.zone.name}/{of.instance_type.name}"


def test_it_is_told_again_only_after_use_was_below(cast: Cast, of: Offering) -> None:
    world.quota(cast.organization, of, limit=20, other_usage=16)
    quota_pass()
    world.quota(cast.organization, of, limit=20, other_usage=18)
    quota_pass()
    assert len(told(Kind.QUOTA_NOTICE)) == 1, "more use of the same level is no crossing"
    world.quota(cast.organization, of, limit=20, other_usage=15)
    quota_pass()
    assert len(told(Kind.QUOTA_NOTICE)) == 1, "falling below says nothing"
    world.quota(cast.organization, of, limit=20, other_usage=16)
    quota_pass()
    assert len(told(Kind.QUOTA_NOTICE)) == 2
    assert QuotaLevel.objects.get().crossings == 2


def test_between_the_levels_the_lower_one_is_not_told_again(cast: Cast, of: Offering) -> None:
    for other in (19, 17, 19):
        world.quota(cast.organization, of, limit=20, other_usage=other)
        quota_pass()
    assert told(Kind.QUOTA_NOTICE) == [f"95 % of the quota of {of} is used"] * 2


def test_a_pass_that_looked_before_another_stored_it_tells_nothing(cast: Cast, of: Offering) -> None:

    world.quota(cast.organization, of, limit=20, other_usage=19)
    row, now = quota_of(cast.organization, of), clock.now()
    given = {"organization": cast.organization, "row": row, "before": 0, "reached": 95, "now": now}
    assert quota_level_move(**given)  # type: ignore[arg-type]
    assert not quota_level_move(**given)  # type: ignore[arg-type]
    assert len(told(Kind.QUOTA_NOTICE)) == 1


def test_a_pass_where_nothing_changed_asks_little(cast: Cast, of: Offering) -> None:
    world.claim(cast.admin.actor, of, 19, "CUSTOMER")
    world.quota(cast.other, of, limit=3, other_usage=3)
    quota_pass()
    assert len(told(Kind.QUOTA_NOTICE)) == 2, "each organization hears of its own"
    now = clock.now()
    with CaptureQueriesContext(connection) as found:
        assert quota_notices_pass(now=now) == 0
    assert len(found) == 3


# --- budgets ---------------------------------------------------------------------------------------
def spent(cast: Cast, hours: int) -> None:
    """So many hours of one GPU on demand, at 10.50 USD."""
    world.offering()
    UsageInterval.objects.create(
        kind="REPLICA", resource_key=UsageInterval.objects.count() + 1, organization=cast.organization,
        offering=world.offering(), instance=world.gone(world.offering()), gpus=1, holder_id=new_id(), holder_name="chat",
        started_at=NOON - hours * HOUR, ended_at=NOON,
    )  # fmt: skip


def budget(cast: Cast, amount: str) -> None:
    budget_set(actor=cast.billing.actor, organization=cast.organization, amount=Decimal(amount), now=NOON)


def test_budgets_are_told_of_once_for_each_threshold_and_anew_for_another_amount(cast: Cast) -> None:
    spent(cast, 10)  # 105 USD, all of it before the last seven days' end: the forecast goes on like that
    budget(cast, "1000000.00")
    assert budget_notices_pass(now=NOON) == 0
    budget(cast, "200.00")
    budget_notices_pass(now=NOON)
    assert "50 % of the budget of 2026-06 is spent" in told(Kind.BUDGET)
    before = len(told(Kind.BUDGET))
    assert budget_notices_pass(now=NOON + MINUTE) == 0
    budget(cast, "100.00")
    assert budget_notices_pass(now=NOON) == 1
    assert told(Kind.BUDGET)[before:] == ["100 % of the budget of 2026-06 is spent"]
    assert "budget:2026-06:100.00:100" in Notification.objects.values_list("key", flat=True)
    assert budget_notices_pass(now=NOON + HOUR) == 0


def test_a_forecast_above_the_budget_is_told(cast: Cast) -> None:
    spent(cast, 10)
    budget(cast, "250.00")
    budget_notices_pass(now=NOON)
    assert told(Kind.BUDGET) == ["2026-06 is going to exceed its budget"]
    assert Notification.objects.get().data["forecast"] > "250"


# --- claims ----------------------------------------------------------------------------------------
def lose(claim: CapacityClaim) -> None:
    instance = claim.instances.filter(state="READY", lost_at=None).order_by("key")[0]
    Instance.objects.filter(key=instance.key).update(lost_at=clock.now())
    fulfil_pass(now=clock.now())


def test_a_claim_that_loses_an_instance_is_told_of_once_until_it_is_whole(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 2)
    claim = world.claim(cast.admin.actor, of, 2)
    world.settle(2)
    assert told(Kind.CLAIM_DEGRADED) == []
    lose(claim)
    fulfil_pass(now=clock.now())
    assert told(Kind.CLAIM_DEGRADED) == ["mine is degraded"]
    assert Notification.objects.get(kind=Kind.CLAIM_DEGRADED).path == f"/claims/{claim.id}"
    world.everything_arrives()
    assert world.reread(claim).status == "STATUS_READY"
    assert len(told(Kind.CLAIM_DEGRADED)) == 1
    lose(claim)
    assert len(told(Kind.CLAIM_DEGRADED)) == 2, "it is another loss"


# --- statements ------------------------------------------------------------------------------------
def test_a_statement_is_told_of_when_it_is_closed(cast: Cast) -> None:
    spent(cast, 10)
    third = datetime(2026, 7, 3, tzinfo=UTC)
    metering.meter_pass(third + 3 * MINUTE)
    assert statements_pass(now=third) == 1
    assert statements_pass(now=third + HOUR) == 0
    one = Notification.objects.get(kind=Kind.STATEMENT_CLOSED)
    assert (one.key, one.path) == ("statement:2026-06", "/billing/statements/2026-06")
    assert one.data["total"] == "105.00"


# --- shortage --------------------------------------------------------------------------------------
def decided(of: Deployment, at: datetime, wanted: int, granted: int, bound: str = "CAPACITY") -> Decision:
    return Decision.objects.create(
        deployment=of,
        organization=of.organization,
        at=at,
        current=granted,
        wanted=wanted,
        granted=granted,
        bound=bound,
        record={},
    )


@pytest.fixture
def chat(cast: Cast) -> Deployment:
    return fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), world.offering(), min=2, max=9)


def test_a_shortage_is_told_of_after_some_minutes_once_an_episode(cast: Cast, chat: Deployment) -> None:
    decided(chat, NOON - HOUR, 3, 3, "NONE")
    decided(chat, NOON, 5, 3)
    decided(chat, NOON + MINUTE, 6, 3)
    assert shortage_notices_pass(now=NOON + SHORT_FOR - MINUTE) == 0
    assert shortage_notices_pass(now=NOON + SHORT_FOR) == 1
    assert shortage_notices_pass(now=NOON + HOUR) == 0
    one = Notification.objects.get()
    assert (one.subject, one.path) == ("chat is short of capacity", f"/deployments/{chat.id}")
    assert (one.data["wanted"], one.data["granted"], one.data["bound"]) == (6, 3, "CAPACITY")
    assert "3 of 6 wanted" in one.text
    decided(chat, NOON + HOUR, 6, 6, "NONE")
    assert shortage_notices_pass(now=NOON + 2 * HOUR) == 0
    decided(chat, NOON + 2 * HOUR, 8, 6)
    assert shortage_notices_pass(now=NOON + 3 * HOUR) == 1
    assert len(told(Kind.SHORTAGE)) == 2


@pytest.mark.parametrize(("wanted", "granted", "bound", "disabled"), [
    (5, 5, "MAX", False), (9, 5, "MAX", False), (9, 5, "HOLD", False), (5, 3, "CAPACITY", True),
])  # fmt: skip
def test_what_is_no_shortage_is_not_told(
    cast: Cast, chat: Deployment, wanted: int, granted: int, bound: str, disabled: bool
) -> None:
    decided(chat, NOON, wanted, granted, bound)
    Deployment.objects.update(disabled=disabled)
    assert shortage_notices_pass(now=NOON + HOUR) == 0
    assert not Notification.objects.exists()


def test_of_many_shortages_some_are_told_in_each_pass(cast: Cast, chat: Deployment) -> None:
    gateway = chat.gateways.get()
    for n in range(MOST_OF_ONE + 4):
        another = fleet.deployment(cast.admin.actor, gateway, world.offering(), name=f"chat-{n}", min=1, max=9)
        decided(another, NOON + n * MINUTE, 5, 3)
    with CaptureQueriesContext(connection) as found:
        assert shortage_notices_pass(now=NOON + 2 * HOUR) == MOST_OF_ONE
    assert len(found) <= MOST_OF_ONE + 3
    assert shortage_notices_pass(now=NOON + 2 * HOUR) == 4
    assert told(Kind.SHORTAGE)[0] == "chat-0 is short of capacity", "the longest first"
    assert shortage_notices_pass(now=NOON + 2 * HOUR) == 0


def test_the_tasks_are_passes_of_their_loops(cast: Cast, chat: Deployment, of: Offering) -> None:
    for task in (quota_notices, budget_notices, shortage_notices):
        task()
        task()
    assert dict(Loop.objects.values_list("name", "passes")) == {
        "quota-notices": 1, "budget-notices": 1, "shortage-notices": 1,
    }  # fmt: skip
