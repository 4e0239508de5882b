"""What another size of a claim, or its deletion, would do: instances, replicas, quota, price."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db import transaction

from claims import pricing
from claims.core.quota import Commitment
from claims.core.quote import HOURS_A_MONTH, hourly
from claims.core.rules import ClaimResources
from claims.core.states import Status
from claims.core.waits import Spread
from claims.foreseen import Freed, Growth, no_longer_offered, would_free, would_get, would_give_up
from claims.holdings import Holding, holding_of
from claims.joining import join_time
from claims.models import CapacityClaim, ClaimKind, Instance, Offering
from claims.selectors import QuotaRow, quota_of, reduction_time
from claims.windows import Standing
from console.common.errors import NotFound
from console.organizations.models import Organization
from deployments.impact.change import Change, Leaving, Then
from deployments.impact.reader import Impact, impact_of, rows_of, standing
from deployments.loop.snapshot import Shard


@dataclass(frozen=True, slots=True)
class Price:
    """USD an hour before and after. `shared`: of all the organization's customer claims of the offering together, since
    they share the reserved quantity (B2)."""

    before: Decimal
    after: Decimal
    shared: bool

    @property
    def month_before(self) -> Decimal:
        return self.before * HOURS_A_MONTH

    @property
    def month_after(self) -> Decimal:
        return self.after * HOURS_A_MONTH


@dataclass(frozen=True, slots=True)
class QuotaChange:
    """Instances of quota before, and after once what is given up is released."""

    row: QuotaRow
    committed_after: int
    asked: int  # more instances that the change commits; 0 where it is smaller

    @property
    def free_after(self) -> int:
        return max(0, self.row.limit - self.row.other_usage - self.committed_after)

    @property
    def refused(self) -> bool:
        return self.asked > self.row.limit - self.row.other_usage - self.row.committed and self.asked > 0


@dataclass(frozen=True, slots=True)
class ClaimPreview:
    """The answer. `before` is what the claim is to have now (C8), `count` what it would be, 0 for a deletion; `at` is
    when it takes effect, None: at once. `gets` are the instances that it gets more; those converted are there already
    with the organization's own on-demand replicas, which stay where they are (C4)."""

    claim: CapacityClaim
    before: int
    count: int
    at: datetime | None
    given_up: Sequence[Instance]
    gets: Growth
    joining: Spread | None
    impact: Impact
    quota: QuotaChange | None
    price: Price | None
    withheld: str  # why it may not have more whatever the quota; empty where it may
    freed: Freed

    @property
    def in_use(self) -> int:
        """Instances to be given up that replicas run on."""
        return sum(one.gpus_used > 0 for one in self.given_up)

    @property
    def refusal(self) -> str:
        """Why the change would be refused; empty where it would not."""
        if self.withheld:
            return self.withheld
        if self.quota is None or not self.quota.refused:
            return ""
        return f"{self.quota.asked} more instances need quota, and {self.quota.row.free} are free."


def claim_preview(claim: CapacityClaim, count: int, now: datetime, windows: Standing | None = None) -> ClaimPreview:
    """What changing the claim to `count` instances does (0: deleting it), as things are now. One that is not stored yet
    and has no target previews its creation; one that is being deleted, what is left of that. `windows`: and giving it
    windows that stand so (C12), None: those that it has.

    Raises NotFound for another size of a claim that is being deleted, as the change itself would.
    """
    deleting = claim.status == Status.DELETING
    if deleting and count:
        raise NotFound("CapacityClaim", claim.id)
    window = claim.window_count if windows is None else windows.count
    peak = claim.window_peak if windows is None else windows.peak
    going = [] if deleting else would_give_up(claim, count, window)
    gets = would_get(claim, count, window)
    at = reduction_time(claim, count, now, window)
    holding = holding_of(claim)
    after, most = (max(count, window), max(count, peak)) if count else (0, 0)
    before = 0 if deleting else holding.effective
    return ClaimPreview(
        claim, before, after, at, going, gets, join_time(claim.offering) if gets.total else None,
        _impact(claim, going, now, at - now if at else timedelta()), _quota(claim, most, holding),
        price_change(claim, before, after, now), no_longer_offered(claim, count), would_free(claim, going),
    )  # fmt: skip


def creation_preview(
    organization: Organization, offering: Offering, resources: ClaimResources, now: datetime
) -> ClaimPreview:
    """What a claim of these resources would do, which the offering was found by: nothing is stored."""
    claim = CapacityClaim(organization=organization, offering=offering, kind=resources.kind, target=0)
    return claim_preview(claim, resources.instance_count, now)


def refused(act: Callable[[], object]) -> None:
    """Raise what `act` refuses, by doing it and taking it back: no row stays, nobody is told or woken. Its locks are
    held for as long as it takes, and no longer."""
    with transaction.atomic():
        act()
        transaction.set_rollback(True)


def _impact(claim: CapacityClaim, going: Sequence[Instance], now: datetime, later: timedelta) -> Impact:
    """The replicas of the organization that it moves or stops; without one on what goes there is nothing to foresee."""
    if not any(one.gpus_used for one in going):
        return Impact()
    until = (now + settings.DRAIN_DEADLINE).timestamp()
    then = Then.POOL if claim.kind == ClaimKind.SERVERLESS else Then.GONE
    type_ = claim.offering.instance_type

    def change(shard: Shard) -> Change:
        rows = rows_of(shard, [one.key for one in going])
        return replace(standing(shard, type_), leaving=[Leaving(row, then, until) for row in rows.values()])

    return impact_of(type_, change, now, later).seen_by(claim.organization_id)


def _quota(claim: CapacityClaim, promised: int, holding: Holding) -> QuotaChange | None:
    if claim.kind != ClaimKind.CUSTOMER:
        return None
    row = quota_of(claim.organization, claim.offering)
    mine = Commitment(claim.promised, holding.unreleased)
    asked = max(promised, mine.unreleased) - mine.instances
    return QuotaChange(row, row.committed - mine.instances + promised, max(0, asked))


def price_change(claim: CapacityClaim, before: int, count: int, now: datetime) -> Price | None:
    rates = pricing.rates_of(claim.organization, claim.offering, claim.kind, now)
    if rates is None:
        return None
    others = 0
    if claim.kind == ClaimKind.CUSTOMER:
        others = pricing.others_asked(claim.organization, claim.offering, claim)
    gpus = claim.offering.instance_type.gpus
    return Price(hourly(others + before, gpus, rates), hourly(others + count, gpus, rates), others > 0)
