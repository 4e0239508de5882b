"""`/api/v1/deployments/{id}/look-ahead`: whether replicas are kept for what is expected."""

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from console.organizations.api.etags import Tagged
from console.organizations.api.fields import FlagField, checked
from console.organizations.api.permissions import request_actor
from console.organizations.api.schema import Shape
from deployments import services
from deployments.api.v1 import deployment_in
from deployments.locks import deployment_lock

OFF = OpenApiExample("Go by load alone", request_only=True, value={"lookAhead": False})


class LookAheadSerializer(serializers.Serializer):  # type: ignore[type-arg]
    lookAhead = FlagField(help_text="Keep replicas for what is expected by the time that another would be ready.")


class LookAheadShape(Shape):
    lookAhead = serializers.BooleanField(help_text="As it is set by hand; while there is an objective, it chooses.")


LOOK_AHEAD = Tagged(
    deployment_in, lambda one: [one.id, one.autoscaling.look_ahead], lambda request, one: deployment_lock(one.key)
)


class LookAheadView(APIView):
    """Look-ahead of a deployment."""

    @LOOK_AHEAD.shown
    @extend_schema(responses=LookAheadShape, operation_id="GetLookAhead")
    def get(self, request: Request, id: str) -> Response:
        """Whether the deployment looks ahead: keeps replicas for what is expected by the time that another would be
        ready. It is on unless it was switched off."""
        return Response({"lookAhead": deployment_in(request, id).autoscaling.look_ahead})

    @LOOK_AHEAD.edited
    @extend_schema(request=LookAheadSerializer, responses=LookAheadShape, operation_id="SetLookAhead", examples=[OFF])
    def patch(self, request: Request, id: str) -> Response:
        """Look ahead, or go by load alone, from the next pass on. It only ever adds to what load asks for."""
        one, sent = deployment_in(request, id), checked(LookAheadSerializer(data=request.data))
        services.look_ahead_set(actor=request_actor(request), deployment_id=one.id, look_ahead=sent["lookAhead"])
        return Response({"lookAhead": sent["lookAhead"]})
