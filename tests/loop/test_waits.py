"""How long requests waited, from the queue itself to a chart: nothing is lost or added on the way."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from django.urls import reverse

from console.common import clock
from deployments.backends import simulated
from deployments.backends.base import BackendError, Samples
from deployments.backends.checked import CheckedRuntime
from deployments.core.waits import BUCKETS, UNKNOWN, counted, known, percentile
from deployments.loop import history
from deployments.loop.rollup import roll_up
from deployments.loop.sampling import sample_shard, targets_of
from deployments.models import Deployment, Replica, SignalChunk, SimulatedReplica, SimulatedWorkload
from deployments.sim.queue import advance
from tests import fleet, world
from tests.cast import Cast

pytestmark = pytest.mark.django_db
PASSES, EVERY = 60, timedelta(seconds=5)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    """The waits of each slice of the queue, as the queue tells them."""
    waits: list[list[float]] = []

    def told_by(*args: Any) -> Any:
        state, sample = advance(*args)
        waits.append(sample.waits.tolist())
        return state, sample

    monkeypatch.setattr(simulated, "advance", told_by)
    return waits


@pytest.fixture
def one(cast: Cast) -> Deployment:
    """More requests than its replica can run at once."""
    made = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), world.offering(), concurrency=2)
    rows = [
        Replica.objects.create(
            deployment=made, instance_type=made.instance_type, revision=1, capacity_class=2, state=2, gpus=1
        )
    ]
    simulated.SimulatedRuntimeBackend().start(rows)
    fleet.loaded()
    fleet.workload(made, scale=0.6)
    return made


def passes(one: Deployment, start: datetime) -> Iterator[datetime]:
    for number in range(1, PASSES + 1):
        at = start + number * EVERY
        assert sample_shard(one.instance_type, simulated.SimulatedRuntimeBackend(), at)
        yield at


def total(one: Deployment, start: datetime, end: datetime, step: int) -> list[int]:
    waits = history.series(one, start, end, step, waits=True).waits
    counts: list[int] = waits[known(waits)].sum(axis=0).tolist()
    return counts


def test_what_a_range_counts_is_what_the_queue_told(cast: Cast, one: Deployment, told: list[list[float]]) -> None:
    start = clock.now()
    *_, end = passes(one, start)
    waits = [wait for slice_ in told[1:] for wait in slice_]  # the first sample says where counts begin
    expected = counted(waits).tolist()
    assert max(waits) > 5, "some waited"
    assert min(waits) == 0
    span = (start - timedelta(hours=1), end + timedelta(hours=1))
    assert total(one, *span, 5) == expected
    assert total(one, *span, 60) == expected, "of the open span"
    later = history.floor(end, history.DAY) + timedelta(days=1, minutes=5)
    assert roll_up(later)
    assert set(SignalChunk.objects.filter(deployment=one).values_list("resolution", flat=True)) == {5, 60}
    for step in (5, 60):
        assert total(one, *span, step) == expected, "of what is written"
    for percent in (50, 95, 99):
        said = percentile(np.array(expected), percent)
        true = float(np.percentile(waits, percent, method="inverted_cdf"))
        assert said is not None
        assert said.longer_than_s <= true <= (said.at_most_s or np.inf)


def test_the_chart_says_percentiles_of_points_and_of_its_range(
    cast: Cast, one: Deployment, told: list[list[float]]
) -> None:
    start = clock.now() - (PASSES + 2) * EVERY
    SimulatedReplica.objects.update(ready_at=start - EVERY)
    SimulatedWorkload.objects.update(origin=start)
    list(passes(one, start))
    chart = cast.viewer.browser().get(reverse("chart-waits", args=[one.id]), {"range": "15m"}).json()
    waits = [wait for slice_ in told[1:] for wait in slice_]
    said = percentile(counted(waits), 95)
    assert said is not None
    assert said.about_s >= 10
    assert f"p95 {said.about_s:.0f} s ({said.longer_than_s:g} to {said.at_most_s:g})" in chart["summary"]
    assert f"of {len(waits):,} requests that started." in chart["summary"]
    assert [row["name"] for row in chart["series"]] == ["p50", "p95", "p99"]
    for lower, higher in zip(chart["series"][0]["points"], chart["series"][2]["points"], strict=True):
        assert lower[0] == higher[0]
        assert lower[1] is None or lower[1] <= higher[1]
    items = cast.viewer.api().get(f"/api/v1/deployments/{one.id}/signals").json()["items"]
    assert max(item["waitP99Seconds"] or 0 for item in items) > 5
    in_time = cast.viewer.browser().get(reverse("chart-in-time", args=[one.id]), {"range": "15m"}).json()
    assert [row["name"] for row in in_time["series"]] == ["Started within 1 s", "Started within 5 s"]


def test_where_nobody_counts_nothing_is_said(cast: Cast, one: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    blind = simulated.SimulatedRuntimeBackend()
    sees = blind.sample
    monkeypatch.setattr(blind, "sample", lambda *args: replace(sees(*args), waits=None))
    for number in range(1, 5):
        sample_shard(one.instance_type, blind, clock.now() - timedelta(minutes=1) + number * EVERY)
    chart = cast.viewer.browser().get(reverse("chart-waits", args=[one.id]), {"range": "15m"}).json()
    assert chart["summary"] == "How long requests waited was not counted in this range."
    assert all(value is None for row in chart["series"] for _, value in row["points"])


@pytest.mark.parametrize(("change", "counts"), [
    (lambda found: found.astype(float), None),
    (lambda found: np.where(np.arange(BUCKETS) == 3, -5, found), UNKNOWN),
    (lambda found: np.where(np.arange(BUCKETS) == 3, np.nan, found), UNKNOWN),
    (lambda found: np.where(np.arange(BUCKETS) == 3, 1e300, found), UNKNOWN),
])  # fmt: skip
def test_counts_that_cannot_be_are_unknown_as_a_whole(one: Deployment, change: Any, counts: int | None) -> None:
    class Lying:
        def sample(self, *args: Any) -> Samples:
            found = simulated.SimulatedRuntimeBackend().sample(*args)
            return replace(found, waits=change(found.waits))

    seen = CheckedRuntime(Lying()).sample(targets_of(one.instance_type), clock.now()).waits  # type: ignore[arg-type]
    assert seen is not None
    assert seen.dtype == np.int64
    assert (seen == UNKNOWN).all() if counts is not None else (seen >= 0).all()


def test_counts_of_another_shape_are_no_samples(one: Deployment) -> None:
    class Lying:
        def sample(self, *args: Any) -> Samples:
            return replace(simulated.SimulatedRuntimeBackend().sample(*args), waits=np.zeros((1, 3), np.int64))

    with pytest.raises(BackendError, match="counts of waits"):
        CheckedRuntime(Lying()).sample(targets_of(one.instance_type), clock.now())  # type: ignore[arg-type]
