"""Windows that open and close (C12): under the lock of the offering (W1), by the time alone, so that a pass that comes late,
twice or after an outage finds the state of its own time."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from claims import joining, windows
from claims.core.waits import Spread
from claims.holdings import Holding
from claims.models import CapacityClaim, ClaimKind, ClaimWindow, Offering
from claims.services import instances as hands

COLUMNS = ("window_count", "window_until", "window_peak", "reduction_at", "reduced_at")


def lead_of(offering: Offering) -> timedelta:
    """So long before it begins a window opens, so that its instances are ready when it does: the 90th percentile of the
    join times of the offering; nothing where nobody knows."""
    return lead_by(joining.join_time(offering))


def lead_by(took: Spread | None) -> timedelta:
    """`lead_of`, where the join times have been read."""
    return took.late if took else timedelta()


def paid_before(claim: CapacityClaim, took: Spread | None) -> timedelta:
    """So long before it begins the instances of a window are paid for, as far as can be foreseen: the pool has them when the
    window opens; machines of one's own join first, which takes the median of the join times."""
    if took is None:
        return timedelta()
    return took.late if claim.kind == ClaimKind.SERVERLESS else took.late - took.usual


def windows_turn(*, offering: Offering, holdings: Iterable[Holding], now: datetime) -> set[int]:
    """Open and close the windows of these claims; returns the keys of the organizations whose claims changed."""
    having = {one.claim.key: one for one in holdings if _has_windows(one.claim) and not one.deleting}
    if not having:
        return set()
    rows: dict[int, list[ClaimWindow]] = {key: [] for key in having}
    for row in ClaimWindow.objects.filter(claim__in=having).order_by("key"):
        rows[row.claim_id].append(row)
    lead = lead_of(offering)
    turned = [one for key, one in having.items()
              if claim_turn(claim=one.claim, held=len(one.counting), rows=rows[key], lead=lead, now=now)]  # fmt: skip
    return {one.claim.organization_id for one in turned}


def _has_windows(claim: CapacityClaim) -> bool:
    """Whether any of its windows is open or still recurs."""
    return bool(claim.window_count or claim.window_peak)


def claim_turn(*, claim: CapacityClaim, held: int, rows: Sequence[ClaimWindow], lead: timedelta, now: datetime) -> bool:
    """Make the columns of the claim what its windows say now; whether that changed what it wants. What it holds beyond that
    goes as with a reduction, and together with one that is due (C7)."""
    before, found = claim.wanted, windows.standing(rows, now, lead)
    _remember(rows, found)
    if (claim.window_count, claim.window_until, claim.window_peak) == (found.count, found.until, found.peak):
        return False
    claim.window_count, claim.window_until, claim.window_peak = found.count, found.until, found.peak
    if claim.wanted != before:
        hands.reduction_wait(claim=claim, held=held, now=now)
    claim.save(update_fields=COLUMNS)
    return claim.wanted != before


def _remember(rows: Iterable[ClaimWindow], found: windows.Standing) -> None:
    """For which occurrence a window has opened, so that it stays open though the lead gets shorter."""
    for row in rows:
        start = found.opened.get(row.key)
        if start and row.opened_for != start:
            row.opened_for = start
            row.save(update_fields=["opened_for"])
