"""Writes about organizations: tokens, memberships, audit."""

import hashlib
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from console.common.errors import FailedPrecondition, FieldViolation, InvalidArgument, NotFound
from console.common.rows import rows_insert
from console.organizations import locks
from console.organizations.actors import Actor
from console.organizations.models import (
    ApiToken,
    AuditEvent,
    Membership,
    Organization,
    Role,
    User,
)

# How long a token may be valid, by the names of the API and the console; None: until it is revoked.
LIFETIMES: dict[str, timedelta | None] = {
    "1h": timedelta(hours=1),
    "8h": timedelta(hours=8),
    "30d": timedelta(days=30),
    "90d": timedelta(days=90),
    "1y": timedelta(days=365),
    "never": None,
}
LONGEST_COMMENT = 500
TOKEN_PREFIX = "hr_"  # noqa: S105 - what every token begins with, no secret
SHOWN_CHARACTERS = 9


def audit_record(
    *,
    actor: Actor,
    action: str,
    obj_type: str,
    obj_id: str,
    obj_name: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    organization: Organization | None = None,
) -> None:
    """Write who changed what. Call it inside the transaction of the change, so that neither exists alone. `before` is None
    for what begins, `after` for what ends; a change has both."""
    event = audit_event(actor=actor, action=action, obj_type=obj_type, obj_id=obj_id, obj_name=obj_name, before=before,
                        after=after, organization=organization)  # fmt: skip
    rows_insert([event])


def audit_event(
    *,
    actor: Actor,
    action: str,
    obj_type: str,
    obj_id: str,
    obj_name: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    organization: Organization | None = None,
) -> AuditEvent:
    """Who changed what, for the caller to store in the transaction of the change."""
    return AuditEvent(
        organization=organization or actor.organization,
        user=actor.user,
        actor=actor.name,
        action=action,
        object_type=obj_type,
        object_id=obj_id,
        object_name=obj_name,
        before=before,
        after=after,
        request_id=actor.request_id,
    )


def organization_create(*, actor: Actor, id: str, slug: str, name: str) -> Organization:
    with transaction.atomic():
        organization = Organization(id=id, slug=slug, name=name)
        organization.full_clean()
        organization.save()
        audit_record(actor=actor, action="organization.create", obj_type="Organization", obj_id=id, obj_name=slug,
                     after={"id": id, "slug": slug, "name": name}, organization=organization)  # fmt: skip
    return organization


def require_admin_of(actor: Actor, organization: Organization) -> None:
    """For admins of this very organization and for the platform; another organization is not found."""
    actor.require_write()
    if not actor.is_platform and actor.organization != organization:
        raise NotFound("Organization", organization.id)


def membership_set(*, actor: Actor, user: User, organization: Organization, role: Role) -> Membership:
    """Give `user` the role in the organization; repeating it changes nothing. The last admin stays one."""
    require_admin_of(actor, organization)
    with transaction.atomic():
        locks.members_lock(organization)
        existing = Membership.objects.filter(user=user, organization=organization).first()
        before = {"role": existing.role} if existing else None
        if existing and existing.role == role:
            return existing
        if existing:
            _keep_an_admin(existing)
        membership, _ = Membership.objects.update_or_create(
            user=user, organization=organization, defaults={"role": role}
        )
        audit_record(actor=actor, action="member.set", obj_type="Membership", obj_id=str(membership.pk),
                     obj_name=user.username, before=before, after={"role": role}, organization=organization)  # fmt: skip
    return membership


def member_add(*, actor: Actor, organization: Organization, username: str, role: Role) -> Membership:
    """Make somebody who can sign in a member. One who is a member already keeps the role they have."""
    require_admin_of(actor, organization)
    user = User.objects.filter(username=username, is_active=True).first()
    if user is None:
        raise InvalidArgument.of("username", f"nobody signs in as {username!r}; the platform's staff makes accounts")
    if Membership.objects.filter(user=user, organization=organization).exists():
        raise InvalidArgument.of("username", f"{username} is a member already; change the role in the list")
    return membership_set(actor=actor, user=user, organization=organization, role=role)


def membership_remove(*, actor: Actor, membership: Membership) -> None:
    """Take somebody out of the organization; the last admin stays. Removing again changes nothing."""
    organization = membership.organization
    require_admin_of(actor, organization)
    with transaction.atomic():
        locks.members_lock(organization)
        found = Membership.objects.select_related("user").filter(pk=membership.pk).first()
        if found is None:
            return
        _keep_an_admin(found)
        found.delete()
        audit_record(actor=actor, action="member.remove", obj_type="Membership", obj_id=str(membership.pk),
                     obj_name=found.user.username, before={"role": found.role}, organization=organization)  # fmt: skip


def _keep_an_admin(going: Membership) -> None:
    """Refuse when nobody else who can sign in would be admin; the members' lock is held."""
    admins = Membership.objects.filter(organization=going.organization_id, role=Role.ADMIN, user__is_active=True)
    if going.role == Role.ADMIN and not admins.exclude(pk=going.pk).exists():
        raise FailedPrecondition(
            "LAST_ADMIN", f"organizations/{going.organization_id}",
            f"{going.user.username} is the last admin of the organization; make somebody else admin first.",
        )  # fmt: skip


def token_create(
    *,
    actor: Actor,
    organization: Organization,
    name: str,
    role: Role,
    now: datetime,
    lifetime: timedelta | None = None,
    comment: str = "",
) -> tuple[ApiToken, str]:
    """A new token and its secret. The secret is returned this once; only its SHA-256 is stored."""
    require_admin_of(actor, organization)
    violations = []
    if not name.strip() or len(name) > 100 or not name.isprintable():
        violations.append(FieldViolation("name", "must have 1 to 100 printable characters"))
    if len(comment) > LONGEST_COMMENT or "\0" in comment:
        violations.append(FieldViolation("comment", f"must have at most {LONGEST_COMMENT} characters"))
    if lifetime is not None and lifetime <= timedelta(0):
        violations.append(FieldViolation("expires", "must lie in the future"))
    if violations:
        raise InvalidArgument(violations)
    secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
    with transaction.atomic():
        token = ApiToken.objects.create(
            organization=organization,
            name=name,
            comment=comment,
            role=role,
            prefix=secret[:SHOWN_CHARACTERS],
            sha256=token_hash(secret),
            created_by=actor.user,
            expires_at=now + lifetime if lifetime else None,
        )
        audit_record(actor=actor, action="token.create", obj_type="ApiToken", obj_id=str(token.id), obj_name=name,
                     after=_described(token), organization=organization)  # fmt: skip
    return token, secret


def token_revoke(*, actor: Actor, token: ApiToken, now: datetime) -> None:
    """End a token; revoking it again changes nothing."""
    require_admin_of(actor, token.organization)
    with transaction.atomic():
        if not ApiToken.objects.filter(pk=token.pk, revoked_at__isnull=True).update(revoked_at=now):
            return
        audit_record(actor=actor, action="token.revoke", obj_type="ApiToken", obj_id=str(token.pk),
                     obj_name=token.name, before=_described(token), organization=token.organization)  # fmt: skip


def _described(token: ApiToken) -> dict[str, Any]:
    return {"role": token.role, "prefix": token.prefix, "comment": token.comment,
            "expires_at": token.expires_at.isoformat() if token.expires_at else None}  # fmt: skip


def token_hash(secret: str) -> str:
    """SHA-256 is enough here: the secret is 256 random bits, so there is nothing to guess from the hash."""
    return hashlib.sha256(secret.encode()).hexdigest()
