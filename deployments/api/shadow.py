"""`/api/v1/deployments/{id}/shadow`: whether nothing is acted on, and what would have been done."""

from datetime import timedelta
from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from console.common import clock
from console.organizations.api.etags import Tagged
from console.organizations.api.fields import FlagField, checked
from console.organizations.api.permissions import request_actor
from console.organizations.api.schema import Shape
from deployments import services
from deployments.api.v1 import deployment_in
from deployments.locks import deployment_lock
from deployments.models import Deployment
from deployments.replay.shadow import Comparison, Side, shadow_comparison

DAY = timedelta(days=1)
SHADOW = OpenApiExample("Decide, and act on nothing", request_only=True, value={"shadow": True})


class FlagSerializer(serializers.Serializer):  # type: ignore[type-arg]
    shadow = FlagField(help_text="Sizes are decided and shown, and nothing is acted on.")


class SideShape(Shape):
    gpuHours = serializers.FloatField()
    changes = serializers.IntegerField(help_text="Times that the number of replicas changed.")
    peakReplicas = serializers.IntegerField()
    busyShare = serializers.FloatField(
        help_text="Share of the time with more in flight than the replicas are meant for."
    )


class ComparisonShape(Shape):
    hours = serializers.FloatField(help_text="Of the last 24, those in which both are known.")
    would = SideShape(help_text="What would have been done.")
    did = SideShape(help_text="What was done.")
    moreShare = serializers.FloatField(help_text="Share of the time in which there would have been more replicas.")
    fewerShare = serializers.FloatField()


class ShadowShape(Shape):
    shadow = serializers.BooleanField()
    comparison = ComparisonShape(allow_null=True, help_text="Null: it was not in shadow in the last 24 hours.")


SHADOW_TAG = Tagged(deployment_in, lambda one: [one.id, one.shadow], lambda request, one: deployment_lock(one.key))


class ShadowView(APIView):
    """Shadow of a deployment."""

    @SHADOW_TAG.shown
    @extend_schema(responses=ShadowShape, operation_id="GetShadow")
    def get(self, request: Request, id: str) -> Response:
        """Whether the deployment is in shadow, and what its decisions would have done in the last 24 hours beside what
        was done."""
        return Response(shadow_to(deployment_in(request, id)))

    @SHADOW_TAG.edited
    @extend_schema(request=FlagSerializer, responses=ShadowShape, operation_id="SetShadow", examples=[SHADOW])
    def patch(self, request: Request, id: str) -> Response:
        """Put it into shadow, where it keeps the replicas that it has, or act on what is decided for it from the next
        pass on."""
        one, sent = deployment_in(request, id), checked(FlagSerializer(data=request.data))
        services.shadow_set(actor=request_actor(request), deployment_id=one.id, shadow=sent["shadow"])
        return Response(shadow_to(deployment_in(request, id)))


def shadow_to(one: Deployment) -> dict[str, Any]:
    now = clock.now()
    found = shadow_comparison(one, now - DAY, now)
    return {"shadow": one.shadow, "comparison": comparison_to(found) if found else None}


def comparison_to(found: Comparison) -> dict[str, Any]:
    return {
        "hours": round(found.hours, 3), "would": side_to(found.would), "did": side_to(found.did),
        "moreShare": round(found.more_share, 4), "fewerShare": round(found.fewer_share, 4),
    }  # fmt: skip


def side_to(side: Side) -> dict[str, Any]:
    return {"gpuHours": round(side.gpu_hours, 3), "changes": side.changes, "peakReplicas": side.peak,
            "busyShare": round(side.busy_share, 4)}  # fmt: skip
