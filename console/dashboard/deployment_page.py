"""What the page of a deployment shows."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
from django.db.models import QuerySet
from django.forms import Form
from django.http import HttpRequest

from claims.core.states import Status
from claims.labels import labels_get
from claims.models import UsageKind
from claims.selectors import prices_at
from console.common import clock
from console.dashboard.access import actor_in
from console.dashboard.afterwards import makings
from console.dashboard.changes import changes
from console.dashboard.forms import OFF, ON, AutoscalingForm, HoldForm, MemoryForm, NoteForm
from console.dashboard.labels import LabelsForm, in_order
from console.dashboard.live import last_sample
from console.dashboard.marks import marks_of
from console.dashboard.objective import part_of
from console.dashboard.schedules import schedules_shown
from console.dashboard.series import RANGES
from console.organizations.models import AuditEvent, Organization
from deployments.core import explain
from deployments.core.params import Params
from deployments.core.states import ReplicaState
from deployments.costs import costs_of
from deployments.loop.activity import active_of
from deployments.memory import Fit, memory_fit
from deployments.models import Decision, Deployment, Replica
from deployments.objective.selectors import objective_of
from deployments.replay.shadow import shadow_comparison
from deployments.rollout import rollout_of
from deployments.selectors import (
    concerning,
    decisions_of,
    failed_of,
    holds_in_force,
    names_in,
    replicas_of,
)
from deployments.startups import start_ups_of

SHOWN = 12
MOST_REPLICAS = 200
EVENTS = 10
FAILED_WITHIN = timedelta(hours=1)


def page_context(
    request: HttpRequest, organization: Organization, one: Deployment, forms: Mapping[str, Form] | None = None
) -> dict[str, Any]:
    """`forms` are those that were sent and are wrong."""
    actor, now = actor_in(request), clock.now()
    span = request.GET.get("range", "1h")
    replicas, startups = list(replicas_of(one)), start_ups_of(one)
    start = now - RANGES.get(span, RANGES["1h"])
    labels = labels_get(organization, UsageKind.REPLICA, one.id)
    return {
        "deployment": one,
        "now": last_sample([one]).get(one.key),
        "short": is_short(one),
        "holds": concerning(holds_in_force(organization, now), one),
        "decisions": explained(decisions_of(one, SHOWN), organization),
        "replicas": replicas,
        "listed": with_activity(one, listed(replicas)),
        "failed": failed_of(one, now - FAILED_WITHIN),
        "rollout": rollout_of(one, replicas),
        "marks": [(mark, mark.deletable_by(actor)) for mark in marks_of(one, start, now)],
        "memory": memory_of(one),
        "startups": startups,
        "schedules": schedules_shown(one, startups),
        "shadow": shadow_comparison(one, start, now) if one.shadow else None,
        "objective": part_of(objective_of(one)),
        "costs": costs_of(one, replicas, now) if actor.sees_money else None,
        "gateways": one.gateways.order_by("name"),
        "events": [(event, changes(event)) for event in events_of(one)],
        "classes": classes_in_words(one.autoscaling.capacity_classes),
        "delay": delay_text(one.autoscaling.scale_down_delay),
        "makings": makings(organization, actor),
        "ranges": list(RANGES),
        "range": span,
        "labels": in_order(labels),
        "labels_form": LabelsForm.of(labels),
        "may_label": actor.can_write and one.status != Status.DELETING,
        **blank_forms(one, request.GET),
        **(forms or {}),
    }


def listed(replicas: Sequence[Replica]) -> Sequence[Replica]:
    """Those that the table has: all of them, or of very many those first that are not simply ready."""
    if len(replicas) <= MOST_REPLICAS:
        return replicas
    return sorted(replicas, key=lambda one: (one.state == ReplicaState.READY, one.key))[:MOST_REPLICAS]


def with_activity(one: Deployment, replicas: Sequence[Replica]) -> list[tuple[Replica, int]]:
    """Each with the requests that it ran at the last sample."""
    active = active_of(one.instance_type_id, np.array([replica.key for replica in replicas], np.int64))
    return list(zip(replicas, active.tolist(), strict=True))


def events_of(one: Deployment) -> QuerySet[AuditEvent]:
    return AuditEvent.objects.filter(object_type="Deployment", object_id=str(one.id)).order_by("-id")[:EVENTS]


def blank_forms(one: Deployment, asked: Mapping[str, str]) -> dict[str, Form]:
    """As they are set now, but for what the address proposes (`?max=9`)."""
    policy = one.autoscaling
    return {
        "form": AutoscalingForm(initial={
            "min": policy.min, "max": policy.max, "concurrency": policy.concurrency, "priority": policy.priority,
            "classes": ",".join(policy.capacity_classes), "look_ahead": ON if policy.look_ahead else OFF,
            "scale_down_s": policy.scale_down_delay and f"{policy.scale_down_delay.total_seconds():g}",
            **{name: asked[name] for name in AutoscalingForm.base_fields if name in asked},
        }),
        "hold_form": HoldForm(auto_id="hold_%s"),
        "note_form": NoteForm(auto_id="note_%s"),
        "memory_form": MemoryForm(initial={"gib": one.model_memory_gib}, auto_id="memory_%s"),
    }  # fmt: skip


def is_short(one: Deployment) -> bool:
    wanted, granted = one.last_wanted or 0, one.last_granted or 0  # type: ignore[attr-defined]
    return granted < wanted and not one.disabled


def explained(decisions: Any, organization: Organization) -> list[dict[str, Any]]:
    """Decisions with their sentences; other deployments of the organization by name."""
    rows: list[Decision] = list(decisions)
    names = names_in(rows, organization)
    return [
        {"decision": row, "text": explain.verdict(row.record, names), "steps": explain.steps(row.record, names)}
        for row in rows
    ]


def memory_of(one: Deployment) -> Fit:
    return memory_fit(
        one.model_name, one.engine_config, gpu_count=one.gpu_count, gpu_memory_gib=one.instance_type.gpu_memory_gib,
        set_gib=one.model_memory_gib,
    )  # fmt: skip


def replica_price(one: Deployment, now: datetime) -> Decimal | None:
    """USD an hour of one replica on demand, at the dearest zone of its type."""
    prices = prices_at(now)
    keys = one.instance_type.offerings.values_list("key", flat=True)
    known = [prices[key, "ON_DEMAND"] for key in keys if (key, "ON_DEMAND") in prices]
    return max(known) * one.gpu_count if known else None


def given(value: int | None, otherwise: int) -> str:
    return f"{otherwise} (unset)" if value is None else str(value)


def delay_text(delay: timedelta | None) -> str:
    return f"{Params().scale_down_s:g} s (unset)" if delay is None else f"{delay.total_seconds():g} s"


def classes_in_words(classes: Any) -> str:
    words = {"CAPACITY_CLASS_RESERVED": "reserved", "CAPACITY_CLASS_ON_DEMAND": "on demand"}
    return ", then ".join(words[one] for one in classes) or "reserved, then on demand (unset)"
