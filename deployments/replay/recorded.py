"""A pass of the planner as bytes: the snapshot that it planned with, and what came out for each deployment.

Of the stages before the bounds only the size that they asked for is kept: with the snapshot they come out again, and the
rows of the decisions hold every number of theirs.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

import numpy as np

from deployments.core.autoscaler_state import AutoscalerState, Forecasts, Kept, Memory
from deployments.core.columns import ColumnError, Columns
from deployments.core.params import Params
from deployments.core.plan import Granted, Plan, Starts, Stops, Wanted
from deployments.core.planner import plan
from deployments.core.snapshot import Deployments, Instances, Offerings, Parts, Replicas, Signals, Snapshot
from deployments.replay.packing import Array, Arrays, UnreadableError, pack, unpack

T = TypeVar("T", bound=Columns)

TABLES = ("deployments", "replicas", "instances", "parts")
SIGNALS = ("at", "queued", "active")
OUTPUT = ("wanted", "granted", "starts", "stops")
COUNTS = ("ready", "starting", "unplaced", "changed")


@dataclass(frozen=True, slots=True)
class Output:
    """What a pass decided. `counts` are columns of the plan, by name."""

    wanted: Wanted
    granted: Granted
    starts: Starts
    stops: Stops
    counts: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class RecordedPass:
    """A pass as it was: planning `snapshot` again has to give `output`."""

    snapshot: Snapshot
    params: Params
    now: float  # unix seconds
    output: Output

    def again(self) -> Plan:
        """The same pass, planned by the planner as it is today."""
        return plan(self.snapshot, self.params, self.now)

    def row_of(self, deployment_key: int) -> int | None:
        """Row of a deployment; None where it was not in the shard."""
        found = np.flatnonzero(self.snapshot.deployments.key == deployment_key)
        return int(found[0]) if len(found) else None


def output_of(made: Plan) -> Output:
    """What of a plan is recorded."""
    return Output(made.wanted, made.granted, made.starts, made.stops, {name: getattr(made, name) for name in COUNTS})


def to_bytes(snapshot: Snapshot, made: Plan) -> bytes:
    """The pass, packed; `made` is the plan as the planner gave it, before anything of it turned out stale (W2)."""
    arrays: Arrays = {}
    for name in TABLES:
        arrays |= _named(name, getattr(snapshot, name))
    for name in OUTPUT:
        arrays |= _named(name, getattr(made, name))
    arrays |= _named("memory", snapshot.state.memory) | _named("kept", snapshot.state.kept)
    arrays |= _named("forecasts", snapshot.state.forecasts)
    arrays |= {f"signals.{name}": getattr(snapshot.signals, name) for name in SIGNALS}
    arrays |= {f"offerings.{name}": getattr(snapshot.offerings, name) for name in ("key", "gpus_per_instance")}
    arrays |= {f"counts.{name}": getattr(made, name) for name in COUNTS}
    words = {"now": made.now, "params": asdict(made.params), "state_at_ms": snapshot.state.at_ms,
             "zones": list(snapshot.offerings.zone)}  # fmt: skip
    return pack(arrays, words)


def from_bytes(data: bytes) -> RecordedPass:
    """Read `to_bytes`, also of a planner that had fewer columns; raises UnreadableError for anything else."""
    arrays, words = unpack(data)
    try:
        snapshot = Snapshot(
            deployments=_table(Deployments, "deployments", arrays), replicas=_table(Replicas, "replicas", arrays),
            instances=_table(Instances, "instances", arrays), parts=_table(Parts, "parts", arrays),
            signals=Signals(**{name: arrays[f"signals.{name}"] for name in SIGNALS}),
            offerings=Offerings(arrays["offerings.key"], tuple(words["zones"]), arrays["offerings.gpus_per_instance"]),
            state=AutoscalerState(
                words["state_at_ms"], _table(Memory, "memory", arrays), _table(Kept, "kept", arrays),
                _table(Forecasts, "forecasts", arrays) if "forecasts.key" in arrays else Forecasts.none(),
            ),
        )  # fmt: skip
        snapshot.check()
        output = Output(
            wanted=_table(Wanted, "wanted", arrays), granted=_table(Granted, "granted", arrays),
            starts=_table(Starts, "starts", arrays), stops=_table(Stops, "stops", arrays),
            counts={name: arrays[f"counts.{name}"] for name in COUNTS},
        )  # fmt: skip
        return RecordedPass(snapshot, _params(words["params"]), words["now"], output)
    except (KeyError, TypeError, ColumnError) as error:
        raise UnreadableError(f"a record of a pass that does not fit together: {error}") from error


def _named(name: str, table: Columns) -> Arrays:
    return {f"{name}.{column}": values for column, values in table.items()}


def _table(kind: type[T], name: str, arrays: Arrays) -> T:
    """Columns that are thought of since are filled as if nobody had given them."""
    given = {f"{name}.{one.name}": one.name for one in fields(kind)}
    return kind.build(**{column: arrays[full] for full, column in given.items() if full in arrays})


def _params(given: Mapping[str, Any]) -> Params:
    """Passes from before the look-ahead had none."""
    known = {one.name for one in fields(Params)}
    return Params(**{"ahead": 0.0, **{name: value for name, value in given.items() if name in known}})
