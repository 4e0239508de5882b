"""Recurring windows of a claim (C12): created, changed, deleted, each checked under the locks of a resize."""

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import transaction

from claims import window_rows, windows
from claims.core import windows as rule
from claims.core.states import Status
from claims.core.window_rules import WindowAsked, checked
from claims.core.windows import Window
from claims.foreseen import no_longer_offered
from claims.holdings import holding_of
from claims.models import CapacityClaim, ClaimKind, ClaimWindow
from claims.services import edges
from claims.services.claims import claim_locked, claim_settle
from claims.services.quota import quota_check
from console.common import clock
from console.common.errors import FailedPrecondition, InvalidArgument, NotFound
from console.common.words import counted
from console.organizations.actors import Actor
from console.organizations.models import Organization
from console.organizations.services import audit_record

MOST_WINDOWS = 20


def window_create(*, actor: Actor, claim_id: uuid.UUID, asked: WindowAsked) -> ClaimWindow:
    """Give a claim another window, which may open at once.

    Refuses with InvalidArgument (the request), NotFound (the claim), FailedPrecondition (it overlaps another one, the
    pool or the quota is too small, the offering is withdrawn, the claim has twenty).
    """
    actor.require_write()
    organization, now = actor.require_organization(), clock.now()
    window = _meant(asked, now)
    with transaction.atomic():
        claim, rows = _locked(organization, claim_id)
        if len(rows) >= MOST_WINDOWS:
            text = f"{claim.name} has {len(rows)} windows, and cannot have more; delete one first."
            raise FailedPrecondition("TOO_MANY_WINDOWS", str(claim.id), text)
        _require_room(claim, rows, window, None, now)
        row = ClaimWindow(
            claim=claim, created_by_user=actor.user, created_by_token=actor.token, created_at=now, updated_at=now,
            **_columns(window),
        )  # fmt: skip
        row.save()
        _changed(actor, claim, [*rows, row], row, "window.create", now, after=described(row))
    return row


def window_change(*, actor: Actor, claim_id: uuid.UUID, window_id: uuid.UUID, asked: WindowAsked) -> ClaimWindow:
    """Make a window of a claim another one; the same again changes nothing. Refuses as `window_create` does."""
    actor.require_write()
    organization, now = actor.require_organization(), clock.now()
    window = _meant(asked, now)
    with transaction.atomic():
        claim, rows = _locked(organization, claim_id)
        row = window_rows.among(rows, window_id, "ClaimWindow")
        before, was = described(row), windows.window_of(row)
        if was == window:
            return row
        _require_room(claim, [one for one in rows if one.key != row.key], window, was, now)
        moved = _beginnings(was) != _beginnings(window)
        for name, value in _columns(window).items():
            setattr(row, name, value)
        row.opened_for, row.updated_at = None if moved else row.opened_for, now
        row.save()
        _changed(actor, claim, rows, row, "window.change", now, before=before, after=described(row))
    return row


def window_delete(*, actor: Actor, claim_id: uuid.UUID, window_id: uuid.UUID) -> None:
    """Take a window away; what it holds open goes as with a reduction (C7)."""
    actor.require_write()
    organization = actor.require_organization()
    with transaction.atomic():
        claim, rows = _locked(organization, claim_id)
        row = window_rows.among(rows, window_id, "ClaimWindow")
        before = described(row)
        ClaimWindow.objects.filter(key=row.key).delete()
        left = [one for one in rows if one.key != row.key]
        _changed(actor, claim, left, row, "window.delete", clock.now(), before=before)


def described(row: ClaimWindow) -> dict[str, Any]:
    """A window as the audit trail and the API show it."""
    return window_rows.described(row, instanceCount=row.count)


def asked_of(row: ClaimWindow) -> WindowAsked:
    """What would have to be asked for to get this window."""
    return WindowAsked(
        datetime.combine(row.first, row.at), row.duration, row.recurrence, row.time_zone, row.count, row.until
    )


def windows_if(
    claim: CapacityClaim, asked: WindowAsked | None, was: ClaimWindow | None, now: datetime
) -> tuple[list[ClaimWindow], ClaimWindow | None]:
    """The windows that the claim would have, and the new or other one among them: `asked` in the place of `was` (None: as
    another one); `asked` None: without `was`. Nothing is stored."""
    others = [one for one in windows.windows_of(claim) if was is None or one.key != was.key]
    if asked is None:
        return others, None
    row = ClaimWindow(claim=claim, **_columns(_meant(asked, now)))
    return [*others, row], row


def _meant(asked: WindowAsked, now: datetime) -> Window:
    window, violations = checked(asked, now)
    if window is None:
        raise InvalidArgument(violations)
    return window


def _beginnings(window: Window) -> tuple[Any, ...]:
    return window.first, window.at, window.zone, window.recurrence


def _columns(window: Window) -> dict[str, Any]:
    return {**window_rows.columns_of(window), "count": window.count}


def _locked(organization: Organization, claim_id: uuid.UUID) -> tuple[CapacityClaim, list[ClaimWindow]]:
    """The claim and its windows once nobody else can change them."""
    claim = claim_locked(organization, claim_id)
    if claim.status == Status.DELETING:
        raise NotFound("CapacityClaim", claim_id)
    return claim, windows.windows_of(claim)


def _require_room(
    claim: CapacityClaim, others: Iterable[ClaimWindow], window: Window, was: Window | None, now: datetime
) -> None:
    """Refuse a window that overlaps another one of the claim, or is for more than can be had. One that becomes no larger
    asks for nothing."""
    window_rows.require_alone(window, others, now, "WINDOW_OVERLAP")
    peak = max(window.count, rule.largest(map(windows.window_of, others), now))
    if claim.kind == ClaimKind.CUSTOMER:
        quota_check(organization=claim.organization, offering=claim.offering, claim_key=claim.key,
                    promised=max(claim.target, peak))  # fmt: skip
    if was is not None and window.count <= was.count:
        return
    withheld = no_longer_offered(claim, window.count)
    if withheld:
        raise FailedPrecondition("OFFERING_WITHDRAWN", str(claim.offering), withheld)
    pool = claim.offering.pool_wanted
    if claim.kind == ClaimKind.SERVERLESS and window.count > pool:
        text = f"The managed pool of {claim.offering} is to have {counted(pool, 'instance')}; a window of {window.count} never fits."
        raise FailedPrecondition("POOL_TOO_SMALL", str(claim.offering), text)


def _changed(
    actor: Actor,
    claim: CapacityClaim,
    rows: list[ClaimWindow],
    row: ClaimWindow,
    action: str,
    now: datetime,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """What the changed windows make of the locked claim at once, and the first step."""
    edges.claim_turn(claim=claim, held=len(holding_of(claim).counting), rows=rows, lead=edges.lead_of(claim.offering),
                     now=now)  # fmt: skip
    claim.updated_at = now
    claim.save(update_fields=["updated_at"])
    for each in (before, after):
        if each is not None:
            each["window"] = str(row.id)
    audit_record(actor=actor, action=action, obj_type="CapacityClaim", obj_id=str(claim.id), obj_name=claim.name,
                 before=before, after=after, organization=claim.organization)  # fmt: skip
    claim_settle(actor=actor, claim=claim, now=now)
