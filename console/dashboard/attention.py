"""What needs somebody's attention first, worst first."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.urls import reverse

from claims.core.states import Status
from claims.models import CapacityClaim
from claims.selectors import QuotaRow, claim_numbers
from console.loops.models import Loop
from deployments.models import Deployment

NOTICE_SHARE, ALARM_SHARE = 0.80, 0.95
SHORT = {"CAPACITY", "CLASS", "ZONE", "SIZE", "PRIORITY"}


@dataclass(frozen=True, slots=True)
class Notice:
    """`kind` is a state class: bad, warn or info."""

    kind: str
    title: str
    text: str
    url: str


def notices(
    loops: Sequence[Loop],
    deployments: Sequence[Deployment],
    claims: Sequence[CapacityClaim],
    quotas: Sequence[QuotaRow],
) -> list[Notice]:
    found = [*_late(loops), *_short(deployments), *_waiting(claims), *_quota(quotas)]
    return sorted(found, key=lambda one: {"bad": 0, "warn": 1, "info": 2}[one.kind])


def _late(loops: Sequence[Loop]) -> list[Notice]:
    text = "its pass is late; what it does waits, and what you see may be old"
    return [Notice("bad", f"The loop {loop.name} is late", text, reverse("overview")) for loop in loops]


def _short(deployments: Sequence[Deployment]) -> list[Notice]:
    found = []
    for one in deployments:
        wanted, granted = one.last_wanted or 0, one.last_granted or 0  # type: ignore[attr-defined]
        if one.last_bound in SHORT and granted < wanted:  # type: ignore[attr-defined]
            below = one.ready < one.autoscaling.min  # type: ignore[attr-defined]
            text = f"{granted} of {wanted} wanted replicas have GPUs" + ("; fewer than its min run" if below else "")
            found.append(Notice("bad" if below else "warn", f"{one.name} is short of capacity", text,
                                reverse("deployment", args=[one.id])))  # fmt: skip
    return found


def _waiting(claims: Sequence[CapacityClaim]) -> list[Notice]:
    found = []
    for claim in claims:
        allocated, pending = claim_numbers(claim)
        if pending and claim.status != Status.DELETING:
            lost = any(one["reason"] == "InstanceLost" for one in claim.conditions)
            found.append(Notice("warn" if lost else "info", f"{claim.name} waits for instances",
                                f"{allocated} allocated, {pending} pending", reverse("claim", args=[claim.id])))  # fmt: skip
    return found


def _quota(quotas: Sequence[QuotaRow]) -> list[Notice]:
    return [
        Notice("bad" if row.used_share >= ALARM_SHARE else "warn", f"Quota of {row.instance_type} in {row.zone}",
               f"{row.committed + row.other_usage} of {row.limit} instances used ({row.used_share:.0%})",
               reverse("capacity"))
        for row in quotas
        if row.used_share >= NOTICE_SHARE
    ]  # fmt: skip
