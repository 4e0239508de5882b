"""A deployment with very many replicas: its page lists some of them, those first that need somebody, and says so."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from console.common import clock
from console.dashboard.deployment_page import MOST_REPLICAS
from deployments.core.states import ReplicaState
from deployments.models import Deployment, Replica
from tests.cast import Cast
from tests.pages.conftest import Running

pytestmark = pytest.mark.django_db


def more(one: Deployment, count: int, state: ReplicaState) -> list[int]:
    made = Replica.objects.bulk_create(
        Replica(
            deployment=one, instance_type=one.instance_type, revision=1, capacity_class=2, state=state, gpus=1,
            stopped_at=clock.now() - timedelta(minutes=1) if state == ReplicaState.FAILED else None,
        )
        for _ in range(count)
    )  # fmt: skip
    return [replica.key for replica in made]


def test_of_very_many_replicas_those_are_listed_that_are_not_ready(cast: Cast, running: Running) -> None:
    one, browser = running.deployment, cast.admin.browser()

    def page() -> tuple[str, int]:
        with CaptureQueriesContext(connection) as asked:
            text = browser.get(reverse("deployment", args=[one.id])).content.decode()
        return " ".join(text.split()), len(asked)

    page()
    before = page()[1]
    more(one, MOST_REPLICAS + 100, ReplicaState.READY)
    starting = more(one, 3, ReplicaState.STARTING)
    more(one, 30, ReplicaState.FAILED)
    text, after = page()
    assert after == before
    there = Replica.objects.filter(deployment=one, state__in=[1, 2, 3]).count()
    assert f"{there} that hold GPUs; listed are {MOST_REPLICAS}, those first that are not ready" in text
    assert text.count('aria-label="Restart replica') == MOST_REPLICAS
    assert all(f'aria-label="Restart replica {key}"' in text for key in starting)
    assert "the newest 20 of 30" in text
    assert (
        len(cast.viewer.api().get(f"/api/v1/deployments/{one.id}/replicas", {"limit": "1000"}).json()["items"]) == there
    )
