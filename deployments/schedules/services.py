"""Windows of min and max: made, changed and deleted, under the lock of their deployment."""

import uuid
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db import transaction

from claims import window_rows
from claims.core.window_rules import WindowAsked, checked
from claims.core.windows import Window
from claims.window_rows import among, require_alone, window_of
from console.common import clock
from console.common.errors import FailedPrecondition, FieldViolation, InvalidArgument
from console.common.notify import publish
from console.organizations.actors import Actor
from console.organizations.models import Organization
from console.organizations.services import audit_record
from deployments.core.policy import MAX_STORED
from deployments.locks import deployment_locked
from deployments.models import Deployment, ScheduleWindow
from deployments.schedules.selectors import schedules_of

MOST_SCHEDULES = 20


@dataclass(frozen=True, slots=True)
class ScheduleAsked:
    """A window as it was asked for; `start` is a wall time of the time zone, a bound that is None stays as otherwise."""

    start: datetime
    duration: timedelta
    recurrence: str
    time_zone: str
    min: int | None = None
    max: int | None = None
    until: date | None = None


def schedule_create(*, actor: Actor, deployment_id: uuid.UUID, asked: ScheduleAsked) -> ScheduleWindow:
    """Give a deployment another window. Refuses with InvalidArgument (the request), NotFound (the deployment),
    FailedPrecondition (it overlaps another one, or the deployment has twenty)."""
    actor.require_write()
    organization, now = actor.require_organization(), clock.now()
    window = _meant(asked, now)
    with transaction.atomic():
        deployment, rows = _locked(organization, deployment_id)
        _require_bounds(deployment, asked)
        if len(rows) >= MOST_SCHEDULES:
            text = f"{deployment.name} has {len(rows)} windows, and cannot have more; delete one first."
            raise FailedPrecondition("TOO_MANY_SCHEDULES", str(deployment.id), text)
        require_alone(window, rows, now, "SCHEDULE_OVERLAP")
        row = ScheduleWindow(deployment=deployment, created_by_user=actor.user, created_by_token=actor.token,
                             created_at=now, updated_at=now, **_columns(window, asked))  # fmt: skip
        row.save()
        _record(actor, deployment, row, "schedule.create", after=described(row))
    return row


def schedule_change(
    *, actor: Actor, deployment_id: uuid.UUID, schedule_id: uuid.UUID, asked: ScheduleAsked
) -> ScheduleWindow:
    """Make a window another one; the same again changes nothing. Refuses as `schedule_create` does."""
    actor.require_write()
    organization, now = actor.require_organization(), clock.now()
    window = _meant(asked, now)
    with transaction.atomic():
        deployment, rows = _locked(organization, deployment_id)
        row = among(rows, schedule_id, "ScheduleWindow")
        before, was = described(row), window_of(row)
        if was == window and (row.min, row.max) == (asked.min, asked.max):
            return row
        _require_bounds(deployment, asked)
        others = [one for one in rows if one.key != row.key]
        require_alone(window, others, now, "SCHEDULE_OVERLAP")
        for name, value in _columns(window, asked).items():
            setattr(row, name, value)
        row.opened_for, row.updated_at = row.opened_for if was == window else None, now
        row.save()
        _record(actor, deployment, row, "schedule.change", before=before, after=described(row))
    return row


def schedule_delete(*, actor: Actor, deployment_id: uuid.UUID, schedule_id: uuid.UUID) -> ScheduleWindow:
    """Take a window away; from the next pass on the deployment has its own bounds. Answers what it was."""
    actor.require_write()
    organization = actor.require_organization()
    with transaction.atomic():
        deployment, rows = _locked(organization, deployment_id)
        row = among(rows, schedule_id, "ScheduleWindow")
        ScheduleWindow.objects.filter(key=row.key).delete()
        _record(actor, deployment, row, "schedule.delete", before=described(row))
    return row


def described(row: ScheduleWindow) -> dict[str, Any]:
    """A window as the audit trail and the API show it."""
    return window_rows.described(row, min=row.min, max=row.max)


def asked_of(row: ScheduleWindow) -> ScheduleAsked:
    """What would have to be asked for to get this window."""
    start = datetime.combine(row.first, row.at)
    return ScheduleAsked(start, row.duration, row.recurrence, row.time_zone, row.min, row.max, row.until)


def _meant(asked: ScheduleAsked, now: datetime) -> Window:
    times = WindowAsked(asked.start, asked.duration, asked.recurrence, asked.time_zone, 1, asked.until)
    window, violations = checked(times, now)
    violations = [*violations, *_bounds_wrong(asked)]
    if window is None or violations:
        raise InvalidArgument(violations)
    return window


def _bounds_wrong(asked: ScheduleAsked) -> list[FieldViolation]:
    if asked.min is None and asked.max is None:
        return [FieldViolation("min", "a window sets min, max or both")]
    found = [
        FieldViolation(name, f"must be from 1 to {MAX_STORED}; it is {value}")
        for name, value in (("min", asked.min), ("max", asked.max))
        if value is not None and not 1 <= value <= MAX_STORED
    ]
    if not found and asked.min is not None and asked.max is not None and asked.max < asked.min:
        found = [FieldViolation("max", "max must be greater than or equal to min")]
    return found


def _require_bounds(deployment: Deployment, asked: ScheduleAsked) -> None:
    """What the window leaves as it is has to fit with what it sets."""
    policy = deployment.autoscaling
    if asked.max is None and asked.min is not None and asked.min > policy.max:
        raise InvalidArgument.of(
            "min", f"is more than the deployment's max of {policy.max}; set a max for the window too"
        )
    if asked.min is None and asked.max is not None and asked.max < policy.min:
        raise InvalidArgument.of(
            "max", f"is less than the deployment's min of {policy.min}; set a min for the window too"
        )


def _columns(window: Window, asked: ScheduleAsked) -> dict[str, Any]:
    return {**window_rows.columns_of(window), "min": asked.min, "max": asked.max}


def _locked(organization: Organization, deployment_id: uuid.UUID) -> tuple[Deployment, list[ScheduleWindow]]:
    """The deployment and its windows once nobody else can change them."""
    deployment = deployment_locked(organization, deployment_id)
    return deployment, schedules_of(deployment)


def _record(
    actor: Actor,
    deployment: Deployment,
    row: ScheduleWindow,
    action: str,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    for each in (before, after):
        if each is not None:
            each["window"] = str(row.id)
    audit_record(actor=actor, action=action, obj_type="Deployment", obj_id=str(deployment.id), obj_name=deployment.name,
                 before=before, after=after, organization=actor.require_organization())  # fmt: skip
    publish("notes", [deployment.organization_id])
