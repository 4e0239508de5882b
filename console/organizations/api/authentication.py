"""Who calls the API: a bearer token, or (same-origin pages only) the signed-in person."""

from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.request import Request

from console.common.errors import Unauthenticated
from console.organizations.actors import Actor
from console.organizations.models import ApiToken, Role
from console.organizations.rates import rate_take
from console.organizations.selectors import token_by_secret

HOW = "Send `Authorization: Bearer TOKEN` with a token of `manage.py createtoken`."


def token_actor(token: ApiToken, request_id: str = "") -> Actor:
    return Actor(
        name=f"token {token.name}",
        organization=token.organization,
        role=Role(token.role),
        token=token,
        request_id=request_id,
    )


def bearer_token(header: str) -> ApiToken:
    """The token of an `Authorization` header, with this call counted: Unauthenticated, or ResourceExhausted when it calls
    too often. The door of every protocol."""
    scheme, _, secret = header.partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Unauthenticated(f"The Authorization header is not a bearer token. {HOW}")
    token = token_by_secret(secret.strip())
    if token is None:
        raise Unauthenticated(f"The token is unknown, expired or revoked. {HOW}")
    rate_take(token.id)
    return token


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer <secret>`; `request.user` is then the Actor, `request.auth` the token."""

    def authenticate(self, request: Request) -> tuple[Actor, ApiToken] | None:
        header = request.headers.get("Authorization", "")
        if not header:
            return None
        token = bearer_token(header)
        return token_actor(token, getattr(request, "request_id", "")), token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class MemberAuthentication(SessionAuthentication):
    """A signed-in person, for the console's own pages; unsafe methods need the CSRF token."""

    def authenticate(self, request: Request) -> tuple[Actor, None] | None:
        actor: Actor = request._request.actor  # type: ignore[attr-defined]
        if actor.user is None:
            return None
        self.enforce_csrf(request)
        return actor, None
