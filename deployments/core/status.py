"""Status and conditions of a deployment, from what runs (R9). Conditions have the API's form."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from claims.core.conditions import FALSE, TRUE, Condition, timestamp
from claims.core.states import Status

MakeCondition = Callable[[str, bool, str, str], Condition]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the status of one deployment depends on.

    `live` counts every replica that still holds GPUs; `zone` is one that it may run in, for its conditions.
    """

    status: Status
    disabled: bool
    ever_ready: bool
    min: int
    ready: int
    live: int
    old_revision: int = 0
    zone: str = ""


def deployment_status(facts: Facts, now: datetime) -> tuple[Status, list[Condition]]:
    """READY once ready replicas reach min; a later shortage keeps READY and says so in the condition `Ready`.

    CREATING never passes through UPDATING; DELETING stays until the row goes.
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
    applied = one("ResourcesApplied", not facts.old_revision, *(
        ("RollingOut", f"{facts.old_revision} replicas have an older revision")
        if facts.old_revision else ("Applied", "Every replica has the newest revision")))  # fmt: skip
    counts = f"{facts.ready} replicas are ready, at least {facts.min} are wanted"
    if enough and not facts.old_revision:
        return Status.READY, [one("Ready", True, "MinReady", counts), applied]
    settled = facts.status == Status.READY and not facts.old_revision
    reason = "CapacityShort" if settled else "Starting"
    return facts.status, [one("Ready", enough, "MinReady" if enough else reason, counts), applied]
