"""Worlds side by side in one: one pass of the planner decides for all of them, at little more than the price of one.

Worlds do not touch each other: shards of different instance types, the same shard at other hours or with other
settings. Each is a lane, and organizations, claims, offerings and deployments of different lanes are strangers, since
their keys are put into ranges of their own. What comes out for a lane is what its world alone would have given
(tests/sim/test_lanes.py), with keys and row numbers that `Lane` turns back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from deployments.core.columns import Columns
from deployments.core.record import Row
from deployments.core.snapshot import MAX_OFFERINGS, Deployments, Instances, Offerings
from deployments.sim.shard import World

C = TypeVar("C", bound=Columns)

# Keys of lane n lie from n times this on; 0, which is nobody, stays 0.
KEYS_EACH = 1 << 40
# Of a decision's record, what is a time since 1970; 0 stands for none.
_TIMES = ("now_ms", "damped_burst_until_ms", "burst_until_before_ms")


@dataclass(frozen=True, slots=True)
class Lane:
    """Where a world is among the others: the rows of its deployments, its first offering and its first instance."""

    number: int
    rows: slice
    offering: int
    instance: int

    def own(self, record: Row, shift_ms: int = 0) -> Row:
        """A decision's record as the world alone would have it, with times that are `shift_ms` later."""
        base = {
            "key": self.number * KEYS_EACH,
            "granted_other": self.number * KEYS_EACH,
            "granted_offering": self.offering,
        }
        known = ((name, _whole(record[name]), first) for name, first in base.items())
        changed: Row = {name: value - first for name, value, first in known if value >= 0}
        for name in _TIMES:
            if _whole(record[name]):
                changed[name] = _whole(record[name]) + shift_ms
        at_ms = record["sample_at_ms"]
        assert isinstance(at_ms, list)
        return {**record, **changed, "sample_at_ms": [one + shift_ms for one in at_ms]}


def side_by_side(worlds: Sequence[World]) -> tuple[World, list[Lane]]:
    """All of them as one world, and where each is in it. Raises ValueError where they have too many offerings together."""
    offerings = _starts([len(world.offerings) for world in worlds])
    rows = _starts([len(world.deployments) for world in worlds])
    if offerings[-1] > MAX_OFFERINGS:
        raise ValueError(f"{offerings[-1]} offerings side by side are more than {MAX_OFFERINGS}")
    instances = _starts([len(world.instances) for world in worlds])
    lanes = [
        Lane(number, slice(first, last), offering, instance)
        for number, (first, last, offering, instance) in enumerate(
            zip(rows, rows[1:], offerings, instances, strict=False)
        )
    ]
    whole = World(
        deployments=_joined(Deployments, [_deployments(one, lane) for one, lane in zip(worlds, lanes, strict=True)]),
        slots=np.concatenate([world.slots for world in worlds]),
        instances=_joined(Instances, [_instances(one, lane) for one, lane in zip(worlds, lanes, strict=True)]),
        offerings=Offerings(
            key=np.concatenate([lane.number * KEYS_EACH + one.offerings.key
                                for one, lane in zip(worlds, lanes, strict=True)]),
            zone=tuple(zone for world in worlds for zone in world.offerings.zone),
            gpus_per_instance=np.concatenate([world.offerings.gpus_per_instance for world in worlds]),
        ),
        demands=[demand for world in worlds for demand in world.demands],
        loads=[load for world in worlds for load in world.loads],
    )  # fmt: skip
    return whole, lanes


def _deployments(world: World, lane: Lane) -> dict[str, np.ndarray]:
    columns = dict(world.deployments.items())
    there = np.uint64(2 ** len(world.offerings) - 1)
    return {
        **columns,
        "key": _moved(columns["key"], lane),
        "org": _moved(columns["org"], lane),
        "zones": (columns["zones"] & there) << np.uint64(lane.offering),
        "avoid": np.where(columns["avoid"] >= 0, columns["avoid"] + lane.instance, -1),
    }


def _instances(world: World, lane: Lane) -> dict[str, np.ndarray]:
    columns = dict(world.instances.items())
    return {
        **columns,
        "key": _moved(columns["key"], lane),
        "org": _moved(columns["org"], lane),
        "claim": _moved(columns["claim"], lane),
        "offering": columns["offering"] + lane.offering,
    }


def _moved(keys: np.ndarray, lane: Lane) -> np.ndarray:
    return np.where(keys > 0, keys + lane.number * KEYS_EACH, keys)


def _joined(kind: type[C], parts: Sequence[dict[str, np.ndarray]]) -> C:
    return kind.build(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def _starts(lengths: Sequence[int]) -> list[int]:
    return [0, *np.cumsum(lengths).tolist()]


def _whole(value: int | str | list[int]) -> int:
    assert isinstance(value, int)
    return value
