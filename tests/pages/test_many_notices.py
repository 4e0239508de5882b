"""Where there are many notices of a kind the overview says them in one line, and deals with them in one go."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from console.common import clock
from console.dashboard import attention
from console.dashboard.groups import FEW, KINDS, NAMED
from console.dashboard.models import Attention
from console.organizations.models import AuditEvent
from deployments.models import AutoscalingPolicy, Deployment, Replica, SignalBlock
from tests import world
from tests.cast import Cast
from tests.pages.conftest import Running
from tests.pages.test_attention import decide, found, shown

pytestmark = pytest.mark.django_db
SAME = (
    "engine",
    "engine_version",
    "sent_instance_type",
    "gpu_count",
    "model_name",
    "model_bucket",
    "model_path",
    "status",
    "revision",
)
TEXT = "no usable sample has come; its size is held as it is"


@pytest.fixture
def quiet(cast: Cast, running: Running) -> Running:
    world.everything_arrives()
    decide(running.deployment, 2, 2, "NONE")
    return running


def many(cast: Cast, quiet: Running, count: int) -> None:
    """So many deployments, beside the one there is, that have a ready replica and of which no sample comes."""
    SignalBlock.objects.all().delete()
    of, since, there = quiet.deployment, clock.now() - timedelta(hours=1), Deployment.objects.count()
    rows = Deployment.objects.bulk_create(
        Deployment(
            organization=cast.organization, instance_type=of.instance_type, name=f"many-{there + number:04}", created_at=since,
            **{name: getattr(of, name) for name in SAME},
        )
        for number in range(count)
    )  # fmt: skip
    AutoscalingPolicy.objects.bulk_create(AutoscalingPolicy(deployment=row, min=1, max=2) for row in rows)
    Replica.objects.bulk_create(
        Replica(
            deployment=row,
            instance_type=of.instance_type,
            revision=1,
            capacity_class=2,
            state=2,
            gpus=1,
            ready_at=since,
        )
        for row in rows
    )
    Deployment.objects.filter(key=of.key).update(created_at=since)


def overview(cast: Cast, **query: str) -> tuple[str, int]:
    browser = cast.admin.browser()
    browser.get(reverse("overview"))
    with CaptureQueriesContext(connection) as asked:
        page = browser.get(reverse("overview"), query)
    assert page.status_code == 200
    return " ".join(page.content.decode().split()), len(asked)


@pytest.mark.thorough
def test_a_thousand_of_a_kind_are_one_line_with_the_first_names_and_the_list_of_all(cast: Cast, quiet: Running) -> None:
    many(cast, quiet, FEW + 1)
    few, before = overview(cast)
    many(cast, quiet, 999)
    page, after = overview(cast)
    assert after == before
    assert len(page) < len(few) + 200, "it does not grow with them"
    assert f"Signals of {len(found(cast, 'signals:')):,} deployments are lost" in page
    assert "no usable sample has come; their sizes are held as they are" in page
    assert page.count(">many-") + page.count(f'title="{TEXT}">chat</a>') == NAMED
    assert f'href="{reverse("deployments")}?state=lost"' in page
    listed = cast.admin.browser().get(reverse("deployments"), {"state": "lost"})
    assert listed.context["page"].paginator.count == len(found(cast, "signals:"))


def test_what_is_done_to_the_line_is_done_to_each_and_undone(cast: Cast, quiet: Running) -> None:
    many(cast, quiet, FEW + 1)
    subjects = set(shown(cast, "signals:"))
    assert len(subjects) > FEW
    browser, key = cast.admin.browser(), "all signals bad"
    assert f'value="{key}"' in overview(cast)[0]
    answer = browser.post(reverse("attention"), {"key": key, "do": "acknowledge"}, follow=True)
    assert f"Signals of {len(subjects)} deployments are lost: acknowledged" in answer.content.decode()
    assert shown(cast, "signals:") == []
    event = AuditEvent.objects.get(action="notice.acknowledge")
    assert (event.object_id, event.object_name) == ("signals", f"Signals of {len(subjects)} deployments are lost")
    page, _ = overview(cast, hidden="1")
    assert f"Show {len(subjects)} acknowledged" in page or f"Leave out {len(subjects)} acknowledged" in page
    assert page.count(">many-") + page.count(f'title="{TEXT}">chat</a>') == NAMED
    browser.post(reverse("attention"), {"key": key, "do": "show", "hidden": "1"})
    assert set(shown(cast, "signals:")) == subjects
    assert not Attention.objects.exists()


def test_few_of_a_kind_are_listed_each(cast: Cast, quiet: Running) -> None:
    many(cast, quiet, FEW - 1)
    page, _ = overview(cast)
    assert page.count("Signals of many-") >= FEW - 1
    assert "all signals" not in page


def test_every_kind_of_notice_that_can_be_many_has_words_and_a_list(cast: Cast) -> None:
    subjects = set(re.findall(r'f"([a-z]+):\{', Path(attention.__file__).read_text()))
    assert subjects == KINDS.keys()
    for words in KINDS.values():
        assert "{}" in words.title
        assert cast.admin.browser().get(words.url).status_code == 200


@pytest.mark.parametrize("key", ["all signals bad", "all nothing bad", "all", "all signals"])
def test_where_there_are_none_any_more_nothing_is_done(cast: Cast, quiet: Running, key: str) -> None:
    answer = cast.admin.browser().post(reverse("attention"), {"key": key, "do": "acknowledge"}, follow=True)
    assert "That is over" in answer.content.decode()
    assert not Attention.objects.exists()
