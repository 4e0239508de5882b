"""Right-sizing of a claim by the need that was recorded."""

from datetime import UTC, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from claims.models import CapacityClaim, ClaimWindow
from console.common import clock
from deployments.core.plan import SHORT
from deployments.models import Decision, Deployment
from deployments.services import deployment_delete
from deployments.sizing import advice, users
from tests import fleet, world
from tests.cast import Cast

pytestmark = pytest.mark.django_db
HOUR = 3600.0


def claimed(cast: Cast, count: int) -> CapacityClaim:
    of = world.offering()
    world.pool(of, count)
    made = world.claim(cast.admin.actor, of, count)
    world.settle()
    return world.reread(made)


def deployment(cast: Cast, name: str = "chat", **changes: Any) -> Deployment:
    """One whose replica takes a whole instance."""
    at = fleet.gateway(cast.admin.actor, "US-WEST-04A", name=f"for-{name}")
    return fleet.deployment(cast.admin.actor, at, world.offering(), name=name, gpu_count=4, **changes)


def decided(
    of: Deployment, hours_ago: float, wanted: int, granted: int | None = None, *, afterwards: bool = False
) -> None:
    got = wanted if granted is None else granted
    Decision.objects.create(
        deployment=of, organization=of.organization, at=clock.now() - timedelta(hours=hours_ago), current=0, wanted=wanted, granted=got,
        bound="NONE" if got == wanted else "CAPACITY", record={}, made_afterwards=afterwards,
    )  # fmt: skip


def test_the_need_of_the_record_is_replayed_on_the_claim(cast: Cast) -> None:
    claim, chat = claimed(cast, 4), deployment(cast)
    decided(chat, 10, 1)
    decided(chat, 6, 3)
    decided(chat, 1, 2)
    found = advice(claim, clock.now())
    assert found is not None
    assert [round(one / HOUR, 2) for one in found.sizing.at] == [0, 4, 1, 5, 0]
    assert (found.shrink_to, found.sizing.growth, found.simulated) == (3, (), False)
    assert found.share == pytest.approx((4 * 1 + 5 * 3 + 1 * 2) / (10 * 4), abs=1e-3)


def test_growing_by_so_many_would_have_avoided_so_much_shortage(cast: Cast) -> None:
    claim, chat = claimed(cast, 2), deployment(cast)
    decided(chat, 10, 2)
    decided(chat, 3, 3, 2)
    decided(chat, 2, 5, 2, afterwards=True)
    decided(chat, 1.5, 2)
    found = advice(claim, clock.now())
    assert found is not None
    assert found.shrink_to is None
    assert found.sizing.short_s == pytest.approx(1.5 * HOUR, abs=1)
    assert [(one.more, round(one.avoided_s / HOUR, 2)) for one in found.sizing.growth] == [(1, 1), (3, 1.5)]
    assert found.simulated


@pytest.mark.parametrize("bound", SHORT)
def test_every_want_of_gpus_is_a_shortage(cast: Cast, bound: str) -> None:
    claim, chat = claimed(cast, 2), deployment(cast)
    decided(chat, 5, 2)
    decided(chat, 2, 4, 2)
    decided(chat, 1, 2)
    Decision.objects.filter(bound="CAPACITY").update(bound=bound)
    found = advice(claim, clock.now())
    assert found is not None
    assert found.sizing.short_s == pytest.approx(HOUR, abs=1)


def test_what_was_deleted_meanwhile_is_named_since_its_need_is_not_in_it(cast: Cast) -> None:
    claim, chat, goes = claimed(cast, 2), deployment(cast), deployment(cast, "goes")
    decided(chat, 5, 1)
    decided(goes, 5, 1)
    deployment_delete(actor=cast.admin.actor, deployment_id=goes.id)
    Deployment.objects.filter(key=goes.key).delete()
    other = fleet.deployment(cast.outsider.actor, fleet.gateway(cast.outsider.actor), world.offering(), name="theirs")
    deployment_delete(actor=cast.outsider.actor, deployment_id=other.id)
    found = advice(claim, clock.now())
    assert found is not None
    assert (found.deployments, found.gone) == (["chat"], ["goes"])
    text = cast.viewer.browser().get(reverse("claim-sizing", args=[claim.id])).content.decode()
    assert "their decisions went with them: goes" in text
    told = cast.viewer.api().get(f"/api/v1/claims/{claim.id}/sizing").json()["advice"]
    assert told["deletedDeployments"] == ["goes"]


def test_what_was_decided_before_the_week_counts_from_its_start(cast: Cast) -> None:
    claim, chat = claimed(cast, 2), deployment(cast)
    decided(chat, 24 * 30, 1)
    decided(chat, 24 * 20, 2)
    now = clock.now()
    found = advice(claim, now)
    assert found is not None
    assert found.since == now - timedelta(days=7)
    assert [round(one / HOUR) for one in found.sizing.at] == [0, 0, 168]


def test_r14_r15_only_deployments_that_may_use_the_claim_count(cast: Cast) -> None:
    claim = claimed(cast, 2)
    mine = deployment(cast, "mine")
    decided(deployment(cast, "beside", capacity_classes=("CAPACITY_CLASS_ON_DEMAND",)), 5, 9)
    elsewhere = fleet.gateway(cast.admin.actor, "US-EAST-01A", name="elsewhere")
    decided(fleet.deployment(cast.admin.actor, elsewhere, world.offering(), name="far"), 5, 9)
    there = fleet.gateway(cast.outsider.actor, "US-WEST-04A")
    decided(fleet.deployment(cast.outsider.actor, there, world.offering()), 5, 9)
    assert [one.name for one in users(claim)] == ["mine"]
    assert advice(claim, clock.now()) is None
    decided(mine, 5, 1)
    found = advice(claim, clock.now())
    assert found is not None
    assert found.deployments == ["mine"]


def test_what_other_claims_of_the_organization_hold_is_filled_first(cast: Cast) -> None:
    claim, chat = claimed(cast, 2), deployment(cast)
    world.claim(cast.admin.actor, claim.offering, 2, name="older")
    decided(chat, 4, 3)
    found = advice(claim, clock.now())
    assert found is not None
    assert (found.sizing.peak, found.shrink_to) == (1, 1)


def window(claim: CapacityClaim, count: int, hours_ago: float, *, until: timedelta | None = None) -> None:
    """One of two hours every day, which last began so long ago."""
    start = (clock.now() - timedelta(hours=hours_ago)).replace(second=0, microsecond=0, tzinfo=None)
    last = (start + until).date() if until is not None else None
    ClaimWindow.objects.create(
        claim=claim, first=start.date() - timedelta(days=30), at=start.time(), duration=timedelta(hours=2),
        recurrence="FREQ=DAILY", time_zone="UTC", count=count, until=last, created_at=start.replace(tzinfo=UTC),
        updated_at=start.replace(tzinfo=UTC),
    )  # fmt: skip


def test_c12_what_a_window_holds_asks_for_no_base(cast: Cast) -> None:
    """Two of three instances are needed, but for four while a window of four is open, and then a fifth is short."""
    claim, chat = claimed(cast, 3), deployment(cast)
    window(claim, 4, 5)
    decided(chat, 10, 2)
    decided(chat, 4.5, 4)
    decided(chat, 4, 5, 4)
    decided(chat, 3.5, 2)
    found = advice(claim, clock.now())
    assert found is not None
    assert [round(one / HOUR, 1) for one in found.sizing.at] == [0, 0, 9, 0, 1]
    assert (found.shrink_to, round(found.sizing.window_s / HOUR, 1)) == (2, 2)
    assert found.sizing.held_gpu_s == pytest.approx((8 * 3 + 2 * 4) * 4 * HOUR, abs=100)
    assert [(one.more, round(one.avoided_s / HOUR, 2)) for one in found.sizing.growth] == [(2, 0.5)]
    said = cast.viewer.api().get(f"/api/v1/claims/{claim.id}/sizing").json()["advice"]
    assert (said["shrinkTo"], said["windowSeconds"]) == (2, pytest.approx(2 * HOUR, abs=1))
    text = " ".join(cast.viewer.browser().get(reverse("claim-sizing", args=[claim.id])).content.decode().split())
    assert "2 of 3 instances would have held everything that the need filled outside its windows." in text
    assert "For 2 h open windows asked for more than its base of 3" in text
    saved = cast.admin.browser().get(reverse("claim-sizing", args=[claim.id])).context["saved"]
    assert float(saved) == pytest.approx(4 * 10.50 * 730 * 0.8, rel=1e-3), "for the eight of ten hours without a window"


def test_c12_a_window_that_is_over_for_good_holds_nothing_again(cast: Cast) -> None:
    claim, chat = claimed(cast, 3), deployment(cast)
    window(claim, 4, 50, until=timedelta(0))
    decided(chat, 60, 2)
    decided(chat, 49.5, 3)
    decided(chat, 49, 2)
    found = advice(claim, clock.now())
    assert found is not None
    assert (found.shrink_to, found.sizing.window_s) == (None, 0)


def test_c12_windows_of_other_claims_are_filled_first(cast: Cast) -> None:
    claim, chat = claimed(cast, 3), deployment(cast)
    other = world.claim(cast.admin.actor, claim.offering, 1, name="older")
    window(other, 3, 5)
    decided(chat, 10, 3)
    decided(chat, 4.5, 4)
    decided(chat, 3.5, 3)
    found = advice(claim, clock.now())
    assert found is not None
    assert [round(one / HOUR, 1) for one in found.sizing.at] == [1, 1, 8, 0]
    assert found.shrink_to == 2


def test_queries_do_not_grow_with_the_record(cast: Cast) -> None:
    claim = claimed(cast, 2)

    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            advice(claim, clock.now())
        return len(found)

    decided(deployment(cast, "one"), 9, 1)
    before = queries()
    for number in range(3):
        more = deployment(cast, f"more-{number}")
        for hours in range(1, 9):
            decided(more, hours, 1)
        window(claim, 3 + number, 2 + 3 * number)
    assert queries() == before


def test_the_page_says_what_another_size_saves_and_avoids(cast: Cast) -> None:
    claim, chat = claimed(cast, 4), deployment(cast)
    address = reverse("claim-sizing", args=[claim.id])
    assert "Nothing is recorded yet" in cast.admin.browser().get(address).content.decode()
    decided(chat, 10, 2)
    text = " ".join(cast.admin.browser().get(address).content.decode().split())
    assert "2 of 4 instances would have held everything that the need filled." in text
    assert "saves <b>$61,320.00</b> a month" in text  # 2 x 4 GPUs x 10.50 x 730 h
    assert f'href="{reverse("claim-resize", args=[claim.id])}?count=2"' in text
    assert "larger claim would have avoided nothing" in text
    assert "$61,320.00" not in cast.viewer.browser().get(address).content.decode()
    decided(chat, 2, 6, 4)
    text = " ".join(cast.admin.browser().get(address).content.decode().split())
    assert "All 4 instances were needed at some time" in text
    assert "For 2 h a deployment was short of GPUs." in text
    assert "2 more avoids 2 h of it" in text


def test_the_api_says_the_same(cast: Cast) -> None:
    claim, chat = claimed(cast, 2), deployment(cast)
    address = f"/api/v1/claims/{claim.id}/sizing"
    assert cast.viewer.api().send("GET", address).json() == {"advice": None}
    decided(chat, 10, 1)
    said = cast.viewer.api().send("GET", address).json()["advice"]
    assert (said["instanceCount"], said["shrinkTo"], said["growth"], said["deployments"]) == (2, 1, [], ["chat"])
    assert [one["instances"] for one in said["filled"]] == [0, 1, 2]
    assert said["usedGpuHours"] == pytest.approx(40, abs=0.01)
    assert cast.outsider.api().send("GET", address).status_code == 404
