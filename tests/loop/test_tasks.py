"""Celery's side of the loops: names that beat knows, and passes that begin once however often they are sent (W4)."""

from datetime import timedelta

import pytest
from django.conf import settings

from console.common import clock
from console.loops.models import Loop
from deployments import tasks
from deployments.core.states import ReplicaState
from deployments.loop import rollup
from deployments.models import Replica, SignalBlock
from tests import fleet, world
from tests.cast import Cast


def test_every_beat_of_this_half_names_a_task_there_is() -> None:
    named = {str(entry["task"]) for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    ours = {name for name in named if name.startswith("deployments.")}
    assert ours == {
        tasks.scale.name, tasks.actuate.name, tasks.roll_up.name, tasks.history.name, tasks.shortage_notices.name,
        tasks.objectives.name, tasks.backtests.name,
    }  # fmt: skip


@pytest.mark.django_db
def test_w4_a_pass_sent_five_times_is_made_once(cast: Cast) -> None:
    of = world.offering()
    fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of)
    for _ in range(5):
        tasks.scale_shard(of.instance_type.key)
        tasks.actuate()
        tasks.roll_up()
    assert SignalBlock.objects.count() == 1
    assert dict(Loop.objects.values_list("name", "passes")) == {
        f"scale:{of.instance_type.name}": 1, "actuate": 1, "roll-up": 1,
    }  # fmt: skip


@pytest.mark.django_db
def test_rows_of_replicas_that_ended_are_kept_for_a_while(cast: Cast) -> None:
    of = world.offering()
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), of)
    now = clock.now()
    for age, state in ((1, ReplicaState.STOPPED), (3, ReplicaState.STOPPED), (3, ReplicaState.FAILED)):
        Replica.objects.create(deployment=one, instance_type=of.instance_type, revision=1, capacity_class=2, state=state,
                               gpus=1, stopped_at=now - timedelta(days=age))  # fmt: skip
    kept = Replica.objects.create(deployment=one, instance_type=of.instance_type, revision=2, capacity_class=2, gpus=1,
                                  state=ReplicaState.READY, replaces=Replica.objects.earliest("stopped_at"))  # fmt: skip
    rollup.roll_up(now)
    assert Replica.objects.count() == 2
    kept.refresh_from_db()
    assert kept.replaces is None
