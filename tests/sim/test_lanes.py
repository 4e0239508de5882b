"""Worlds side by side do not touch each other: each comes out as if it were alone."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from deployments.core.explain import rerun
from deployments.core.params import Params
from deployments.core.record import Row, decision_records
from deployments.sim.lanes import Lane, side_by_side
from deployments.sim.shard import Step, World, run
from tests.sim.test_fleet import Fixed
from tests.sim.test_shard import EPOCH, scarce, wave, world

PARAMS = Params()
END = 480.0


def worlds() -> list[World]:
    """Different sizes of instances, organizations and claims of the same keys, two offerings in one of them."""
    other = world(
        [wave(1.0, 8), wave(1.6, 9, cv=3.0)], [(0, 0), (0, 0), (1, 7)], gpus=2, org=[1, 2], gpu_count=[1, 2],
        concurrency=[4, 6], scale_down_s=[120.0, np.nan], avoid=[-1, 2],
    )  # fmt: skip
    first = scarce()
    second = replace(first.offerings, key=np.array([1, 2]), zone=("HERE", "THERE"),
                     gpus_per_instance=np.array([4, 4], np.int32))  # fmt: skip
    halves = replace(first.instances, offering=np.array([0, 0, 0, 1, 1, 1], np.int32))
    only_there = replace(first.deployments, zones=np.array([1, 2, 3, 3, 1], np.uint64))
    return [first, other, replace(first, offerings=second, instances=halves, deployments=only_there)]


def told(step: Step, rows: slice) -> list[Any]:
    made = step.plan
    columns = [*vars_of(step.sample), made.ready, made.starting, made.unplaced, made.changed]
    for stage in (made.signal, made.need, made.damped, made.wanted):
        columns += [values for _, values in stage.items()]
    columns += [made.granted.value, made.granted.code, made.granted.bound, made.granted.missing_gpus]
    return [values[rows].tolist() for values in columns] + step.waits[rows]


def vars_of(record: Any) -> list[Any]:
    return [getattr(record, name) for name in record.__slots__]


def records(step: Step, rows: slice) -> list[Row]:
    changed = np.flatnonzero(step.plan.changed)
    return decision_records(step.plan, step.snapshot, changed[(changed >= rows.start) & (changed < rows.stop)].tolist())


@pytest.mark.thorough
def test_each_lane_is_what_its_world_alone_gives() -> None:
    whole, lanes = side_by_side(worlds())
    together = list(run(whole, PARAMS, 0.0, END, epoch_s=EPOCH, initial=[1] * len(whole.slots)))
    short = sum(int((step.plan.granted.value < step.plan.wanted.value).sum()) for step in together)
    assert short > 50, "they were short, so that order mattered"
    for one, lane in zip(worlds(), lanes, strict=True):
        alone = run(one, PARAMS, 0.0, END, epoch_s=EPOCH, initial=[1] * len(one.slots))
        every = slice(0, len(one.slots))
        for step, both in zip(alone, together, strict=True):
            assert told(step, every) == told(both, lane.rows)
            assert records(step, every) == [lane.own(record) for record in records(both, lane.rows)]


def test_a_record_of_another_hour_is_that_of_the_run_at_that_hour() -> None:
    """An hour earlier everything is the same but the times, and stages 1 to 5 run again from the row."""
    whole, lanes = side_by_side(worlds()[:2])
    seen = 0
    for now, then in zip(
        run(whole, PARAMS, 0.0, END, epoch_s=EPOCH), run(whole, PARAMS, 0.0, END, epoch_s=EPOCH - 3600), strict=True
    ):
        rows = lanes[1].rows
        moved = [lanes[1].own(record, -3_600_000) for record in records(now, rows)]
        assert moved == [lanes[1].own(record) for record in records(then, rows)]
        assert all(rerun(record).same for record in moved)
        seen += len(moved)
    assert seen > 5


def test_keys_of_lanes_are_strangers() -> None:
    whole, lanes = side_by_side([scarce()] * 3)
    assert len(set(whole.deployments.key.tolist())) == 15
    assert len(set(whole.deployments.org.tolist())) == 6
    assert len(set(whole.instances.key.tolist())) == 18
    assert (whole.instances.org == 0).sum() == 12, "nobody stays nobody"
    assert [lane.offering for lane in lanes] == [0, 1, 2]
    assert whole.deployments.zones.tolist() == [1] * 5 + [2] * 5 + [4] * 5
    assert lanes[2] == Lane(2, slice(10, 15), 2, 12)


def test_more_offerings_than_a_shard_can_have_are_refused() -> None:
    one = world([Fixed()], [])
    side_by_side([one] * 64)
    with pytest.raises(ValueError, match="65 offerings"):
        side_by_side([one] * 65)
