from datetime import datetime, timedelta

from django.db.models import Q, QuerySet

from console.common.errors import NotFound
from console.organizations.models import ApiToken, Membership, Organization, User
from console.organizations.services import token_hash

LAST_USE_STEP = timedelta(minutes=1)


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


def token_by_secret(secret: str, now: datetime) -> ApiToken | None:
    """The valid token with this secret; expired and revoked ones are None. Notes the use, at most once a minute."""
    token = ApiToken.objects.select_related("organization").filter(sha256=token_hash(secret)).first()
    if token is None or token.revoked_at or (token.expires_at and token.expires_at <= now):
        return None
    if token.last_used_at is None or now - token.last_used_at >= LAST_USE_STEP:
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return token
