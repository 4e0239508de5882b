"""When what a claim lacks is expected: machines that join, and what the pool will have free."""

from datetime import UTC, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from claims.core.window_rules import WindowAsked
from claims.joining import expected, join_times
from claims.models import CapacityClaim, Instance, Offering
from claims.selectors import claim_numbers
from claims.services import claim_delete, claim_resize, fulfilment, window_create
from claims.supply import Why, supply_for_new, supply_of
from console.common import clock
from tests import world
from tests.cast import Cast, Member

pytestmark = pytest.mark.django_db


def joined(of: Offering, *minutes: float, backend: str = settings.NODE_BACKEND) -> None:
    """Machines that once took so long to join."""
    now = timezone.now()
    for took in minutes:
        one = world.gone(of)
        Instance.objects.filter(key=one.key).update(
            created_at=now - timedelta(minutes=took), joining_at=now - timedelta(minutes=took), ready_at=now,
            backend=backend,
        )  # fmt: skip


def waiting(cast: Cast, count: int) -> CapacityClaim:
    """A CUSTOMER claim whose machines have been asked for."""
    of = world.offering()
    world.quota(cast.organization, of, limit=8)
    made = world.claim(cast.admin.actor, of, count, "CUSTOMER")
    world.settle()
    return world.reread(made)


def lowered(member: Member, claim: CapacityClaim, count: int) -> None:
    claim_resize(actor=member.actor, claim_id=claim.id, resources=world.resources(claim.offering, count))


def answer(member: Member, claim: CapacityClaim) -> Any:
    response = member.api().send("GET", f"/api/v1/claims/{claim.id}/expected")
    assert response.status_code == 200, response.content
    return response.json()


def test_machines_on_their_way_are_expected_by_what_the_last_ones_took(cast: Cast) -> None:
    claim = waiting(cast, 2)
    joined(claim.offering, 10, 12, 30)
    joined(claim.offering, 500, backend="another.Backend")
    first, second = claim.instances.order_by("key")
    now = clock.now()
    Instance.objects.filter(key=first.key).update(created_at=now - timedelta(minutes=11))
    Instance.objects.filter(key=second.key).update(created_at=now - timedelta(minutes=31))
    found = expected(list(claim.instances.all()), now)
    assert found[first.key].at == now + timedelta(minutes=1)
    assert found[first.key].until == now + timedelta(minutes=19)
    assert (found[second.key].at, found[second.key].late_since) == (None, now - timedelta(minutes=1))


def test_before_any_joined_the_backend_says_how_long_it_takes(cast: Cast) -> None:
    claim = waiting(cast, 1)
    stated = answer(cast.viewer, claim)
    assert stated["joinTime"]["measured"] == 0
    assert 0 < stated["joinTime"]["medianSeconds"] < stated["joinTime"]["p90Seconds"]
    assert [one["laterThanUsualSince"] for one in stated["joining"]] == [None]
    assert stated["joining"][0]["expectedAt"] < stated["joining"][0]["expectedUntil"]
    assert (stated["pending"], stated["unknown"], stated["fromPool"]) == (1, 0, [])


def test_join_times_of_many_machines_and_places_are_one_query(cast: Cast) -> None:
    ones = [world.offering(), world.offering("US-EAST-01A", "gd-8xh100ib-i128")]
    for of in ones:
        joined(of, *range(1, 60))
    with CaptureQueriesContext(
        connection,
    ) as queries:
        found = join_times([of.key for of in ones])
    assert len(queries) == 1
    assert {one.seen for one in found.values()} == {50}


def test_a_pool_is_filled_by_reductions_and_drains_older_claims_first(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 4)
    holder = world.claim(cast.admin.actor, of, 4, name="holder")
    world.settle()
    lowered(cast.admin, holder, 3)  # never reduced before: at once
    world.settle()
    older = world.claim(cast.admin.actor, of, 2, name="older")
    newer = world.claim(cast.admin.actor, of, 2, name="newer")
    world.settle()
    lowered(cast.admin, world.reread(holder), 1)  # within the interval: scheduled
    holder, older, newer = (world.reread(one) for one in (holder, older, newer))
    now = clock.now()
    assert holder.reduction_at is not None
    found = supply_of(older, now)
    assert [(one.at, one.count, one.why) for one in found.freed] == [(holder.reduction_at, 1, Why.REDUCTION)]
    assert (found.ahead, found.unknown) == (0, 0)
    found = supply_of(newer, now)
    assert [(one.count, one.why) for one in found.freed] == [(1, Why.REDUCTION)]
    assert (found.ahead, found.unknown) == (1, 1)
    assert supply_for_new(of, 1, now).ahead == 3
    said = answer(cast.viewer, newer)
    assert [(one["instances"], one["why"], one["claim"]) for one in said["fromPool"]] == [
        (1, "REDUCTION", str(holder.id))
    ]
    assert (said["olderClaimsFirst"], said["unknown"]) == (1, 1)


def test_whose_claim_frees_an_instance_is_not_told_to_others(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 1)
    theirs = world.claim(cast.outsider.actor, of, 1)
    world.settle()
    one = theirs.instances.get()
    world.take(one, cast.other, 7, claim=theirs)
    claim_delete(actor=cast.outsider.actor, claim_id=theirs.id)
    mine = world.claim(cast.admin.actor, of, 1)
    world.settle()
    one.refresh_from_db()
    said = answer(cast.viewer, mine)
    assert [(part["instances"], part["why"], part["claim"]) for part in said["fromPool"]] == [(1, "DRAIN", None)]
    assert cast.outsider.api().send("GET", f"/api/v1/claims/{mine.id}/expected").status_code == 404
    page = cast.viewer.browser().get(f"/claims/{mine.id}")
    assert "a claim of another organization" in page.content.decode()


def test_c12_the_end_of_a_window_is_known_to_free_instances(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 3)
    holder = world.claim(cast.admin.actor, of, 1, name="holder")
    start = (clock.now() - timedelta(minutes=10)).replace(tzinfo=None, second=0, microsecond=0)
    wanted = WindowAsked(start, timedelta(hours=1), "FREQ=DAILY", "UTC", 3)
    window_create(actor=cast.admin.actor, claim_id=holder.id, asked=wanted)
    waiting = world.claim(cast.admin.actor, of, 2, name="waiting")
    world.settle()
    end = start.replace(tzinfo=UTC) + timedelta(hours=1)
    found = supply_of(world.reread(waiting), clock.now())
    assert [(one.at, one.count, one.why) for one in found.freed] == [(end, 2, Why.WINDOW_END)]
    # A reduction shortly before the end would put it off (C7).
    CapacityClaim.objects.filter(key=holder.key).update(reduced_at=end - timedelta(minutes=20))
    found = supply_of(world.reread(waiting), clock.now())
    assert [one.at for one in found.freed] == [end + timedelta(minutes=40)]
    CapacityClaim.objects.filter(key=holder.key).update(reduced_at=None)
    fulfilment.fulfil_pass(now=end)
    assert claim_numbers(world.reread(waiting)) == (2, 0)
    assert claim_numbers(world.reread(holder)) == (1, 0)
