"""Writes of objectives by operators: set and cleared. What the worker writes is in `deployments.objective.work`."""

import uuid
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from typing import Any

from django.db import transaction

from console.common import clock
from console.common.errors import FailedPrecondition, FieldViolation, InvalidArgument
from console.common.notify import publish
from console.common.wake import wake_on_commit
from console.common.words import counted
from console.organizations.actors import Actor
from console.organizations.services import audit_record
from deployments.backtest.portfolio import preset
from deployments.core import policy as rules
from deployments.costs import replica_price
from deployments.locks import deployment_locked
from deployments.models import AutoscalingPolicy, Deployment, DeploymentObjective, Trigger
from deployments.models.objective import LEAST_SHARE, LONGEST_WAIT, MOST_SHARE

TASK, QUEUE = "deployments.tasks.objectives", "control"
MOST_USD = Decimal(1_000_000)
CENT = Decimal("0.01")


def objective_set(
    *,
    actor: Actor,
    deployment_id: uuid.UUID,
    share: float,
    longest_wait: timedelta = LONGEST_WAIT,
    price_ceiling: Decimal | None = None,
) -> DeploymentObjective:
    """That share of requests is to wait no longer, for at most so many USD an hour. From now on the loop goes by what is
    chosen for it, and by the preset until then; min and max stay what they are.

    Refuses with PermissionDenied, InvalidArgument, NotFound, FailedPrecondition (a ceiling that min exceeds already, or
    where nothing has a price).
    """
    actor.require_write()
    _require_form(share, longest_wait, price_ceiling)
    with transaction.atomic():
        now, deployment = clock.now(), deployment_locked(actor.require_organization(), deployment_id)
        ceiling = ceiling_in_replicas(deployment, price_ceiling, now)
        _require_room(deployment, price_ceiling, ceiling)
        found = DeploymentObjective.objects.select_for_update().filter(deployment=deployment).first()
        before, row = _described(found), found or _begun(deployment)
        row.share, row.longest_wait, row.price_ceiling, row.ceiling = share, longest_wait, price_ceiling, ceiling
        if found is not None and _described(row) == before:
            return row
        row.set_at, row.set_by, row.due, row.due_at, row.attempts = now, actor.name[:150], Trigger.SET, now, 0
        row.lease = row.leased_until = None  # what is being chosen is for another objective
        row.save()
        _record(actor, deployment, before, _described(row))
        wake_on_commit(TASK, QUEUE)
    return row


def objective_clear(*, actor: Actor, deployment_id: uuid.UUID) -> None:
    """The loop goes by what is set by hand again. What was chosen stays as history; nothing to clear is no error."""
    actor.require_write()
    with transaction.atomic():
        deployment = deployment_locked(actor.require_organization(), deployment_id)
        row = DeploymentObjective.objects.select_for_update().filter(deployment=deployment).first()
        if row is not None:
            before = _described(row)
            row.delete()
            _record(actor, deployment, before, None)


def slots_of(policy: AutoscalingPolicy) -> int:
    """What a replica can run at once (R2)."""
    return policy.slots or rules.slots(policy.concurrency or rules.DEFAULT_CONCURRENCY)


def ceiling_in_replicas(deployment: Deployment, usd: Decimal | None, now: datetime) -> int | None:
    """Replicas that so much an hour pays for, all on demand in the dearest allowed zone; None where there is no ceiling
    or no price."""
    price = replica_price(deployment, now) if usd is not None else None
    if usd is None or not price:
        return None
    return min(int((usd / price).to_integral_value(ROUND_DOWN)), rules.MAX_STORED)


def _require_form(share: float, longest_wait: timedelta, price_ceiling: Decimal | None) -> None:
    found = []
    if not LEAST_SHARE <= share <= MOST_SHARE:  # NaN too
        found.append(FieldViolation("share", f"must be from {LEAST_SHARE} to {MOST_SHARE}; it is {share}"))
    if longest_wait != LONGEST_WAIT:
        found.append(FieldViolation("longest_wait", "must be 1 s, by which replays measure"))
    if price_ceiling is not None and not _is_price(price_ceiling):
        found.append(FieldViolation("price_ceiling", f"must be from 0.01 to {MOST_USD} USD an hour, in whole cents"))
    if found:
        raise InvalidArgument(found)


def _is_price(usd: Decimal) -> bool:
    return usd.is_finite() and 0 < usd <= MOST_USD and usd == usd.quantize(CENT)


def _require_room(deployment: Deployment, usd: Decimal | None, ceiling: int | None) -> None:
    low = deployment.autoscaling.min
    if usd is not None and ceiling is None:
        raise FailedPrecondition(
            "NO_PRICE", f"deployments/{deployment.id}",
            f"{deployment.instance_type} has no on-demand price where {deployment.name} may run: nothing says how many "
            "replicas a ceiling pays for.",
        )  # fmt: skip
    if ceiling is not None and ceiling < low:
        raise FailedPrecondition(
            "CEILING_BELOW_MIN", f"deployments/{deployment.id}",
            f"{usd} USD an hour pays for {counted(ceiling, 'replica')} and min is {low}; min is always kept.",
        )  # fmt: skip


def _begun(deployment: Deployment) -> DeploymentObjective:
    """It begins with the preset, whose floor comes with the first look."""
    begun = preset(slots_of(deployment.autoscaling), 0.0)
    return DeploymentObjective(
        deployment=deployment,
        target=begun.concurrency,
        scale_down_delay=timedelta(seconds=begun.scale_down_s),
        ahead=begun.ahead,
    )


def _described(row: DeploymentObjective | None) -> dict[str, Any] | None:
    if row is None:
        return None
    usd = row.price_ceiling
    return {"share": row.share, "longestWait": f"{row.longest_wait.total_seconds():g}s",
            "priceCeiling": None if usd is None else f"{usd:.2f}"}  # fmt: skip


def _record(actor: Actor, deployment: Deployment, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
    audit_record(actor=actor, action="objective.set" if after else "objective.clear", obj_type="Deployment",
                 obj_id=str(deployment.id), obj_name=deployment.name, before=before, after=after,
                 organization=deployment.organization)  # fmt: skip
    publish("deployments", [deployment.organization_id])
    publish("notes", [deployment.organization_id])
    wake_on_commit("deployments.tasks.scale", "control")
