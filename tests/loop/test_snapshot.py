"""The shard read as columns, against the same read row by row."""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from claims.models import Instance, InstanceType
from console.common import clock
from deployments.core.columns import Columns
from deployments.core.params import Params
from deployments.core.states import ReplicaState
from deployments.loop.columns import read_columns
from deployments.loop.snapshot import Shard, read_shard
from deployments.loop.transitions import replicas_end
from deployments.models import AutoscalingPolicy, Deployment, Replica, SignalBlock
from deployments.objective.services import objective_clear, objective_set
from deployments.services import deployment_set_disabled
from tests import fleet, world
from tests.cast import Cast
from tests.loop import reference

pytestmark = pytest.mark.django_db


def busy_shard(cast: Cast) -> Any:
    """Two organizations, claims, all kinds of settings, replicas in every state."""
    of, other = world.offering(), world.offering("US-EAST-01A", "gb200-4x")
    world.pool(of, 6)
    world.pool(other, 2)
    world.claim(cast.admin.actor, of, 1)
    gateways = [fleet.gateway(cast.admin.actor), fleet.gateway(cast.admin.actor, of.zone.name.lower(), name="west")]
    theirs = fleet.gateway(cast.outsider.actor)
    start = clock.now()
    fleet.deployment(cast.admin.actor, gateways[0], of, name="plain", min=2)
    west = fleet.deployment(
        cast.admin.actor, gateways[1], of, name="west", look_ahead=True, gpu_count=2, priority=7, max=9, concurrency=3
    )
    fleet.deployment(cast.admin.actor, gateways[0], of, name="demand", capacity_classes=("CAPACITY_CLASS_ON_DEMAND",))
    fleet.deployment(cast.outsider.actor, theirs, of, name="both",
                     capacity_classes=("CAPACITY_CLASS_ON_DEMAND", "CAPACITY_CLASS_RESERVED"))  # fmt: skip
    fleet.deployment(cast.admin.actor, gateways[0], of, name="large", gpu_count=8)
    off = fleet.deployment(cast.admin.actor, gateways[0], of, name="off")
    fleet.workload(west, scale=0.5)
    now = fleet.run(of.instance_type, start, 20)
    AutoscalingPolicy.objects.filter(deployment=west).update(
        stable_window=timedelta(seconds=90), tolerance=0.25, scale_down_delay=timedelta(minutes=2)
    )
    deployment_set_disabled(actor=cast.admin.actor, deployment_id=off.id, disabled=True)
    Instance.objects.filter(key=Instance.objects.filter(gpus_used=0).order_by("key")[0].key).update(lost_at=now)
    fleet.deployment(cast.admin.actor, gateways[0], of, name="fresh")
    work_and_moves(now)
    return of.instance_type, now


def work_and_moves(now: datetime) -> None:
    """Instances that take nothing new, one that drains, and replicas that replace others in all states."""
    used = Instance.objects.filter(gpus_used__gt=0).order_by("key")
    changes: list[dict[str, Any]] = [{"kept": True}, {"work": "CORDON"}, {"state": "DRAINING", "drain_until": now}]
    for instance, fields in zip(used, changes, strict=False):
        Instance.objects.filter(key=instance.key).update(**fields)
    ready = list(Replica.objects.filter(state=2).order_by("key"))
    assert len(ready) > 5
    for new, old in zip(ready[3:], ready[:3], strict=False):
        Replica.objects.filter(key=new.key).update(replaces=old, revision=0)
    Replica.objects.filter(key__in=[ready[0].key, ready[4].key]).update(state=3)


def told(table: Columns, names: set[str], numbers: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """The columns as a dict for each key, NaN as None; `numbers` name what row numbers stand for."""
    found: dict[int, dict[str, Any]] = {}
    for row, key in enumerate(table.key.tolist()):  # type: ignore[attr-defined]
        found[key] = {}
        for name in names:
            value = getattr(table, name)[row].tolist()
            if name in numbers:
                value = None if value < 0 else numbers[name][value]
            found[key][name] = None if isinstance(value, float) and np.isnan(value) else value
    return found


def same(table: Columns, wanted: dict[int, dict[str, Any]], **numbers: Any) -> None:
    names = set(next(iter(wanted.values())))
    got = told(table, names, numbers)
    assert set(got) == set(wanted)
    for key, row in wanted.items():
        for name, value in row.items():
            assert got[key][name] == pytest.approx(value, abs=1e-5), (key, name)


def read(type_: InstanceType, now: datetime) -> Shard:
    """The shard as columns, which is as the rows say."""
    shard = read_shard(type_, Params(), now)
    shard.snapshot.check()
    same(shard.snapshot.deployments, reference.deployments(type_))
    same(shard.snapshot.instances, reference.instances(type_))
    same(shard.snapshot.replicas, reference.replicas(type_), instance=shard.instance_keys.tolist(),
         deployment=shard.deployment_keys.tolist(), replaces=shard.replica_keys.tolist())  # fmt: skip
    parts = shard.snapshot.parts
    assert sorted(zip(shard.replica_keys[parts.replica], shard.instance_keys[parts.instance], parts.gpus,
                      strict=True)) == reference.parts(type_)  # fmt: skip
    return shard


def test_the_columns_are_what_the_rows_say(cast: Cast) -> None:
    type_, now = busy_shard(cast)
    shard = read(type_, now)
    assert len(shard.snapshot.parts)
    assert {False, True} == set(shard.snapshot.instances.held.tolist())
    assert shard.snapshot.replicas.active.any()
    assert sum(shard.snapshot.replicas.replaces >= 0) == 1
    assert {1, 2} <= set(shard.snapshot.replicas.capacity_class.tolist())
    same_samples(shard, reference.samples(type_, now, Params()))


@pytest.mark.django_db(transaction=True)
def test_what_is_kept_between_passes_is_what_the_rows_say(cast: Cast) -> None:
    """Replicas start, get ready, fail and end, instances fill and empty, settings and objectives come and go."""
    type_, now = busy_shard(cast)
    read(type_, now)
    plain, west = Deployment.objects.get(name="plain"), Deployment.objects.get(name="west")
    seen = set()
    for turn in range(12):
        now = fleet.run(type_, now, 1)
        if turn == 2:
            objective_set(actor=cast.admin.actor, deployment_id=west.id, share=0.99)
        if turn == 4:
            AutoscalingPolicy.objects.filter(deployment=plain).update(min=5, max=6)
        if turn == 6:
            objective_clear(actor=cast.admin.actor, deployment_id=west.id)
        if turn == 7:
            deployment_set_disabled(actor=cast.admin.actor, deployment_id=west.id, disabled=True)
        if turn == 8:
            replicas_end(list(Replica.objects.filter(deployment=plain, state=2)[:2]), ReplicaState.FAILED)
        shard = read(type_, now)
        seen.add((len(shard.replica_keys), int(shard.snapshot.instances.gpus_used.sum())))
    assert len(seen) > 4


def same_samples(shard: Shard, wanted: list[tuple[float, dict[int, tuple[int, int]]]]) -> None:
    signals = shard.snapshot.signals
    assert signals.at.tolist() == pytest.approx([at for at, _ in wanted], abs=1e-5)
    assert len(wanted) > 5
    for row, (_, values) in enumerate(wanted):
        for column, key in enumerate(shard.deployment_keys.tolist()):
            got = (int(signals.queued[row, column]), int(signals.active[row, column]))
            assert got == values.get(key, (-1, -1))


def test_start_up_and_service_time_are_measured(cast: Cast) -> None:
    type_, now = busy_shard(cast)
    key = Deployment.objects.get(name="west").key
    shard = read_shard(type_, Params(), now)
    row = shard.deployment_keys.tolist().index(key)
    took = sorted((one.ready_at - one.created_at).total_seconds()
                  for one in Replica.objects.filter(deployment_id=key) if one.ready_at)  # fmt: skip
    assert shard.snapshot.deployments.startup_s[row] == pytest.approx(took[-(-9 * len(took) // 10) - 1], abs=1e-5)
    assert 0 < shard.snapshot.deployments.service_s[row] < 120


def test_the_number_of_queries_does_not_depend_on_the_number_of_deployments(cast: Cast) -> None:
    of = world.offering()
    world.pool(of, 8)
    at = fleet.gateway(cast.admin.actor)
    counts: list[int] = []
    for names in ("ab", "cdefghijklmnop"):
        for name in names:
            fleet.workload(fleet.deployment(cast.admin.actor, at, of, name=name * 3), scale=0.01)
        fleet.run(of.instance_type, clock.now() + timedelta(seconds=60 * len(counts)), 3)
        with CaptureQueriesContext(connection) as queries:
            fleet.tick(of.instance_type, clock.now() + timedelta(seconds=40 + 60 * len(counts)))
        counts.append(len(queries))
    assert counts[1] == counts[0], counts


def test_a_shard_with_nothing_in_it_is_read_and_planned(cast: Cast) -> None:
    shard = read_shard(world.offering().instance_type, Params(), clock.now())
    assert (len(shard.snapshot.deployments), len(shard.snapshot.replicas), len(shard.snapshot.instances)) == (0, 0, 0)
    fleet.tick(world.offering().instance_type)
    assert not SignalBlock.objects.exists()


def test_null_in_a_column_is_refused_rather_than_shifting_what_follows() -> None:
    with pytest.raises(ValueError, match="NULL"):
        read_columns("SELECT n FROM (VALUES (1), (NULL), (3)) AS v (n)", {"n": "bigint"})


def test_columns_keep_order_and_size() -> None:
    found = read_columns("SELECT n, n / 2.0 AS half FROM generate_series(-3, 3) AS n ORDER BY n DESC",
                         {"n": "bigint", "half": "float8"})  # fmt: skip
    assert found["n"].tolist() == [3, 2, 1, 0, -1, -2, -3]
    assert found["half"].tolist() == [1.5, 1.0, 0.5, 0.0, -0.5, -1.0, -1.5]
