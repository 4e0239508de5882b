"""Statuses after a pass (R9): those are judged that look otherwise than when they were right, and few are written."""

import json
from dataclasses import replace
from datetime import datetime

import numpy as np

from claims.core.conditions import Condition
from claims.core.states import Status
from claims.models import InstanceType
from deployments.core.columns import Int64s
from deployments.core.states import ReplicaState
from deployments.core.status import FAILURES_IN_A_ROW, Facts, deployment_status
from deployments.loop.columns import places, read_columns, read_rows
from deployments.loop.kept import KeptRows
from deployments.loop.replicas import replicas_read
from deployments.models import Deployment
from deployments.services.deployments import deployments_settle
from deployments.zones import all_zones, common_zones

# What is judged of a row of a deployment or its policy has changed only where there is another version of the row.
_LOOK = """
    SELECT d.key, d.organization_id AS org, (d.failures >= %(failing)s)::int AS failing, d.revision,
           hashtidextended(d.ctid, d.xmin::text::bigint) # hashtidextended(p.ctid, p.xmin::text::bigint) AS version"""
_OF_SHARD = """
    FROM deployments_deployment d JOIN deployments_autoscalingpolicy p ON p.deployment_id = d.key
    WHERE d.instance_type_id = %(type)s"""
_LOOKED_AT = {"key": "bigint", "org": "bigint", "failing": "int", "revision": "int", "version": "bigint"}
_LOOKS = KeptRows(
    f"{_LOOK}, least(age(d.xmin), age(p.xmin)) AS age {_OF_SHARD}".replace("%(type)s", "%s").replace(
        "%(failing)s", str(FAILURES_IN_A_ROW)
    ),
    _LOOKED_AT,
)
# The last error is only looked up for deployments of which it is told.
_JUDGED = f"""{_LOOK}, d.conditions, d.status, d.disabled, d.ever_ready, p.min, d.failures,
           CASE WHEN d.failures >= %(failing)s THEN (
               SELECT f.last_error FROM deployments_replica f
               WHERE f.deployment_id = d.key AND f.state = 5 AND f.retry_at IS NOT NULL
               ORDER BY f.stopped_at DESC, f.key DESC LIMIT 1) END AS last_error
    {_OF_SHARD} AND d.key = ANY(%(keys)s) ORDER BY d.key"""  # noqa: S608 - our own text
_REPLICAS = """
    SELECT deployment_id AS deployment, state, revision FROM deployments_replica WHERE state IN (1, 2, 3) AND """
# Some may still run on the instance type that their deployment had before.
_ELSEWHERE = f"""{_REPLICAS} instance_type_id <> %(type)s
    AND deployment_id IN (SELECT key FROM deployments_deployment WHERE instance_type_id = %(type)s)"""  # noqa: S608 - our own text
_OF_KEYS = f"{_REPLICAS} deployment_id = ANY(%(keys)s)"
_COUNTED = {"deployment": "bigint", "state": "int", "revision": "int"}
AT_ONCE = 1000  # are judged; a process that begins judges all of a shard
# How the deployments of a shard looked that had the right status: one that looks the same has it still.
_right: dict[int, Int64s] = {}


def settle(instance_type: InstanceType, now: datetime) -> set[int]:
    """Write the statuses that changed; returns the organizations that have deployments in the shard."""
    looks = _looks(instance_type, now)
    again = _differing(looks, _right.get(instance_type.key))
    right: list[Int64s] = []
    for at in range(0, len(again), AT_ONCE):
        changed, found = _judged(instance_type, again[at : at + AT_ONCE], now)
        right += found
        if changed:
            deployments_settle(facts=_with_zones(changed), now=now)
    kept = looks[~np.isin(looks[:, 0], again)]
    _right[instance_type.key] = np.concatenate([kept, *(look[None] for look in right)])
    return set(np.unique(looks[:, 1]).tolist())


def _looks(instance_type: InstanceType, now: datetime) -> Int64s:
    """A row for each deployment of the shard, by key: what is looked at of it (`_LOOKED_AT`), and of its replicas."""
    given = {"type": instance_type.key}
    looks = np.stack(list(_LOOKS.read(instance_type.key).values()), axis=1).astype(np.int64)
    here, elsewhere = replicas_read(instance_type, now), read_columns(_ELSEWHERE, _COUNTED, given)
    replicas = {name: np.concatenate([here[name], elsewhere[name]]) for name in _COUNTED}
    return np.concatenate([looks, _counts(looks[:, 0], looks[:, 3], replicas)], axis=1)


def _counts(keys: Int64s, revisions: Int64s, replicas: dict[str, Int64s]) -> Int64s:
    """Replicas of each deployment: that are ready, that hold GPUs, that are ready with the newest revision; that count and
    have an older one, and of these those to be restarted."""
    row = places(keys, replicas["deployment"])
    deployment, state, revision = (column[row >= 0] for column in (row, replicas["state"], replicas["revision"]))
    ready, counted, newest = state == ReplicaState.READY, state != ReplicaState.DRAINING, revisions[deployment]
    which = (
        ready,
        ready | True,
        ready & (revision == newest),
        counted & (revision < newest),
        counted & (revision == 0),
    )
    sums = [np.bincount(deployment[mask], minlength=len(keys)) for mask in which]
    return np.stack(sums, axis=1).astype(np.int64)


def _differing(looks: Int64s, right: Int64s | None) -> Int64s:
    """Keys of those that look otherwise than when their status was right. Errors are not in the looks: those of which they
    are told are always looked at."""
    if right is None or not len(right):
        return looks[:, 0]
    right = right[np.argsort(right[:, 0])]
    at = np.minimum(np.searchsorted(right[:, 0], looks[:, 0]), len(right) - 1)
    keys: Int64s = looks[(looks != right[at]).any(axis=1) | (looks[:, 2] > 0), 0]
    return keys


def _judged(instance_type: InstanceType, keys: Int64s, now: datetime) -> tuple[dict[int, Facts], list[Int64s]]:
    """Of the deployments `keys`: those whose status or conditions are to be others, and how the rest look.

    The looks are of the rows that were judged, not those that chose `keys`: a row may have changed between.
    """
    changed: dict[int, Facts] = {}
    right: list[Int64s] = []
    given = {"type": instance_type.key, "failing": FAILURES_IN_A_ROW, "keys": keys.tolist()}
    rows = read_rows(_JUDGED, given) if len(keys) else []
    looked = np.array([row[: len(_LOOKED_AT)] for row in rows], np.int64).reshape(-1, len(_LOOKED_AT))
    counts = _counts(looked[:, 0], looked[:, 3], read_columns(_OF_KEYS, _COUNTED, given)) if len(rows) else looked
    for look, count, row in zip(looked, counts, rows, strict=True):
        conditions, status, disabled, ever_ready, least, failures, error = row[len(_LOOKED_AT) :]
        ready, live, updated, old, restarting = count.tolist()
        # A restart that an operator asked for is no change of the deployment: it stays READY meanwhile.
        old -= restarting if status == Status.READY else 0
        facts = Facts(Status(status), disabled, ever_ready, least, ready, live, updated, old, failures, error or "")
        gone = facts.status == Status.DELETING and not facts.live
        if gone or _said(*deployment_status(facts, now)) != _said(facts.status, json.loads(conditions)):
            changed[int(look[0])] = facts
        else:
            right.append(np.concatenate([look, count]))
    return changed, right


def _said(status: Status, conditions: list[Condition]) -> tuple[Status, list[tuple[str, ...]]]:
    return status, [(one["type"], one["status"], one["reason"], one["message"]) for one in conditions]


def _with_zones(facts: dict[int, Facts]) -> dict[int, Facts]:
    """The same with a zone that each may run in, for its conditions."""
    zones: dict[int, list[list[str]]] = {}
    rows = Deployment.objects.filter(key__in=facts).order_by("key", "gateways__key")
    for key, sent in rows.values_list("key", "gateways__sent_zones"):
        zones.setdefault(key, []).append(sent or [])
    every = all_zones()
    return {key: replace(fact, zone=min(common_zones(zones.get(key, []), every), default=""))
            for key, fact in facts.items()}  # fmt: skip
