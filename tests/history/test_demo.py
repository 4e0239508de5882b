"""The demo asks for the day before it, once, and describes itself as it is set up."""

from pathlib import Path

import pytest

from claims.models import InstanceType
from console.common import clock
from console.dashboard.demo import LOADS, demo_load
from deployments.core.snapshot import Deployments
from deployments.history.make import _deployments, most_hours
from deployments.loop.snapshot import read_shard
from deployments.loop.tick import PARAMS
from deployments.models import Deployment, HistoryRun

pytestmark = pytest.mark.django_db
SAME = ("key", "org", "min", "max", "priority", "concurrency", "gpu_count", "class_order", "created_at")


@pytest.fixture
def run(tmp_path: Path) -> HistoryRun:
    demo_load(tmp_path)
    return HistoryRun.objects.get()


def test_the_day_before_is_asked_for_once(run: HistoryRun, tmp_path: Path) -> None:
    assert (run.ends_at - run.starts_at).total_seconds() == 86_400
    assert run.ends_at <= min(Deployment.objects.values_list("created_at", flat=True))
    assert run.deployments.count() == len(LOADS)
    demo_load(tmp_path)
    gone = Deployment.objects.get(name="summaries")
    gone.replicas.all().delete()
    gone.delete()
    demo_load(tmp_path)
    assert HistoryRun.objects.count() == 1, "one that is made again lived in another time"


def test_machines_are_those_of_pools_and_claims(run: HistoryRun) -> None:
    """A CUSTOMER claim brings its own, a SERVERLESS one takes of the pool."""
    machines = {
        (place["zone"], shard["gpus"], tuple(shard["deployments"]["key"])): [
            (group["source"], bool(group["claim"]), group["count"])
            for group in shard["machines"] if group["offering"] == place["row"]
        ]
        for shard in run.world["shards"] for place in shard["offerings"]
    }  # fmt: skip
    found = sorted((zone, gpus, groups) for (zone, gpus, _), groups in machines.items() if groups)
    assert found == [
        ("RNO2A", 1, [(1, True, 4), (1, False, 12)]),
        ("US-EAST-01A", 8, [(1, False, 2)]),
        ("US-EAST-01A", 8, [(1, True, 2), (1, False, 3)]),
        ("US-WEST-04A", 4, [(2, True, 2), (1, False, 8)]),
        ("US-WEST-04A", 8, [(1, False, 3)]),
    ]
    assert most_hours(run.world) >= 8


def test_settings_are_those_that_the_live_loop_reads(run: HistoryRun) -> None:
    for type_ in InstanceType.objects.filter(deployments__isnull=False).distinct():
        live = read_shard(type_, PARAMS, clock.now()).snapshot.deployments
        shard = next(one for one in run.world["shards"] if one["deployments"]["key"] == live.key.tolist())
        made: Deployments = _deployments(shard)
        for name in SAME:
            assert getattr(made, name).tolist() == getattr(live, name).tolist(), name
