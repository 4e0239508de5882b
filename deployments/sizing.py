"""Right-sizing of a claim: the need that was recorded of the deployments that may use it, replayed on other sizes.

The record is their decisions: each says how many replicas were wanted and granted until the next. Decisions that were made
afterwards for a demo count, and are told. The claim is replayed as it is set now: with its target as the base, and in the
hours of those of its windows that still recur with what they ask for (C12). What is provisioned ahead of a window is left out.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from claims.core.windows import Level, Window, next_occurrence, promised, summed
from claims.models import CapacityClaim, ClaimWindow
from claims.windows import window_of
from console.organizations.models import AuditEvent
from deployments.core.plan import SHORT
from deployments.core.sizing import Ints, Need, Sizing, sizing
from deployments.models import Decision, Deployment
from deployments.zones import all_zones, common_zones

PERIOD = timedelta(days=7)
RESERVED = "CAPACITY_CLASS_RESERVED"

Row = tuple[int, datetime, int, int, str, bool]
"""deployment's key, time, wanted, granted, bound, made afterwards"""


@dataclass(frozen=True, slots=True)
class Advice:
    """What another number of instances would have done from `since` to `until`. `simulated`: a part of that time was made
    afterwards; `deployments`: by name, those that may use the claim; `gone`: those that were deleted since then, whose
    decisions went with them, so that their need is not in it."""

    since: datetime
    until: datetime
    deployments: Sequence[str]
    simulated: bool
    sizing: Sizing
    gone: Sequence[str]

    @property
    def shrink_to(self) -> int | None:
        """The least size that would have held all that the claim held; None: no less than it has."""
        return self.sizing.held - self.sizing.spare if self.sizing.spare else None

    @property
    def share(self) -> float:
        """Of the claim's GPUs, how much the need filled on average."""
        return self.sizing.used_gpu_s / self.sizing.held_gpu_s if self.sizing.held_gpu_s else 0.0


def advice(claim: CapacityClaim, now: datetime) -> Advice | None:
    """For the base that the claim is to have; None where nothing is recorded. Six queries, however much there is."""
    using = users(claim)
    rows = _decisions([one.key for one in using], now - PERIOD)
    if not rows:
        return None
    since = max(now - PERIOD, min(row[1] for row in rows))
    windows, others = supply_of(claim, since, now)
    need, times = need_of(using, rows, since, now, [one.at for one in (*windows, *others)])
    held = sizing(
        need, held=claim.target, per_instance=claim.offering.instance_type.gpus, others=counts_at(others, times),
        windows=counts_at(windows, times),
    )  # fmt: skip
    return Advice(since, now, [one.name for one in using], any(row[5] for row in rows), held, _gone(claim, since))


def users(claim: CapacityClaim) -> list[Deployment]:
    """Deployments whose replicas may go on the claim (R14 to R17), by name."""
    of_type = Deployment.objects.filter(
        organization=claim.organization_id, instance_type=claim.offering.instance_type_id, disabled=False
    )
    found = of_type.select_related("autoscaling").prefetch_related("gateways").order_by("name")
    zone, every = claim.offering.zone.name, all_zones()
    return [
        one for one in found
        if zone in common_zones([gateway.sent_zones for gateway in one.gateways.all()], every)
        and (not one.autoscaling.capacity_classes or RESERVED in one.autoscaling.capacity_classes)
    ]  # fmt: skip


def need_of(
    using: Sequence[Deployment], rows: Collection[Row], since: datetime, until: datetime, cuts: Collection[datetime] = ()
) -> tuple[Need, list[datetime]]:  # fmt: skip
    """The need of each deployment from decision to decision, and from cut to cut, with the time at which each span begins;
    before its first decision a deployment had none."""
    times = sorted({since, *(at for at in (*(row[1] for row in rows), *cuts) if at > since)})
    stamps = np.array([one.timestamp() for one in times])
    column = {one.key: place for place, one in enumerate(using)}
    wanted, short = (np.zeros((len(times), len(using)), np.int64) for _ in range(2))
    for key, at, wants, granted, bound, _ in sorted(rows, key=lambda row: row[1]):
        first = int(np.searchsorted(stamps, max(at, since).timestamp()))
        wanted[first:, column[key]] = wants
        short[first:, column[key]] = max(0, wants - granted) if bound in SHORT else 0
    gpus = np.array([one.gpu_count for one in using], np.int64)
    return Need(gpus, np.diff(stamps, append=until.timestamp()), wanted, short), times


def supply_of(claim: CapacityClaim, since: datetime, until: datetime) -> tuple[list[Level], list[Level]]:
    """What the claim's windows ask for over this time, and what further claims of the organization have there. Two
    queries."""
    there = CapacityClaim.objects.filter(organization=claim.organization_id, offering=claim.offering_id)
    windows: dict[int, list[Window]] = {}
    for row in ClaimWindow.objects.filter(claim__in=there.order_by()).order_by("key"):
        window = window_of(row)
        if next_occurrence(window, until):
            windows.setdefault(row.claim_id, []).append(window)
    further = there.exclude(key=claim.key).order_by("key").values_list("key", "target")
    others = summed(promised(target, windows.get(key, []), since, until) for key, target in further)
    return promised(0, windows.get(claim.key, []), since, until), others


def counts_at(levels: Sequence[Level], times: Sequence[datetime]) -> Ints:
    """How many instances there are at these times; none before the first level: int64 [T]."""
    if not levels:
        return np.zeros(len(times), np.int64)
    counts = np.array([0, *(one.count for one in levels)], np.int64)
    stamps = np.array([one.at.timestamp() for one in levels])
    found: Ints = counts[np.searchsorted(stamps, [one.timestamp() for one in times], side="right")]
    return found


def _decisions(keys: Collection[int], since: datetime) -> list[Row]:
    """Those since then, and of each deployment the last before."""
    columns = ("deployment_id", "at", "wanted", "granted", "bound", "made_afterwards")
    of = Decision.objects.filter(deployment__in=keys)
    before = of.filter(at__lt=since).order_by("deployment_id", "-at").distinct("deployment_id")
    return [*before.values_list(*columns), *of.filter(at__gte=since).order_by("at").values_list(*columns)]


def _gone(claim: CapacityClaim, since: datetime) -> list[str]:
    """Deployments of the organization that were deleted since then, of whatever type: the audit trail has no more."""
    deleted = AuditEvent.objects.filter(
        organization=claim.organization_id, object_type="Deployment", action="deployment.delete", at__gte=since
    )
    return list(deleted.order_by("object_name").values_list("object_name", flat=True).distinct())
