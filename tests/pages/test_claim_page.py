"""The page of a claim: who uses it, what is pending and what that costs, its instances, conditions and history."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from claims import pricing
from claims.core.states import InstanceState
from claims.models import CapacityClaim, Instance, Price
from claims.selectors import pending_changes
from claims.services import claim_resize
from console.common import clock
from tests import fleet, world
from tests.cast import Cast, Member
from tests.pages.conftest import Running

pytestmark = pytest.mark.django_db


def page(who: Member, claim: CapacityClaim) -> str:
    answer = who.browser().get(reverse("claim", args=[claim.id]))
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def resized(cast: Cast, claim: CapacityClaim, count: int) -> CapacityClaim:
    resources = world.resources(claim.offering, count, claim.kind)
    return claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=resources)


def scheduled(cast: Cast) -> CapacityClaim:
    """A claim of four that went down to three just now, and is to go down to one in an hour (C7)."""
    of = world.offering()
    world.pool(of, 4)
    claim = world.claim(cast.admin.actor, of, 4, name="prod")
    world.settle()
    resized(cast, claim, 3)
    return world.reread(resized(cast, claim, 1))


def test_the_page_says_who_uses_the_claim(cast: Cast) -> None:
    """Deployments of one size, so that no load moves the numbers."""
    of = world.offering()
    world.pool(of, 1)
    claim = world.claim(cast.admin.actor, of, 1, name="prod")
    world.settle()
    at = fleet.gateway(cast.admin.actor)
    fleet.deployment(cast.admin.actor, at, of, name="chat", min=2, max=2)
    fleet.deployment(cast.admin.actor, at, of, name="second", min=1, max=1)
    fleet.run(of.instance_type, clock.now(), 2)
    text = page(cast.viewer, claim)
    assert "3 of 4 GPUs in use" in text
    assert 'chat</a></td> <td class="n">2</td> <td class="n">2</td> <td> 50 %' in text
    assert 'second</a></td> <td class="n">1</td> <td class="n">1</td> <td> 25 %' in text


def test_each_instance_says_its_state_what_runs_on_it_and_since_when(cast: Cast, running: Running) -> None:
    of = world.offering()
    world.claim(cast.admin.actor, of, 2, "CUSTOMER", name="own")
    world.settle()
    joining = page(cast.viewer, CapacityClaim.objects.get(name="own"))
    assert "Joining" in joining
    assert "expected <time" in joining
    assert "chat</a> 2, 2 free" in page(cast.viewer, running.claim)


def test_c7_a_scheduled_reduction_shows_its_time_and_what_it_costs_until_then(cast: Cast) -> None:
    claim = scheduled(cast)
    (change,) = pending_changes(claim)
    text = page(cast.admin, claim)
    assert "From 3 to 1 instance</dt>" in text
    assert f"{change.effective_at:%Y-%m-%d %H:%M:%S} UTC" in text
    assert "for 2 instances, used or not" in text
    now = claim.updated_at
    going = dict.fromkeys(Instance.objects.filter(claim=claim).values_list("key", flat=True)[:2], change.effective_at)
    # 2 instances x 4 GPUs x 10.50 for an hour
    assert pricing.cost_until(claim, going, now) == pytest.approx(Decimal(84), abs=Decimal("0.05"))
    assert "$84.0" in text or "$83.9" in text
    for word in ("$", "They cost"):
        assert word not in page(cast.viewer, claim)


def test_c10_what_a_shrinking_claim_holds_and_what_it_shrinks_to_are_told_apart(cast: Cast) -> None:
    """Both of its instances are in use; one of them leaves, and is in the cluster until it is empty."""
    of = world.offering()
    first, second = world.pool(of, 2)
    claim = world.claim(cast.admin.actor, of, 2, name="prod")
    world.settle()
    for replica, one in enumerate((first, second), 1):
        assert world.take(one, cast.organization, replica, gpus=4, claim=claim)
    resized(cast, claim, 1)
    text = page(cast.viewer, claim)
    (going,) = Instance.objects.filter(state=InstanceState.DRAINING)
    assert going.drain_until is not None
    assert "8 of 8 GPUs in use" in text
    assert 'on 2 instances in the cluster; <a href="#change">1 of them leaves</a>' in text
    assert "From 2 to 1 instance in the cluster" in text
    assert f"{going.drain_until:%Y-%m-%d %H:%M:%S} UTC" in text
    assert "8 of 8<span" in " ".join(cast.viewer.browser().get(reverse("claims")).content.decode().split())
    for number, one in enumerate((first, second), 1):
        if one.key == going.key:
            world.release(one, number, 4)
    world.settle()
    text = page(cast.viewer, claim)
    assert "4 of 4 GPUs in use" in text
    assert "in the cluster;" not in text


def test_c7_a_reduction_is_withdrawn_by_its_button(cast: Cast) -> None:
    claim = scheduled(cast)
    assert "Withdraw the reduction, keep 3" in page(cast.admin, claim)
    answer = cast.admin.browser().post(reverse("claim-withdraw", args=[claim.id]), follow=True)
    assert "it keeps 3 instances" in answer.content.decode()
    after = world.reread(claim)
    assert (after.target, after.reduction_at) == (3, None)
    assert "Withdraw" not in page(cast.admin, after)
    again = cast.admin.browser().post(reverse("claim-withdraw", args=[claim.id]), follow=True)
    assert "No reduction of prod waits" in again.content.decode()


@pytest.mark.parametrize(("who", "status"), [("viewer", 403), ("billing", 403), ("outsider", 404)])
def test_c7_only_admins_of_the_organization_withdraw(cast: Cast, who: str, status: int) -> None:
    claim = scheduled(cast)
    assert "Withdraw" not in page(cast.viewer, claim)
    answer = getattr(cast, who).browser().post(reverse("claim-withdraw", args=[claim.id]))
    assert answer.status_code == status
    assert world.reread(claim).target == 1
    assert world.reread(claim).reduction_at == claim.reduction_at


def test_draining_instances_cost_until_they_are_empty(cast: Cast, running: Running) -> None:
    claim = running.claim
    now = clock.now()
    until = now + timedelta(minutes=10)
    Instance.objects.filter(claim=claim).update(state="DRAINING", drain_until=until)
    text = page(cast.admin, claim)
    assert "1 instance draining" in text
    assert "at most $7.00" in text or "at most $6.99" in text  # 4 GPUs x 10.50 / 6
    key = Instance.objects.get(claim=claim).key
    assert pricing.cost_until(claim, {key: until}, now) == pytest.approx(Decimal(7), abs=Decimal("0.02"))
    assert pricing.cost_until(claim, {key: now - timedelta(minutes=1)}, now) == 0
    assert "$" not in page(cast.viewer, claim)


def test_a_missing_price_is_no_price_of_zero(cast: Cast) -> None:
    claim = scheduled(cast)
    Price.objects.all().delete()
    assert pricing.claim_hourly(claim, clock.now()) is None
    assert "no price set" in page(cast.admin, claim)


def test_b2_what_a_claim_costs_an_hour_is_at_the_rates_it_has(cast: Cast) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=8, reserved=3, other_usage=1)
    claim = world.claim(cast.admin.actor, of, 4, "CUSTOMER")
    world.everything_arrives()
    # 2 of 4 instances are within the reserved quantity; 4 GPUs each
    assert pricing.claim_hourly(claim, clock.now() + timedelta(seconds=1)) == 4 * (
        2 * Decimal("6.3") + 2 * Decimal("10.5")
    )


def test_conditions_show_relative_and_exact_times(cast: Cast, running: Running) -> None:
    claim = world.reread(running.claim)
    text = page(cast.viewer, claim)
    at = claim.conditions[0]["lastUpdateTime"][:19].replace("T", " ")
    assert f">{at} UTC</time>" in text
    assert " s ago</time></span>" in text


def test_the_history_tells_who_changed_the_size(cast: Cast, running: Running) -> None:
    resized(cast, running.claim, 3)
    text = page(cast.viewer, running.claim)
    assert "Claim resized" in text
    assert "from 1 instance to 3 instances" in text
    assert "Claim created" in text


def test_queries_of_the_page_do_not_grow_with_instances_and_users(cast: Cast, running: Running) -> None:
    browser, of = cast.admin.browser(), world.offering()

    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            assert browser.get(reverse("claim", args=[running.claim.id])).status_code == 200
        return len(found)

    queries()  # what only a first request asks
    before = queries()
    resized(cast, running.claim, 3)
    for number in range(4):
        fleet.deployment(cast.admin.actor, running.deployment.gateways.get(), of, name=f"more-{number}", min=2)
    fleet.run(of.instance_type, clock.now(), 2)
    world.settle()
    assert queries() == before
    assert before <= 29


def test_the_list_of_claims_is_narrowed_by_its_address(cast: Cast) -> None:
    of, other = world.offering(), world.offering("RNO2A", "gd-1xgh200")
    world.pool(of, 1)
    for name, where, count in (("whole", of, 1), ("elsewhere", other, 2)):
        world.claim(cast.admin.actor, where, count, name=name)
    world.settle()
    browser = cast.viewer.browser()

    def listed(**query: str) -> set[str]:
        text = browser.get(reverse("claims"), query).content.decode()
        return {name for name in ("whole", "elsewhere") if f"<b>{name}</b>" in text}

    assert listed() == {"whole", "elsewhere"}
    assert listed(waiting="1") == listed(zone="rno2a") == listed(type=other.instance_type.name) == {"elsewhere"}
    assert listed(zone=of.zone.name, kind="SERVERLESS") == {"whole"}
    assert listed(kind="CUSTOMER") == set()
    overview = cast.viewer.browser().get(reverse("overview")).content.decode()
    assert 'href="/claims?waiting=1">2 pending' in overview
