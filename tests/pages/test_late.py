"""The banner: a loop that stops is named on every page, with since when and what that means."""

import re
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection
from django.urls import reverse

from claims.tasks import fulfil
from console.common import clock
from console.dashboard import lateness
from console.dashboard.lateness import MEANINGS, OTHERWISE, late_kinds, late_names_apart
from console.loops.models import Loop
from console.settings import CELERY_BEAT_SCHEDULE
from deployments.tasks import scale_shard
from tests import world
from tests.cast import Cast, Member
from tests.pages.conftest import Running

pytestmark = pytest.mark.django_db

LONG = timedelta(hours=1)


def stopped(**names: object) -> None:
    """As if these loops had done their last pass an hour ago."""
    for loop in Loop.objects.filter(**names):
        assert loop.started_at
        assert loop.ended_at
        loop.started_at, loop.ended_at = loop.started_at - LONG, loop.ended_at - LONG
        loop.save()


def banner(member: Member, page: str = "claims") -> str:
    text = member.browser().get(reverse(page)).content.decode()
    found = re.search(r'<div class="hr-banner" role="alert">.*?</ul>', text, re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", found[0]).split()) if found else ""


def test_a_loop_that_works_is_not_late_and_one_that_stopped_is_named_on_every_page(cast: Cast) -> None:
    world.offering()
    fulfil()
    assert banner(cast.viewer) == ""
    stopped(name="fulfil")
    for page in ("overview", "deployments", "claims", "capacity"):
        said = banner(cast.viewer, page)
        assert "Late: fulfil" in said, page
        assert "last pass 1 h ago" in said
        assert "claims get no instances and give none up" in said
    fulfil()
    assert banner(cast.viewer) == "", "it goes with the next complete pass"


def test_shards_of_one_loop_are_one_line(cast: Cast, running: Running) -> None:
    scale_shard(running.deployment.instance_type_id)
    stopped(name__startswith="scale")
    Loop.objects.create(name="scale:gone-1x", period=timedelta(seconds=5), started_at=clock.now() - LONG)
    (late,) = late_kinds(clock.now())
    assert late.name == "scale of gb200-4x", "a shard that nothing uses any more is not late"
    assert late.completed


def test_many_shards_are_counted() -> None:
    at = clock.now()
    loops = [Loop(name=f"scale:type-{n}", ended_at=at - n * LONG, started_at=at) for n in range(1, 5)]
    (late,) = lateness.grouped(loops)
    assert late.name == "scale of type-1, type-2 and 2 more"
    assert late.since == at - 4 * LONG


def test_a_loop_that_fails_every_time_is_late_and_its_error_is_for_staff_alone(cast: Cast) -> None:
    long_ago = clock.now() - LONG
    Loop.objects.create(name="meter", period=timedelta(seconds=60), started_at=clock.now(), ended_at=long_ago,
                        failures=9, last_error="PriceMissing: offering 7")  # fmt: skip
    assert "Late: meter" in banner(cast.admin)
    assert "PriceMissing" not in banner(cast.admin)
    assert "Its last pass failed: PriceMissing: offering 7" in banner(cast.platform)


def test_a_loop_that_never_completed_says_so(cast: Cast) -> None:
    Loop.objects.create(name="actuate", period=timedelta(seconds=5), started_at=clock.now() - LONG)
    assert "never completed, begun" in banner(cast.viewer)


def test_every_loop_says_what_its_lateness_means() -> None:
    assert set(CELERY_BEAT_SCHEDULE) >= set(MEANINGS)
    assert OTHERWISE


def test_the_banner_can_be_fetched_alone(cast: Cast) -> None:
    browser = cast.viewer.browser()
    assert b"hr-banner" not in browser.get(reverse("late")).content
    Loop.objects.create(name="actuate", period=timedelta(seconds=5), started_at=clock.now() - LONG)
    part = browser.get(reverse("late")).content
    assert b'id="late"' in part
    assert b"Late: actuate" in part
    assert b"<html" not in part


def test_a_database_that_does_not_answer_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise DatabaseError("gone")

    monkeypatch.setattr(clock, "now", refuse)
    monkeypatch.setattr(connection, "close", lambda: None)
    assert late_names_apart() is None
