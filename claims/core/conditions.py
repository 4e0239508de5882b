"""Conditions of a claim: what holds it up, in the API's form. Reason, message and time are never empty."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict

from claims.core.states import Status

TRUE, FALSE = "STATUS_TRUE", "STATUS_FALSE"


class Condition(TypedDict):
    type: str
    status: str
    lastUpdateTime: str
    reason: str
    message: str
    zone: str


@dataclass(frozen=True, slots=True)
class ClaimFacts:
    """What is known of a claim, in instances. `left` are all that it still has, whatever their state."""

    kind: str
    status: Status
    zone: str
    target: int  # that it is to come to: base or open window
    effective: int
    allocated: int
    left: int = 0
    lost: int = 0
    drained: int = 0  # by the platform
    draining: int = 0
    failures: int = 0  # machines in a row that did not join
    reduction_at: datetime | None = None

    @property
    def missing(self) -> int:
        return self.effective - self.allocated


def timestamp(at: datetime) -> str:
    """RFC 3339 in UTC, as the API writes times."""
    return at.isoformat().replace("+00:00", "Z")


def claim_conditions(facts: ClaimFacts, now: datetime) -> list[Condition]:
    """`Ready`, and `Progressing` while something is under way."""
    ready, progressing = _ready(facts), _progressing(facts)
    rows = [("Ready", *ready)] + ([("Progressing", TRUE, *progressing)] if progressing else [])
    return [
        {"type": type_, "status": status, "lastUpdateTime": timestamp(now), "reason": reason, "message": message,
         "zone": facts.zone}
        for type_, status, reason, message in rows
    ]  # fmt: skip


def _ready(facts: ClaimFacts) -> tuple[str, str, str]:
    """Status, reason and message of `Ready`."""
    if facts.status == Status.DELETING:
        return FALSE, "Deleting", f"{_instances(facts.left)} still to be released"
    if facts.status == Status.READY and not facts.missing:
        return TRUE, "AllAllocated", "All instances allocated"
    if facts.lost:
        on_the_way = f"{facts.missing} on the way" if facts.missing else "replaced"
        return FALSE, "InstanceLost", f"{_instances(facts.lost)} lost; {on_the_way}"
    if not facts.missing:
        return FALSE, "Reconciling", f"{_instances(facts.effective)} allocated, about to be ready"
    if facts.drained:
        return FALSE, "InstanceDrained", f"{_instances(facts.drained)} drained by the platform; {facts.missing} missing"
    if facts.kind == "SERVERLESS":
        text = f"{facts.missing} of {_instances(facts.effective)} wait for free capacity in the managed pool"
        return FALSE, "WaitingForPool", text
    text = f"{facts.missing} of {_instances(facts.effective)} on the way into the cluster"
    if facts.failures:
        return FALSE, "JoinFailed", f"{text}; {facts.failures} tries in a row failed"
    return FALSE, "Joining", text


def _progressing(facts: ClaimFacts) -> tuple[str, str] | None:
    """Reason and message of `Progressing`; None where nothing is under way."""
    status, reason, message = _ready(facts)
    if facts.status == Status.DELETING:
        return reason, message
    if status == FALSE:
        return "Reconciling", message
    if facts.reduction_at is not None:
        text = f"Goes down from {facts.effective} to {_instances(facts.target)} at {timestamp(facts.reduction_at)}"
        return "ReductionScheduled", text
    if facts.draining:
        return "Draining", f"{_instances(facts.draining)} given up, still in use and drained first"
    return None


def _instances(count: int) -> str:
    return f"{count} instance" if count == 1 else f"{count} instances"


def merged(old: Sequence[Condition], new: Sequence[Condition]) -> list[Condition]:
    """`new`, keeping the old time of every condition that says what it said before."""
    kept = {(one["type"], one["status"], one["reason"], one["message"], one["zone"]): one for one in old}
    return [kept.get((one["type"], one["status"], one["reason"], one["message"], one["zone"]), one) for one in new]
