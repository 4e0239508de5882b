"""`/api/v1/quota-requests`: a higher limit asked for, and what was decided."""

from datetime import datetime
from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from claims import services
from claims.core.conditions import timestamp
from claims.models import QuotaRequest, RequestState
from claims.quotas import offering_named, quota_request_get, quota_requests_of
from claims.services.quota_requests import locked as quota_request_lock
from console.common import clock
from console.common.errors import InvalidArgument, NotFound
from console.organizations.api.etags import Tagged
from console.organizations.api.fields import TextField, UInt32Field, checked
from console.organizations.api.idempotency import idempotent
from console.organizations.api.ids import id_in_path
from console.organizations.api.listing import Filter, Listing
from console.organizations.api.permissions import request_actor
from console.organizations.api.schema import Page


class QuotaRequestShape(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.UUIDField()
    zone = serializers.CharField()
    instanceId = serializers.CharField()
    wanted = serializers.IntegerField(help_text="The limit asked for, in instances.")
    limitBefore = serializers.IntegerField(help_text="The limit when it was asked.")
    reason = serializers.CharField()
    state = serializers.ChoiceField(RequestState.values)
    granted = serializers.IntegerField(allow_null=True, help_text="The limit that was given.")
    comment = serializers.CharField(help_text="Of who decided.")
    createdAt = serializers.DateTimeField()
    createdBy = serializers.CharField()
    decidedAt = serializers.DateTimeField(allow_null=True)
    decidedBy = serializers.CharField(allow_null=True)


class QuotaRequestListShape(Page):
    items = QuotaRequestShape(many=True)


class QuotaRequestSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """A request for a higher limit."""

    zone = TextField(max_length=100)
    instanceId = TextField(source="instance_type", max_length=100)
    wanted = UInt32Field(help_text="The limit asked for, in instances: all of it, not what is to be added.")
    reason = TextField(max_length=1000)


def found_in(request: Request, id: str) -> QuotaRequest:
    return quota_request_get(request_actor(request).require_organization(), id_in_path("QuotaRequest", id))


REQUESTS = Listing(
    {"createdAt": ("pk",)}, "-createdAt",  # ids grow with time
    {"state": Filter("state", "Only those in this state.", RequestState.values),
     "zone": Filter("offering__zone__name__iexact", "Only of this zone."),
     "instanceId": Filter("offering__instance_type__name__iexact", "Only of this instance type.")},
)  # fmt: skip
REQUEST = Tagged(found_in, lambda one: [one.pk, one.state, one.granted, one.comment],
                 lambda request, one: quota_request_lock(one))  # fmt: skip


class QuotaRequestsView(APIView):
    @extend_schema(responses=QuotaRequestListShape, operation_id="ListQuotaRequests", parameters=REQUESTS.parameters)
    def get(self, request: Request) -> Response:
        """The organization's requests, newest first."""
        found = quota_requests_of(request_actor(request).require_organization())
        return Response(REQUESTS.stored(request, found, request_to))

    @idempotent()
    @extend_schema(
        request=QuotaRequestSerializer, responses={201: QuotaRequestShape}, operation_id="CreateQuotaRequest",
        examples=[OpenApiExample("Twelve instead of eight", request_only=True, value={
            "zone": "US-WEST-04A", "instanceId": "gb200-4x", "wanted": 12, "reason": "Launch on the first of June"})],
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """Ask for a higher limit. One request of a quota waits at a time; the platform's staff decide. For the role
        admin."""
        actor, data = request_actor(request), checked(QuotaRequestSerializer(data=request.data))
        try:
            offering = offering_named(data["zone"], data["instance_type"])
        except NotFound as refusal:
            raise InvalidArgument.of("zone", "there is no such instance type in this zone") from refusal
        made = services.quota_request_create(
            actor=actor, organization=actor.require_organization(), offering=offering, wanted=data["wanted"],
            reason=data["reason"], now=clock.now(),
        )  # fmt: skip
        return Response(request_to(made), status=201)


class QuotaRequestView(APIView):
    @REQUEST.shown
    @extend_schema(responses=QuotaRequestShape, operation_id="GetQuotaRequest")
    def get(self, request: Request, id: str) -> Response:
        """One request, and what was decided."""
        return Response(request_to(found_in(request, id)))


class QuotaRequestWithdrawView(APIView):
    @idempotent()
    @REQUEST.edited
    @extend_schema(request=None, responses=QuotaRequestShape, operation_id="WithdrawQuotaRequest")
    def post(self, request: Request, id: str) -> Response:
        """Take a request back that waits; again changes nothing."""
        one = services.quota_request_withdraw(
            actor=request_actor(request), request=found_in(request, id), now=clock.now()
        )
        return Response(request_to(one))


def request_to(one: QuotaRequest) -> dict[str, Any]:
    def at(moment: datetime | None) -> str | None:
        return timestamp(moment) if moment else None

    return {
        "id": str(one.id), "zone": one.offering.zone.name, "instanceId": one.offering.instance_type.name,
        "wanted": one.wanted, "limitBefore": one.limit_before, "reason": one.reason, "state": one.state,
        "granted": one.granted, "comment": one.comment, "createdAt": at(one.created_at), "createdBy": one.created_by,
        "decidedAt": at(one.decided_at), "decidedBy": one.decided_by or None,
    }  # fmt: skip
