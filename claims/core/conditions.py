"""Conditions of a claim: what holds it up, in the API's form. Reason, message and time are never empty."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict

from claims.core.states import Status
from console.common.words import counted

TRUE, FALSE = "STATUS_TRUE", "STATUS_FALSE"
READY, PROGRESSING, APPLIED = "Ready", "Progressing", "ResourcesApplied"
DEGRADED, UNDER_USED = "Degraded", "UnderUsed"
# Those that the vendor's API knows; clients of it see no others.
OF_THE_VENDOR = (READY, PROGRESSING, APPLIED)

Said = tuple[str, str, str]
"""status, reason and message of a condition"""


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


def claim_conditions(facts: ClaimFacts, old: Sequence[Condition], now: datetime) -> list[Condition]:
    """What holds of the claim, given what was said of it before: a condition that says the same keeps its time.

    `Ready` and `ResourcesApplied` always; `Progressing` while something is under way; `Degraded` once it has lost
    something, false when that is healed; `UnderUsed` as `under_used` put it there.
    """
    was = {one["type"]: one for one in old}
    said = {
        READY: _ready(facts), PROGRESSING: _progressing(facts), APPLIED: _applied(facts),
        DEGRADED: _degraded(facts, was.get(DEGRADED)),
    }  # fmt: skip
    found = [_condition(type_, *one, facts.zone, now) for type_, one in said.items() if one]
    if UNDER_USED in was and facts.status != Status.DELETING:
        found.append(was[UNDER_USED])
    return _merged(old, found)


def under_used(old: Sequence[Condition], under: bool, least: float, zone: str, now: datetime) -> list[Condition]:
    """The conditions with what is known of the claim's use: whether it is `under` the share of `least`."""
    reason, than = ("LittleUsed", "less than") if under else ("Used", "at least")
    text = f"Replicas held {than} {least:.0%} of its GPUs over the last 24 hours"
    others = [one for one in old if one["type"] != UNDER_USED]
    return _merged(old, [*others, _condition(UNDER_USED, TRUE if under else FALSE, reason, text, zone, now)])


def holds(conditions: Sequence[Condition], type_: str) -> bool:
    """Whether there is such a condition, and it is true."""
    return any(one["type"] == type_ and one["status"] == TRUE for one in conditions)


def _condition(type_: str, status: str, reason: str, message: str, zone: str, now: datetime) -> Condition:
    return {"type": type_, "status": status, "lastUpdateTime": timestamp(now), "reason": reason, "message": message,
            "zone": zone}  # fmt: skip


def _ready(facts: ClaimFacts) -> Said:
    if facts.status == Status.DELETING:
        return FALSE, "Deleting", f"{counted(facts.left, 'instance')} still to be released"
    if facts.status == Status.READY and not facts.missing:
        return TRUE, "AllAllocated", "All instances allocated"
    if facts.lost:
        return FALSE, "InstanceLost", _lost(facts)
    if not facts.missing:
        return FALSE, "Reconciling", f"{counted(facts.effective, 'instance')} allocated, about to be ready"
    if facts.drained:
        return (
            FALSE,
            "InstanceDrained",
            f"{counted(facts.drained, 'instance')} drained by the platform; {facts.missing} missing",
        )
    if facts.kind == "SERVERLESS":
        text = f"{facts.missing} of {counted(facts.effective, 'instance')} wait for free capacity in the managed pool"
        return FALSE, "WaitingForPool", text
    text = f"{facts.missing} of {counted(facts.effective, 'instance')} on the way into the cluster"
    if facts.failures:
        return FALSE, "JoinFailed", f"{text}; {facts.failures} tries in a row failed"
    return FALSE, "Joining", text


def _progressing(facts: ClaimFacts) -> Said | None:
    """None where nothing is under way."""
    status, reason, message = _ready(facts)
    if facts.status == Status.DELETING:
        return TRUE, reason, message
    if status == FALSE:
        return TRUE, "Reconciling", message
    if facts.reduction_at is not None:
        text = f"Goes down from {facts.effective} to {counted(facts.target, 'instance')} at {timestamp(facts.reduction_at)}"
        return TRUE, "ReductionScheduled", text
    if facts.draining:
        return TRUE, "Draining", _draining(facts)
    return None


def _applied(facts: ClaimFacts) -> Said:
    """Whether it holds what it is to hold now: no less, and nothing that it gave up."""
    if facts.status == Status.DELETING:
        return FALSE, "Deleting", f"{counted(facts.left, 'instance')} still to be released"
    if facts.missing:
        return FALSE, "Reconciling", f"{facts.allocated} of {counted(facts.effective, 'instance')} allocated"
    if facts.draining:
        return FALSE, "Draining", _draining(facts)
    return TRUE, "Applied", f"{counted(facts.effective, 'instance')} set aside, as asked for"


def _degraded(facts: ClaimFacts, was: Condition | None) -> Said | None:
    """Whether it is short of something that it had, or that failed to come; None where it never was. What is lost may
    be gone from the claim long before its replacement is there, so this goes on until the claim is whole."""
    if facts.status == Status.DELETING:
        return None
    if facts.status == Status.READY and not facts.missing:
        return None if was is None else (FALSE, "Healed", "Whole again: what was lost is replaced")
    if facts.lost:
        return TRUE, "InstanceLost", _lost(facts)
    if facts.missing and facts.drained:
        return (
            TRUE,
            "InstanceDrained",
            f"{counted(facts.drained, 'instance')} drained by the platform; a replacement is wanted",
        )
    if facts.missing and facts.failures:
        return TRUE, "JoinFailed", f"{facts.failures} tries in a row to join failed; the next comes later"
    if was is None or was["status"] == FALSE:
        return was and (was["status"], was["reason"], was["message"])
    return TRUE, was["reason"], f"{counted(facts.missing, 'instance')} on the way to make it whole"


def _lost(facts: ClaimFacts) -> str:
    return f"{counted(facts.lost, 'instance')} lost; {f'{facts.missing} on the way' if facts.missing else 'replaced'}"


def _draining(facts: ClaimFacts) -> str:
    return f"{counted(facts.draining, 'instance')} given up, still in use and drained first"


def _merged(old: Sequence[Condition], new: Sequence[Condition]) -> list[Condition]:
    """`new`, keeping the old time of every condition that says what it said before."""
    kept = {(one["type"], one["status"], one["reason"], one["message"], one["zone"]): one for one in old}
    return [kept.get((one["type"], one["status"], one["reason"], one["message"], one["zone"]), one) for one in new]
