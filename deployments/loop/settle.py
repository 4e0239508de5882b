"""Statuses after a pass (R9): all are judged, few are written."""

from dataclasses import replace
from datetime import datetime

from django.db.models import Case, Count, F, OuterRef, Q, Subquery, TextField, Value, When

from claims.core.conditions import Condition
from claims.core.states import Status
from claims.models import InstanceType
from deployments.core.states import HOLDING, LIVE, ReplicaState
from deployments.core.status import FAILURES_IN_A_ROW, Facts, deployment_status
from deployments.models import Deployment, Replica
from deployments.services.deployments import deployments_settle
from deployments.zones import all_zones, common_zones


def settle(instance_type: InstanceType, now: datetime) -> set[int]:
    """Write the statuses that changed; returns the organizations that have deployments in the shard."""
    counts = _counts(instance_type)
    organizations, changed = set(), {}
    rows = Deployment.objects.filter(instance_type=instance_type).annotate(last_error=_LAST_ERROR).values_list(
        "key", "organization_id", "conditions", "status", "disabled", "ever_ready", "autoscaling__min", "failures",
        "last_error",
    )  # fmt: skip
    for key, organization, conditions, status, disabled, ever_ready, least, failures, error in rows:
        organizations.add(organization)
        ready, live, updated, old, restarting = counts.get(key, (0, 0, 0, 0, 0))
        # A restart that an operator asked for is no change of the deployment: it stays READY meanwhile.
        old -= restarting if status == Status.READY else 0
        judged = Facts(Status(status), disabled, ever_ready, least, ready, live, updated, old, failures, error or "")
        gone = judged.status == Status.DELETING and not judged.live
        if gone or _said(*deployment_status(judged, now)) != _said(Status(status), conditions):
            changed[key] = judged
    if changed:
        deployments_settle(facts=_with_zones(changed), now=now)
    return organizations


# Only looked up for deployments of which it is told.
_LAST_ERROR = Case(
    When(failures__gte=FAILURES_IN_A_ROW, then=Subquery(
        Replica.objects.filter(deployment=OuterRef("key"), state=ReplicaState.FAILED, retry_at__isnull=False)
        .order_by("-stopped_at", "-key").values("last_error")[:1]
    )),
    default=Value(""), output_field=TextField(),
)  # fmt: skip


def _counts(instance_type: InstanceType) -> dict[int, tuple[int, int, int, int, int]]:
    """By deployment: replicas that are ready, that hold GPUs; that are ready with the newest revision; that count and
    have an older one, and of these those to be restarted."""
    held = Replica.objects.filter(deployment__instance_type=instance_type, state__in=sorted(HOLDING))
    rows = held.order_by().values("deployment_id").annotate(
        ready=Count("key", filter=Q(state=ReplicaState.READY)),
        live=Count("key"),
        updated=Count("key", filter=Q(state=ReplicaState.READY, revision=F("deployment__revision"))),
        old=Count("key", filter=Q(state__in=sorted(LIVE), revision__lt=F("deployment__revision"))),
        restarting=Count("key", filter=Q(state__in=sorted(LIVE), revision=0)),
    )  # fmt: skip
    columns = rows.values_list("deployment_id", "ready", "live", "updated", "old", "restarting")
    return {key: (ready, live, updated, old, restarting) for key, ready, live, updated, old, restarting in columns}


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
