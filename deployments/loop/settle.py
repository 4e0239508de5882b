"""Statuses after a pass (R9): all are judged, few are written."""

import json
from dataclasses import replace
from datetime import datetime

from claims.core.conditions import Condition
from claims.core.states import Status
from claims.models import InstanceType
from deployments.core.status import FAILURES_IN_A_ROW, Facts, deployment_status
from deployments.loop.columns import read_rows
from deployments.models import Deployment
from deployments.services.deployments import deployments_settle
from deployments.zones import all_zones, common_zones

# Replicas: that are ready, that hold GPUs, that are ready with the newest revision; that count and have an older one, and
# of these those to be restarted. The last error is only looked up for deployments of which it is told.
_JUDGED = """
    SELECT d.key, d.organization_id, d.conditions, d.status, d.disabled, d.ever_ready, p.min, d.failures,
           CASE WHEN d.failures >= %(failing)s THEN (
               SELECT f.last_error FROM deployments_replica f
               WHERE f.deployment_id = d.key AND f.state = 5 AND f.retry_at IS NOT NULL
               ORDER BY f.stopped_at DESC, f.key DESC LIMIT 1) END AS last_error,
           count(r.key) FILTER (WHERE r.state = 2) AS ready,
           count(r.key) AS live,
           count(r.key) FILTER (WHERE r.state = 2 AND r.revision = d.revision) AS updated,
           count(r.key) FILTER (WHERE r.state IN (1, 2) AND r.revision < d.revision) AS old,
           count(r.key) FILTER (WHERE r.state IN (1, 2) AND r.revision = 0) AS restarting
    FROM deployments_deployment d JOIN deployments_autoscalingpolicy p ON p.deployment_id = d.key
    LEFT JOIN deployments_replica r ON r.deployment_id = d.key AND r.state IN (1, 2, 3)
    WHERE d.instance_type_id = %(type)s GROUP BY d.key, p.deployment_id ORDER BY d.created_at, d.key"""


def settle(instance_type: InstanceType, now: datetime) -> set[int]:
    """Write the statuses that changed; returns the organizations that have deployments in the shard."""
    organizations, changed = set(), {}
    for row in read_rows(_JUDGED, {"type": instance_type.key, "failing": FAILURES_IN_A_ROW}):
        key, organization, conditions, status, disabled, ever_ready, least, failures, error = row[:9]
        ready, live, updated, old, restarting = row[9:]
        organizations.add(organization)
        # A restart that an operator asked for is no change of the deployment: it stays READY meanwhile.
        old -= restarting if status == Status.READY else 0
        judged = Facts(Status(status), disabled, ever_ready, least, ready, live, updated, old, failures, error or "")
        gone = judged.status == Status.DELETING and not judged.live
        if gone or _said(*deployment_status(judged, now)) != _said(Status(status), json.loads(conditions)):
            changed[key] = judged
    if changed:
        deployments_settle(facts=_with_zones(changed), now=now)
    return organizations


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
