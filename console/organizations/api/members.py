"""`/api/v1/members`: who belongs to the organization, and as what. For admins; the last admin stays one."""

from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from console.common import clock
from console.common.errors import InvalidArgument, NotFound
from console.organizations import locks, services
from console.organizations.api.etags import Tagged
from console.organizations.api.fields import EnumField, TextField, checked
from console.organizations.api.idempotency import idempotent
from console.organizations.api.listing import Filter, Listing
from console.organizations.api.permissions import ForAdmins, request_actor
from console.organizations.api.schema import Page, Shape
from console.organizations.models import Membership, Role
from console.organizations.selectors import members_of


class MemberShape(Shape):
    username = serializers.CharField(help_text="Sign-in name.")
    role = serializers.ChoiceField(Role.values)
    canSignIn = serializers.BooleanField(help_text="Whether the account is open.")
    liveTokens = serializers.IntegerField(help_text="Valid tokens of the organization that they made.")


class MemberPage(Page):
    items = MemberShape(many=True)


class MemberSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """Somebody who can sign in already, and what they may do here."""

    username = TextField(max_length=150)
    role = EnumField(Role.values)


class RoleSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """Another role."""

    role = EnumField(Role.values)


def member_in(request: Request, name: str) -> Membership:
    """The member of the address; NotFound also for somebody of another organization."""
    members = members_of(request_actor(request).require_organization(), clock.now())
    try:
        return members.get(user__username=name) if name.isprintable() else refuse(name)
    except ObjectDoesNotExist:
        return refuse(name)


def refuse(name: str) -> Membership:
    raise NotFound("Membership", name)


def role_in(data: dict[str, Any]) -> Role:
    if data["role"] not in Role.values:
        raise InvalidArgument.of("role", f"must be one of {', '.join(Role.values)}; it is {data['role']!r}")
    return Role(data["role"])


MEMBERS = Listing(
    {"username": ("user__username",), "role": ("role", "user__username")}, "username",
    {"role": Filter("role", "Only with this role.", Role.values)},
)  # fmt: skip
MEMBER = Tagged(member_in, lambda one: [one.pk, one.role], lambda request, one: locks.members_lock(one.organization))


class MembersView(APIView):
    permission_classes = [ForAdmins]

    @extend_schema(responses=MemberPage, operation_id="ListMembers", parameters=MEMBERS.parameters)
    def get(self, request: Request) -> Response:
        """Who belongs to the organization. For the role admin."""
        found = members_of(request_actor(request).require_organization(), clock.now())
        return Response(MEMBERS.stored(request, found, member_to))

    @idempotent()
    @extend_schema(
        request=MemberSerializer, responses={201: MemberShape}, operation_id="AddMember",
        examples=[OpenApiExample("Somebody who reads", request_only=True, value={"username": "ada", "role": "viewer"})],
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """Make somebody who can sign in a member. Accounts are made by the platform's staff. For the role admin."""
        actor, data = request_actor(request), checked(MemberSerializer(data=request.data))
        made = services.member_add(
            actor=actor, organization=actor.require_organization(), username=data["username"], role=role_in(data)
        )
        return Response(member_to(member_in(request, made.user.username)), status=201)


class MemberView(APIView):
    permission_classes = [ForAdmins]

    @MEMBER.shown
    @extend_schema(responses=MemberShape, operation_id="GetMember")
    def get(self, request: Request, name: str) -> Response:
        """One member."""
        return Response(member_to(member_in(request, name)))

    @MEMBER.edited
    @extend_schema(
        request=RoleSerializer, responses=MemberShape, operation_id="ChangeMember",
        examples=[OpenApiExample("Make them admin", request_only=True, value={"role": "admin"})],
    )  # fmt: skip
    def patch(self, request: Request, name: str) -> Response:
        """Give a member another role. Refused for the last admin: make somebody else admin first."""
        actor, data = request_actor(request), checked(RoleSerializer(data=request.data))
        member, role = member_in(request, name), role_in(data)
        services.membership_set(actor=actor, user=member.user, organization=member.organization, role=role)
        return Response(member_to(member_in(request, name)))

    @MEMBER.edited
    @extend_schema(responses={204: None}, operation_id="RemoveMember")
    def delete(self, request: Request, name: str) -> Response:
        """Take somebody out of the organization; the tokens they made stay. Refused for the last admin."""
        services.membership_remove(actor=request_actor(request), membership=member_in(request, name))
        return Response(status=204)


def member_to(one: Membership) -> dict[str, Any]:
    return {"username": one.user.username, "role": one.role, "canSignIn": one.user.is_active,
            "liveTokens": one.live_tokens}  # type: ignore[attr-defined]  # fmt: skip
