"""Everything the planner looks at: one shard, that is one instance type in all its zones, as numpy columns.

D deployments, R replicas, I instances, P offerings (zones), S sampling passes. Tables refer to each other by
row number, -1 for none. Times are unix seconds (float64, NaN for none). Rows may come in any order: every
choice of the planner ends with a key, so the same shard in another order gets the same plan.
"""

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from deployments.core.autoscaler_state import AutoscalerState
from deployments.core.columns import (
    Bools,
    ColumnError,
    Columns,
    Floats,
    Int8s,
    Int32s,
    Int64s,
    UInt64s,
    column,
)
from deployments.core.params import Params, Settings, or_default

MAX_OFFERINGS = 64  # bits of Deployments.zones
ALL_ZONES = np.uint64(2**64 - 1)


class CapacityClass(IntEnum):
    """Which capacity a replica uses (R15); the numbers are those of the API."""

    NONE = 0
    RESERVED = 1
    ON_DEMAND = 2


class InstanceState(IntEnum):
    """What the planner has to know about an instance; anything that cannot serve is OTHER."""

    OTHER = 0
    READY = 1
    DRAINING = 2


class Source(IntEnum):
    """Whose machine it is: of the managed pool, or joined against an organization's quota."""

    POOL = 1
    CUSTOMER = 2


class Scheduled(IntEnum):
    """Bits of Deployments.scheduled: which bound comes from an open schedule window, or from one that begins soon."""

    NOTHING = 0
    MIN = 1
    MAX = 2
    AHEAD = 4


@dataclass(frozen=True, slots=True)
class Deployments(Columns):
    """One row per deployment whose instance type this shard is, disabled ones that still have replicas
    included.

    The last ten columns are an operator's own settings or measurements; NaN means the fleet's default, or
    unknown.
    """

    key: Int64s = field(metadata=column(np.int64))
    org: Int64s = field(metadata=column(np.int64))
    created_at: Floats = field(metadata=column(np.float64, 0.0))
    min: Int32s = field(metadata=column(np.int32))  # schedule windows applied
    max: Int32s = field(metadata=column(np.int32))  # schedule windows applied
    scheduled: Int8s = field(metadata=column(np.int8, Scheduled.NOTHING))
    floor: Int32s = field(metadata=column(np.int32, 0))  # replicas that objective mode keeps where load is known
    ceiling: Int32s = field(metadata=column(np.int32, -1))  # replicas that a price ceiling pays for; -1 = no ceiling
    priority: Int32s = field(metadata=column(np.int32, 0))  # 0 where unset (R1)
    concurrency: Int32s = field(metadata=column(np.int32, 8))  # target requests per replica, 8 where unset (R1, R2)
    gpu_count: Int32s = field(metadata=column(np.int32, 1))  # GPUs of one replica
    class_order: Int8s = field(metadata=column(np.int8, (CapacityClass.RESERVED, CapacityClass.ON_DEMAND), 2))
    zones: UInt64s = field(metadata=column(np.uint64, ALL_ZONES))  # bit p set: offering p is allowed (R16)
    enabled: Bools = field(metadata=column(np.bool_, True))
    shadow: Bools = field(metadata=column(np.bool_, False))  # decided and shown, never acted on
    revision: Int32s = field(metadata=column(np.int32, 1))
    pin: Int32s = field(metadata=column(np.int32, -1))  # replicas an operator asked for; -1 = not pinned (R19)
    freeze: Bools = field(metadata=column(np.bool_, False))  # an operator stopped scaling (R19)
    backoff: Int32s = field(metadata=column(np.int32, 0))  # replicas whose replacement waits for its back-off (R8)
    avoid: Int32s = field(metadata=column(np.int32, -1))  # instance that the last replica failed on (R8)
    stable_s: Floats = field(metadata=column(np.float64, np.nan))
    burst_s: Floats = field(metadata=column(np.float64, np.nan))
    burst_factor: Floats = field(metadata=column(np.float64, np.nan))
    tolerance: Floats = field(metadata=column(np.float64, np.nan))
    scale_down_s: Floats = field(metadata=column(np.float64, np.nan))
    drain_s: Floats = field(metadata=column(np.float64, np.nan))
    startup_s: Floats = field(metadata=column(np.float64, np.nan))  # measured: start command to ready
    service_s: Floats = field(metadata=column(np.float64, np.nan))  # measured: mean time a request runs
    ahead: Floats = field(metadata=column(np.float64, np.nan))  # share of the time that its margin is to suffice
    slots: Int32s = field(metadata=column(np.int32, 0))  # requests a replica runs at once; 0 = unknown, as R2 says

    def settings(self, params: Params) -> Settings:
        """Each deployment's settings, the fleet's defaults where it has none of its own."""
        return Settings(
            stable_ms=np.maximum(or_default(self.stable_s, params.stable_s), 1),
            burst_ms=np.maximum(or_default(self.burst_s, params.burst_s), 1),
            factor_milli=or_default(self.burst_factor, params.burst_factor),
            tolerance_milli=or_default(self.tolerance, params.tolerance),
            scale_down_ms=or_default(self.scale_down_s, params.scale_down_s),
            drain_ms=or_default(self.drain_s, params.drain_s),
            startup_ms=or_default(self.startup_s, 0.0),
            service_ms=or_default(self.service_s, 0.0),
            ahead_milli=np.minimum(or_default(self.ahead, params.ahead), 999),
        )


@dataclass(frozen=True, slots=True)
class Signals:
    """Samples of all deployments, one row per sampling pass, oldest first.

    `queued` and `active` are [S, D], integers or floats. -1 or NaN: no sample of that deployment in that
    pass. Any other negative or infinite value is one that cannot be (R5). Reaches back at least as far as the
    longest stable window of the shard (`history_s`); what is older is ignored.
    """

    at: Floats
    queued: npt.NDArray[np.generic]
    active: npt.NDArray[np.generic]

    @classmethod
    def none(cls, deployments: int) -> "Signals":
        """No pass at all."""
        empty = np.zeros((0, deployments), np.int32)
        return cls(np.zeros(0), empty, empty)

    def __len__(self) -> int:
        return len(self.at)


@dataclass(frozen=True, slots=True)
class Replicas(Columns):
    """Replicas that hold GPUs; STOPPED and FAILED rows are ignored.

    One on several instances names any of them here, and all of them in `Snapshot.parts`.
    """

    key: Int64s = field(metadata=column(np.int64))
    deployment: Int32s = field(metadata=column(np.int32))
    state: Int8s = field(metadata=column(np.int8))  # states.ReplicaState
    capacity_class: Int8s = field(metadata=column(np.int8, CapacityClass.ON_DEMAND))
    instance: Int32s = field(metadata=column(np.int32, -1))
    gpus: Int32s = field(metadata=column(np.int32, 1))
    started_at: Floats = field(metadata=column(np.float64, np.nan))
    active: Int32s = field(metadata=column(np.int32, 0))  # requests it runs (R18)
    revision: Int32s = field(metadata=column(np.int32, 1))  # 0 = an operator asked for its restart (R10)
    replaces: Int32s = field(metadata=column(np.int32, -1))  # row of the replica that goes once this one is ready


@dataclass(frozen=True, slots=True)
class Parts(Columns):
    """Placements of the replicas that lie on several instances (R16): one row per replica and instance."""

    replica: Int32s = field(metadata=column(np.int32))  # row of Replicas
    instance: Int32s = field(metadata=column(np.int32))
    gpus: Int32s = field(metadata=column(np.int32))


@dataclass(frozen=True, slots=True)
class Instances(Columns):
    """Instances of the shard. `gpus_used` is the sum over all placements, draining replicas included."""

    key: Int64s = field(metadata=column(np.int64))
    offering: Int32s = field(metadata=column(np.int32))
    org: Int64s = field(metadata=column(np.int64, 0))  # whose replicas or claim it serves; 0 = nobody's (R17)
    claim: Int64s = field(metadata=column(np.int64, 0))  # 0 = not claimed
    state: Int8s = field(metadata=column(np.int8, InstanceState.READY))
    gpus: Int32s = field(metadata=column(np.int32))
    gpus_used: Int32s = field(metadata=column(np.int32, 0))
    created_at: Floats = field(metadata=column(np.float64, 0.0))
    held: Bools = field(metadata=column(np.bool_, False))  # takes no new replica: kept for a claim (C4), or cordoned
    source: Int8s = field(metadata=column(np.int8, Source.POOL))
    drain_until: Floats = field(metadata=column(np.float64, np.nan))  # of a DRAINING one: by then it is to be empty


@dataclass(frozen=True, slots=True)
class Offerings:
    """The zones in which the instance type is offered; row p is bit p of Deployments.zones."""

    key: Int64s
    zone: tuple[str, ...]
    gpus_per_instance: Int32s

    def __len__(self) -> int:
        return len(self.key)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One shard at one moment, and what the autoscaler remembers of it."""

    deployments: Deployments
    signals: Signals
    replicas: Replicas
    instances: Instances
    offerings: Offerings
    state: AutoscalerState = field(default_factory=AutoscalerState.empty)
    parts: Parts = field(default_factory=Parts.none)

    def check(self) -> None:
        """Raise ColumnError when the tables do not fit together."""
        _check_signals(self.signals, len(self.deployments))
        _check_index("replicas.deployment", self.replicas.deployment, len(self.deployments), 0)
        _check_index("replicas.instance", self.replicas.instance, len(self.instances), -1)
        _check_index("replicas.replaces", self.replicas.replaces, len(self.replicas), -1)
        _check_index("parts.replica", self.parts.replica, len(self.replicas), 0)
        _check_index("parts.instance", self.parts.instance, len(self.instances), 0)
        _check_index("deployments.avoid", self.deployments.avoid, len(self.instances), -1)
        _check_index("instances.offering", self.instances.offering, len(self.offerings), 0)
        if len(self.offerings) > MAX_OFFERINGS:
            raise ColumnError(f"a shard has at most {MAX_OFFERINGS} offerings")
        if np.any(self.instances.gpus_used > self.instances.gpus) or np.any(self.instances.gpus_used < 0):
            raise ColumnError("instances.gpus_used lies outside 0..gpus")


def history_s(deployments: Deployments, params: Params) -> float:
    """Seconds of samples that a snapshot has to hold for these deployments."""
    settings = deployments.settings(params)
    longest = max(settings.stable_ms.max(initial=0), settings.burst_ms.max(initial=0))
    return float(longest) / 1000 + 2 * params.sample_s


def _check_signals(signals: Signals, deployments: int) -> None:
    shape = (len(signals.at), deployments)
    if signals.queued.shape != shape or signals.active.shape != shape:
        raise ColumnError(f"signals have shape {signals.queued.shape}, expected {shape}")
    if np.any(np.diff(signals.at) < 0) or not np.all(np.isfinite(signals.at)):
        raise ColumnError("signals.at has to ascend")


def _check_index(name: str, values: Int32s, rows: int, lowest: int) -> None:
    if len(values) and (values.min() < lowest or values.max() >= rows):
        raise ColumnError(f"{name} points outside its table")
