"""The planner's answer: every stage's numbers and reasons for every deployment, and what is to be done.

All columns are per deployment in the order of the snapshot (length D) unless said otherwise. `code` columns
hold reasons.Reason (int16); sentences are made when somebody reads them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from deployments.core.autoscaler_state import AutoscalerState
from deployments.core.columns import Bools, Columns, Int8s, Int16s, Int32s, Int64s, column
from deployments.core.params import Params
from deployments.core.reasons import Reason


class Bound(IntEnum):
    """The limit that decided the size; the numbers are stored and never change their meaning."""

    NONE = 0  # demand alone
    MIN = 1
    MAX = 2
    HOLD = 3  # freeze, pin, or no signal to go by (R5, R19)
    SCHEDULE = 4  # min or max of an open schedule window
    CAPACITY = 5  # no free GPUs where and in which class they are allowed
    CLASS = 6  # the classes allowed hold no instance at all for the organization
    ZONE = 7  # the type is not offered in any allowed zone
    SIZE = 8  # a replica fits on no instance of the type
    PRIORITY = 9  # the GPUs are kept for the min of a higher priority
    BACKOFF = 10  # replacements wait after failures (R8)
    DISABLED = 11
    SHADOW = 12  # decided, not acted on
    FLOOR = 13  # what objective mode keeps
    PRICE = 14  # the price ceiling of an objective


def bounds_by_code(bounds: Mapping[Reason, Bound]) -> Int8s:
    """The bound of each of these reason codes, at its number."""
    found = np.zeros(max(bounds) + 1, np.int8)
    found[list(bounds)] = list(bounds.values())
    return found


# Names of the bounds that are a want of GPUs: more are wanted than could be had.
SHORT = tuple(one.name for one in (Bound.CAPACITY, Bound.CLASS, Bound.ZONE, Bound.SIZE, Bound.PRIORITY))


@dataclass(frozen=True, slots=True)
class Signal(Columns):
    """Stage 1."""

    code: Int16s = field(metadata=column(np.int16))
    valid: Bools = field(metadata=column(np.bool_))  # the later stages may go by it
    in_flight: Int64s = field(metadata=column(np.int64))  # queued + active of the newest usable sample; -1 = none
    queued: Int64s = field(metadata=column(np.int64))  # of the newest usable sample; -1 = none
    age_ms: Int64s = field(metadata=column(np.int64))  # of the newest sample; -1 = none
    covered_ms: Int64s = field(metadata=column(np.int64))  # part of the stable window that samples stand for


@dataclass(frozen=True, slots=True)
class Need(Columns):
    """Stage 2. A mean is `load_ms / span_ms` requests, two whole numbers, to be computed again exactly."""

    code: Int16s = field(metadata=column(np.int16))
    stable_load_ms: Int64s = field(metadata=column(np.int64))
    stable_span_ms: Int64s = field(metadata=column(np.int64))
    burst_load_ms: Int64s = field(metadata=column(np.int64))
    burst_span_ms: Int64s = field(metadata=column(np.int64))
    need_stable: Int64s = field(metadata=column(np.int64))  # replicas for the stable mean (R2)
    need_burst: Int64s = field(metadata=column(np.int64))  # replicas for the burst mean (R2)
    standing: Int64s = field(metadata=column(np.int64))  # requests queued all through the burst window
    remaining: Int64s = field(metadata=column(np.int64))  # of them, what starting replicas will not take up (R7)
    backlog_extra: Int64s = field(metadata=column(np.int64))  # replicas the standing queue asks for (R7)
    need_backlog: Int64s = field(metadata=column(np.int64))  # replicas for the burst mean with R7's queue


@dataclass(frozen=True, slots=True)
class Ahead(Columns):
    """Stage 3. In millionths of a request; -1 where it is off or nothing is known."""

    code: Int16s = field(metadata=column(np.int16))
    margin_micro: Int64s = field(metadata=column(np.int64))  # what past forecasts were short of
    expected_micro: Int64s = field(metadata=column(np.int64))  # the stable mean and the margin
    need_ahead: Int64s = field(metadata=column(np.int64))  # replicas for it; 0 where it is off


@dataclass(frozen=True, slots=True)
class Damped(Columns):
    """Stage 4."""

    value: Int64s = field(metadata=column(np.int64))
    code: Int16s = field(metadata=column(np.int16))
    base: Int64s = field(metadata=column(np.int64))  # the size that it starts from
    recommended: Int64s = field(metadata=column(np.int64))  # before the scale-down window
    window_highest: Int64s = field(metadata=column(np.int64))  # of the window before this tick; -1 = none
    bursting: Bools = field(metadata=column(np.bool_))
    burst_until_ms: Int64s = field(metadata=column(np.int64))


@dataclass(frozen=True, slots=True)
class Wanted(Columns):
    """Stage 5: the size within holds, schedule, min and max."""

    value: Int32s = field(metadata=column(np.int32))
    code: Int16s = field(metadata=column(np.int16))
    bound: Int8s = field(metadata=column(np.int8))


@dataclass(frozen=True, slots=True)
class Granted(Columns):
    """Stages 6 and 7: the size that capacity allows. `bound` is that of the whole decision."""

    value: Int32s = field(metadata=column(np.int32))
    code: Int16s = field(metadata=column(np.int16))
    bound: Int8s = field(metadata=column(np.int8))
    missing_gpus: Int32s = field(metadata=column(np.int32))  # GPUs of the replicas wanted but not granted
    offering: Int32s = field(metadata=column(np.int32))  # offering that ran short; -1 = none
    capacity_class: Int8s = field(metadata=column(np.int8))  # class that ran short; 0 = none
    other: Int64s = field(metadata=column(np.int64, -1))  # key of the deployment served first, or that gave way; -1
    coming: Int32s = field(metadata=column(np.int32, 0))  # replicas short whose GPUs are being let go by others
    moves: Int32s = field(metadata=column(np.int32, 0))  # replicas being replaced, those that begin now included
    moves_short: Int32s = field(metadata=column(np.int32, 0))  # replicas to be replaced for which there is no room


@dataclass(frozen=True, slots=True)
class Starts(Columns):
    """GPUs to take, one row per instance and replica; rows with the same `replica` are one replica (R16).

    One that `replaces` another does not change the size: once it is ready, a later plan lets the other go.
    """

    replica: Int32s = field(metadata=column(np.int32))  # 0, 1, 2, ... in order of grant
    deployment: Int32s = field(metadata=column(np.int32))
    instance: Int32s = field(metadata=column(np.int32))
    gpus: Int32s = field(metadata=column(np.int32))
    capacity_class: Int8s = field(metadata=column(np.int8))
    replaces: Int32s = field(metadata=column(np.int32, -1))  # row of the live replica that it replaces; -1 = none


@dataclass(frozen=True, slots=True)
class Stops(Columns):
    """Replicas to let go: READY ones are drained, STARTING ones withdrawn. `replica` is a row."""

    replica: Int32s = field(metadata=column(np.int32))
    code: Int16s = field(metadata=column(np.int16))


@dataclass(frozen=True, slots=True)
class Plan:
    """What was decided, why, and what follows from it."""

    now: float
    params: Params
    key: Int64s
    ready: Int32s
    starting: Int32s
    current: Int32s  # ready + starting; a replica and the one that replaces it count once
    signal: Signal
    need: Need
    ahead: Ahead
    damped: Damped
    wanted: Wanted
    granted: Granted
    changed: Bools  # wanted, granted or the bound differ from the last tick: worth a Decision row
    starts: Starts
    stops: Stops
    unplaced: Int32s  # replicas wanted and allowed to start, for which there was no room
    state: AutoscalerState  # for the next tick
