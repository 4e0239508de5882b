"""What windows of claims (C12) will change of what claims hold now."""

import uuid
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count, groupby

from claims.core.rating import Interval
from claims.core.states import Status
from claims.core.windows import Level
from claims.metering import NOBODY, Held, Holder
from claims.models import CapacityClaim, ClaimKind, ClaimWindow, UsageKind
from claims.windows import claim_promised
from console.organizations.models import Organization


@dataclass(frozen=True, slots=True)
class Varying:
    """A claim with windows. `levels` are what it promises, from now on."""

    id: uuid.UUID
    name: str
    kind: str
    offering: int
    gpus: int  # of an instance
    levels: Sequence[Level]

    @classmethod
    def of(cls, claim: CapacityClaim, rows: Sequence[ClaimWindow], start: datetime, end: datetime) -> "Varying":
        levels = claim_promised(claim.target, rows, start, end)
        return cls(claim.id, claim.name, claim.kind, claim.offering_id, claim.offering.instance_type.gpus, levels)

    def more(self, at: datetime) -> int:
        """Instances that it promises then beyond those of now; negative where these are more."""
        return self.levels[bisect_right(self.levels, at, key=lambda level: level.at) - 1].count - self.levels[0].count

    def holds(self, holder: Holder) -> bool:
        """Whether it, or nobody in particular, is this holder."""
        return holder[0] == UsageKind.CLAIM and holder[1] in (self.id, NOBODY) and holder[3] == self.offering


def varying(organization: Organization, start: datetime, end: datetime) -> list[Varying]:
    """The claims with windows, from now to the end. One query."""
    rows = ClaimWindow.objects.filter(claim__organization=organization).exclude(claim__status=Status.DELETING)
    rows = rows.select_related("claim__offering__instance_type").order_by("claim", "at", "key")
    grouped = [list(own) for _, own in groupby(rows, key=lambda row: row.claim_id)]
    return [Varying.of(own[0].claim, own, start, end) for own in grouped]


def held_then(held: Held, claims: Sequence[Varying], now: datetime, at: datetime) -> Held:
    """`held`, which is of now, with the instances that windows will have added by then and without those that they will
    have given back."""
    holders, intervals, numbers = dict(held.holders), list(held.intervals), count(min(held.holders, default=0) - 1, -1)
    for one in claims:
        more = one.more(at)
        if more == 0:
            continue
        if more < 0:
            intervals = _without(intervals, holders, one, -more * one.gpus)
            continue
        who = next((holder for holder in holders.values() if one.holds(holder)), None)
        # Each of a CUSTOMER claim is rated by itself; of others the GPUs are.
        parts = [one.gpus] * more if one.kind == ClaimKind.CUSTOMER else [one.gpus * more]
        for gpus, number in zip(parts, numbers, strict=False):
            holders[number] = who or (UsageKind.CLAIM, one.id, one.name, one.offering)
            intervals.append(Interval(number, one.offering, gpus, one.kind, now, None))
    return Held(holders, intervals)


def _without(intervals: list[Interval], holders: dict[int, Holder], one: Varying, gpus: int) -> list[Interval]:
    """Less so many GPUs of the claim, the newest first."""
    left, kept = gpus, []
    for interval in sorted(intervals, key=lambda each: each.started, reverse=True):
        if left and interval.claim_kind == one.kind and one.holds(holders[interval.id]):
            taken = min(left, interval.gpus)
            left -= taken
            if taken == interval.gpus:
                continue
            interval = replace(interval, gpus=interval.gpus - taken)
        kept.append(interval)
    return kept[::-1]
