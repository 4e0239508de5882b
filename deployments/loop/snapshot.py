"""One shard as the planner wants it, read in one REPEATABLE READ snapshot (W2)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
from django.db import connection, transaction

from claims.models import InstanceType
from deployments.core import snapshot as core
from deployments.core.autoscaler_state import AutoscalerState
from deployments.core.params import NO_BURSTS, Params
from deployments.core.states import LIVE
from deployments.loop.activity import active_of
from deployments.loop.blocks import Block
from deployments.loop.columns import places, read_columns, read_rows
from deployments.loop.decoded import DecodedRows
from deployments.loop.elsewhere import leaving
from deployments.loop.holds import held
from deployments.loop.kept import KeptRows
from deployments.loop.passes import block_of
from deployments.loop.replicas import placements_read, replicas_read
from deployments.schedules.loop import scheduled
from deployments.zones import common_zones

Array = npt.NDArray[Any]
Offerings = list[tuple[int, str]]  # key, name of the zone
_OFFERINGS = """
    SELECT o.key, z.name FROM claims_offering o JOIN claims_zone z ON z.key = o.zone_id
    WHERE o.instance_type_id = %s ORDER BY o.key"""
_INSTANCES = KeptRows(
    """SELECT key, offering_id AS offering, coalesce(organization_id, 0) AS org, coalesce(claim_id, 0) AS claim,
              CASE WHEN lost_at IS NOT NULL THEN 0 WHEN state = 'READY' THEN 1 ELSE 2 END AS state, gpus, gpus_used,
              CASE source WHEN 'POOL' THEN 1 ELSE 2 END AS source, CASE WHEN kept OR work <> '' THEN 1 ELSE 0 END AS held,
              created_at, coalesce(drain_until, '-infinity') AS drain_until, age(xmin) AS age
       FROM claims_instance WHERE state IN ('READY', 'DRAINING')
         AND offering_id IN (SELECT key FROM claims_offering WHERE instance_type_id = %s)""",
    dict.fromkeys(("key", "offering", "org", "claim"), "bigint") | dict.fromkeys(("created_at", "drain_until"), "time")
    | dict.fromkeys(("state", "gpus", "gpus_used", "source", "held"), "int"),
)  # fmt: skip
_BLOCKS = DecodedRows("deployments_signalblock", block_of)
NAN = "'NaN'::float8"
NO_KEY = 2**62
# What an objective chose goes before what was set by hand.
SETTINGS = {"stable_s": "p.stable_window", "burst_s": "p.burst_window",
            "scale_down_s": "coalesce(b.scale_down_delay, p.scale_down_delay)", "drain_s": "p.drain_goal"}  # fmt: skip
_SECONDS = ", ".join(f"coalesce(date_part('epoch', {column}), {NAN}) AS {name}" for name, column in SETTINGS.items())
# A deployment is a row of three tables, of which the third may be made and go.
_DEPLOYMENTS = KeptRows(
    f"""SELECT d.key, d.organization_id AS org, d.created_at, p.min, p.max,
               coalesce(p.priority, 0) AS priority, coalesce(b.target, p.concurrency, 8) AS concurrency, d.gpu_count,
               coalesce(b.floor, 0) AS floor, coalesce(b.ceiling, -1) AS ceiling,
               coalesce(b.ahead, CASE WHEN p.look_ahead THEN {NAN} ELSE 0 END) AS ahead,
               CASE WHEN b.ahead > 0 THEN b.target ELSE coalesce(p.slots, 0) END AS slots,
               CASE coalesce(p.capacity_classes[1], '') WHEN 'CAPACITY_CLASS_RESERVED' THEN 1
                    WHEN 'CAPACITY_CLASS_ON_DEMAND' THEN 2 ELSE 0 END AS first_class,
               CASE coalesce(p.capacity_classes[2], '') WHEN 'CAPACITY_CLASS_RESERVED' THEN 1
                    WHEN 'CAPACITY_CLASS_ON_DEMAND' THEN 2 ELSE 0 END AS second_class,
               CASE WHEN d.disabled OR d.status = 'STATUS_DELETING' THEN 0 ELSE 1 END AS enabled,
               CASE WHEN d.shadow THEN 1 ELSE 0 END AS shadow, d.revision,
               CASE WHEN b.deployment_id IS NULL THEN 0 ELSE 1 END AS chosen,
               CASE WHEN b.ahead > 0 THEN {NO_BURSTS} ELSE coalesce(p.burst_factor, {NAN}) END AS burst_factor,
               coalesce(p.tolerance, {NAN}) AS tolerance, {_SECONDS},
               least(age(d.xmin), age(p.xmin), age(b.xmin)) AS age
        FROM deployments_deployment d JOIN deployments_autoscalingpolicy p ON p.deployment_id = d.key
        LEFT JOIN deployments_deploymentobjective b ON b.deployment_id = d.key
        WHERE d.instance_type_id = %s""",  # noqa: S608 - names of our own columns
    {"key": "bigint", "org": "bigint", "created_at": "time"}
    | dict.fromkeys(("min", "max", "floor", "ceiling", "priority", "concurrency", "gpu_count", "slots", "first_class",
                     "second_class", "enabled", "shadow", "revision", "chosen"), "int")
    | dict.fromkeys(("ahead", "burst_factor", "tolerance", *SETTINGS), "float8"),
    also=["chosen"],
)  # fmt: skip
MEASURED_OVER = timedelta(hours=24)
# A replica is not tried again on the instance that it failed on, until so long after its back-off (R8): by then there is
# no other place for it.
AVOIDED_FOR = timedelta(minutes=1)


# By instance type: when a replica last got ready, and all that did in the day before.
_ready: dict[int, tuple[datetime, list[Array]]] = {}


@dataclass(frozen=True, slots=True)
class Shard:
    """A snapshot, and what is needed to act on the plan made from it."""

    snapshot: core.Snapshot
    state_at: datetime | None  # of the planner state that it was made from
    deployment_keys: Array
    replica_keys: Array
    leaving: dict[int, str]  # replicas that go whatever the plan says, and why
    converted: Array  # keys of replicas labelled on demand whose instances a claim has taken over since (C4)
    instance_keys: Array
    instance_claims: Array
    opened: dict[int, datetime]  # schedule windows, and the beginning that they are newly open for


def read_shard(instance_type: InstanceType, params: Params, now: datetime) -> Shard:
    """Everything the planner looks at for one instance type."""
    with repeatable_read():
        offerings = read_rows(_OFFERINGS, [instance_type.key])
        instances, claims = _instances(instance_type, offerings)
        deployments, opened = _deployments(instance_type, offerings, instances, now)
        replicas, parts, elsewhere = _replicas(instance_type, deployments, instances, now)
        converted = _converted(replicas, parts, instances)
        replicas.capacity_class[converted] = core.CapacityClass.RESERVED
        going = leaving(instance_type, now) if elsewhere else {}
        blocks = _blocks(instance_type, core.history_s(deployments, params), now)
        state, state_at = _state(instance_type)
    signals, service_s = _signals(blocks, deployments.key)
    deployments = _with(deployments, service_s=np.where(service_s >= 0, service_s, np.nan))
    snapshot = core.Snapshot(
        deployments=deployments,
        signals=signals,
        replicas=replicas,
        instances=instances,
        offerings=core.Offerings(
            key=np.array([key for key, _ in offerings], np.int64),
            zone=tuple(zone for _, zone in offerings),
            gpus_per_instance=np.full(len(offerings), instance_type.gpus, np.int32),
        ),
        state=state,
        parts=parts,
    )
    return Shard(
        snapshot, state_at, deployments.key, replicas.key, going, replicas.key[converted], instances.key, claims, opened
    )


@contextmanager
def repeatable_read() -> Iterator[None]:
    """A read-only transaction that sees one moment. Inside an outer transaction, as in tests, it is that one's."""
    nested = connection.in_atomic_block
    with transaction.atomic():
        if not nested:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def _deployments(
    instance_type: InstanceType, offerings: Offerings, instances: core.Instances, now: datetime
) -> tuple[core.Deployments, dict[int, datetime]]:
    columns = _DEPLOYMENTS.read(instance_type.key)
    first, second, _ = (columns.pop(name) for name in ("first_class", "second_class", "chosen"))
    columns["backoff"], failed_on = _failed(instance_type, columns["key"], now)
    unset = first == 0
    freeze, pin = held(instance_type, columns["key"], columns["org"], now)
    order = np.stack([np.where(unset, 1, first), np.where(unset, 2, second)], axis=1)
    by_window, opened = scheduled(instance_type, columns, now)
    built = core.Deployments.build(
        **{**columns, "enabled": columns["enabled"] == 1, "shadow": columns["shadow"] == 1},
        class_order=order,
        startup_s=_startups(instance_type, columns["key"], now),
        avoid=places(instances.key, failed_on),
        freeze=freeze,
        pin=pin,
        zones=_zone_bits(instance_type, columns["key"], offerings),
        scheduled=by_window,
    )
    return built, opened


def _failed(instance_type: InstanceType, keys: Array, now: datetime) -> tuple[Array, Array]:
    """Of each deployment: replicas that wait to be tried again, and the instance (key) that the last one failed on, -1
    where none did lately (R8)."""
    query = """
        SELECT deployment_id AS deployment, count(*) FILTER (WHERE retry_at > %s) AS waiting,
               coalesce((array_agg(ended_on ORDER BY stopped_at DESC, key DESC))[1], -1) AS failed_on
        FROM deployments_replica WHERE instance_type_id = %s AND retry_at > %s GROUP BY deployment_id"""
    kinds = {"deployment": "bigint", "waiting": "int", "failed_on": "bigint"}
    found = read_columns(query, kinds, [now, instance_type.key, now - AVOIDED_FOR])
    waiting, failed_on = np.zeros(len(keys), np.int32), np.full(len(keys), -1, np.int64)
    row = places(keys, found["deployment"])
    waiting[row[row >= 0]], failed_on[row[row >= 0]] = found["waiting"][row >= 0], found["failed_on"][row >= 0]
    return waiting, failed_on


def _startups(instance_type: InstanceType, keys: Array, now: datetime) -> Array:
    """The 90th percentile of what each deployment's replicas took until they were ready, in seconds, as `percentile_disc`
    has it; NaN where none got ready lately."""
    deployments, longest = _measured(instance_type, now)
    found = np.full(len(keys), np.nan)
    rows = places(keys, deployments)
    found[rows[rows >= 0]] = longest[rows >= 0]
    return found


def _measured(instance_type: InstanceType, now: datetime) -> tuple[Array, Array]:
    """Deployments of which replicas got ready lately, and that percentile. They are read again once another is ready: it is
    a day of replicas."""
    ((last,),) = read_rows(
        "SELECT max(ready_at) FROM deployments_replica WHERE instance_type_id = %s", [instance_type.key]
    )
    if last is None:
        return np.zeros(0, np.int64), np.zeros(0)
    if instance_type.key not in _ready or _ready[instance_type.key][0] != last:
        _ready[instance_type.key] = last, _got_ready(instance_type, now)
    deployment, took, at = _ready[instance_type.key][1]
    lately = at > (now - MEASURED_OVER).timestamp()
    deployment, took = deployment[lately], took[lately]
    order = np.lexsort((took, deployment))
    keys, first, count = np.unique(deployment[order], return_index=True, return_counts=True)
    return keys, took[order][first + np.ceil(0.9 * count).astype(np.int64) - 1]


def _got_ready(instance_type: InstanceType, now: datetime) -> list[Array]:
    """Of each replica that got ready lately: its deployment, how long it took, and when it was."""
    query = """
        SELECT deployment_id AS deployment, date_part('epoch', ready_at - created_at) AS took, ready_at AS at
        FROM deployments_replica WHERE instance_type_id = %s AND ready_at > %s"""
    kinds = {"deployment": "bigint", "took": "float8", "at": "time"}
    return list(read_columns(query, kinds, [instance_type.key, now - MEASURED_OVER]).values())


def _zone_bits(instance_type: InstanceType, keys: Array, offerings: Offerings) -> Array:
    """Bit p of each deployment: offering p lies in a zone that all of its gateways have in common (R16)."""
    query = """
        SELECT m.deployment_id AS deployment, m.gateway_id AS gateway FROM deployments_deployment_gateways m
        JOIN deployments_deployment d ON d.key = m.deployment_id WHERE d.instance_type_id = %s"""
    kinds = {"deployment": "bigint", "gateway": "bigint"}
    deployment, gateway = read_columns(query, kinds, [instance_type.key]).values()
    zones = dict(
        read_rows("SELECT key, sent_zones FROM deployments_gateway WHERE key = ANY(%s)", [np.unique(gateway).tolist()])
    )
    every, bits = [zone for _, zone in offerings], np.zeros(len(keys), np.uint64)
    rows = places(keys, deployment)
    bits[rows] = ~np.uint64(0)
    for key, sent in zones.items():
        allowed = common_zones([sent], every)
        served = sum(1 << place for place, (_, zone) in enumerate(offerings) if zone in allowed)
        bits[rows[gateway == key]] &= np.uint64(served)
    return bits


def _instances(instance_type: InstanceType, offerings: Offerings) -> tuple[core.Instances, Array]:
    """Instances in the cluster; a lost one is no place to be (`OTHER`)."""
    columns = _INSTANCES.read(instance_type.key)
    columns["offering"] = np.searchsorted(np.array([key for key, _ in offerings], np.int64), columns["offering"])
    columns["held"] = columns["held"] == 1
    return core.Instances.build(**columns), columns["claim"]


def _replicas(
    instance_type: InstanceType, deployments: core.Deployments, instances: core.Instances, now: datetime
) -> tuple[core.Replicas, core.Parts, bool]:
    """Replicas of the shard's own deployments, their placements where they lie on several instances, and whether there
    are replicas of deployments that moved to another type (`leaving`)."""
    columns = replicas_read(instance_type, now)
    placed = placements_read(instance_type, columns["key"])
    rows = places(deployments.key, columns["deployment"])
    columns = {name: values[rows >= 0] for name, values in {**columns, "deployment": rows}.items()}
    columns["active"] = active_of(instance_type.key, columns["key"])
    columns["replaces"] = _replaced(columns["key"], columns["state"], columns["replaces"])
    columns["instance"], parts = _placements(placed, columns["key"], columns["gpus"], instances)
    return core.Replicas.build(**columns), parts, bool((rows < 0).any())


def _replaced(keys: Array, state: Array, replaces: Array) -> Array:
    """Row of the replica that each one takes the place of, while both count; -1 otherwise."""
    row = places(keys, replaces)
    counts = np.isin(state, sorted(LIVE))
    return np.where((row >= 0) & counts & np.r_[counts, False][row], row, -1)


def _placements(
    placed: dict[str, Array], keys: Array, gpus: Array, instances: core.Instances
) -> tuple[Array, core.Parts]:
    """Row of the first instance of each replica, -1 where it has none; and the parts of those that lie on several. One on
    an instance that is gone is no part."""
    replica, instance, part = placed["replica"], placed["instance"], placed["gpus"]
    row, place = places(keys, replica), places(instances.key, instance)
    whole = part == np.r_[gpus, 0][row]
    first = np.full(len(keys) + 1, NO_KEY)  # the last one for replicas that moved away
    first[row[whole]] = instance[whole]
    np.minimum.at(first, row[~whole], instance[~whole])
    known = np.flatnonzero(~whole & (row >= 0) & (place >= 0))
    parts = core.Parts.build(replica=row[known], instance=place[known], gpus=part[known])
    return places(instances.key, first[:-1]), parts


def _converted(replicas: core.Replicas, parts: core.Parts, instances: core.Instances) -> Array:
    """Rows of replicas that are on demand by their label and on claims by all of their instances."""
    claimed = np.r_[instances.claim != 0, False][replicas.instance]  # the last one for those on none
    unclaimed = parts.replica[instances.claim[parts.instance] == 0]
    claimed[unclaimed] = False
    return np.flatnonzero(claimed & (replicas.capacity_class == core.CapacityClass.ON_DEMAND))


def _blocks(instance_type: InstanceType, seconds: float, now: datetime) -> list[tuple[float, Block]]:
    found = _BLOCKS.read(instance_type.key, now - timedelta(seconds=seconds))
    return [(at.timestamp(), block) for at, block in found if block]


def _signals(blocks: list[tuple[float, Block]], keys: Array) -> tuple[core.Signals, Array]:
    """Samples in the order of `keys`, and the mean time a request ran in the window (NaN where none ended)."""
    queued = np.full((len(blocks), len(keys)), -1, np.int64)
    active = queued.copy()
    for place, (_, block) in enumerate(blocks):
        at, there = block.rows_of(keys)
        queued[place, there] = block.queued[at[there]]
        active[place, there] = block.active[at[there]]
    signals = core.Signals(np.array([at for at, _ in blocks]), queued, active)
    if not blocks:
        return signals, np.full(len(keys), np.nan)
    (finished, seconds), (before, spent) = (_counted(block, keys) for _, block in (blocks[-1], blocks[0]))
    ended = finished - before
    with np.errstate(divide="ignore", invalid="ignore"):
        return signals, np.where(ended > 0, (seconds - spent) / ended, np.nan)


def _counted(block: Block, keys: Array) -> tuple[Array, Array]:
    """Requests that ended so far, and the seconds that they ran; 0 for deployments that the block does not have."""
    at, there = block.rows_of(keys)
    finished, seconds = np.zeros(len(keys)), np.zeros(len(keys))
    finished[there], seconds[there] = block.finished[at[there]], block.service_seconds[at[there]]
    return finished, seconds


def _with(deployments: core.Deployments, **columns: Array) -> core.Deployments:
    return core.Deployments.build(**{**dict(deployments.items()), **columns})


def _state(instance_type: InstanceType) -> tuple[AutoscalerState, datetime | None]:
    """What the planner remembers; what cannot be read is forgotten, and sizes hold until a window is seen (R5)."""
    query = "SELECT at, payload FROM deployments_plannerstate WHERE instance_type_id = %s"
    found = read_rows(query, [instance_type.key])
    if not found:
        return AutoscalerState.empty(), None
    ((at, payload),) = found
    try:
        return AutoscalerState.from_bytes(bytes(payload)), at
    except ValueError:
        return AutoscalerState.empty(), at
