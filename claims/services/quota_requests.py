"""Requests for a higher quota: asked for by the organization's admins, decided by the platform's staff."""

from datetime import datetime

from django.db import IntegrityError, transaction

from claims import locks
from claims.models import Offering, Quota, QuotaRequest, RequestState
from claims.quotas import quota_path
from claims.services.quota import MOST, quota_set
from console.common.errors import FailedPrecondition, FieldViolation, InvalidArgument, PermissionDenied
from console.notifications.models import Kind
from console.notifications.services import notify
from console.organizations.actors import Actor
from console.organizations.models import Organization
from console.organizations.services import audit_record, require_admin_of

LONGEST = 1000
PENDING: dict[str, object] = {"state": RequestState.PENDING}


def quota_request_create(
    *, actor: Actor, organization: Organization, offering: Offering, wanted: int, reason: str, now: datetime
) -> QuotaRequest:
    """Ask for a limit of `wanted` instances. One request of a quota waits at a time."""
    require_admin_of(actor, organization)
    limit = limit_of(organization, offering)
    wrong = []
    if not limit < wanted <= MOST:
        wrong.append(FieldViolation("wanted", f"must be more than the present limit of {limit} and at most {MOST}"))
    if not reason.strip() or len(reason) > LONGEST or "\0" in reason:
        wrong.append(FieldViolation("reason", f"must have 1 to {LONGEST} characters"))
    if wrong:
        raise InvalidArgument(wrong)
    if offering.withdrawn_at is not None:
        raise FailedPrecondition("OFFERING_WITHDRAWN", str(offering), f"{offering} is not offered any more.")
    try:
        with transaction.atomic():
            made = QuotaRequest.objects.create(
                organization=organization, offering=offering, wanted=wanted, limit_before=limit,
                reason=reason.strip(), created_at=now, created_by=actor.name,
            )  # fmt: skip
            recorded(actor, "quota.request", made, {"limit": limit}, {"limit": wanted, "reason": made.reason})
    except IntegrityError:
        text = f"A request for {offering} is waiting already; withdraw it to ask for something else."
        raise FailedPrecondition("REQUEST_PENDING", place(offering), text) from None
    return made


def quota_request_withdraw(*, actor: Actor, request: QuotaRequest, now: datetime) -> QuotaRequest:
    """Take a request back that waits; again changes nothing. One that was decided stays decided."""
    require_admin_of(actor, request.organization)
    with transaction.atomic():
        found = locked(request)
        if found.state == RequestState.WITHDRAWN:
            return found
        require_pending(found)
        decided(found, RequestState.WITHDRAWN, actor, "", None, now)
        recorded(actor, "quota.recall", found, PENDING, {"state": found.state})
    return found


def quota_request_approve(
    *, actor: Actor, request: QuotaRequest, granted: int, comment: str = "", now: datetime
) -> QuotaRequest:
    """Raise the limit to `granted`, at most what was asked for, in the transaction of the decision. Refused where the
    limit is that high already: an approval never lowers it."""
    require_platform(actor)
    if not 1 <= granted <= request.wanted:
        raise InvalidArgument.of("granted", f"must be from 1 to {request.wanted}, which is what was asked for")
    require_comment(comment, needed=False)
    with transaction.atomic():
        found = locked(request)
        require_pending(found)
        row = locks.quota_lock(found.organization, found.offering)
        limit, reserved, other = (row.limit, row.reserved, row.other_usage) if row else (0, 0, 0)
        if granted <= limit:
            text = f"The limit of {found.offering} is {limit} already; grant more, or refuse the request."
            raise FailedPrecondition("LIMIT_REACHED", place(found.offering), text)
        quota_set(actor=actor, organization=found.organization, offering=found.offering, limit=granted,
                  reserved=reserved, other_usage=other)  # fmt: skip
        state = RequestState.APPROVED if granted == found.wanted else RequestState.PARTLY
        decided(found, state, actor, comment, granted, now)
        recorded(actor, "quota.approve", found, PENDING | {"limit": limit},
                 {"state": found.state, "limit": granted, "comment": comment.strip()})  # fmt: skip
        told(found, now)
    return found


def quota_request_refuse(*, actor: Actor, request: QuotaRequest, comment: str, now: datetime) -> QuotaRequest:
    """Leave the quota as it is, and say why."""
    require_platform(actor)
    require_comment(comment, needed=True)
    with transaction.atomic():
        found = locked(request)
        require_pending(found)
        decided(found, RequestState.REFUSED, actor, comment, None, now)
        recorded(actor, "quota.refuse", found, PENDING, {"state": found.state, "comment": comment.strip()})
        told(found, now)
    return found


def limit_of(organization: Organization, offering: Offering) -> int:
    """The present limit; no row means 0 (C3)."""
    rows = Quota.objects.filter(organization=organization, offering=offering)
    return rows.values_list("limit", flat=True).first() or 0


def locked(request: QuotaRequest) -> QuotaRequest:
    found = QuotaRequest.objects.select_for_update(no_key=True, of=("self",))
    return found.select_related("organization", "offering__zone", "offering__instance_type").get(pk=request.pk)


def decided(
    request: QuotaRequest, state: RequestState, actor: Actor, comment: str, granted: int | None, now: datetime
) -> None:
    request.state, request.decided_by, request.decided_at = state, actor.name, now
    request.comment, request.granted = comment.strip(), granted
    request.save(update_fields=["state", "decided_by", "decided_at", "comment", "granted"])


def told(request: QuotaRequest, now: datetime) -> None:
    """The organization hears of the decision."""
    what = {
        RequestState.APPROVED: f"approved: the limit is {request.granted}",
        RequestState.PARTLY: f"approved in part: the limit is {request.granted} of {request.wanted} asked for",
        RequestState.REFUSED: f"refused: the limit stays, {request.wanted} were asked for",
    }[RequestState(request.state)]
    notify(
        organization=request.organization, kind=Kind.QUOTA_REQUEST, key=f"quota-request:{request.pk}",
        subject=f"Quota of {request.offering}: request {RequestState(request.state).label.lower()}",
        text=f"The request for {request.offering} is {what}." + (f" {request.comment}" if request.comment else ""),
        path=quota_path(request.offering), now=now,
        data={"request": str(request.pk), "state": request.state, "wanted": request.wanted, "granted": request.granted,
              "zone": request.offering.zone.name, "instanceId": request.offering.instance_type.name},
    )  # fmt: skip


def require_pending(request: QuotaRequest) -> None:
    if request.state != RequestState.PENDING:
        text = f"The request was decided before: {RequestState(request.state).label.lower()}."
        raise FailedPrecondition("REQUEST_DECIDED", f"quotaRequests/{request.pk}", text)


def require_platform(actor: Actor) -> None:
    if not actor.is_platform:
        raise PermissionDenied("Only the platform's staff decide about quota.")


def require_comment(comment: str, *, needed: bool) -> None:
    if (needed and not comment.strip()) or len(comment) > LONGEST or "\0" in comment:
        raise InvalidArgument.of("comment", f"must have {1 if needed else 0} to {LONGEST} characters")


def place(offering: Offering) -> str:
    return f"{offering.zone}/{offering.instance_type}"


def recorded(
    actor: Actor, action: str, request: QuotaRequest, before: dict[str, object] | None, after: dict[str, object] | None
) -> None:
    audit_record(actor=actor, action=action, obj_type="QuotaRequest", obj_id=str(request.pk),
                 obj_name=str(request.offering), before=before, after=after, organization=request.organization)  # fmt: skip
