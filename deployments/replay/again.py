"""A recorded decision made once more: stages 1 to 5 from its own row, and the whole pass where it is recorded.

Whole numbers and reason codes have to agree; whatever does not is told, with what was stored and what comes out now.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from console.common.words import counted
from deployments.core import explain
from deployments.core.columns import Columns
from deployments.core.plan import Plan
from deployments.core.record import Row, decision_record
from deployments.loop.stale import without
from deployments.models import Decision, TickRecord
from deployments.replay.packing import UnreadableError
from deployments.replay.recorded import Output, RecordedPass, from_bytes, output_of

# Of a row: what belongs to no stage, but says what became of the plan.
_AFTERWARDS = ("stale", "unmoved")


@dataclass(frozen=True, slots=True)
class Difference:
    """A number that came out otherwise."""

    name: str
    stored: Any
    now: Any


@dataclass(frozen=True, slots=True)
class PassAgain:
    """The whole pass planned again. `compared` numbers of the decision; `others` deployments of the pass, of which
    `others_differ` got another answer."""

    tick: TickRecord
    compared: int
    differences: Sequence[Difference]
    others: int
    others_differ: int


@dataclass(frozen=True, slots=True)
class Replay:
    """`row` is of stages 1 to 5. `whole` is None where the pass is not recorded, or not any more, and `unreadable` says so
    where its record cannot be read."""

    decision: Decision
    compared: int
    row: Sequence[Difference]
    whole: PassAgain | None
    unreadable: str = ""

    @property
    def same(self) -> bool:
        """Whether everything that could be run again came out as it was."""
        whole = self.whole
        return (
            not self.row and (whole is None or not (whole.differences or whole.others_differ)) and not self.unreadable
        )


def decision_replay(decision: Decision) -> Replay:
    """Run a decision again. Two queries; nothing is stored."""
    made = explain.rerun(decision.record)
    row = [Difference(name, *pair) for name, pair in made.differences.items()]
    unreadable = ""
    for tick in TickRecord.objects.filter(at=decision.at):
        try:
            recorded = from_bytes(bytes(tick.payload))
        except UnreadableError as error:
            unreadable = str(error)
            continue
        place = recorded.row_of(decision.deployment_id)
        if place is not None:
            return Replay(decision, made.compared, row, _whole(decision.record, tick, recorded, place))
    return Replay(decision, made.compared, row, None, unreadable)


def _whole(row: Row, tick: TickRecord, recorded: RecordedPass, place: int) -> PassAgain:
    again = recorded.again()
    told = _as_carried_out(again, row, place)
    fresh = decision_record(told, recorded.snapshot, place)
    pairs = {name: (row[name], value) for name, value in fresh.items() if name in row and name not in _AFTERWARDS}
    differences = [Difference(name, *pair) for name, pair in pairs.items() if pair[0] != pair[1]]
    output = output_of(again)
    differences += _placements(recorded, recorded.output, output, place)
    differ = _rows_that_differ(recorded, output)
    differ.discard(place)
    return PassAgain(tick, len(pairs), differences, len(recorded.snapshot.deployments) - 1, len(differ))


def _as_carried_out(made: Plan, row: Row, place: int) -> Plan:
    """The plan less what of this deployment no longer held when it was to be done (W2)."""
    stale, unmoved = (int(str(row.get(name, 0))) for name in _AFTERWARDS)
    return without(made, {place: stale} if stale else {}, {place: unmoved} if unmoved else {})


def _placements(recorded: RecordedPass, stored: Output, now: Output, place: int) -> Iterator[Difference]:
    """Which replicas it starts where, and which of them go."""
    for name, before, after in (
        ("starts", _starts(recorded, stored, place), _starts(recorded, now, place)),
        ("stops", _stops(recorded, stored, place), _stops(recorded, now, place)),
    ):
        if before != after:
            yield Difference(name, before, after)


def _starts(recorded: RecordedPass, output: Output, place: int) -> list[str]:
    """Of each part of a new replica: its instance and GPUs, its class, and which replica it replaces, by keys."""
    starts, snapshot = output.starts, recorded.snapshot
    mine = starts.take(starts.deployment == place)
    keys = np.r_[snapshot.replicas.key, -1]
    columns = (snapshot.instances.key[mine.instance], mine.gpus, mine.capacity_class, keys[mine.replaces])
    rows = zip(*(one.tolist() for one in columns), strict=True)
    return sorted(
        f"{counted(gpus, 'GPU')} on instance {instance}, class {kind}" + (f", for replica {old}" if old >= 0 else "")
        for instance, gpus, kind, old in rows
    )


def _stops(recorded: RecordedPass, output: Output, place: int) -> list[str]:
    stops, replicas = output.stops, recorded.snapshot.replicas
    mine = stops.take(replicas.deployment[stops.replica] == place)
    pairs = zip(replicas.key[mine.replica].tolist(), mine.code.tolist(), strict=True)
    return sorted(f"replica {key}, code {code}" for key, code in pairs)


def _rows_that_differ(recorded: RecordedPass, now: Output) -> set[int]:
    """Rows of deployments for which anything of the pass came out otherwise."""
    stored, count = recorded.output, len(recorded.snapshot.deployments)
    differs = np.zeros(count, np.bool_)
    for before, after in ((stored.wanted, now.wanted), (stored.granted, now.granted)):
        differs |= _unequal(before, after)
    for name, values in stored.counts.items():
        differs |= values != now.counts[name]
    rows = set(np.flatnonzero(differs).tolist())
    if not _equal(stored.starts, now.starts) or not _equal(stored.stops, now.stops):
        rows |= {row for row in range(count) if any(_placements(recorded, stored, now, row))}
    return rows


def _unequal(before: Columns, after: Columns) -> "np.ndarray":
    then: Mapping[str, np.ndarray] = dict(before.items())
    found: np.ndarray = np.any([then[name] != values for name, values in after.items()], axis=0)
    return found


def _equal(before: Columns, after: Columns) -> bool:
    return len(before) == len(after) and not _unequal(before, after).any()
