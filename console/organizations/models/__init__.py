from console.organizations.models.audit import AuditEvent
from console.organizations.models.idempotency import IdempotencyKey
from console.organizations.models.membership import Membership, Role
from console.organizations.models.organization import Organization
from console.organizations.models.token import ApiToken
from console.organizations.models.user import User

__all__ = ["ApiToken", "AuditEvent", "IdempotencyKey", "Membership", "Organization", "Role", "User"]
