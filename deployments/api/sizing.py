"""`/api/v1/claims/{id}/sizing`: what another size of a claim would have done."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from claims.core.conditions import timestamp
from claims.selectors import claim_get
from console.common import clock
from console.organizations.api.ids import id_in_path
from console.organizations.api.permissions import request_actor
from deployments.sizing import Advice, advice


class FilledShape(serializers.Serializer):  # type: ignore[type-arg]
    instances = serializers.IntegerField()
    seconds = serializers.FloatField()


class GrowthShape(serializers.Serializer):  # type: ignore[type-arg]
    more = serializers.IntegerField(help_text="Instances beyond the claim's target.")
    avoidedSeconds = serializers.FloatField(help_text="Of shortSeconds, what so many more would have avoided.")


class AdviceShape(serializers.Serializer):  # type: ignore[type-arg]
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    simulated = serializers.BooleanField(help_text="A part of that time is history that was made afterwards.")
    deployments = serializers.ListField(child=serializers.CharField())
    deletedDeployments = serializers.ListField(
        child=serializers.CharField(), help_text="Deleted in that time: their need is not in it."
    )
    instanceCount = serializers.IntegerField(help_text="The claim's target, of which all this is said.")
    filled = FilledShape(many=True, help_text="How long the need filled so many of its instances.")
    usedGpuHours = serializers.FloatField()
    heldGpuHours = serializers.FloatField()
    windowSeconds = serializers.FloatField(help_text="In which open windows asked for more than that.")
    shrinkTo = serializers.IntegerField(
        allow_null=True, help_text="The least that would have held as much, beside the windows; null: none."
    )
    shortSeconds = serializers.FloatField(help_text="In which a deployment was short of GPUs.")
    growth = GrowthShape(many=True)


class SizingShape(serializers.Serializer):  # type: ignore[type-arg]
    advice = AdviceShape(allow_null=True, help_text="Null: nothing is recorded of a deployment that may use the claim.")


class SizingView(APIView):
    @extend_schema(responses=SizingShape, operation_id="GetClaimSizing")
    def get(self, request: Request, id: str) -> Response:
        """What another size of the claim would have done in the last seven days: the recorded need of the deployments
        that may use it, replayed. Its windows count as they are set now."""
        claim = claim_get(request_actor(request).require_organization(), id_in_path("CapacityClaim", id))
        found = advice(claim, clock.now())
        return Response({"advice": advice_to(found) if found else None})


def advice_to(found: Advice) -> dict[str, Any]:
    sizing = found.sizing
    return {
        "since": timestamp(found.since),
        "until": timestamp(found.until),
        "simulated": found.simulated,
        "deployments": list(found.deployments),
        "deletedDeployments": list(found.gone),
        "instanceCount": sizing.held,
        "filled": [{"instances": count, "seconds": seconds} for count, seconds in enumerate(sizing.at)],
        "windowSeconds": sizing.window_s,
        "usedGpuHours": sizing.used_gpu_s / 3600,
        "heldGpuHours": sizing.held_gpu_s / 3600,
        "shrinkTo": found.shrink_to,
        "shortSeconds": sizing.short_s,
        "growth": [{"more": one.more, "avoidedSeconds": one.avoided_s} for one in sizing.growth],
    }
