"""What another window of a claim does, or one that goes: now, and in the thirty days to come."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from claims import pricing
from claims.core import windows as rule
from claims.core.quote import hourly
from claims.core.windows import Occurrence
from claims.joining import join_time
from claims.models import CapacityClaim, ClaimKind, ClaimWindow
from claims.services.edges import lead_by, paid_before
from claims.windows import claim_promised, standing, window_of
from deployments.impact.claims import ClaimPreview, claim_preview

AHEAD = timedelta(days=30)
MICROSECONDS_AN_HOUR = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Promise:
    """Of the days ahead: instance-hours that are promised, those before windows begin in which their instances are ready and
    paid for already, and what both cost, USD; None where a price is missing. Of a CUSTOMER claim the cost is that of all
    the organization's customer claims of the offering (B2)."""

    instance_hours: Decimal
    early_hours: Decimal
    usd: Decimal | None


@dataclass(frozen=True, slots=True)
class WindowPreview:
    """`now` is what changes at once; `lead` is how long before its beginning a window opens, and is paid for."""

    claim: CapacityClaim
    next: Occurrence | None
    lead: timedelta
    now: ClaimPreview
    before: Promise
    after: Promise
    peak_before: int
    peak_after: int


def window_preview(
    claim: CapacityClaim, rows: Sequence[ClaimWindow], row: ClaimWindow | None, now: datetime
) -> WindowPreview:
    """What it does if the claim has the windows `rows`; `row` is the one that is new or another, None: one goes."""
    took = join_time(claim.offering)
    lead = lead_by(took)
    found = standing(rows, now, lead)
    had, early = list(claim.windows.all()), paid_before(claim, took)
    return WindowPreview(
        claim, rule.next_occurrence(window_of(row), now) if row else None, lead,
        claim_preview(claim, claim.target, now, found), _promise(claim, had, now, early),
        _promise(claim, rows, now, early),
        claim.promised, max(claim.target, found.peak),
    )  # fmt: skip


def _promise(claim: CapacityClaim, rows: Sequence[ClaimWindow], now: datetime, early: timedelta) -> Promise:
    """`early`: so long before they begin windows are paid for."""
    instance_hours = _instance_hours(_spans(claim, rows, now))
    spans = _spans(claim, rows, now, early)
    early_hours = _instance_hours(spans) - instance_hours
    rates = pricing.rates_of(claim.organization, claim.offering, claim.kind, now)
    if rates is None:
        return Promise(instance_hours, early_hours, None)
    others = 0
    if claim.kind == ClaimKind.CUSTOMER:
        others = pricing.others_asked(claim.organization, claim.offering, claim)
    gpus = claim.offering.instance_type.gpus
    usd = sum((hourly(others + count, gpus, rates) * hours for count, hours in spans), Decimal(0))
    return Promise(instance_hours, early_hours, usd)


def _hours(span: timedelta) -> Decimal:
    return Decimal(span // timedelta.resolution) / MICROSECONDS_AN_HOUR


def _spans(
    claim: CapacityClaim, rows: Sequence[ClaimWindow], now: datetime, ahead: timedelta = timedelta()
) -> list[tuple[int, Decimal]]:
    """So many instances for so many hours, in order of time."""
    levels = claim_promised(claim.target, rows, now, now + AHEAD, ahead)
    ends = [*(one.at for one in levels[1:]), now + AHEAD]
    return [(level.count, _hours(until - level.at)) for level, until in zip(levels, ends, strict=True)]


def _instance_hours(spans: Sequence[tuple[int, Decimal]]) -> Decimal:
    return sum((count * hours for count, hours in spans), Decimal(0))
