"""Statuses after a pass (R9): those are judged that look otherwise than when they were right, and few are written."""

import json
from dataclasses import replace
from datetime import datetime

import numpy as np

from claims.core.conditions import Condition
from claims.core.states import Status
from claims.models import InstanceType
from deployments.core.columns import Int64s
from deployments.core.status import FAILURES_IN_A_ROW, Facts, deployment_status
from deployments.loop.columns import read_columns, read_rows
from deployments.models import Deployment
from deployments.services.deployments import deployments_settle
from deployments.zones import all_zones, common_zones

# Replicas: that are ready, that hold GPUs, that are ready with the newest revision; that count and have an older one, and
# of these those to be restarted.
_COUNTS = """
           coalesce(sum(r.n) FILTER (WHERE r.state = 2), 0)::bigint AS ready,
           coalesce(sum(r.n), 0)::bigint AS live,
           coalesce(sum(r.n) FILTER (WHERE r.state = 2 AND r.revision = d.revision), 0)::bigint AS updated,
           coalesce(sum(r.n) FILTER (WHERE r.state IN (1, 2) AND r.revision < d.revision), 0)::bigint AS old,
           coalesce(sum(r.n) FILTER (WHERE r.state IN (1, 2) AND r.revision = 0), 0)::bigint AS restarting
    FROM deployments_deployment d JOIN deployments_autoscalingpolicy p ON p.deployment_id = d.key
    LEFT JOIN (
        SELECT deployment_id, state, revision, count(*) AS n FROM deployments_replica
        WHERE state IN (1, 2, 3)
          AND deployment_id IN (SELECT key FROM deployments_deployment WHERE instance_type_id = %(type)s)
        GROUP BY deployment_id, state, revision
    ) r ON r.deployment_id = d.key
    WHERE d.instance_type_id = %(type)s"""
_GROUPS = " GROUP BY d.key, p.deployment_id ORDER BY d.created_at, d.key"
# All that a status is judged by, as numbers; with the counts in the order of `_LOOKED_AT`.
_LOOK = """
    SELECT d.key, d.organization_id AS org, (d.failures >= %(failing)s)::int AS failing, hashtextextended(
               concat_ws(' ', d.status, d.disabled, d.ever_ready, d.failures, p.min, d.conditions), 0) AS said"""
_LOOKS = f"{_LOOK}, {_COUNTS} {_GROUPS}"
_LOOKED_AT = ("key", "org", "failing", "said", "ready", "live", "updated", "old", "restarting")
# The last error is only looked up for deployments of which it is told.
_JUDGED = f"""{_LOOK}, d.conditions, d.status, d.disabled, d.ever_ready, p.min, d.failures,
           CASE WHEN d.failures >= %(failing)s THEN (
               SELECT f.last_error FROM deployments_replica f
               WHERE f.deployment_id = d.key AND f.state = 5 AND f.retry_at IS NOT NULL
               ORDER BY f.stopped_at DESC, f.key DESC LIMIT 1) END AS last_error,
           {_COUNTS} AND d.key = ANY(%(keys)s) {_GROUPS}"""  # noqa: S608 - our own text
# How the deployments of a shard looked that had the right status: one that looks the same has it still.
_right: dict[int, Int64s] = {}


def settle(instance_type: InstanceType, now: datetime) -> set[int]:
    """Write the statuses that changed; returns the organizations that have deployments in the shard."""
    looks = _looks(instance_type)
    again = _differing(looks, _right.get(instance_type.key))
    changed, right = _judged(instance_type, again, now)
    if changed:
        deployments_settle(facts=_with_zones(changed), now=now)
    _right[instance_type.key] = np.concatenate([looks[~np.isin(looks[:, 0], again)], right])
    return set(np.unique(looks[:, 1]).tolist())


def _looks(instance_type: InstanceType) -> Int64s:
    """A row for each deployment of the shard, in the order of `_LOOKED_AT`."""
    given = {"type": instance_type.key, "failing": FAILURES_IN_A_ROW}
    return np.stack(read_columns(_LOOKS, [(name, "bigint") for name in _LOOKED_AT], given), axis=1)


def _differing(looks: Int64s, right: Int64s | None) -> Int64s:
    """Keys of those that look otherwise than when their status was right. Errors are not in the looks: those of which they
    are told are always looked at."""
    if right is None or not len(right):
        return looks[:, 0]
    right = right[np.argsort(right[:, 0])]
    at = np.minimum(np.searchsorted(right[:, 0], looks[:, 0]), len(right) - 1)
    keys: Int64s = looks[(looks != right[at]).any(axis=1) | (looks[:, 2] > 0), 0]
    return keys


def _judged(instance_type: InstanceType, keys: Int64s, now: datetime) -> tuple[dict[int, Facts], Int64s]:
    """Of the deployments `keys`: those whose status or conditions are to be others, and how the rest look.

    The looks are of the rows that were judged, not those that chose `keys`: a row may have changed between.
    """
    changed: dict[int, Facts] = {}
    right: list[tuple[int, ...]] = []
    given = {"type": instance_type.key, "failing": FAILURES_IN_A_ROW, "keys": keys.tolist()}
    for row in read_rows(_JUDGED, given) if len(keys) else ():
        look, (conditions, status, disabled, ever_ready, least, failures, error), counts = row[:4], row[4:11], row[11:]
        ready, live, updated, old, restarting = counts
        # A restart that an operator asked for is no change of the deployment: it stays READY meanwhile.
        old -= restarting if status == Status.READY else 0
        facts = Facts(Status(status), disabled, ever_ready, least, ready, live, updated, old, failures, error or "")
        gone = facts.status == Status.DELETING and not facts.live
        if gone or _said(*deployment_status(facts, now)) != _said(facts.status, json.loads(conditions)):
            changed[look[0]] = facts
        else:
            right.append((*look, *counts))
    return changed, np.array(right, np.int64).reshape(-1, len(_LOOKED_AT))


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
