"""`/v1alpha1/inference/capacityclaims`: parse, call a service, write the answer."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from claims import services
from claims.api import serializers as shapes
from claims.api.wire import claim_to, parameters_to, resources_from
from claims.models import CapacityClaim
from claims.selectors import claim_get, claims_of, offerings_claimable
from console.organizations.api.fields import query_time
from console.organizations.api.ids import id_in_body, id_in_path
from console.organizations.api.permissions import request_actor

UPDATED_AFTER = OpenApiParameter("updatedAfter", description="Only what was updated after this time.")


def checked(serializer: Any) -> dict[str, Any]:
    serializer.is_valid(raise_exception=True)
    data: dict[str, Any] = serializer.validated_data
    return data


def create(request: Request, data: dict[str, Any]) -> CapacityClaim:
    """The claim that a checked `ClaimCreateSerializer` asks for."""
    actor = request_actor(request)
    return services.claim_create(
        actor=actor,
        organization=actor.require_organization(),
        name=data["name"],
        resources=resources_from(data["resources"]),
        id=id_in_body(data.get("id")),
        idempotency_key=request.headers.get("Idempotency-Key"),
    )


class ClaimsView(APIView):
    """The organization's capacity claims."""

    @extend_schema(responses=shapes.ClaimListSerializer, parameters=[UPDATED_AFTER], operation_id="ListCapacityClaims")
    def get(self, request: Request) -> Response:
        """List the capacity claims of the token's organization."""
        claims = claims_of(request_actor(request).require_organization())
        after = query_time(request, "updatedAfter")
        if after is not None:
            claims = claims.filter(updated_at__gt=after)
        return Response({"capacityClaims": [claim_to(claim) for claim in claims]})

    @extend_schema(
        request=shapes.ClaimCreateSerializer,
        responses=shapes.OneClaimSerializer,
        operation_id="CreateCapacityClaim",
        parameters=[OpenApiParameter("Idempotency-Key", location=OpenApiParameter.HEADER)],
    )
    def post(self, request: Request) -> Response:
        """Set capacity aside. Answers at once with STATUS_CREATING."""
        data = checked(shapes.ClaimCreateSerializer(data=request.data))
        return Response({"capacityClaim": claim_to(create(request, data))})


class ClaimView(APIView):
    """One capacity claim."""

    @extend_schema(responses=shapes.OneClaimSerializer, operation_id="GetCapacityClaim")
    def get(self, request: Request, id: str) -> Response:
        """Read a capacity claim."""
        organization = request_actor(request).require_organization()
        return Response({"capacityClaim": claim_to(claim_get(organization, id_in_path("CapacityClaim", id)))})

    @extend_schema(
        request=shapes.ClaimUpdateSerializer,
        responses=shapes.OneClaimSerializer,
        operation_id="UpdateCapacityClaim",
    )
    def patch(self, request: Request, id: str) -> Response:
        """Change how many instances the claim has; every other field is fixed."""
        data = checked(shapes.ClaimUpdateSerializer(data=request.data))
        actor = request_actor(request)
        claim = services.claim_resize(
            actor=actor, claim_id=id_in_path("CapacityClaim", id), resources=resources_from(data["resources"])
        )
        return Response({"capacityClaim": claim_to(claim)})

    @extend_schema(responses=shapes.OneClaimSerializer, operation_id="DeleteCapacityClaim")
    def delete(self, request: Request, id: str) -> Response:
        """Give the claim's instances back; it is gone once all of them are released."""
        actor = request_actor(request)
        claim = services.claim_delete(actor=actor, claim_id=id_in_path("CapacityClaim", id))
        return Response({"capacityClaim": claim_to(claim)})


class ClaimParametersView(APIView):
    """What can be claimed where."""

    @extend_schema(responses=shapes.ClaimParametersSerializer, operation_id="GetCapacityClaimParameters")
    def get(self, request: Request) -> Response:
        """Instance types that can be claimed, by zone."""
        return Response(parameters_to(offerings_claimable()))
