"""What platform work on a machine would do: replicas that move, stop or wait, and what its claim loses and gets."""

from dataclasses import dataclass, replace
from datetime import datetime

from django.conf import settings

from claims.core.waits import Spread
from claims.joining import join_time
from claims.models import CapacityClaim, ClaimKind, Instance, Source, Work
from claims.selectors import pools
from deployments.impact.change import Change, Leaving, Then
from deployments.impact.reader import Impact, impact_of, rows_of, standing
from deployments.loop.snapshot import Shard


@dataclass(frozen=True, slots=True)
class Replacement:
    """What stands in for the machine. `claim` None: in the pool. `at_once`: a free pool instance; else a machine that
    joins (`joining`), or, where neither, whatever the pool has free next. `none`: nothing until the work is cleared."""

    claim: CapacityClaim | None
    at_once: bool = False
    joining: Spread | None = None
    none: bool = False


@dataclass(frozen=True, slots=True)
class WorkPreview:
    """The answer. `until`: when what runs there is stopped at the latest."""

    instance: Instance
    work: Work
    until: datetime | None
    impact: Impact
    replacement: Replacement | None


def work_preview(instance: Instance, work: Work, now: datetime) -> WorkPreview:
    """What `instance_work_set` with this work would do, as things are now."""
    type_ = instance.offering.instance_type
    until = None if work == Work.CORDON else now + settings.DRAIN_DEADLINE
    lacking = {instance.claim_id: 1} if instance.claim_id and until and instance.source == Source.POOL else {}

    def change(shard: Shard) -> Change:
        rows = list(rows_of(shard, [instance.key]).values())
        then = Then.GONE if work == Work.BAD else Then.STAYS
        leaving = [] if until is None else [Leaving(row, then, until.timestamp()) for row in rows]
        return replace(standing(shard, type_, lacking), leaving=leaving, closed=rows)

    return WorkPreview(instance, work, until, impact_of(type_, change, now), _replacement(instance, work))


def _replacement(instance: Instance, work: Work) -> Replacement | None:
    """None where nothing has to be replaced: the machine stays what it is."""
    if work == Work.CORDON:
        return None
    claim = instance.claim
    if claim is None:
        return Replacement(None, joining=join_time(instance.offering)) if work == Work.BAD else None
    if claim.kind == ClaimKind.CUSTOMER:
        if work == Work.DRAIN:
            return Replacement(claim, none=True)
        return Replacement(claim, joining=join_time(instance.offering))
    pool = next(row for row in pools() if row.offering.key == instance.offering_id)
    return Replacement(claim, at_once=pool.free > pool.pending_claims)
