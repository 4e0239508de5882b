"""What a deployment costs: at min, now, at max, and by request."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from claims.models import Price, UsageInterval
from console.common import clock
from deployments.core.states import ReplicaState
from deployments.costs import Costs, costs_of, finished_since
from deployments.models import AutoscalingPolicy, Deployment, Replica
from deployments.selectors import replicas_of
from tests import fleet, world
from tests.cast import Cast

pytestmark = pytest.mark.django_db
ON_DEMAND, RESERVED = Decimal("10.50"), Decimal("6.30")  # of gb200-4x, by the catalogue
NOTHING = Decimal(0)


def costs(one: Deployment) -> Costs:
    found = costs_of(fleet.reread(one), list(replicas_of(one)), clock.now())
    assert found is not None
    return found


def made(cast: Cast, gpu_count: int = 2, **changes: Any) -> Deployment:
    of = world.offering()
    at = fleet.gateway(cast.admin.actor, "US-WEST-04A")
    return fleet.deployment(cast.admin.actor, at, of, gpu_count=gpu_count, **changes)


def test_without_claims_everything_is_on_demand(cast: Cast) -> None:
    found = costs(made(cast, min=1, max=5))
    assert (found.rates.on_demand, found.rates.reserved) == (ON_DEMAND, RESERVED)
    assert (found.at_min.on_demand, found.at_max.on_demand) == (2 * ON_DEMAND, 10 * ON_DEMAND)
    assert (found.at_max.covered, found.at_max.with_claims) == (0, 10 * ON_DEMAND)
    assert (found.now.replicas, found.now.with_claims) == (0, NOTHING)


def test_what_claims_have_room_for_is_their_share(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 1)
    world.quota(cast.organization, of, limit=1, reserved=1)
    world.claim(cast.admin.actor, of, 1, "CUSTOMER", name="own")
    world.claim(cast.admin.actor, of, 1, name="pool")
    world.everything_arrives()
    found = costs(made(cast, min=1, max=5))
    assert (found.at_min.covered, found.at_min.share, found.at_min.beyond) == (1, 2 * RESERVED, NOTHING)
    assert found.at_max.covered == 4, "two on the customer's machine, two on the pool's"
    assert found.at_max.share == 4 * RESERVED + 4 * ON_DEMAND
    assert found.at_max.beyond == 2 * ON_DEMAND
    alone = costs(made_on_demand(cast))
    assert (alone.at_max.covered, alone.at_max.with_claims) == (0, 10 * ON_DEMAND)


def made_on_demand(cast: Cast) -> Deployment:
    return fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor, "US-WEST-04A", name="second"),
                            world.offering(), name="alone", gpu_count=2,
                            capacity_classes=("CAPACITY_CLASS_ON_DEMAND",))  # fmt: skip


def test_replicas_of_whole_instances_are_covered_by_whole_instances(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 3)
    world.claim(cast.admin.actor, of, 3, name="pool")
    world.settle(2)
    assert costs(made(cast, gpu_count=8, max=5)).at_max.covered == 1, "three instances hold one replica of two"


def test_now_is_what_runs_where_it_runs(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 2)
    world.claim(cast.admin.actor, of, 1, name="pool")
    world.settle(2)
    one = made(cast, min=3, max=3)
    fleet.run(of.instance_type, clock.now(), 1)
    found = costs(one).now
    assert (found.replicas, found.covered) == (3, 2)
    assert (found.beyond, found.share) == (2 * ON_DEMAND, 4 * ON_DEMAND)


def test_the_last_hour_is_rated_from_the_ledger(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 1)
    one = made(cast, min=1, max=1)
    fleet.run(of.instance_type, clock.now(), 1)
    row = UsageInterval.objects.get()
    UsageInterval.objects.create(
        kind=row.kind, resource_key=row.resource_key + 10**6, organization=row.organization, offering=row.offering,
        instance=row.instance, gpus=2, holder_id=one.id, holder_name="chat",
        started_at=row.started_at - timedelta(minutes=30), ended_at=row.started_at,
    )  # fmt: skip
    found = costs(one).last_hour
    assert found is not None
    assert found.on_demand == pytest.approx(2 * ON_DEMAND / 2, abs=Decimal("0.5")), "half an hour of two GPUs"
    assert found.share == NOTHING


def test_claims_have_their_share_of_the_last_hour(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 1)
    world.claim(cast.admin.actor, of, 1, name="pool")
    world.settle(2)
    one = made(cast, min=1, max=1)
    fleet.run(of.instance_type, clock.now(), 1)
    Replica.objects.update(created_at=clock.now() - timedelta(minutes=15))
    found = costs(one).last_hour
    assert found is not None
    assert found.on_demand == NOTHING, "nothing more than the claim (B3)"
    assert found.share == pytest.approx(2 * ON_DEMAND / 4, abs=Decimal("0.1"))


def ended_on_claims(one: Deployment) -> None:
    """A replica of two GPUs on a claim that ended now after a quarter of an hour."""
    now = clock.now()
    Replica.objects.create(
        deployment=one, instance_type=one.instance_type, revision=1, capacity_class=1, state=ReplicaState.STOPPED, gpus=2,
        created_at=now - timedelta(minutes=15), stopped_at=now,
    )  # fmt: skip


def test_b1_what_ended_on_claims_has_the_rate_of_their_kind(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 1)
    world.claim(cast.admin.actor, of, 1, name="pool")
    world.settle()
    one = made(cast)
    ended_on_claims(one)
    found = costs(one).last_hour
    assert found is not None
    assert found.share == pytest.approx(2 * ON_DEMAND / 4, abs=Decimal("0.01")), "a SERVERLESS claim pays on demand"
    world.quota(cast.organization, of, limit=1, reserved=1)
    world.claim(cast.admin.actor, of, 1, "CUSTOMER", name="own")
    world.everything_arrives()
    found = costs(one).last_hour
    assert found is not None
    assert (found.share, found.usd, found.per_thousand) == (None, None, None), "which of the two is not known"


def test_b2_what_ended_on_customer_claims_paid_the_reserved_rate(cast: Cast) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=1, reserved=1)
    world.claim(cast.admin.actor, of, 1, "CUSTOMER", name="own")
    world.everything_arrives()
    one = made(cast)
    ended_on_claims(one)
    found = costs(one).last_hour
    assert found is not None
    assert found.share == pytest.approx(2 * RESERVED / 4, abs=Decimal("0.01"))


def test_b2_without_a_reserved_price_customer_claims_have_none(cast: Cast) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=1)
    world.claim(cast.admin.actor, of, 1, "CUSTOMER", name="own")
    world.everything_arrives()
    one = made(cast, min=1, max=3)
    assert costs(one).at_max.share == 4 * RESERVED
    Price.objects.filter(kind="RESERVED").delete()
    found = costs(one)
    assert (found.rates.on_demand, found.rates.reserved) == (ON_DEMAND, None)
    assert (found.at_max.share, found.at_max.with_claims) == (None, None)
    assert found.at_min.with_claims is None
    page = cast.admin.browser().get(reverse("deployment", args=[one.id])).content.decode()
    assert "reserved has no price set" in page


def test_requests_that_ended_are_counted_from_the_runtimes_counters(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 1)
    one = made(cast, min=1, max=1, gpu_count=1)
    fleet.workload(one, scale=0.5)
    start = clock.now()
    end = fleet.run(of.instance_type, start, 24)
    ended = finished_since(one, start - timedelta(minutes=1), end)
    assert ended is not None
    assert ended > 0
    assert finished_since(one, end + timedelta(hours=2), end + timedelta(hours=3)) is None


def test_costs_take_as_many_queries_whatever_runs(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 3)
    one = made(cast, min=1, max=6)
    fleet.run(of.instance_type, clock.now(), 1)

    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            costs(one)
        return len(found)

    before = queries()
    AutoscalingPolicy.objects.update(min=5)
    fleet.run(of.instance_type, clock.now() + timedelta(seconds=30), 1)
    assert Replica.objects.count() > 3
    assert queries() == before
