"""The cast of every view and API test: two organizations, and everyone who may come to their door."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

from django.test import Client

from console.common import clock
from console.organizations.actors import Actor, system
from console.organizations.api.authentication import token_actor
from console.organizations.models import Organization, Role, User
from console.organizations.services import membership_set, organization_create, token_create
from tests.contract import conforms

SETUP = system("the tests' set-up")
PASSWORD = "correct horse battery staple"


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


def make_member(organization: Organization, role: Role, name: str, *, staff: bool = False) -> Member:
    user = User.objects.create_user(name, password=PASSWORD, is_staff=staff, is_superuser=staff)
    if not staff:
        membership_set(actor=SETUP, user=user, organization=organization, role=role)
    token, secret = token_create(
        actor=SETUP,
        organization=organization,
        name=name,
        role=role,
        now=clock.now(),
        lifetime=timedelta(hours=1),
    )
    return Member(user=user, secret=secret, actor=token_actor(token))


def make_cast() -> Cast:
    ours = organization_create(actor=SETUP, id="cw12ab", slug="ours", name="Ours")
    theirs = organization_create(actor=SETUP, id="cw34cd", slug="theirs", name="Theirs")
    return Cast(
        organization=ours,
        other=theirs,
        admin=make_member(ours, Role.ADMIN, "admin"),
        viewer=make_member(ours, Role.VIEWER, "viewer"),
        billing=make_member(ours, Role.BILLING, "billing"),
        outsider=make_member(theirs, Role.ADMIN, "outsider"),
        platform=make_member(ours, Role.ADMIN, "platform", staff=True),
    )
