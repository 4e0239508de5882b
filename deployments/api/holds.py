"""`/api/v1/holds`: scaling frozen or pinned by an operator (R19)."""

from datetime import datetime
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from claims.core.conditions import timestamp
from console.common import clock
from console.common.errors import InvalidArgument
from console.common.ids import parse_uuid
from console.organizations.api.etags import Tagged
from console.organizations.api.fields import EnumField, FlagField, TextField, UInt32Field, checked
from console.organizations.api.idempotency import idempotent
from console.organizations.api.ids import id_in_path
from console.organizations.api.listing import Filter, Listing, chosen
from console.organizations.api.permissions import request_actor
from deployments.api.shapes import HoldPage, HoldShape
from deployments.models import Hold
from deployments.selectors import holds_of, in_force
from deployments.services import hold_create, hold_end
from deployments.services.holds import hold_get

STATES = ("inForce", "all")


class HoldSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """A new hold. Without `deploymentId` and `fleet` it is the token's organization that is frozen."""

    kind = EnumField(["FREEZE", "PIN"], help_text="FREEZE: the size stays. PIN: the size is `size`.")
    deploymentId = TextField(source="deployment_id", required=False, max_length=40)
    fleet = FlagField(required=False, default=False)
    size = UInt32Field(required=False)
    reason = TextField(max_length=1000)
    expiresAt = serializers.DateTimeField(source="expires_at", required=False, allow_null=True)


def hold_to(hold: Hold, now: datetime) -> dict[str, Any]:
    def at(moment: datetime | None) -> str | None:
        return timestamp(moment) if moment else None

    over = hold.ended_at is not None or (hold.expires_at is not None and hold.expires_at <= now)
    return {
        "id": str(hold.id),
        "kind": hold.kind,
        "scope": "DEPLOYMENT" if hold.deployment else "ORGANIZATION" if hold.organization else "FLEET",
        "deploymentId": str(hold.deployment.id) if hold.deployment else None,
        "size": hold.size,
        "reason": hold.reason,
        "inForce": not over,
        "createdBy": hold.created_by,
        "createdAt": at(hold.created_at),
        "expiresAt": at(hold.expires_at),
        "endedBy": hold.ended_by or None,
        "endedAt": at(hold.ended_at),
    }


HOLDS = Listing(
    {"createdAt": ("pk",)}, "-createdAt",  # ids grow with time
    {"kind": Filter("kind", "Only of this kind.", ("FREEZE", "PIN")),
     "deploymentId": Filter("deployment__id", "Only of this deployment itself.", type=OpenApiTypes.UUID)},
)  # fmt: skip
STATE = OpenApiParameter(
    "state", enum=list(STATES), default="inForce", description="`all` has also those that are over."
)


class HoldsView(APIView):
    @extend_schema(responses=HoldPage, operation_id="ListHolds", parameters=[STATE, *HOLDS.parameters])
    def get(self, request: Request) -> Response:
        """Holds of the organization's deployments, of the organization and of the fleet, newest first."""
        found, now = holds_of(request_actor(request).require_organization()), clock.now()
        if chosen(request, "state", STATES, "inForce") == "inForce":
            found = in_force(found, now)
        return Response(HOLDS.stored(request, found, lambda one: hold_to(one, now)))

    @idempotent()
    @extend_schema(
        request=HoldSerializer, responses=HoldShape, operation_id="CreateHold",
        examples=[OpenApiExample("Pin a deployment to six replicas for an hour", request_only=True, value={
            "kind": "PIN", "deploymentId": "0198c0de-0000-7000-8000-000000000000", "size": 6,
            "reason": "Launch at noon", "expiresAt": "2026-12-01T13:00:00Z"})],
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """Freeze a deployment, the organization or (platform staff) the fleet; or pin a deployment to a size."""
        data = checked(HoldSerializer(data=request.data))
        deployment = data.pop("deployment_id", "")
        id = parse_uuid(deployment) if deployment else None
        if deployment and id is None:
            raise InvalidArgument.of("deployment_id", "value must be a valid UUID")
        return Response(hold_to(hold_create(actor=request_actor(request), deployment_id=id, **data), clock.now()))


def hold_in(request: Request, id: str) -> Hold:
    return hold_get(request_actor(request), id_in_path("Hold", id))


HOLD = Tagged(hold_in, lambda one: [one.id, one.ended_at],
              lambda request, one: hold_get(request_actor(request), one.id, lock=True))  # fmt: skip


class HoldView(APIView):
    @HOLD.shown
    @extend_schema(responses=HoldShape, operation_id="GetHold")
    def get(self, request: Request, id: str) -> Response:
        """One hold, also when it is over."""
        return Response(hold_to(hold_in(request, id), clock.now()))

    @HOLD.edited
    @extend_schema(responses=HoldShape, operation_id="EndHold")
    def delete(self, request: Request, id: str) -> Response:
        """End it: scaling goes on. The hold stays as history; ending it again changes nothing."""
        hold = hold_end(actor=request_actor(request), hold_id=id_in_path("Hold", id))
        return Response(hold_to(hold, clock.now()))
