"""Which organization a signed-in person looks at, and as whom they act there."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from console.organizations.actors import Actor
from console.organizations.models import Organization, Role, User
from console.organizations.selectors import membership_of, organizations_of

SESSION_KEY = "organization"


class OrganizationMiddleware:
    """Sets `request.organization` (or None) and `request.actor`, read only when a page asks for them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.actor = SimpleLazyObject(lambda: actor_of(request))  # type: ignore[attr-defined]
        request.organization = SimpleLazyObject(lambda: request.actor.organization)  # type: ignore[attr-defined]
        return self.get_response(request)


def actor_of(request: HttpRequest) -> Actor:
    """The signed-in person in the organization chosen in the session; the first of theirs when none is chosen."""
    user = request.user
    request_id = getattr(request, "request_id", "")
    if not isinstance(user, User) or not user.is_active:
        return Actor(name="anonymous", request_id=request_id)
    organization = chosen_organization(user, request.session.get(SESSION_KEY))
    membership = membership_of(user, organization) if organization else None
    return Actor(
        name=user.username,
        organization=organization,
        role=Role(membership.role) if membership else None,
        user=user,
        is_platform=user.is_staff,
        request_id=request_id,
    )


def chosen_organization(user: User, key: int | None) -> Organization | None:
    available = organizations_of(user)
    chosen = available.filter(key=key).first() if key is not None else None
    return chosen or available.first()
