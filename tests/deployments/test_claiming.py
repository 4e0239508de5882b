"""C4, R19: a claim that is advised gives as many replicas as was said, and one instance less would not."""

from datetime import timedelta

import pytest

from claims.models import CapacityClaim, Offering
from claims.services import claim_resize
from console.common import clock
from deployments.core.states import ReplicaState
from deployments.models import AutoscalingPolicy, Deployment, Gateway, Replica
from deployments.shortage.case import Change
from tests import fleet, world
from tests.cast import Cast
from tests.deployments.test_shortage import ON_DEMAND, RESERVED, changes, explained, front, of, run, serving

__all__ = ["front", "of"]
pytestmark = pytest.mark.django_db


def advised(one: Deployment) -> Change:
    (change,) = [each for each in explained(one).changes if each.kind == "claim"]
    return change


def resized(cast: Cast, of: Offering, claim: CapacityClaim, count: int) -> None:
    claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=world.resources(of, count, claim.kind))
    world.settle()
    run(of)


def test_c4_what_the_pool_does_not_have_is_claimed_by_quota(cast: Cast, of: Offering, front: Gateway) -> None:
    """A larger claim of the pool would take over what carries its replicas already, and wait for the rest."""
    world.pool(of, 3)
    claim = world.claim(cast.admin.actor, of, 1, name="prod")
    world.settle()
    one = fleet.deployment(cast.admin.actor, front, of, gpu_count=4, min=4, max=4)
    run(of)
    assert serving(one) == 3
    assert set(changes(explained(one))) == {"quota"}
    resized(cast, of, claim, 4)
    assert serving(one) == 3
    waits = [(row.gpus, row.text, row.at) for row in explained(one).expected]
    assert (4, "claim prod waits for 1 instance of the pool, ahead of on-demand growth", None) in waits
    assert explained(one).ahead == [], "what it gets is for this one too"
    world.quota(cast.organization, of, limit=2)
    advice = advised(one)
    assert (advice.values["count"], advice.values["kind"], advice.replicas, advice.now) == ("1", "CUSTOMER", 1, 0)
    world.claim(cast.admin.actor, of, 1, "CUSTOMER", name="own")
    world.everything_arrives()
    run(of)
    assert serving(one) == 4


def test_c4_machines_that_carry_its_replicas_are_taken_over_for_those_that_need_a_claim(
    cast: Cast, of: Offering, front: Gateway
) -> None:
    world.pool(of, 2)
    fleet.deployment(cast.admin.actor, front, of, name="batch", min=2, max=2, capacity_classes=(ON_DEMAND,))
    run(of)
    one = fleet.deployment(cast.admin.actor, front, of, min=6, max=6, capacity_classes=(RESERVED,))
    run(of)
    advice = advised(one)
    assert (advice.values["count"], advice.values["kind"], advice.replicas, advice.now) == ("2", "SERVERLESS", 6, 6)
    assert advice.text.endswith("(1 free in the pool, 1 where replicas of yours run on demand already)")
    world.claim(cast.admin.actor, of, 2, name="prod")
    world.settle()
    run(of)
    assert serving(one) == 6


def test_c4_free_machines_of_the_pool_are_claimed_before_others_are_taken_over(
    cast: Cast, of: Offering, front: Gateway
) -> None:
    world.pool(of, 4)
    claim = world.claim(cast.admin.actor, of, 1, name="prod")
    world.settle()
    fleet.deployment(cast.admin.actor, front, of, name="batch", gpu_count=4, max=1, capacity_classes=(ON_DEMAND,))
    one = fleet.deployment(cast.admin.actor, front, of, gpu_count=4, min=3, max=3, capacity_classes=(RESERVED,))
    run(of)
    assert serving(one) == 1
    advice = advised(one)
    assert (advice.values, advice.replicas, advice.now) == ({"count": "3"}, 2, 2)
    assert advice.text.endswith("3 gb200-4x in US-WEST-04A instead of 1 (2 free in the pool)")
    resized(cast, of, claim, 3)
    assert serving(one) == 3


def test_r19_no_more_is_claimed_than_gives_anything(cast: Cast, of: Offering, front: Gateway) -> None:
    """Four replicas of one GPU fit on one instance, however many machines are free."""
    world.pool(of, 4)
    claim = world.claim(cast.admin.actor, of, 1, name="prod")
    world.settle()
    one = fleet.deployment(cast.admin.actor, front, of, min=7, max=7, capacity_classes=(RESERVED,))
    run(of)
    assert (serving(one), advised(one).values, advised(one).replicas) == (4, {"count": "2"}, 3)
    resized(cast, of, claim, 2)
    assert serving(one) == 7


def test_r19_what_joins_already_is_not_claimed_once_more(cast: Cast, of: Offering, front: Gateway) -> None:
    world.quota(cast.organization, of, limit=9)
    world.claim(cast.admin.actor, of, 2, "CUSTOMER", name="prod")
    world.settle()
    one = fleet.deployment(cast.admin.actor, front, of, gpu_count=4, min=3, max=3, capacity_classes=(RESERVED,))
    run(of)
    assert (serving(one), explained(one).missing) == (0, 3)
    advice = advised(one)
    assert (advice.values, advice.replicas, advice.now) == ({"count": "3"}, 1, 0)
    assert advice.text.endswith("3 gb200-4x in US-WEST-04A instead of 2 (the quota leaves 7)")


def test_r19_a_claim_that_its_classes_leave_out_says_what_comes_first(cast: Cast, of: Offering, front: Gateway) -> None:
    world.pool(of, 1)
    world.quota(cast.organization, of, limit=1)
    one = fleet.deployment(cast.admin.actor, front, of, gpu_count=4, min=2, max=2, capacity_classes=(ON_DEMAND,))
    run(of)
    advice = advised(one)
    assert advice.text == (
        "allow RESERVED (its replicas are replaced one by one then), and a CUSTOMER claim of 1 gb200-4x in US-WEST-04A (the "
        "quota leaves 1)"
    )
    assert advice.first == {"classes": f"{ON_DEMAND},{RESERVED}"}
    assert advice.values == {"zone": "US-WEST-04A", "type": "gb200-4x", "count": "1", "kind": "CUSTOMER"}


def test_r19_while_a_reduction_waits_more_than_what_is_held_is_proposed(
    cast: Cast, of: Offering, front: Gateway
) -> None:
    world.pool(of, 4)
    claim = world.claim(cast.admin.actor, of, 2, name="prod")
    world.settle()
    now = clock.now()
    CapacityClaim.objects.filter(key=claim.key).update(
        target=1, reduced_at=now, reduction_at=now + timedelta(minutes=50)
    )
    one = fleet.deployment(cast.admin.actor, front, of, gpu_count=4, min=3, max=3, capacity_classes=(RESERVED,))
    run(of)
    advice = advised(one)
    assert advice.text.startswith("claim prod: 3 gb200-4x in US-WEST-04A instead of 2")
    assert advice.values == {"count": "3"}


def test_r19_holders_say_what_is_claimed_and_what_drains(cast: Cast, of: Offering, front: Gateway) -> None:
    world.pool(of, 2)
    world.claim(cast.admin.actor, of, 1, name="prod")
    world.settle()
    batch = fleet.deployment(cast.admin.actor, front, of, name="batch", gpu_count=2, min=4, max=4)
    run(of)
    AutoscalingPolicy.objects.filter(deployment=batch).update(min=1)
    one = fleet.deployment(cast.admin.actor, front, of, gpu_count=4)
    fleet.tick(of.instance_type)
    leaving = Replica.objects.filter(deployment=batch, state=ReplicaState.READY).order_by("-key")[0]
    Replica.objects.filter(key=leaving.key).update(state=ReplicaState.DRAINING)
    (held,) = explained(one).holders
    assert (held.name, held.gpus, held.above_min) == ("batch", 8, 4)
    assert held.right == "priority 0; 4 GPUs above its min of 1; 2 of replicas that drain; 4 on claims"


def test_r19_where_there_is_no_pool_it_says_so(cast: Cast, of: Offering, front: Gateway) -> None:
    one = fleet.deployment(cast.admin.actor, front, of)
    run(of)
    assert "There is no on-demand pool of gb200-4x in US-WEST-04A." in explained(one).text


def test_r11_those_that_go_first_are_counted_in(cast: Cast, of: Offering, front: Gateway) -> None:
    """Two machines for a higher priority, and only then two for it."""
    world.pool(of, 1)
    world.quota(cast.organization, of, limit=9)
    fleet.deployment(cast.admin.actor, front, of, name="high", gpu_count=4, min=3, max=3, priority=900)
    low = fleet.deployment(cast.admin.actor, front, of, name="low", gpu_count=4, min=2, max=2, priority=10)
    run(of)
    assert (serving(low), advised(low).values["count"], advised(low).replicas) == (0, "4", 2)
    assert advised(low).text.endswith("(the quota leaves 9; high gets 2 more)")
    world.claim(cast.admin.actor, of, 4, "CUSTOMER", name="prod")
    world.everything_arrives()
    run(of)
    assert serving(low) == 2
    assert explained(low).changes == []
