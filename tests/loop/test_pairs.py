"""Pairs of an old replica and its replacement stay whole, whatever fails between plan and deed (W2, W3)."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import pytest
from django.db import IntegrityError, transaction

from claims.models import Instance
from console.common import clock
from deployments.core.params import Params
from deployments.core.planner import plan
from deployments.core.states import ReplicaState
from deployments.loop import apply, leaving, tick
from deployments.loop.actuate import actuate_pass
from deployments.loop.apply import Applied, apply_plan
from deployments.loop.failures import Failure, replicas_fail
from deployments.loop.snapshot import read_shard
from deployments.loop.tick import shard_tick
from deployments.models import Decision, Deployment, Replica
from deployments.services import deployment_update
from tests import fleet, world
from tests.cast import Cast
from tests.loop.faults import Killed
from tests.loop.test_faults import consistent

pytestmark = pytest.mark.django_db


def rolling(cast: Cast, pool: int = 2) -> tuple[Deployment, datetime]:
    """Two replicas that serve, and a new revision that no pass has seen yet."""
    of = world.offering()
    world.pool(of, pool)
    at = fleet.gateway(cast.admin.actor)
    one = fleet.deployment(cast.admin.actor, at, of, min=2, max=2, gpu_count=2)
    now = fleet.run(of.instance_type, clock.now(), 3)
    deployment_update(actor=cast.admin.actor, deployment_id=one.id,
                      spec=fleet.spec(at, model_path="new", min=2, max=2, gpu_count=2))  # fmt: skip
    return one, now


def planned(one: Deployment, now: datetime) -> Callable[[], Applied | None]:
    shard = read_shard(one.instance_type, Params(), now)
    made = plan(shard.snapshot, Params(), now.timestamp())
    return lambda: apply_plan(one.instance_type, shard, made, now)


def states() -> list[tuple[int, int]]:
    """(revision, state) of each replica."""
    return list(Replica.objects.order_by("key").values_list("revision", "state"))


def test_w2_a_replacement_that_can_no_longer_be_placed_leaves_the_old_one_alone(cast: Cast) -> None:
    one, now = rolling(cast)
    act, decisions = planned(one, now), Decision.objects.count()
    world.claim(cast.outsider.actor, world.offering(), 1)
    done = act()
    assert done is not None
    assert (done.started, done.stale, done.stopped) == (0, 1, 0)
    assert states() == [(1, 2), (1, 2)]
    assert Decision.objects.count() == decisions, "neither wanted nor granted nor what bounds them changed"
    consistent()


def test_w2_an_old_one_stays_when_its_replacement_failed_after_the_plan(cast: Cast) -> None:
    one, now = rolling(cast)
    shard_tick(one.instance_type, now)
    actuate_pass(now=clock.now())
    fleet.loaded()
    actuate_pass(now=clock.now())
    new = Replica.objects.select_related("deployment").get(revision=2)
    assert new.state == ReplicaState.READY
    act = planned(one, now + fleet.EVERY)
    assert replicas_fail([Failure(new, "CRASHED", "meanwhile")]) == 1
    act()
    assert Replica.objects.get(replacements=new).state == ReplicaState.READY
    assert Replica.objects.filter(state=ReplicaState.READY).count() == 2
    actuate_pass(now=clock.now())  # the runtime hears of it
    consistent()


def test_w3_two_passes_from_one_state_replace_once(cast: Cast) -> None:
    one, now = rolling(cast)
    first, second = planned(one, now), planned(one, now)
    assert first() is not None
    assert second() is None
    assert states() == [(1, 2), (1, 2), (2, 1)]


def test_w2_the_database_refuses_a_second_replacement(cast: Cast) -> None:
    one, now = rolling(cast)
    shard_tick(one.instance_type, now)
    new = Replica.objects.get(revision=2)
    new.pk = None
    with pytest.raises(IntegrityError, match="replica_replaced_once"), transaction.atomic():
        new.save(force_insert=True)


STEPS = [
    (tick, "replicas_lost"), (tick, "read_shard"), (tick, "plan"), (apply, "_start"), (apply, "gpus_take"),
    (apply, "let_go"), (leaving, "states_locked"), (apply, "_record"), (apply, "settle"),
]  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize("where", STEPS, ids=lambda one: one[1])
@pytest.mark.parametrize("ready", [False, True], ids=["starts", "goes"])
def test_w2_killed_at_any_step_the_old_one_serves_until_the_new_one_does(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, where: tuple[object, str], ready: bool
) -> None:
    one, now = rolling(cast)
    if ready:  # the pass that is killed would let the old one go
        now = fleet.run(one.instance_type, now, 1)
    module, name = where
    original = getattr(module, name)

    def killed(*given: object, **named: object) -> None:
        original(*given, **named)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(module, name, killed)
        with suppress(Killed):  # not every step is taken in every pass
            shard_tick(one.instance_type, now)
    consistent()
    assert Replica.objects.filter(state=ReplicaState.READY).count() >= 2
    for _ in range(10):
        now = fleet.run(one.instance_type, now, 1)
        assert Replica.objects.filter(state=ReplicaState.READY).count() >= 2
    assert sorted(Replica.objects.filter(state=ReplicaState.READY).values_list("revision", flat=True)) == [2, 2]
    assert sum(Instance.objects.values_list("gpus_used", flat=True)) == 4
    consistent()
