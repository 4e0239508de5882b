"""R19: whatever is refused says why: class, zone, who holds the GPUs and with what right, when some are expected."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from claims.models import CapacityClaim, Instance, InstanceType, Offering, SimulatedNode
from console.common import clock
from deployments.core.reasons import Reason
from deployments.core.snapshot import CapacityClass
from deployments.core.states import ReplicaState
from deployments.models import AutoscalingPolicy, Deployment, Gateway, Replica, SignalBlock
from deployments.services import deployment_delete, deployment_set_disabled, hold_create
from deployments.shortage import Explanation, explanation_of
from deployments.shortage.limits import Limits
from deployments.shortage.room import Room
from deployments.shortage.words import BY_REASON, Facts, paragraph
from tests import fleet, world
from tests.cast import Cast
from tests.loop.test_failures import LIMIT, faulty, time_passes

pytestmark = pytest.mark.django_db

RESERVED, ON_DEMAND = "CAPACITY_CLASS_RESERVED", "CAPACITY_CLASS_ON_DEMAND"


@pytest.fixture
def of(cast: Cast) -> Offering:
    return world.offering()


@pytest.fixture
def front(cast: Cast, of: Offering) -> Gateway:
    return fleet.gateway(cast.admin.actor, "US-WEST-04A")


def explained(one: Deployment, *, platform: bool = False) -> Explanation:
    """As of the newest sample: the passes of a test run ahead of the clock."""
    newest = SignalBlock.objects.filter(instance_type=one.instance_type).latest("at")
    found = explanation_of(fleet.reread(one), max(clock.now(), newest.at), platform=platform)
    assert found is not None
    return found


def changes(found: Explanation) -> dict[str, tuple[str, int]]:
    return {one.kind: (one.text, one.replicas) for one in found.changes}


def run(of: Offering, passes: int = 2) -> None:
    fleet.run(of.instance_type, clock.now(), passes)


def serving(one: Deployment) -> int:
    return Replica.objects.filter(deployment=one, state=ReplicaState.READY).count()


def apart(cast: Cast, of: Offering, front: Gateway) -> None:
    """Two replicas of two GPUs, each on an instance of its own."""
    first = fleet.deployment(cast.admin.actor, front, of, name="first", gpu_count=2, max=1)
    fleet.deployment(cast.admin.actor, front, of, name="second", gpu_count=2, max=1)
    run(of)
    fleet.deployment(cast.admin.actor, front, of, name="third", gpu_count=2, max=1)
    run(of)
    deployment_delete(actor=cast.admin.actor, deployment_id=first.id)
    run(of)
    assert sorted(Instance.objects.values_list("gpus_used", flat=True))[-2:] == [2, 2]


def test_every_reason_of_bounds_and_contention_has_its_answer() -> None:
    assert {one for one in Reason if one // 100 in (5, 6)} <= set(BY_REASON)


def test_r19_a_full_pool_names_who_holds_it_and_what_would_help(cast: Cast, of: Offering, front: Gateway) -> None:
    world.pool(of, 3)
    world.quota(cast.organization, of, limit=4, other_usage=1)
    theirs = fleet.gateway(cast.outsider.actor, "US-WEST-04A")
    fleet.deployment(cast.outsider.actor, theirs, of, name="foreign", min=3)
    fleet.deployment(cast.admin.actor, front, of, name="batch", gpu_count=2, min=1, max=1, priority=50)
    run(of)
    one = fleet.deployment(cast.admin.actor, front, of, gpu_count=2, min=5, max=5, priority=500)
    run(of)
    found = explained(one)
    assert (found.code, found.wanted, found.granted, found.missing_gpus) == (Reason.POOL_EXHAUSTED, 5, 3, 4)
    assert found.text == (
        "2 more replicas need 4 GPUs, 2 each. The on-demand pool of gb200-4x in US-WEST-04A has 12 GPUs: 0 free for it; "
        "1 free on instances that serve another organization. The organization has no claim of gb200-4x there."
    )
    assert [(one.name, one.gpus, one.above_min, one.right) for one in found.holders] == [
        ("chat", 6, 0, "its min of 5, this one"),
        ("another organization", 4, 0, "on demand: no organization evicts another; 1 instance, 3 GPUs in use"),
        ("batch", 2, 0, "its min of 1"),
    ]
    assert changes(found) == {"claim": ("a CUSTOMER claim of 1 gb200-4x in US-WEST-04A (the quota leaves 3)", 2)}
    assert "foreign" not in str(found)
    assert "Theirs" not in str(found)
    assert "Theirs" in [one.name for one in explained(one, platform=True).holders]


def test_r19_gpus_above_another_deployments_min_are_named_with_the_change(
    cast: Cast, of: Offering, front: Gateway
) -> None:
    world.pool(of, 1)
    batch = fleet.deployment(cast.admin.actor, front, of, name="batch", min=4, max=4, priority=50)
    run(of)
    AutoscalingPolicy.objects.filter(deployment=batch).update(min=1)
    one = fleet.deployment(cast.admin.actor, front, of, gpu_count=2, min=1, max=1, priority=50)
    fleet.tick(of.instance_type)
    found = explained(one)
    assert [(h.name, h.gpus, h.above_min, h.right) for h in found.holders] == [
        ("batch", 4, 3, "priority 50; 3 GPUs above its min of 1")
    ]
    assert changes(found) == {
        "other": (
            "max 2 for batch (priority 50), which runs 4 replicas and holds 3 GPUs above its min of 1; its load asks for 4",
            1,
        ),
        "quota": ("more quota for gb200-4x in US-WEST-04A: a claim would need 1 instance, the limit of 0 leaves 0", 0),
    }
    assert [one.id for one in found.changes] == [batch.id, None]


def test_r19_gpus_of_a_higher_priority_are_told_and_not_suggested(cast: Cast, of: Offering, front: Gateway) -> None:
    world.pool(of, 1)
    high = fleet.deployment(cast.admin.actor, front, of, name="high", min=4, max=4, priority=900)
    run(of)
    AutoscalingPolicy.objects.filter(deployment=high).update(min=1)
    one = fleet.deployment(cast.admin.actor, front, of, gpu_count=2, min=1, max=1, priority=50)
    fleet.tick(of.instance_type)
    found = explained(one)
    assert [(row.name, row.above_min) for row in found.holders] == [("high", 3)]
    assert "other" not in changes(found)


def test_r19_a_claim_without_room_says_how_much_it_holds(cast: Cast, of: Offering, front: Gateway) -> None:
    world.pool(of, 3)
    claim = world.claim(cast.admin.actor, of, 1, name="prod")
    world.settle()
    one = fleet.deployment(cast.admin.actor, front, of, gpu_count=2, min=3, max=3, capacity_classes=(RESERVED,))
    run(of)
    found = explained(one)
    assert (found.code, found.missing) == (Reason.CLAIM_EXHAUSTED, 1)
    assert found.text == ("1 more replica needs 2 GPUs. Only reserved capacity is allowed. The organization's claims "
                          "there hold 4 GPUs, 0 of them free.")  # fmt: skip
    assert changes(found) == {
        "classes": ("allow ON_DEMAND (its replicas are replaced one by one then)", 1),
        "claim": ("claim prod: 2 gb200-4x in US-WEST-04A instead of 1 (1 free in the pool)", 1),
    }
    assert {one.id for one in found.changes if one.kind == "claim"} == {claim.id}


def test_r19_idle_gpus_of_a_claim_are_named_where_reserved_is_not_allowed(
    cast: Cast, of: Offering, front: Gateway
) -> None:
    world.pool(of, 1)
    world.claim(cast.admin.actor, of, 1, name="prod")
    world.settle()
    one = fleet.deployment(cast.admin.actor, front, of, capacity_classes=(ON_DEMAND,))
    run(of)
    found = explained(one)
    assert found.code == Reason.POOL_EXHAUSTED
    assert "Reserved capacity is not allowed for it." in found.text
    assert [(h.kind, h.name, h.gpus, h.right) for h in found.holders] == [
        ("claim", "prod", 4, "serverless claim of 1 instance, these GPUs idle")
    ]
    assert changes(found)["classes"] == ("allow RESERVED (its replicas are replaced one by one then)", 1)


def test_r19_gpus_that_lie_apart_are_counted_together_and_apart(cast: Cast, of: Offering, front: Gateway) -> None:
    world.pool(of, 2)
    apart(cast, of, front)
    one = fleet.deployment(cast.admin.actor, front, of, gpu_count=4)
    run(of)
    found = explained(one)
    assert found.code == Reason.FRAGMENTED
    assert found.text == ("1 more replica needs 4 GPUs. 4 GPUs are free in US-WEST-04A, but at most 2 together on one "
                          "instance; a replica needs 4 on one.")  # fmt: skip


def test_r19_several_whole_instances_are_asked_for_together(cast: Cast, of: Offering, front: Gateway) -> None:
    world.pool(of, 3)
    apart(cast, of, front)
    one = fleet.deployment(cast.admin.actor, front, of, gpu_count=8)
    run(of)
    found = explained(one)
    assert found.code == Reason.NO_WHOLE_INSTANCES
    assert "A replica takes 2 whole instances of 4 GPUs in one zone and class; at most 1 are empty" in found.text
    assert "claim" not in changes(found)
    assert changes(found)["quota"] == (
        "more quota for gb200-4x in US-WEST-04A: a claim would need 2 instances, the limit of 0 leaves 0",
        0,
    )
    world.quota(cast.organization, of, limit=1)
    assert changes(explained(one))["quota"][0].endswith("a claim would need 2 instances, the limit of 1 leaves 1")
    world.quota(cast.organization, of, limit=2)
    assert changes(explained(one))["claim"] == ("a CUSTOMER claim of 2 gb200-4x in US-WEST-04A (the quota leaves 2)", 1)


def test_r19_no_more_is_offered_to_claim_than_the_quota_leaves(cast: Cast, of: Offering, front: Gateway) -> None:
    world.pool(of, 1)
    world.quota(cast.organization, of, limit=1)
    one = fleet.deployment(cast.admin.actor, front, of, gpu_count=4, min=3, max=3)
    run(of)
    found = explained(one)
    assert found.missing == 2
    assert changes(found) == {"claim": ("a CUSTOMER claim of 1 gb200-4x in US-WEST-04A (the quota leaves 1)", 1)}
    assert found.changes[0].values == {"zone": "US-WEST-04A", "type": "gb200-4x", "count": "1", "kind": "CUSTOMER"}


def test_r19_without_a_claim_reserved_alone_gives_nothing(cast: Cast, of: Offering, front: Gateway) -> None:
    world.pool(of, 1)
    one = fleet.deployment(cast.admin.actor, front, of, capacity_classes=(RESERVED,))
    run(of)
    found = explained(one)
    assert found.code == Reason.NO_CLAIM
    assert "the organization has no claim of gb200-4x in US-WEST-04A" in found.text
    assert changes(found) == {
        "classes": ("allow ON_DEMAND (its replicas are replaced one by one then)", 1),
        "claim": ("a SERVERLESS claim of 1 gb200-4x in US-WEST-04A (1 free in the pool)", 1),
    }


def test_r19_a_type_that_is_not_offered_there_says_where_it_is(cast: Cast, of: Offering) -> None:
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor, "RNO2A"), of)
    world.pool(of, 1)
    world.offering("RNO2A").delete()
    run(of)
    found = explained(one)
    assert found.code == Reason.NO_ZONE
    assert "gb200-4x is not offered where its gateways serve (RNO2A)" in found.text
    assert changes(found) == {"zones": ("let its gateways serve US-WEST-04A", 1)}


def test_r19_a_replica_that_fits_on_nothing_says_what_would(cast: Cast, of: Offering, front: Gateway) -> None:
    world.pool(of, 1)
    InstanceType.objects.filter(key=of.instance_type.key).update(gpus=3)
    Instance.objects.update(gpus=3)
    one = fleet.deployment(cast.admin.actor, front, of, gpu_count=4)
    run(of)
    found = explained(one)
    assert found.code == Reason.NOT_ON_ONE_INSTANCE
    assert "4 GPUs fit neither on one gb200-4x (3 GPUs) nor on several whole ones" in found.text
    assert changes(found) == {"gpus": ("3 GPUs a replica instead of 4, or an instance type with 4 GPUs", 1)}


def test_r19_gpus_kept_for_a_min_name_whose_min(cast: Cast, of: Offering, front: Gateway) -> None:
    world.pool(of, 1)
    low = fleet.deployment(cast.admin.actor, front, of, name="low", min=1, max=4, priority=10)
    fleet.workload(low, scale=2.0)
    fleet.tick(of.instance_type)
    fleet.deployment(cast.admin.actor, front, of, name="high", gpu_count=4, min=1, max=1, priority=800)
    fleet.loaded()
    run(of, 16)
    found = explained(low)
    assert found.code == Reason.KEPT_FOR_PRIORITY, found.text
    assert found.text.endswith("3 GPUs are free in US-WEST-04A; they are kept until high reach their min.")
    assert [(one.name, one.text) for one in found.ahead] == [
        ("high", "priority 800, lacks 1 replica to its min: goes before")
    ]
    assert changes(found)["priority"] == ("priority 801 instead of 10", 3)


def test_r19_replicas_that_failed_say_when_the_next_is_tried_and_why(cast: Cast, of: Offering) -> None:
    one = faulty(cast, of, never_ready=True, error="no weights at this path")
    time_passes(LIMIT + timedelta(seconds=5))
    fleet.tick(of.instance_type)
    found, failed = explained(one), Replica.objects.get(retry_at__isnull=False)
    assert (found.code, found.missing) == (Reason.BACKING_OFF, 1)
    assert found.text.startswith("1 replica failed; the next try waits for its time.")
    assert f"Next try: {failed.retry_at:%Y-%m-%d %H:%M:%S} UTC. Last error: " in found.text
    assert "no weights at this path" in found.text


FACTS = Facts(
    type_name="gb200-4x", size=4, gpu_count=2, wanted=6, granted=4, min=1, max=9, wishes=8,
    asks=8, tolerance=10.0, limits=Limits([], [], 20), rooms=[Room("RNO2A", CapacityClass.ON_DEMAND, True, 12, 0, 0, 0, 4, 3)], gateway_zones=["RNO2A"], waiting=["high"],
    failed=[], signal="", other="batch", coming=1, moves=2, moves_short=1,
)  # fmt: skip


@pytest.mark.parametrize(("code", "said"), [
    (Reason.SHADOW, ["shadow: 6 replicas"]),
    (Reason.STALE, ["2 more replicas need 4 GPUs, 2 each", "the next pass plans again"]),
    (Reason.SCHEDULED_MAX, ["asks for 8 replicas", "allows at most 6"]),
    (Reason.MOVING, ["2 replicas are being replaced", "1 more have to be", "12 GPUs"]),
    (Reason.YIELDED, ["batch, which has a higher priority", "4 of 8"]),
    (Reason.RECLAIMED, ["batch", "its min of 1"]),
    (Reason.WAITS_FOR_RELEASE, ["For 1 replica", "batch has let its replicas go", "4 free but kept"]),
    (Reason.FROZEN, ["held at 6 replicas"]),
    (Reason.ROLLING_IN_PLACE, ["older revision goes first", "4 of 6", "12 GPUs"]),
])  # fmt: skip
def test_r19_what_comes_from_elsewhere_is_told_with_its_numbers_too(code: Reason, said: list[str]) -> None:
    for part in said:
        assert part in paragraph(code, FACTS)


def test_r19_at_its_max_the_load_says_what_max_would_do(cast: Cast, of: Offering, front: Gateway) -> None:
    world.pool(of, 1)
    one = fleet.deployment(cast.admin.actor, front, of, min=1, max=2)
    fleet.workload(one, scale=2.0)
    run(of, 16)
    found = explained(one)
    assert (found.code, found.wanted, found.granted) == (Reason.AT_MAX, 2, 2)
    assert found.wishes > 2
    assert found.text == f"Load asks for {found.wishes} replicas; its max is 2."
    assert changes(found) == {"max": (f"max {found.wishes} instead of 2", min(found.wishes, 4) - 2)}
    assert found.holders == []


def test_r19_a_hold_says_who_holds_why_and_until_when(cast: Cast, of: Offering, front: Gateway) -> None:
    world.pool(of, 1)
    one = fleet.deployment(cast.admin.actor, front, of, min=1, max=4)
    run(of)
    until = clock.now() + timedelta(hours=1)
    freeze = hold_create(
        actor=cast.admin.actor, kind="FREEZE", reason="incident 7", deployment_id=one.id, expires_at=until
    )
    fleet.workload(one, scale=2.0)
    run(of, 16)
    found = explained(one)
    assert (found.code, found.wanted, found.granted) == (Reason.FROZEN, 1, 1)
    assert found.wishes > 4
    assert found.text == (
        f"Held at 1 replica: frozen by token admin since {freeze.created_at:%Y-%m-%d %H:%M:%S} UTC, until "
        f"{until:%Y-%m-%d %H:%M} UTC: incident 7. A freeze keeps the size that was last wanted: a replica that fails is "
        f"replaced, and one that is missing starts once there is room. Load asks for {found.wishes} now."
    )
    assert changes(found)["hold"] == ("end the freeze by token admin (incident 7)", 3)
    assert next(change.id for change in found.changes if change.kind == "hold") == freeze.id
    hold_create(actor=cast.admin.actor, kind="PIN", reason="launch", deployment_id=one.id, size=2)
    run(of)
    found = explained(one)
    assert (found.code, found.wanted) == (Reason.PINNED, 2)
    assert "pinned to 2 by token admin since" in found.text
    assert ", until somebody ends it: launch" in found.text


def test_r19_a_fixed_size_is_no_shortage(cast: Cast, of: Offering, front: Gateway) -> None:
    world.pool(of, 1)
    one = fleet.deployment(cast.admin.actor, front, of, min=2, max=2)
    run(of)
    found = explained(one)
    assert (found.code, found.text) == (Reason.FIXED_SIZE, "Min and max are both 2: the size is fixed.")
    assert found.changes == []


def test_r19_a_disabled_deployment_says_so(cast: Cast, of: Offering, front: Gateway) -> None:
    world.pool(of, 1)
    one = fleet.deployment(cast.admin.actor, front, of)
    run(of)
    deployment_set_disabled(actor=cast.admin.actor, deployment_id=one.id, disabled=True)
    run(of, 3)
    found = explained(one)
    assert (found.code, found.text) == (Reason.DISABLED, "The deployment is disabled: no replicas.")
    assert changes(found) == {"enable": ("enable it", 1)}


def test_r19_without_a_signal_the_size_stays(cast: Cast, of: Offering, front: Gateway) -> None:
    world.pool(of, 1)
    one = fleet.deployment(cast.admin.actor, front, of)
    fleet.tick(of.instance_type)
    found = explained(one)
    assert found.code == Reason.HELD
    assert found.text.startswith("Without a signal to go by the size stays at 1.")


def test_r19_where_load_asks_for_no_more_nothing_holds_it_back(cast: Cast, of: Offering, front: Gateway) -> None:
    world.pool(of, 1)
    one = fleet.deployment(cast.admin.actor, front, of)
    fleet.workload(one, scale=0.01)
    run(of, 16)
    found = explained(one)
    assert found.text == "Nothing holds it back: load asks for 1 replica now, and it has them."
    assert found.changes == []


def test_r19_gpus_that_came_free_since_are_said_to_be(cast: Cast, of: Offering, front: Gateway) -> None:
    one = fleet.deployment(cast.admin.actor, front, of)
    run(of)
    assert explained(one).code == Reason.POOL_EXHAUSTED
    world.pool(of, 1)
    found = explained(one)
    assert found.granted == found.wanted == 1
    assert found.text.endswith("That was then: planned again now it gets all 1; the next pass starts them.")


def test_r19_what_joins_and_what_is_given_back_is_told_with_its_time(cast: Cast, of: Offering, front: Gateway) -> None:
    world.pool(of, 2)
    world.quota(cast.organization, of, limit=2)
    theirs = world.claim(cast.outsider.actor, of, 2, name="secret")
    mine = world.claim(cast.admin.actor, of, 1, "CUSTOMER", name="slow")
    world.settle(2)
    one = fleet.deployment(cast.admin.actor, front, of)
    run(of)
    reduction = clock.now() + timedelta(minutes=40)
    CapacityClaim.objects.filter(key=theirs.key).update(target=1, reduction_at=reduction)
    found = explained(one)
    joining = Instance.objects.get(claim=mine)
    assert joining.expected_at is not None
    assert [(one.gpus, one.zone, one.text, one.at) for one in found.expected] == sorted([
        (4, "US-WEST-04A", "an instance of claim slow joins", joining.expected_at),
        (4, "US-WEST-04A", "a claim of another organization gives 1 instance back to the pool", reduction),
    ], key=lambda row: row[3])  # fmt: skip
    assert SimulatedNode.objects.exists()
    assert "secret" not in str(found)
    assert "secret of Theirs" in str(explained(one, platform=True))


def test_r19_claims_that_wait_stand_ahead_in_the_pool(cast: Cast, of: Offering, front: Gateway) -> None:
    world.pool(of, 1)
    fleet.deployment(cast.admin.actor, front, of, name="big", gpu_count=4, max=1)
    run(of)
    world.claim(cast.admin.actor, of, 2, name="prod")  # its own replica's instance is converted at once (C4)
    world.claim(cast.outsider.actor, of, 1, name="secret")
    world.settle()
    one = fleet.deployment(cast.admin.actor, front, of)
    run(of)
    assert [(row.kind, row.name, row.gpus, row.text) for row in explained(one).ahead] == [
        ("claim", "a claim of another organization", 4, "waits for 1 instance in US-WEST-04A, ahead of on-demand growth"),
    ]  # fmt: skip


def test_r19_another_organization_that_waits_is_told_by_its_count(cast: Cast, of: Offering, front: Gateway) -> None:
    world.pool(of, 1)
    fleet.deployment(cast.admin.actor, front, of, name="big", gpu_count=4, max=1)
    run(of)
    fleet.deployment(cast.outsider.actor, fleet.gateway(cast.outsider.actor), of, name="foreign", min=2)
    one = fleet.deployment(cast.admin.actor, front, of)
    run(of)
    assert [(row.kind, row.name, row.gpus, row.text) for row in explained(one).ahead] == [
        ("organization", "another organization", 2,
         "holds 0 GPUs of the pool there, this organization 4: the fewest goes first"),
    ]  # fmt: skip


def test_before_the_first_decision_there_is_nothing_to_explain(cast: Cast, of: Offering, front: Gateway) -> None:
    one = fleet.deployment(cast.admin.actor, front, of)
    assert explanation_of(fleet.reread(one), clock.now()) is None


def test_an_explanation_takes_as_many_queries_whatever_there_is(cast: Cast, of: Offering, front: Gateway) -> None:
    world.pool(of, 1)
    one = fleet.deployment(cast.admin.actor, front, of, min=5)
    run(of)

    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            explained(one)
        return len(found)

    queries()
    before = queries()
    for number in range(4):
        fleet.deployment(cast.admin.actor, front, of, name=f"more-{number}", min=2)
        world.claim(cast.admin.actor, of, 1, name=f"more-{number}")
    run(of)
    assert Replica.objects.count() > 3
    assert queries() == before
    assert before <= 31


def test_of_many_holders_and_waiters_a_few_are_told_and_the_rest_counted(
    cast: Cast, of: Offering, front: Gateway
) -> None:
    world.pool(of, 6)
    for number in range(24):
        fleet.deployment(cast.admin.actor, front, of, name=f"small-{number:02}", max=1, priority=9)
    run(of)
    AutoscalingPolicy.objects.update(min=2, max=2)
    one = fleet.deployment(cast.admin.actor, front, of, priority=9)
    fleet.tick(of.instance_type)
    found = explained(one)
    assert [(row.name, row.gpus) for row in found.holders if row.id is None] == [("4 more", 4)]
    assert len(found.holders) == 21
    assert sum(row.gpus for row in found.holders) == 24
    assert len(found.ahead) == 21
    assert found.ahead[-1].name == "4 more"


def test_nothing_is_stored_by_an_explanation(cast: Cast, of: Offering, front: Gateway) -> None:
    world.pool(of, 1)
    one = fleet.deployment(cast.admin.actor, front, of, min=5)
    run(of)

    def stored() -> list[Any]:
        return [list(model.objects.values()) for model in (Instance, Replica, Deployment, AutoscalingPolicy)]

    before = stored()
    explained(one)
    assert stored() == before


def test_r19_the_explanation_is_told_over_the_api(cast: Cast, of: Offering, front: Gateway) -> None:
    world.pool(of, 1)
    one = fleet.deployment(cast.admin.actor, front, of, min=5, max=5)
    address = f"/api/v1/deployments/{one.id}/explanation"
    assert cast.viewer.api().get(address).json()["reason"] is None
    run(of)
    said = cast.viewer.api().get(address).json()
    assert said["reason"] == {"code": "POOL_EXHAUSTED", "stage": "contention"}
    assert (said["wanted"], said["granted"], said["missing"]) == (5, 4, {"replicas": 1, "gpus": 1})
    assert [(row["zone"], row["capacityClass"], row["gpus"], row["free"]) for row in said["room"]] == [
        ("US-WEST-04A", "CAPACITY_CLASS_RESERVED", 0, 0), ("US-WEST-04A", "CAPACITY_CLASS_ON_DEMAND", 4, 0),
    ]  # fmt: skip
    assert said["holders"][0]["id"] == str(one.id)
    assert [(row["kind"], row["moreReplicasNow"]) for row in said["changes"]] == [("quota", 0)]
    world.quota(cast.organization, of, limit=1)
    said = cast.viewer.api().get(address).json()
    (change,) = said["changes"]
    place = {"zone": "US-WEST-04A", "type": "gb200-4x", "count": "1", "kind": "CUSTOMER"}
    assert (change["kind"], change["moreReplicas"], change["moreReplicasNow"]) == ("claim", 1, 0)
    assert (change["values"], change["first"], change["id"]) == (place, {}, None)
    assert said["decision"]["granted"] == 4
    assert cast.outsider.api().get(address).status_code == 404
