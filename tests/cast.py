"""The cast of every view and API test: two organizations, and everyone who may come to their door."""

from dataclasses import dataclass, replace
from datetime import timedelta
from secrets import token_urlsafe
from typing import Any
from urllib.parse import unquote

from django.contrib.auth.hashers import make_password
from django.test import Client

from console.common import clock
from console.organizations.actors import Actor, system
from console.organizations.api.authentication import token_actor
from console.organizations.models import ApiToken, Membership, Organization, Role, User
from console.organizations.services import SHOWN_CHARACTERS, TOKEN_PREFIX, token_hash
from tests.contract import conforms

SETUP = system("the tests' set-up")
PASSWORD = "correct horse battery staple"
STAFF = "platform"


@dataclass
class Member:
    """A person with a role, and a token of the same role."""

    user: User
    secret: str
    actor: Actor

    def actor_signed_in(self) -> Actor:
        """As who the person acts in the console, where platform staff is staff: a token never is."""
        return replace(self.actor, name=self.user.username, user=self.user, token=None, is_platform=self.user.is_staff)

    def api(self) -> "ApiClient":
        return ApiClient(self.secret)

    def browser(self) -> Client:
        client = Client()
        client.force_login(self.user, backend="django.contrib.auth.backends.ModelBackend")
        return client


class ApiClient(Client):
    """Speaks JSON with a bearer token; `enforce_csrf_checks` shows that tokens need none. Every answer is held against the
    description of the API."""

    def __init__(self, secret: str | None) -> None:
        headers = {"authorization": f"Bearer {secret}"} if secret else {}
        super().__init__(enforce_csrf_checks=True, headers=headers)

    def request(self, **request: Any) -> Any:
        answer = super().request(**request)
        conforms(request["REQUEST_METHOD"], unquote(request["PATH_INFO"]), answer)
        return answer

    def send(self, method: str, path: str, body: Any = None, **extra: Any) -> Any:
        send = getattr(self, method.lower())
        if method == "GET":
            return send(path, **extra)
        return send(path, data=body, content_type="application/json", **extra)


@dataclass
class Cast:
    organization: Organization
    other: Organization
    admin: Member
    viewer: Member
    billing: Member
    outsider: Member
    platform: Member


def make_cast() -> Cast:
    """Stored as the services would, in one statement a table: every test begins with it."""
    ours, theirs = Organization.objects.bulk_create(
        [Organization(id="cw12ab", slug="ours", name="Ours"), Organization(id="cw34cd", slug="theirs", name="Theirs")]
    )
    admin, viewer, billing, outsider, platform = make_members(
        (ours, Role.ADMIN, "admin"),
        (ours, Role.VIEWER, "viewer"),
        (ours, Role.BILLING, "billing"),
        (theirs, Role.ADMIN, "outsider"),
        (ours, Role.ADMIN, STAFF),
    )
    return Cast(ours, theirs, admin, viewer, billing, outsider, platform)


def make_members(*who: tuple[Organization, Role, str]) -> list[Member]:
    """People in organizations, and a token of each; platform staff is a member of none."""
    password = make_password(PASSWORD)
    users = User.objects.bulk_create(
        User(username=name, password=password, is_staff=name == STAFF, is_superuser=name == STAFF) for _, _, name in who
    )
    Membership.objects.bulk_create(
        Membership(user=user, organization=organization, role=role)
        for user, (organization, role, name) in zip(users, who, strict=True)
        if name != STAFF
    )
    secrets = [f"{TOKEN_PREFIX}{name}-{token_urlsafe(32)}" for _, _, name in who]
    tokens = ApiToken.objects.bulk_create(
        ApiToken(organization=organization, name=name, role=role, prefix=secret[:SHOWN_CHARACTERS],
                 sha256=token_hash(secret), expires_at=clock.now() + timedelta(hours=1))
        for secret, (organization, role, name) in zip(secrets, who, strict=True)
    )  # fmt: skip
    return [
        Member(user=user, secret=secret, actor=token_actor(token))
        for user, secret, token in zip(users, secrets, tokens, strict=True)
    ]
