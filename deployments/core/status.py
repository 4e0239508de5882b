"""Status and conditions of a deployment, from what runs (R9). Conditions have the API's form."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from claims.core.conditions import FALSE, TRUE, Condition, timestamp
from claims.core.states import Status

FAILURES_IN_A_ROW = 5

MakeCondition = Callable[[str, bool, str, str], Condition]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the status of one deployment depends on.

    `live` counts every replica that still holds GPUs, `updated` those that are ready with the newest revision and
    `old_revision` those that still serve with an older one (R10); `zone` is one that it may run in, for its conditions.
    `failures` counts replicas that failed since one became ready, `last_error` says why the last one did (R8).
    """

    status: Status
    disabled: bool
    ever_ready: bool
    min: int
    ready: int
    live: int
    updated: int = 0
    old_revision: int = 0
    failures: int = 0
    last_error: str = ""
    zone: str = ""

    @property
    def failing(self) -> bool:
        return self.failures >= FAILURES_IN_A_ROW


def deployment_status(facts: Facts, now: datetime) -> tuple[Status, list[Condition]]:
    """READY once ready replicas reach min; a later shortage keeps READY and says so in the condition `Ready`.

    Five failures in a row are a condition of their own, and an ERROR where it never was ready; it ends by itself when a
    replica becomes ready (R8). CREATING never passes through UPDATING; DELETING stays until the row goes.
    """
    stamp = timestamp(now)

    def one(type_: str, holds: bool, reason: str, message: str) -> Condition:
        return {"type": type_, "status": TRUE if holds else FALSE, "lastUpdateTime": stamp, "reason": reason,
                "message": message, "zone": facts.zone}  # fmt: skip

    if facts.status == Status.DELETING:
        text = f"{facts.live} replicas are being stopped"
        return Status.DELETING, [
            one("Ready", False, "Deleting", text),
            one("Progressing", True, "Deleting", text),
        ]
    if facts.disabled:
        if facts.live:
            text = f"{facts.live} replicas are being stopped"
            return facts.status, [
                one("Ready", False, "Disabling", text),
                one("ResourcesApplied", False, "Disabling", text),
            ]
        text = "Disabled; no replica runs"
        return Status.READY, [
            one("Ready", True, "Disabled", text),
            one("ResourcesApplied", True, "Disabled", text),
        ]
    return _enabled(facts, one)


def _enabled(facts: Facts, one: MakeCondition) -> tuple[Status, list[Condition]]:
    enough = facts.ready >= facts.min
    applied = one("ResourcesApplied", not facts.old_revision, *_progress(facts))
    counts = f"{facts.ready} replicas are ready, at least {facts.min} are wanted"
    conditions = [one("Ready", enough, *_readiness(facts, counts)), applied]
    if facts.failing:
        text = f"{facts.failures} replicas failed in a row; the last: {facts.last_error or 'no reason is known'}"
        conditions.append(one("ReplicasFailing", True, "FailedInARow", text))
    if enough and not facts.old_revision:
        return Status.READY, conditions
    return _unsettled(facts), conditions


def _progress(facts: Facts) -> tuple[str, str]:
    if facts.old_revision:
        every = facts.updated + facts.old_revision
        return "RollingOut", f"{facts.updated} of {every} replicas have the newest revision"
    return "Applied", "Every replica has the newest revision"


def _readiness(facts: Facts, counts: str) -> tuple[str, str]:
    if facts.ready >= facts.min:
        return "MinReady", counts
    if facts.failing:
        return "ReplicasFailing", counts
    settled = facts.status == Status.READY and not facts.old_revision
    return "CapacityShort" if settled else "Starting", counts


def _unsettled(facts: Facts) -> Status:
    """While it has fewer replicas than it must, or old ones."""
    if facts.failing and not facts.ever_ready:
        return Status.ERROR
    return Status.UPDATING if facts.status == Status.ERROR else facts.status
