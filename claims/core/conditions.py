"""Conditions of a claim: what holds it up, in the API's form. Reason, message and time are never empty."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict

TRUE, FALSE = "STATUS_TRUE", "STATUS_FALSE"


class Condition(TypedDict):
    type: str
    status: str
    lastUpdateTime: str
    reason: str
    message: str
    zone: str


def timestamp(at: datetime) -> str:
    """RFC 3339 in UTC, as the API writes times."""
    return at.isoformat().replace("+00:00", "Z")


def claim_conditions(
    *, kind: str, allocated: int, effective: int, deleting: bool, lost: int, zone: str, now: datetime
) -> list[Condition]:
    """`Ready`, and `Progressing` while something is under way."""
    missing = effective - allocated
    stamp = timestamp(now)

    def one(type_: str, holds: bool, reason: str, message: str) -> Condition:
        return {"type": type_, "status": TRUE if holds else FALSE, "lastUpdateTime": stamp,
                "reason": reason, "message": message, "zone": zone}  # fmt: skip

    if deleting:
        text = f"{allocated} instances are being released"
        return [one("Ready", False, "Deleting", text), one("Progressing", True, "Deleting", text)]
    if not missing:
        return [one("Ready", True, "AllAllocated", "All instances allocated")]
    reason = "InstanceLost" if lost else "WaitingForPool" if kind == "SERVERLESS" else "Joining"
    waits = {
        "InstanceLost": f"{lost} instances were lost; replacements are on their way",
        "WaitingForPool": f"{missing} of {effective} instances wait for free capacity in the managed pool",
        "Joining": f"{missing} of {effective} instances are joining",
    }[reason]
    return [one("Ready", False, reason, waits), one("Progressing", True, "Reconciling", waits)]


def merged(old: Sequence[Condition], new: Sequence[Condition]) -> list[Condition]:
    """`new`, keeping the old time of every condition that says what it said before."""
    kept = {(one["type"], one["status"], one["reason"], one["message"], one["zone"]): one for one in old}
    return [kept.get((one["type"], one["status"], one["reason"], one["message"], one["zone"]), one) for one in new]
