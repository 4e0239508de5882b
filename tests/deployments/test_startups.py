"""Start-up times of a model by instance type, measured from what its replicas took."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from console.common import clock
from deployments.loop.failures import MEASURED, start_ups
from deployments.models import Deployment, Replica
from deployments.startups import start_ups_of
from tests import fleet, world
from tests.cast import Cast

pytestmark = pytest.mark.django_db


def deployment(cast: Cast, name: str, zone: str = "US-WEST-04A", type_: str = "gb200-4x", **changes: Any) -> Deployment:
    of = world.offering(zone, type_)
    return fleet.deployment(
        cast.admin.actor, fleet.gateway(cast.admin.actor, name=f"to-{name}"), of, name=name, **changes
    )


def loaded(one: Deployment, *seconds: float, ago: int = 0) -> None:
    """Replicas that took so long, the last of them newest."""
    for number, took in enumerate(seconds):
        ready = clock.now() - timedelta(minutes=ago + len(seconds) - number)
        Replica.objects.create(
            deployment=one, instance_type=one.instance_type, revision=1, capacity_class=2, state=4, gpus=1,
            loading_at=ready - timedelta(seconds=took), ready_at=ready, stopped_at=clock.now(),
        )  # fmt: skip


def seconds(found: Any) -> list[float]:
    return [round(one.took.total_seconds()) for one in found]


def test_median_and_percentile_are_those_of_what_was_measured(cast: Cast) -> None:
    one = deployment(cast, "chat")
    assert start_ups_of(one) == []
    loaded(one, *range(10, 110, 10))
    (found,) = start_ups_of(one)
    assert (found.instance_type, found.count) == ("gb200-4x", 10)
    assert (found.median, found.p90) == (timedelta(seconds=50), timedelta(seconds=90))
    assert seconds(found.newest) == [100, 90, 80, 70, 60]


def test_they_are_those_that_r8_goes_by(cast: Cast) -> None:
    one = deployment(cast, "chat")
    loaded(one, 300, 7, 41, 500, 90, 12, 13)
    (found,) = start_ups_of(one)
    assert found.p90 == start_ups([one.key])[one.key] == timedelta(seconds=500)
    assert found.limit == timedelta(seconds=1500)


def test_only_the_newest_count_and_those_that_never_got_ready_do_not(cast: Cast) -> None:
    one = deployment(cast, "chat")
    loaded(one, *[900] * 10, *[30] * MEASURED)
    Replica.objects.create(deployment=one, instance_type=one.instance_type, revision=1, capacity_class=2, state=1, gpus=1,
                           loading_at=clock.now())  # fmt: skip
    (found,) = start_ups_of(one)
    assert (found.count, found.p90) == (MEASURED, timedelta(seconds=30))


def test_the_model_counts_on_each_type_and_no_other_organizations(cast: Cast) -> None:
    one, same = deployment(cast, "chat"), deployment(cast, "chat-2")
    other = deployment(cast, "code", model_path="models/code")
    loaded(one, 10)
    loaded(same, 20, ago=5)
    loaded(other, 70)
    Replica.objects.filter(deployment=same).update(instance_type=world.offering("RNO2A", "gd-1xgh200").instance_type)
    found = start_ups_of(one)
    assert [(each.instance_type, seconds(each.all)) for each in found] == [("gb200-4x", [10]), ("gd-1xgh200", [20])]
    assert found[1].all[0].deployment == "chat-2"


def test_the_page_shows_them_with_one_query_however_many(cast: Cast) -> None:
    one = deployment(cast, "chat")
    browser = cast.viewer.browser()

    def page() -> tuple[str, int]:
        with CaptureQueriesContext(connection) as asked:
            text = browser.get(reverse("deployment", args=[one.id])).content.decode()
        return " ".join(text.split()), len(asked)

    assert "No replica with this model has got ready yet" in page()[0]
    loaded(one, 75)
    before = page()[1]
    loaded(one, *[125] * 30)
    text, after = page()
    assert after == before
    assert "of 31 start-ups" in text
    assert "<b>2 min 5 s</b>" in text
