"""What the overview calls attention to; acknowledged until it happens anew or gets worse, snoozed until a time."""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from claims.core.window_rules import WindowAsked
from claims.models import CapacityClaim, ClaimUse, Price, SimulatedNode
from claims.services import claim_resize, pool_resize, window_create
from claims.tasks import fulfil
from console.common import clock
from console.common.errors import NotFound, PermissionDenied
from console.dashboard.acknowledging import notice_hide, notice_show, until
from console.dashboard.attention import Notice, board, notices
from console.dashboard.models import Attention
from console.dashboard.signals import signals_lost
from console.dashboard.views.overview import facts_of
from console.loops.models import Loop
from console.organizations.actors import Actor
from console.organizations.models import AuditEvent, Role
from deployments.loop.blocks import Block
from deployments.models import Decision, Deployment, Replica, SignalBlock
from deployments.selectors import briefs_of
from deployments.services.holds import hold_create, hold_end
from tests import fleet, world
from tests.cast import Cast
from tests.pages.conftest import Running

pytestmark = pytest.mark.django_db


def person(cast: Cast) -> Actor:
    return Actor(name="admin", organization=cast.organization, role=Role.ADMIN, user=cast.admin.user)


def found(cast: Cast, start: str = "", now: datetime | None = None) -> list[Notice]:
    """Notices whose subject begins so."""
    every = notices(facts_of(cast.organization, now or clock.now()))
    return [one for one in every if one.subject.startswith(start)]


def one(cast: Cast, start: str, now: datetime | None = None) -> Notice:
    (notice,) = found(cast, start, now)
    return notice


def shown(cast: Cast, start: str, now: datetime | None = None) -> list[str]:
    """Subjects that are still to be dealt with."""
    at = now or clock.now()
    return [notice.subject for notice in board(cast.organization, found(cast, start, at), at).shown]


def decide(of: Deployment, wanted: int, granted: int, bound: str = "CAPACITY") -> Decision:
    """A decision with these numbers; the rest is as the loop wrote it."""
    made = Decision.objects.exclude(record={}).latest("id")
    return Decision.objects.create(deployment=of, organization=of.organization, at=clock.now(), current=0,
                                   wanted=wanted, granted=granted, bound=bound, record=made.record)  # fmt: skip


def sampled(of: Deployment, at: datetime, queued: int = 0) -> SignalBlock:
    column: dict[str, Any] = {name: np.array([0]) for name in Block.__slots__ if name not in ("key", "packed_waits")}
    block = Block(key=np.array([of.key]), **{**column, "queued": np.array([queued])})
    return SignalBlock.objects.create(instance_type=of.instance_type, at=at, payload=block.to_bytes())


def ready(of: Deployment, count: int, at: datetime) -> None:
    Replica.objects.bulk_create(
        Replica(
            deployment=of, instance_type=of.instance_type, revision=1, capacity_class=2, state=2, gpus=1, ready_at=at
        )
        for _ in range(count)
    )


@pytest.fixture
def quiet(cast: Cast, running: Running) -> Running:
    """Nothing that needs anybody: the claim is allocated, the deployment has what it wants."""
    world.everything_arrives()
    decide(running.deployment, 2, 2, "NONE")
    return running


def test_where_all_is_well_the_page_says_what_was_looked_at(cast: Cast, quiet: Running) -> None:
    assert found(cast) == []
    page = cast.viewer.browser().get(reverse("overview")).content.decode()
    assert "Every loop is on time" in page


# --- kinds --------------------------------------------------------------------------------------------


def test_a_late_loop_is_urgent_and_a_later_stop_is_another_one(cast: Cast, quiet: Running) -> None:
    fulfil()
    for hours in (2, 1):
        stopped = clock.now() - timedelta(hours=hours)
        Loop.objects.filter(name="fulfil").update(started_at=stopped, ended_at=stopped)
        notice = one(cast, "loop:")
        assert (notice.level, notice.title, notice.since) == ("bad", "The loop fulfil is late", stopped)
        assert shown(cast, "loop:") == ["loop:fulfil"], "the second time as well"
        notice_hide(actor=person(cast), notice=notice, now=clock.now())
        assert shown(cast, "loop:") == []


def test_a_shortage_is_one_occurrence_until_all_is_granted(cast: Cast, quiet: Running) -> None:
    of = quiet.deployment
    first = decide(of, 5, 3)
    assert one(cast, "short:").since == first.at
    assert one(cast, "short:").text == "3 of 5 wanted replicas have GPUs"
    notice_hide(actor=person(cast), notice=one(cast, "short:"), now=clock.now())
    decide(of, 6, 3)
    assert one(cast, "short:").since == first.at
    assert shown(cast, "short:") == [], "the same shortage with another number"
    decide(of, 3, 3, "NONE")
    assert found(cast, "short:") == []
    decide(of, 4, 3)
    assert shown(cast, "short:") == [f"short:{of.id}"], "a new one"


def test_a_shortage_that_falls_below_min_shows_again(cast: Cast, quiet: Running) -> None:
    of = quiet.deployment
    decide(of, 5, 3)
    assert one(cast, "short:").level == "warn"
    notice_hide(actor=person(cast), notice=one(cast, "short:"), now=clock.now())
    of.autoscaling.min = 50
    of.autoscaling.max = 60
    of.autoscaling.save()
    assert one(cast, "short:").level == "bad"
    assert shown(cast, "short:") == [f"short:{of.id}"]


def test_signals_are_lost_when_no_usable_sample_came_for_as_long_as_one_is_believed(cast: Cast, quiet: Running) -> None:
    of, now = quiet.deployment, clock.now() + timedelta(minutes=5)
    SignalBlock.objects.all().delete()
    sampled(of, now - timedelta(seconds=29))
    assert found(cast, "signals:", now) == []
    for at in (20, 10, 5):
        sampled(of, now - timedelta(seconds=at), queued=-1)
    assert found(cast, "signals:", now) == [], "one that is believed is among them"
    last = now - timedelta(seconds=29)
    late = now + timedelta(seconds=2)
    notice = one(cast, "signals:", late)
    assert (notice.level, notice.since) == ("bad", last)
    notice_hide(actor=person(cast), notice=notice, now=late)
    sampled(of, late, queued=-1)
    assert shown(cast, "signals:", late + timedelta(seconds=20)) == []
    sampled(of, late + timedelta(seconds=30))
    assert found(cast, "signals:", late + timedelta(seconds=31)) == []
    assert shown(cast, "signals:", late + timedelta(seconds=90)) == [f"signals:{of.id}"], "lost anew"


def test_signals_of_what_has_nothing_to_sample_are_not_lost(cast: Cast, quiet: Running) -> None:
    SignalBlock.objects.all().delete()
    now = clock.now() + timedelta(minutes=5)
    assert one(cast, "signals:", now).since is None
    Deployment.objects.update(disabled=True)
    assert found(cast, "signals:", now) == []
    Deployment.objects.update(disabled=False)
    (fresh,) = briefs_of(cast.organization)
    assert signals_lost([fresh], fresh.created_at + timedelta(seconds=10)) == {}
    Replica.objects.update(state=1)
    assert found(cast, "signals:", now) == []


def test_where_the_loop_is_late_its_deployments_signals_are_no_notice_of_their_own(cast: Cast, quiet: Running) -> None:
    SignalBlock.objects.all().delete()
    name, stopped = f"scale:{quiet.deployment.instance_type.name}", clock.now() - timedelta(hours=1)
    Loop.objects.create(name=name, period=timedelta(seconds=5), started_at=stopped, ended_at=stopped)
    now = clock.now() + timedelta(minutes=5)
    assert [notice.subject for notice in found(cast, "", now)] == ["loop:scale"]


def test_replicas_that_fail_are_one_occurrence_until_one_is_ready(cast: Cast, quiet: Running) -> None:
    failing = {"type": "ReplicasFailing", "status": "STATUS_TRUE", "reason": "FailedInARow", "zone": "US-WEST-04A",
               "message": "5 replicas failed in a row", "lastUpdateTime": "2026-01-01T00:00:00Z"}  # fmt: skip
    Deployment.objects.update(conditions=[failing])
    notice = one(cast, "failing:")
    assert (notice.level, notice.text) == ("bad", "5 replicas failed in a row")
    notice_hide(actor=person(cast), notice=notice, now=clock.now())
    Deployment.objects.update(conditions=[{**failing, "message": "6 replicas failed in a row"}])
    assert shown(cast, "failing:") == []
    ready(quiet.deployment, 1, clock.now())
    assert shown(cast, "failing:") == [f"failing:{quiet.deployment.id}"]


def test_an_instance_that_is_lost_and_a_further_one_are_two_occurrences(cast: Cast, quiet: Running) -> None:
    of = world.offering()
    world.quota(cast.organization, of, limit=50)
    claim = world.claim(cast.admin.actor, of, 3, "CUSTOMER", name="own")
    world.everything_arrives()
    for _ in range(2):
        SimulatedNode.objects.filter(instance_key=claim.instances.filter(lost_at=None).first().key).delete()  # type: ignore[union-attr]
        world.settle()
        assert shown(cast, "degraded:") == [f"degraded:{claim.id}"]
        assert one(cast, "degraded:").title == "own is degraded"
        assert found(cast, "waiting:") == [], "what it lost is the notice"
        notice_hide(actor=person(cast), notice=one(cast, "degraded:"), now=clock.now())
        assert shown(cast, "degraded:") == []


def test_a_claim_that_waits_is_acknowledged_until_it_is_changed(cast: Cast, quiet: Running) -> None:
    of = world.offering()
    claim = world.claim(cast.admin.actor, of, 40, name="big")
    world.settle()
    assert one(cast, "waiting:").level == "warn", "nothing is on its way"
    notice_hide(actor=person(cast), notice=one(cast, "waiting:"), now=clock.now())
    assert shown(cast, "waiting:") == []
    claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=world.resources(of, 50))
    assert shown(cast, "waiting:") == [f"waiting:{claim.id}"]


def test_a_claim_whose_machines_join_is_for_information(cast: Cast, quiet: Running) -> None:
    world.quota(cast.organization, world.offering(), limit=50)
    world.claim(cast.admin.actor, world.offering(), 2, "CUSTOMER", name="own")
    assert one(cast, "waiting:").level == "info"


def test_quota_is_called_attention_to_at_80_and_again_at_95_percent(cast: Cast, quiet: Running) -> None:
    of, actor = world.offering("RNO2A", "gd-1xgh200"), person(cast)
    world.quota(cast.organization, of, limit=20)
    claim = world.claim(cast.admin.actor, of, 15, "CUSTOMER", name="own")
    assert found(cast, "quota:") == []

    def resize(count: int) -> None:
        claim_resize(actor=cast.admin.actor, claim_id=claim.id, resources=world.resources(of, count, "CUSTOMER"))

    resize(16)
    assert one(cast, "quota:").level == "warn"
    assert one(cast, "quota:").text == "16 of 20 instances used (80%)"
    notice_hide(actor=actor, notice=one(cast, "quota:"), now=clock.now())
    assert shown(cast, "quota:") == []
    resize(19)
    assert (one(cast, "quota:").level, len(shown(cast, "quota:"))) == ("bad", 1)
    notice_hide(actor=actor, notice=one(cast, "quota:"), now=clock.now())
    world.quota(cast.organization, of, limit=18)
    assert len(shown(cast, "quota:")) == 1
    assert "new customer claims are refused" in one(cast, "quota:").text


def test_c12_a_window_that_the_pool_cannot_give_is_called_attention_to(cast: Cast, quiet: Running) -> None:
    start = (clock.now() + timedelta(days=1)).replace(hour=8, minute=0, second=0, microsecond=0)
    wanted = WindowAsked(start.replace(tzinfo=None), timedelta(hours=2), "FREQ=DAILY", "UTC", 3)
    window_create(actor=cast.admin.actor, claim_id=quiet.claim.id, asked=wanted)
    assert shown(cast, "window:") == []
    pool_resize(actor=world.PLATFORM, offering=quiet.claim.offering, size=2)
    notice = one(cast, "window:")
    assert f"1 of 3 instances cannot be had from {start:%Y-%m-%d %H:%M:%S} UTC" in notice.text
    assert "and 12 times more in two weeks" in notice.text
    notice_hide(actor=person(cast), notice=notice, now=clock.now())
    assert shown(cast, "window:") == []
    pool_resize(actor=world.PLATFORM, offering=quiet.claim.offering, size=1)
    assert len(shown(cast, "window:")) == 1, "it got worse"


def used(claim: CapacityClaim, hours: Iterable[int], share: float, looks: int = 60) -> None:
    """Looks at the claim, these hours before the present one."""
    hour = clock.now().replace(minute=0, second=0, microsecond=0)
    for ago in hours:
        held = looks * 8
        ClaimUse.objects.update_or_create(
            claim=claim, hour=hour - timedelta(hours=ago),
            defaults={"looks": looks, "gpus_used": round(share * held), "gpus_held": held},
        )  # fmt: skip


def test_a_claim_of_which_little_was_used_for_a_day_is_shown(cast: Cast, quiet: Running) -> None:
    used(quiet.claim, range(24), 0.19)
    notice = one(cast, "unused:")
    assert (notice.level, notice.title) == ("info", f"{quiet.claim.name} is under-used")
    assert notice.text.startswith("replicas held 19% of its 8 GPUs over the last 24 hours, less than 20%")
    assert notice.url.startswith(reverse("claim", args=[quiet.claim.id]))
    used(quiet.claim, range(3), 0.4)
    assert found(cast, "unused:") == [], "over the day it was used well"


def test_nothing_is_said_of_a_claim_of_which_no_whole_day_is_known(cast: Cast, quiet: Running) -> None:
    used(quiet.claim, range(6), 0.0)
    used(quiet.claim, range(24, 60), 0.0)
    assert found(cast, "unused:") == []
    used(quiet.claim, range(6, 24), 0.0, looks=15)
    assert found(cast, "unused:") == [], "looked at too seldom"


def test_under_use_is_one_occurrence_until_the_claim_was_used_well_for_a_day(cast: Cast, quiet: Running) -> None:
    used(quiet.claim, range(72, 120), 0.0)
    used(quiet.claim, range(24), 0.1)
    notice_hide(actor=person(cast), notice=one(cast, "unused:"), now=clock.now())
    used(quiet.claim, range(24), 0.05)
    assert shown(cast, "unused:") == []
    used(quiet.claim, range(24, 72), 0.9)
    assert shown(cast, "unused:") == [f"unused:{quiet.claim.id}"], "it was used well, and is not any more"


def test_a_hold_is_shown_with_who_why_and_until_when(cast: Cast, quiet: Running) -> None:
    ends = clock.now() + timedelta(hours=1)
    hold = hold_create(actor=cast.admin.actor, kind="PIN", reason="load test", deployment_id=quiet.deployment.id, size=2,
                       expires_at=ends)  # fmt: skip
    notice = one(cast, "hold:")
    assert (notice.level, notice.title) == ("info", "chat is pinned to 2")
    assert (notice.text, notice.until) == ("load test, by token admin", ends)
    hold_end(actor=cast.admin.actor, hold_id=hold.id)
    hold_create(actor=world.PLATFORM, kind="FREEZE", reason="migration", fleet=True)
    assert (one(cast, "hold:").level, one(cast, "hold:").title) == ("warn", "Scaling of the whole fleet is frozen")


def test_a_missing_price_is_for_who_may_see_money(cast: Cast, quiet: Running) -> None:
    Price.objects.all().delete()
    said = "Amounts are not known"
    assert said in cast.billing.browser().get(reverse("overview")).content.decode()
    assert said not in cast.viewer.browser().get(reverse("overview")).content.decode()


# --- dealing with them -----------------------------------------------------------------------------------


def example(level: str = "warn", occurrence: str = "1") -> Notice:
    return Notice(level, "short:x", occurrence, "x is short", "3 of 5", ("overview",))


@pytest.mark.parametrize(("then", "hidden"), [
    (example(), True),
    (example("info"), True),
    (example("bad"), False),
    (example(occurrence="2"), False),
    (replace(example(), subject="short:y"), False),
    (replace(example(), text="4 of 5"), True),
])  # fmt: skip
def test_an_acknowledgement_holds_for_this_occurrence_at_this_level(cast: Cast, then: Notice, hidden: bool) -> None:
    notice_hide(actor=person(cast), notice=example(), now=clock.now())
    assert bool(board(cast.organization, [then], clock.now()).hidden) == hidden


@pytest.mark.parametrize(("then", "after", "hidden"), [
    (example(), timedelta(minutes=59), True),
    (example(), timedelta(minutes=60), False),
    (example(occurrence="2"), timedelta(minutes=59), True),
    (example("bad"), timedelta(minutes=1), False),
])  # fmt: skip
def test_a_snooze_is_quiet_until_its_time_unless_it_gets_worse(
    cast: Cast, then: Notice, after: timedelta, hidden: bool
) -> None:
    now = clock.now()
    notice_hide(actor=person(cast), notice=example(), now=now, snoozed_until=until("1h", now))
    assert bool(board(cast.organization, [then], now + after).hidden) == hidden
    assert not board(cast.other, [then], now).hidden, "the other organization has its own"


def test_until_tomorrow_is_until_the_next_days_morning() -> None:
    now = datetime(2026, 12, 31, 2, 17, tzinfo=UTC)
    assert until("tomorrow", now) == datetime(2027, 1, 1, 8, tzinfo=UTC)
    assert until("8h", now) == datetime(2026, 12, 31, 10, 17, tzinfo=UTC)
    assert until("for ever", now) is None


def test_showing_again_undoes_both_and_everything_is_recorded(cast: Cast) -> None:
    now, actor = clock.now(), person(cast)
    notice_hide(actor=actor, notice=example(), now=now)
    notice_hide(actor=actor, notice=example(), now=now, snoozed_until=until("8h", now))
    notice_show(actor=actor, notice=example())
    assert not board(cast.organization, [example()], now).hidden
    with pytest.raises(NotFound):
        notice_show(actor=actor, notice=example())
    events = AuditEvent.objects.filter(object_type="Notice", object_id="short:x", user=cast.admin.user)
    assert list(events.order_by("id").values_list("action", flat=True)) == [
        "notice.acknowledge", "notice.snooze", "notice.show",
    ]  # fmt: skip


def test_what_is_long_over_is_forgotten(cast: Cast) -> None:
    now, actor = clock.now(), person(cast)
    notice_hide(actor=actor, notice=example(), now=now - timedelta(days=91))
    notice_hide(
        actor=actor, notice=example("bad"), now=now - timedelta(hours=2), snoozed_until=now - timedelta(hours=1)
    )
    notice_hide(actor=actor, notice=example("info"), now=now)
    assert Attention.objects.count() == 1


@pytest.mark.parametrize("who", ["viewer", "billing"])
def test_only_who_may_write_deals_with_notices(cast: Cast, quiet: Running, who: str) -> None:
    decide(quiet.deployment, 5, 3)
    browser, notice = getattr(cast, who).browser(), one(cast, "short:")
    page = browser.get(reverse("overview")).content.decode()
    assert "chat is short of capacity" in page
    assert reverse("attention") not in page
    assert browser.post(reverse("attention"), {"key": notice.key, "do": "acknowledge"}).status_code == 403
    attempts: list[Callable[[], object]] = [
        lambda: notice_hide(actor=getattr(cast, who).actor, notice=notice, now=clock.now()),
        lambda: notice_show(actor=getattr(cast, who).actor, notice=notice),
    ]
    for attempt in attempts:
        with pytest.raises(PermissionDenied):
            attempt()
    assert not Attention.objects.exists()


def test_the_page_hides_counts_and_shows_again(cast: Cast, quiet: Running) -> None:
    decide(quiet.deployment, 5, 3)
    browser, key = cast.admin.browser(), one(cast, "short:").key
    answer = browser.post(reverse("attention"), {"key": key, "do": "8h"}, follow=True)
    assert "chat is short of capacity: quiet until" in answer.content.decode()
    page = browser.get(reverse("overview")).content.decode()
    assert "3 of 5 wanted replicas" not in page
    assert "Show 1 acknowledged or snoozed" in " ".join(page.split())
    everything = " ".join(browser.get(reverse("overview"), {"hidden": "1"}).content.decode().split())
    assert "3 of 5 wanted replicas" in everything
    assert re.search(r"Snoozed until <time [^>]*>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC</time> by admin", everything)
    browser.post(reverse("attention"), {"key": key, "do": "show", "hidden": "1"})
    assert "3 of 5 wanted replicas" in browser.get(reverse("overview")).content.decode()


@pytest.mark.parametrize("key", ["", "seen short:x 1 warn", "x" * 500])
def test_what_is_over_needs_nothing_any_more(cast: Cast, quiet: Running, key: str) -> None:
    answer = cast.admin.browser().post(reverse("attention"), {"key": key, "do": "acknowledge"}, follow=True)
    assert "That is over" in answer.content.decode()
    assert not Attention.objects.exists()


def test_the_overview_asks_no_more_for_many_notices(cast: Cast, quiet: Running) -> None:
    browser, of, at = cast.admin.browser(), world.offering(), quiet.deployment.gateways.get()
    failing = {"type": "ReplicasFailing", "status": "STATUS_TRUE", "reason": "FailedInARow", "zone": "", "message": "5",
               "lastUpdateTime": "2026-01-01T00:00:00Z"}  # fmt: skip
    lost = {"type": "Degraded", "status": "STATUS_TRUE", "reason": "InstanceLost", "zone": "", "message": "1 lost",
            "lastUpdateTime": "2026-01-01T00:00:00Z"}  # fmt: skip
    SignalBlock.objects.all().delete()
    past = clock.now() - timedelta(hours=1)

    def more(numbers: range) -> None:
        for number in numbers:
            made = fleet.deployment(cast.admin.actor, at, of, name=f"more-{number}")
            ready(made, 1, clock.now())
            decide(made, 5, 3)
            for name in ("waits", "lost"):
                world.claim(cast.admin.actor, of, 9, name=f"{name}-{number}")
            hold_create(actor=cast.admin.actor, kind="FREEZE", reason="r", deployment_id=made.id)
        Deployment.objects.update(created_at=past, conditions=[failing])
        CapacityClaim.objects.filter(name__startswith="lost").update(conditions=[lost])
        world.quota(cast.organization, of, limit=1, other_usage=2)
        Loop.objects.update_or_create(name=f"x-{len(numbers)}", defaults={
            "period": timedelta(seconds=5), "started_at": past, "ended_at": past,
        })  # fmt: skip

    def queries() -> int:
        with CaptureQueriesContext(connection) as asked:
            assert browser.get(reverse("overview")).status_code == 200
        return len(asked)

    more(range(1))
    kinds = {notice.subject.partition(":")[0] for notice in found(cast)}
    assert kinds == {"loop", "short", "signals", "failing", "degraded", "waiting", "quota", "hold"}
    queries()
    before = queries()
    more(range(1, 5))
    assert queries() == before
