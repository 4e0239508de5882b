"""`/api/v1/tokens`: what programs sign in with. For admins."""

from datetime import datetime
from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from console.common import clock
from console.common.errors import InvalidArgument
from console.organizations import locks, services
from console.organizations.api.etags import Tagged
from console.organizations.api.fields import EnumField, TextField, checked, rfc3339
from console.organizations.api.idempotency import idempotent
from console.organizations.api.ids import id_in_path
from console.organizations.api.listing import Filter, Listing, chosen
from console.organizations.api.permissions import ForAdmins, request_actor
from console.organizations.api.schema import Page, Shape
from console.organizations.models import ApiToken, Role
from console.organizations.selectors import token_get, tokens_of
from console.organizations.services import LIFETIMES, LONGEST_COMMENT

STATES = ("valid", "ended", "all")
STATE = OpenApiParameter("state", enum=list(STATES), default="valid", description="`ended`: expired or revoked.")


class TokenShape(Shape):
    id = serializers.UUIDField()
    name = serializers.CharField(help_text="The audit trail names it `token NAME`.")
    comment = serializers.CharField(allow_blank=True)
    role = serializers.ChoiceField(Role.values)
    prefix = serializers.CharField(help_text="What the secret begins with.")
    valid = serializers.BooleanField()
    createdAt = serializers.DateTimeField()
    createdBy = serializers.CharField(allow_null=True, help_text="Sign-in name; null: a program, or the command line.")
    expiresAt = serializers.DateTimeField(allow_null=True, help_text="Null: never.")
    revokedAt = serializers.DateTimeField(allow_null=True)
    lastUsedAt = serializers.DateTimeField(allow_null=True, help_text="To the minute.")


class TokenPage(Page):
    items = TokenShape(many=True)


class TokenMadeShape(TokenShape):
    secret = serializers.CharField(
        allow_null=True, help_text="`hr_...`; shown this once, and null when the answer is repeated."
    )


class TokenSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """A new token."""

    name = TextField(max_length=100, help_text="What uses it; the audit trail has it.")
    role = EnumField(Role.values, help_text="The least that its user can work with.")
    expiresAfter = EnumField(list(LIFETIMES), source="lifetime", help_text="How long it is valid.")
    comment = TextField(max_length=LONGEST_COMMENT, required=False, default="")


TOKENS = Listing(
    {"createdAt": ("pk",), "name": ("name", "pk")}, "-createdAt",  # ids grow with time
    {"role": Filter("role", "Only with this role.", Role.values)},
)  # fmt: skip


class TokensView(APIView):
    permission_classes = [ForAdmins]

    @extend_schema(responses=TokenPage, operation_id="ListTokens", parameters=[STATE, *TOKENS.parameters])
    def get(self, request: Request) -> Response:
        """The organization's tokens, without their secrets, which nobody has. For the role admin."""
        organization, now = request_actor(request).require_organization(), clock.now()
        live = {"valid": True, "ended": False, "all": None}[chosen(request, "state", STATES, "valid")]
        return Response(TOKENS.stored(request, tokens_of(organization, now, live=live), lambda one: token_to(one, now)))

    @idempotent("secret")
    @extend_schema(
        request=TokenSerializer, responses={201: TokenMadeShape}, operation_id="CreateToken",
        examples=[OpenApiExample("For a pipeline that may only look, for thirty days", request_only=True, value={
            "name": "ci", "role": "viewer", "expiresAfter": "30d", "comment": "Nightly report; ask the platform team"})],
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """A new token of the organization. Its secret is in this answer and nowhere else. For the role admin."""
        actor, now, data = request_actor(request), clock.now(), checked(TokenSerializer(data=request.data))
        wrong = {"role": Role.values, "lifetime": list(LIFETIMES)}
        for name, known in wrong.items():
            if data[name] not in known:
                field = "expires_after" if name == "lifetime" else name
                raise InvalidArgument.of(field, f"must be one of {', '.join(known)}; it is {data[name]!r}")
        token, secret = services.token_create(
            actor=actor, organization=actor.require_organization(), name=data["name"], role=Role(data["role"]), now=now,
            lifetime=LIFETIMES[data["lifetime"]], comment=data["comment"],
        )  # fmt: skip
        token.refresh_from_db()
        return Response(token_to(token, now) | {"secret": secret}, status=201)


def token_in(request: Request, id: str) -> ApiToken:
    return token_get(request_actor(request).require_organization(), id_in_path("ApiToken", id))


TOKEN = Tagged(token_in, lambda one: [one.pk, one.revoked_at], lambda request, one: locks.token_lock(one))


class TokenView(APIView):
    permission_classes = [ForAdmins]

    @TOKEN.shown
    @extend_schema(responses=TokenShape, operation_id="GetToken")
    def get(self, request: Request, id: str) -> Response:
        """One token, also when it has ended."""
        return Response(token_to(token_in(request, id), clock.now()))

    @TOKEN.edited
    @extend_schema(responses=TokenShape, operation_id="RevokeToken")
    def delete(self, request: Request, id: str) -> Response:
        """Revoke it: whoever sends it is refused from now on. It stays on the list of those that have ended; revoking it
        again changes nothing."""
        now = clock.now()
        services.token_revoke(actor=request_actor(request), token=token_in(request, id), now=now)
        return Response(token_to(token_in(request, id), now))


def token_to(one: ApiToken, now: datetime) -> dict[str, Any]:
    ended = one.revoked_at is not None or (one.expires_at is not None and one.expires_at <= now)
    return {
        "id": str(one.id), "name": one.name, "comment": one.comment, "role": one.role, "prefix": one.prefix,
        "valid": not ended, "createdAt": rfc3339(one.created_at),
        "createdBy": one.created_by.username if one.created_by else None, "expiresAt": rfc3339(one.expires_at),
        "revokedAt": rfc3339(one.revoked_at), "lastUsedAt": rfc3339(one.last_used_at),
    }  # fmt: skip
