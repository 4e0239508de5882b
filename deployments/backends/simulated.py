"""The simulated runtime, the embedded default: models load for 60 to 300 s divided by the speed setting, requests of
real traces queue and run at trace speed in the slots of the replicas. The queue is `deployments.sim`, the same that
backtests use; its state is in the database, so it survives restarts.

A deployment may have a fault: its models never get ready, or their process ends every so often and loads again.

Requests begin to come once a deployment first has a replica to answer them. While nothing samples, nobody asks:
requests that would have come during a pause of the stack did not come, those of its last minute excepted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

import numpy as np
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Value
from django.db.models.functions import Coalesce

from console.common import clock
from deployments.backends.base import Observation, RuntimeState, Samples, Target
from deployments.core.waits import BUCKETS
from deployments.models import Replica, ReplicaPlacement, SimulatedFault, SimulatedReplica, SimulatedWorkload
from deployments.sim import packing
from deployments.sim.demand import Demand, RateDemand, RequestDemand
from deployments.sim.queue import QueueState, Sample, advance
from deployments.sim.queue import Replica as Server
from deployments.sim.startup import load_seconds
from deployments.traces import RATE_TRACES, load_rates, load_requests

LONGEST_SLICE_S = 60.0
_WORKLOADS = """
    SELECT * FROM deployments_simulatedworkload WHERE deployment_key = ANY(%s)
    ORDER BY deployment_key FOR NO KEY UPDATE"""
_WELL = """
    SELECT replica_key, active FROM deployments_simulatedreplica WHERE replica_key = ANY(%s) AND ready_at <= %s
    AND draining_at IS NULL AND NOT never_ready AND crash_every_s IS NULL"""
_REPLICAS = "SELECT * FROM deployments_simulatedreplica WHERE deployment_key = ANY(%s) ORDER BY replica_key"


@lru_cache(maxsize=256)
def demand_of(trace: str, scale: float, seed: int, phase_s: float) -> Demand:
    """The demand of a workload; kept, since it remembers the piece of the trace made last."""
    if trace in RATE_TRACES:
        return RateDemand(load_rates(trace), scale, seed=seed, phase_s=phase_s)
    return RequestDemand(load_requests(trace), scale, seed=seed, phase_s=phase_s)


@dataclass(frozen=True, slots=True)
class Process:
    """What runs of a replica at a moment: how many ended before it, since when it is there, when it answers."""

    crashes: int
    since: datetime
    ready_at: datetime | None


class SimulatedRuntimeBackend:
    in_database = True

    def start(self, replicas: Sequence[Replica]) -> Mapping[int, datetime | None]:
        now = clock.now()
        faults = _faults(replicas)
        SimulatedReplica.objects.bulk_create(
            (
                SimulatedReplica(
                    replica_key=one.key,
                    deployment_key=one.deployment_id,
                    started_at=now,
                    ready_at=now + timedelta(seconds=load_seconds(one.deployment_id, one.key) / settings.SIM_SPEED),
                    **faults.get(one.key, {}),
                )
                for one in replicas
            ),
            ignore_conflicts=True,
        )
        known = SimulatedReplica.objects.filter(replica_key__in=[one.key for one in replicas])
        return dict(known.values_list("replica_key", "ready_at"))

    def drain(self, keys: Sequence[int]) -> None:
        now = clock.now()
        rows = SimulatedReplica.objects.filter(replica_key__in=list(keys))
        rows.update(draining_at=Coalesce("draining_at", Value(now)))

    def stop(self, keys: Sequence[int]) -> None:
        SimulatedReplica.objects.filter(replica_key__in=list(keys)).delete()

    def observe(self, keys: Sequence[int]) -> Mapping[int, Observation]:
        """Nearly all answer and have no fault: of those no more is read than what they run."""
        now = clock.now()
        with connection.cursor() as cursor:
            cursor.execute(_WELL, [list(keys), now])
            seen = {key: Observation(RuntimeState.READY, active=active) for key, active in cursor.fetchall()}
        rows = SimulatedReplica.objects.filter(replica_key__in=[key for key in keys if key not in seen])
        return seen | {row.replica_key: _observation(row, now) for row in rows}

    def replicas(self) -> Sequence[int]:
        return list(SimulatedReplica.objects.values_list("replica_key", flat=True))

    def sample(self, targets: Sequence[Target], now: datetime) -> Samples:
        slots = {target.key: target.slots for target in targets}
        with transaction.atomic():
            workloads = list(SimulatedWorkload.objects.raw(_WORKLOADS, [list(slots)]))
            servers: dict[int, list[SimulatedReplica]] = {}
            for row in SimulatedReplica.objects.raw(_REPLICAS, [[one.deployment_key for one in workloads]]):
                servers.setdefault(row.deployment_key, []).append(row)
            samples: dict[int, Sample] = {}
            for one in workloads:
                sample = _advance(one, servers.get(one.deployment_key, []), slots[one.deployment_key], now)
                if sample is not None:
                    samples[one.deployment_key] = sample
            _write_states(workloads)
            _write_active(servers, samples)
        return _columns(targets, samples)


def _faults(replicas: Sequence[Replica]) -> dict[int, dict[str, object]]:
    """What is to go wrong, by replica."""
    known = SimulatedFault.objects.in_bulk({one.deployment_id for one in replicas})
    if not known:
        return {}
    on: dict[int, set[int]] = {}
    rows = ReplicaPlacement.objects.filter(replica__in=[one.key for one in replicas])
    for replica, instance in rows.values_list("replica_id", "instance_id"):
        on.setdefault(replica, set()).add(instance)
    return {
        one.key: {"never_ready": fault.never_ready, "error": fault.error,
                  "crash_every_s": fault.crash_every_s and fault.crash_every_s / settings.SIM_SPEED}
        for one in replicas
        if (fault := known.get(one.deployment_id)) is not None
        and (fault.instance_key is None or fault.instance_key in on.get(one.key, ()))
    }  # fmt: skip


def process_of(row: SimulatedReplica, now: datetime) -> Process:
    """Every process loads as long as the first one did."""
    ended = 0 if row.crash_every_s is None else max(0, int((now - row.started_at).total_seconds() / row.crash_every_s))
    later = timedelta(seconds=ended * (row.crash_every_s or 0.0))
    return Process(ended, row.started_at + later, None if row.never_ready else row.ready_at + later)


def _observation(row: SimulatedReplica, now: datetime) -> Observation:
    process = process_of(row, now)
    failing = row.never_ready or process.crashes
    return Observation(
        _state(row, process, now), process.ready_at, row.active, process.crashes, row.error if failing else "",
        process.since,
    )  # fmt: skip


def _state(row: SimulatedReplica, process: Process, now: datetime) -> RuntimeState:
    if row.draining_at is not None:
        return RuntimeState.READY if row.active else RuntimeState.DRAINED
    answers = process.ready_at is not None and process.ready_at <= now
    return RuntimeState.READY if answers else RuntimeState.LOADING


def _advance(workload: SimulatedWorkload, rows: list[SimulatedReplica], slots: int, now: datetime) -> Sample | None:
    """Let the requests since the last sample arrive, start and end; the workload keeps what came of it.

    None while the deployment has never had a replica that answers: nobody asks it yet.
    """
    processes = [(row, process_of(row, now)) for row in rows]
    if workload.state is None and not any(one.ready_at and one.ready_at <= now for _, one in processes):
        return None
    until = (now - workload.origin).total_seconds()
    state = QueueState(until) if workload.state is None else packing.from_bytes(workload.state)
    seen_at = workload.origin + timedelta(seconds=state.until_s)
    servers = [
        _server(row, one.ready_at, slots, workload.origin)
        for row, one in processes
        if one.ready_at is not None and not _died_after(one, seen_at)
    ]
    if until - state.until_s > LONGEST_SLICE_S:
        state, _ = advance(state, np.empty(0), np.empty(0), servers, until - LONGEST_SLICE_S)
    until = max(until, state.until_s)
    demand = demand_of(workload.trace, workload.scale, workload.seed, workload.phase_s)
    arrivals, services = demand.between(state.until_s, until)
    state, sample = advance(state, arrivals, services, servers, until)
    workload.state = packing.to_bytes(state)
    return sample


def _died_after(process: Process, seen_at: datetime) -> bool:
    """Whether the process before ended since: the replica is not there for this slice, so what it ran waits again."""
    return process.crashes > 0 and process.since > seen_at


def _server(row: SimulatedReplica, ready_at: datetime, slots: int, origin: datetime) -> Server:
    drains = (row.draining_at - origin).total_seconds() if row.draining_at else None
    return Server(row.replica_key, slots, (ready_at - origin).total_seconds(), drains)


def _write_states(workloads: Sequence[SimulatedWorkload]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE deployments_simulatedworkload AS w SET state = n.state "
            "FROM unnest(%s::bigint[], %s::bytea[]) AS n (key, state) WHERE w.deployment_key = n.key",
            [[one.deployment_key for one in workloads], [one.state for one in workloads]],
        )


def _write_active(servers: Mapping[int, list[SimulatedReplica]], samples: Mapping[int, Sample]) -> None:
    changed = {}
    for key, sample in samples.items():
        for row in servers.get(key, []):
            active = sample.active_by_replica.get(row.replica_key, 0)
            if row.active != active:
                changed[row.replica_key] = active
    if changed:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE deployments_simulatedreplica AS r SET active = n.active "
                "FROM unnest(%s::bigint[], %s::int[]) AS n (key, active) WHERE r.replica_key = n.key",
                [list(changed), list(changed.values())],
            )


def _columns(targets: Sequence[Target], samples: Mapping[int, Sample]) -> Samples:
    """A deployment without a workload gets no traffic: zeros, which is what a real one would show."""
    order = [samples.get(target.key) for target in targets]
    counters = [one.counters if one else None for one in order]

    def whole(values: list[int]) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        return np.array(values, np.int64)

    return Samples(
        queued=whole([one.queued if one else 0 for one in order]),
        active=whole([one.active if one else 0 for one in order]),
        arrived=whole([one.arrived if one else 0 for one in counters]),
        finished=whole([one.finished if one else 0 for one in counters]),
        service_seconds=np.array([one.service_seconds if one else 0.0 for one in counters], np.float64),
        waited_le_1s=whole([one.waited_le_1s if one else 0 for one in counters]),
        waited_le_5s=whole([one.waited_le_5s if one else 0 for one in counters]),
        replica=whole([key for one in order if one for key in one.active_by_replica]),
        replica_active=whole([n for one in order if one for n in one.active_by_replica.values()]),
        waits=_wait_counts(order),
    )


def _wait_counts(order: Sequence[Sample | None]) -> "np.ndarray[tuple[int, int], np.dtype[np.int64]]":
    counts = np.zeros((len(order), BUCKETS), np.int64)
    for row, one in zip(counts, order, strict=True):
        if one is not None and one.wait_counts:
            row[: len(one.wait_counts)] = one.wait_counts
    return counts
