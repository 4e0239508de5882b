"""The capacity page: pools, instances with their GPUs, who waits; and what each may know of others."""

import re
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from claims.models import Instance, Offering
from claims.services import pool_resize
from console.common import clock
from console.dashboard.machines import OTHERS, Machine, Viewer, Wanted, machines_of, machines_visible, machines_wanted
from console.dashboard.waiting import claims_waiting, deployments_short
from deployments.models import Deployment
from tests import fleet, world
from tests.cast import Cast, Member
from tests.pages.conftest import Running

pytestmark = pytest.mark.django_db

EVERYTHING = Wanted()


def page(who: Member, **asked: Any) -> str:
    answer = who.browser().get(reverse("capacity"), asked)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def rival(cast: Cast, of: Offering, **changes: Any) -> Deployment:
    """A deployment of the other organization with replicas on the pool."""
    actor = cast.outsider.actor
    one = fleet.deployment(actor, fleet.gateway(actor, name="secret-gate"), of, name="secret-model", **changes)
    fleet.run(of.instance_type, clock.now(), 2)
    return one


def seen_by(who: Member, wanted: Wanted = EVERYTHING) -> list[Machine]:
    viewer = Viewer.of(who.actor)
    return machines_of(viewer, list(machines_wanted(viewer, wanted)))


def test_the_grid_counts_each_pool(cast: Cast, running: Running) -> None:
    text = page(cast.viewer)
    assert "<b>2</b> free</a> of <a" in text
    assert "use=claimed#instances" in text
    assert "1 claimed</a>, 0 on demand" in text
    for use, count in (("free", 2), ("claimed", 1), ("demand", 0)):
        assert len(seen_by(cast.viewer, Wanted(zone="US-WEST-04A", type="gb200-4x", use=use))) == count
    world.claim(cast.admin.actor, world.offering(), 4, name="large")
    pool_resize(actor=world.PLATFORM, offering=world.offering(), size=1)
    text = page(cast.viewer)
    assert "2 waited for" in text
    assert "2 to leave the pool" in text


def test_each_gpu_says_who_uses_it(cast: Cast, running: Running) -> None:
    used = [one for one in seen_by(cast.viewer) if one.users]
    (machine,) = used
    assert [(user.name, user.gpus) for user in machine.users] == [("chat", 2)]
    assert [gpu.kind for gpu in machine.gpus] == ["ours", "ours", "free", "free"]
    assert re.fullmatch(r"chat, replica \d+, ready", machine.gpus[0].title)
    assert (machine.holder, machine.claim) == ("Ours", "prod")
    assert "chat</a> 2, 2 free" in page(cast.viewer)


def test_what_takes_nothing_is_not_free(cast: Cast, running: Running) -> None:
    empty = next(one.instance for one in seen_by(cast.viewer) if one.free == 4)
    Instance.objects.filter(key=empty.key).update(work="CORDON", work_reason="loose fan", work_at=clock.now())
    (machine,) = seen_by(cast.viewer, Wanted(state="CORDON"))
    assert (machine.free, {gpu.kind for gpu in machine.gpus}) == (0, {"away"})
    assert "loose fan" in page(cast.viewer)


def test_another_organization_is_never_named(cast: Cast, running: Running) -> None:
    of = world.offering()
    other = rival(cast, of, min=1, max=1, gpu_count=2)
    world.claim(cast.outsider.actor, of, 1, name="secret-claim")
    text = page(cast.viewer)
    for secret in ("Theirs", "theirs", "cw34cd", "secret", str(other.id)):
        assert secret not in text, secret
    on_demand = next(one for one in seen_by(cast.viewer) if one.instance.organization == cast.other and not one.claim)
    assert [gpu.kind for gpu in on_demand.gpus] == ["other"] * 2 + ["held"] * 2
    assert {gpu.title for gpu in on_demand.gpus} == {OTHERS, f"held by {OTHERS}"}
    claimed = next(one for one in seen_by(cast.viewer) if one.instance.organization == cast.other and one.claim)
    assert (claimed.claim, claimed.claim_url, claimed.users) == ("claimed", None, [])
    assert {gpu.kind for gpu in claimed.gpus} == {"held"}, "how far they use their claim is theirs to know"


def test_machines_that_others_brought_are_not_there(cast: Cast, running: Running) -> None:
    of = world.offering()
    world.quota(cast.other, of, limit=2)
    world.claim(cast.outsider.actor, of, 2, "CUSTOMER", name="secret-claim")
    theirs = set(Instance.objects.filter(source="CUSTOMER").values_list("key", flat=True))
    assert len(theirs) == 2
    assert theirs.isdisjoint(machines_visible(Viewer.of(cast.viewer.actor)).values_list("key", flat=True))
    for name in Instance.objects.filter(key__in=theirs).values_list("name", flat=True):
        assert name not in page(cast.viewer, holder="others")


def test_why_something_is_done_to_anothers_machine_is_not_told(cast: Cast, running: Running) -> None:
    rival(cast, world.offering(), min=1, max=1)
    theirs = Instance.objects.filter(organization=cast.other)
    theirs.update(work="BAD", work_reason="Theirs complained", work_at=clock.now())
    assert "Theirs complained" not in page(cast.viewer)
    browser = cast.platform.browser()
    assert "Theirs complained" in browser.get(reverse("capacity")).content.decode()


def test_the_platform_sees_names(cast: Cast, running: Running) -> None:
    rival(cast, world.offering(), min=1, max=1)
    text = " ".join(cast.platform.browser().get(reverse("capacity")).content.decode().split())
    assert "Theirs: secret-model 1" in text
    assert OTHERS not in text


@pytest.mark.parametrize(("asked", "count"), [
    ({}, 3), ({"zone": "US-WEST-04A"}, 3), ({"zone": "RNO2A"}, 0), ({"type": "gb200-4x"}, 3), ({"type": "b200-8x"}, 0),
    ({"state": "READY"}, 3), ({"state": "JOINING"}, 0), ({"holder": "ours"}, 1), ({"holder": "nobody"}, 2),
    ({"holder": "others"}, 0), ({"holder": "cw12ab"}, 0), ({"state": "nonsense"}, 3),
])  # fmt: skip
def test_filters_live_in_the_address(cast: Cast, running: Running, asked: dict[str, str], count: int) -> None:
    assert f"{count} instance{'' if count == 1 else 's'}</span>" in page(cast.viewer, **asked)


def test_the_platform_filters_by_organization(cast: Cast, running: Running) -> None:
    answer = cast.platform.browser().get(reverse("capacity"), {"holder": "cw12ab"})
    assert "1 instance</span>" in answer.content.decode()


def test_many_instances_are_paged(cast: Cast) -> None:
    world.pool(world.offering(), 60)
    first, second = page(cast.viewer, type="gb200-4x"), page(cast.viewer, type="gb200-4x", page=2)
    assert "1 to 50 of 60" in first
    assert "?type=gb200-4x&amp;page=2#instances" in first
    assert "51 to 60 of 60" in second
    names = Instance.objects.order_by("key").values_list("name", flat=True)
    assert names[0] in first
    assert names[0] not in second
    assert names[59] in second


def test_claims_wait_in_their_order_and_others_are_only_a_number(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 1)
    for name, who, count in [("a", cast.outsider, 3), ("b", cast.outsider, 1), ("c", cast.admin, 2),
                             ("d", cast.outsider, 1)]:  # fmt: skip
        world.claim(who.actor, of, count, name=name)
    ours = claims_waiting(Viewer.of(cast.viewer.actor), EVERYTHING)
    assert [(row.place, row.name, row.missing) for row in ours] == [(1, "", 3), (3, "c", 2), (4, "", 1)]
    assert [row.organization for row in ours] == [OTHERS, "Ours", OTHERS]
    assert [row.since is None for row in ours] == [True, False, True]
    every = claims_waiting(Viewer(cast.organization, platform=True), EVERYTHING)
    assert [(row.name, row.missing) for row in every] == [("a", 2), ("b", 1), ("c", 2), ("d", 1)]
    assert claims_waiting(Viewer.of(cast.viewer.actor), Wanted(zone="RNO2A")) == []


def test_deployments_short_of_gpus_say_which_and_where(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 1)
    at = fleet.gateway(cast.admin.actor, "US-WEST-04A")
    fleet.deployment(cast.admin.actor, at, of, min=3, max=3, gpu_count=2)
    fleet.run(of.instance_type, clock.now(), 2)
    rival(cast, of, min=2, max=2)
    (row,) = deployments_short(Viewer.of(cast.viewer.actor), EVERYTHING)
    assert (row.name, row.replicas, row.gpus, row.capacity_class, row.zone) == ("chat", 1, 2, "on demand", of.zone.name)
    assert "2 GPUs short" in row.why
    assert "chat</b></a>" in page(cast.viewer)
    assert {one.name for one in deployments_short(Viewer(cast.organization, platform=True), EVERYTHING)} == {
        "chat", "secret-model"}  # fmt: skip
    assert deployments_short(Viewer.of(cast.viewer.actor), Wanted(type="b200-8x")) == []


@pytest.mark.parametrize(("who", "most"), [("viewer", 16), ("platform", 17)])
def test_queries_are_few_and_do_not_grow_with_rows(cast: Cast, running: Running, who: str, most: int) -> None:
    browser = getattr(cast, who).browser()

    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            assert browser.get(reverse("capacity")).status_code == 200
        return len(found)

    queries()  # what only a first request asks
    before = queries()
    assert before <= most
    of = world.offering()
    rival(cast, of, min=2, max=2)
    for number in range(4):
        world.claim(cast.admin.actor, of, 1, name=f"more-{number}")
        world.claim(cast.outsider.actor, of, 1, name=f"others-{number}")
    world.pool(world.offering("RNO2A", "gd-1xgh200"), 30)
    assert queries() == before
