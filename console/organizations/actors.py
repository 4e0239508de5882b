"""Who acts: handed to every service, so that permissions and audit speak of the same person, token or loop."""

from dataclasses import dataclass

from console.common.errors import NotFound, PermissionDenied
from console.organizations.models import ApiToken, Organization, Role, User


@dataclass(frozen=True, slots=True)
class Actor:
    """A caller in one organization. `organization` is None only for platform staff and for the loops."""

    name: str
    organization: Organization | None = None
    role: Role | None = None
    user: User | None = None
    token: ApiToken | None = None
    is_platform: bool = False
    request_id: str = ""

    @property
    def can_write(self) -> bool:
        return self.is_platform or self.role == Role.ADMIN

    @property
    def sees_money(self) -> bool:
        return self.is_platform or self.role in (Role.ADMIN, Role.BILLING)

    def require_write(self) -> None:
        if not self.can_write:
            raise PermissionDenied(f"This needs the role admin; {self.name} has {self.role or 'none'}.")

    def require_money(self) -> None:
        if not self.sees_money:
            raise PermissionDenied(f"This needs the role billing or admin; {self.name} has {self.role or 'none'}.")

    def require_organization(self) -> Organization:
        if self.organization is None:
            raise NotFound("Organization", "of this caller")
        return self.organization


def system(name: str) -> Actor:
    """A loop or a command that acts on its own account."""
    return Actor(name=name, is_platform=True)
