"""A decision as a row of its own: inputs, stage numbers and reasons of one deployment in one tick.

The row is enough to run stages 1 to 5 again. Everything in it is a whole number, a string or a list of whole
numbers, so JSON keeps it exactly. Times are milliseconds (since 1970, or long), ratios thousandths; -1 stands
for none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deployments.core.autoscaler_state import Memory
from deployments.core.columns import Columns
from deployments.core.params import Settings, milliseconds
from deployments.core.plan import Plan
from deployments.core.signal import Samples, decode
from deployments.core.snapshot import Deployments, Offerings, Snapshot

Row = dict[str, int | str | list[int]]

POLICY = (
    "min",
    "max",
    "floor",
    "ceiling",
    "scheduled",
    "priority",
    "concurrency",
    "gpu_count",
    "pin",
    "backoff",
    "revision",
    "slots",
)
FLAGS = ("enabled", "freeze", "shadow")
STAGES = ("signal", "need", "ahead", "damped", "wanted", "granted")


def stored_as(stage: str, name: str) -> str:
    """Name of a stage's number in a row: the stage comes first, once."""
    return name if name.startswith(f"{stage}_") else f"{stage}_{name}"


@dataclass(frozen=True, slots=True)
class _Pass:
    """What is the same for all rows of a plan."""

    plan: Plan
    samples: Samples
    settings: Settings
    memory: Memory


def decision_record(plan: Plan, snapshot: Snapshot, i: int) -> Row:
    """The row of deployment `i` of the plan; `snapshot` is the one that was planned with."""
    return decision_records(plan, snapshot, [i])[0]


def decision_records(plan: Plan, snapshot: Snapshot, rows: Sequence[int]) -> list[Row]:
    """The rows of several deployments; what they share is worked out once."""
    at = np.asarray(rows, np.int64)
    memory = snapshot.state.realign(snapshot.deployments.key).memory.take(at)
    settings = snapshot.deployments.settings(plan.params).take(at)
    pass_ = _Pass(plan, decode(snapshot.signals), settings, memory)
    columns = _inputs(pass_, snapshot.deployments, at) | _outputs(plan, at)
    names = list(columns)
    records: list[Row] = [
        dict(zip(names, values, strict=True))
        for values in zip(*(columns[name].tolist() for name in names), strict=True)
    ]
    for row, i in zip(records, at.tolist(), strict=True):
        row |= _samples(pass_.samples, row, i)
        row["zone"] = _zone(snapshot.offerings, row)
    return records


def _inputs(pass_: _Pass, deployments: Deployments, at: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.int64]]:
    plan, params = pass_.plan, pass_.plan.params
    columns = {"key": deployments.key[at]}
    columns |= {name: getattr(deployments, name)[at].astype(np.int64) for name in POLICY + FLAGS}
    columns |= {name: getattr(pass_.settings, name) for name in Settings.__slots__}
    columns |= {name: getattr(plan, name)[at].astype(np.int64) for name in ("ready", "starting", "current")}
    columns["burst_until_before_ms"] = pass_.memory.burst_until_ms
    shared = {
        "now_ms": milliseconds(plan.now),
        "stale_ms": milliseconds(params.stale_s),
        "sample_ms": milliseconds(params.sample_s),
    }
    return columns | {name: np.full(len(at), value) for name, value in shared.items()}


def _outputs(plan: Plan, at: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.int64]]:
    columns: dict[str, npt.NDArray[np.int64]] = {}
    for stage in STAGES:
        table: Columns = getattr(plan, stage)
        columns |= {stored_as(stage, name): values[at].astype(np.int64) for name, values in table.items()}
    return columns


def _samples(samples: Samples, row: Row, i: int) -> Row:
    """The samples that the windows of a deployment can have used."""
    load = samples.load[:, i]
    usable = np.flatnonzero((load >= 0) & (samples.at_ms <= number(row, "now_ms")))
    longest = max(number(row, "stable_ms"), number(row, "burst_ms")) + number(row, "stale_ms")
    # Without a usable sample only the newest of all matters: it is the one that was judged.
    first = int(samples.at_ms[usable[-1]]) - longest if len(usable) else 0
    kept = samples.at_ms >= first
    return {
        "sample_at_ms": samples.at_ms[kept].tolist(),
        "sample_queued": samples.queued[kept, i].tolist(),
        "sample_load": load[kept].tolist(),
    }


def _zone(offerings: Offerings, row: Row) -> str:
    offering = number(row, "granted_offering")
    return offerings.zone[offering] if offering >= 0 else ""


def number(row: Row, name: str) -> int:
    """One of its whole numbers. Raises TypeError of what is none."""
    value = row[name]
    if not isinstance(value, int):
        raise TypeError(f"{name} of a decision is a whole number")
    return value
