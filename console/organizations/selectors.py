import uuid
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Count, Q, QuerySet

from console.common.errors import NotFound
from console.common.rows import columns, row_read
from console.organizations.actors import Actor
from console.organizations.models import ApiToken, AuditEvent, Membership, Organization, User
from console.organizations.services import token_hash

LAST_USE_STEP = timedelta(minutes=1)
# Written out, since every call of the API begins with it.
_BY_HASH = """
    SELECT clock_timestamp(), {columns} FROM organizations_apitoken t
      JOIN organizations_organization o ON o.key = t.organization_id
    WHERE t.sha256 = %s"""
FOR_ADMINS = ("ApiToken", "Membership", "Channel")  # what only admins may read of (DESIGN section 4)


def organization_named(name: str) -> Organization:
    """The organization whose id or slug is `name`; NotFound otherwise."""
    found = Organization.objects.filter(Q(id=name) | Q(slug=name)).first()
    if found is None:
        raise NotFound("Organization", name)
    return found


def organizations_of(user: User) -> QuerySet[Organization]:
    """What the user may switch to: all for platform staff, else those it is a member of."""
    everything = Organization.objects.all()
    return everything if user.is_staff else everything.filter(memberships__user=user)


def membership_of(user: User, organization: Organization) -> Membership | None:
    return Membership.objects.filter(user=user, organization=organization).first()


def members_of(organization: Organization, now: datetime) -> QuerySet[Membership]:
    """Who belongs to it, each with `live_tokens`: the tokens they made here that are still valid."""
    live = Q(user__apitoken__organization=organization) & _live("user__apitoken__", now)
    found = Membership.objects.filter(organization=organization).select_related("user", "organization")
    return found.annotate(live_tokens=Count("user__apitoken", filter=live)).order_by("user__username")


def member_get(organization: Organization, id: int, now: datetime) -> Membership:
    """One membership; NotFound also for another organization's."""
    member = members_of(organization, now).filter(id=id).first()
    if member is None:
        raise NotFound("Membership", id)
    return member


def tokens_of(organization: Organization, now: datetime, *, live: bool | None) -> QuerySet[ApiToken]:
    """The tokens that are valid, those that have ended, or (None) all; newest first."""
    found = ApiToken.objects.filter(organization=organization).select_related("created_by", "organization")
    valid = _live("", now)
    if live is not None:
        found = found.filter(valid) if live else found.exclude(valid)
    return found.order_by("-created_at", "id")


def token_get(organization: Organization, id: uuid.UUID) -> ApiToken:
    """One token; NotFound also for another organization's."""
    found = ApiToken.objects.filter(organization=organization, id=id)
    token = found.select_related("organization", "created_by").first()
    if token is None:
        raise NotFound("ApiToken", id)
    return token


def _live(prefix: str, now: datetime) -> Q:
    no_end = Q(**{prefix + "expires_at__isnull": True}) | Q(**{prefix + "expires_at__gt": now})
    return no_end & Q(**{prefix + "revoked_at__isnull": True})


def audit_of(actor: Actor) -> QuerySet[AuditEvent]:
    """What the actor may read of the organization's audit trail, newest first; not the platform's own events."""
    found = AuditEvent.objects.filter(organization=actor.require_organization()).order_by("-id")
    return found if actor.can_write else found.exclude(object_type__in=FOR_ADMINS)


def token_by_secret(secret: str, now: datetime | None = None) -> ApiToken | None:
    """The token that is valid now with this secret; expired and revoked ones are None. Notes the use, at most once a
    minute. Whoever does not know the time is told it with the token: every call of an API asks this."""
    with connection.cursor() as cursor:
        cursor.execute(_BY_HASH.format(columns=columns(t=ApiToken, o=Organization)), [token_hash(secret)])
        row = cursor.fetchone()
    if row is None:
        return None
    at, *values = row
    now = now or at
    token: ApiToken
    token, token.organization = row_read(values, ApiToken, Organization)
    if token.revoked_at or (token.expires_at and token.expires_at <= now):
        return None
    if token.last_used_at is None or now - token.last_used_at >= LAST_USE_STEP:
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return token
