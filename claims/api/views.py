"""`/v1alpha1/inference/capacityclaims`, by `claims.api.operations`."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from claims.api import examples, operations
from claims.api import serializers as shapes
from console.organizations.api.fields import query_time
from console.organizations.api.idempotency import HEADER, idempotent
from console.organizations.api.ids import id_in_path
from console.organizations.api.permissions import request_actor

UPDATED_AFTER = OpenApiParameter(
    "updatedAfter", OpenApiTypes.DATETIME, description="Only what was updated after this time."
)


class ClaimsView(APIView):
    """The organization's capacity claims."""

    @extend_schema(responses=shapes.ClaimListSerializer, parameters=[UPDATED_AFTER], operation_id="ListCapacityClaims")
    def get(self, request: Request) -> Response:
        """List the capacity claims of the token's organization."""
        return Response(operations.claim_list(request_actor(request), query_time(request, "updatedAfter")))

    @idempotent()
    @extend_schema(
        request=shapes.ClaimCreateSerializer,
        responses=shapes.OneClaimSerializer,
        operation_id="CreateCapacityClaim",
        examples=[examples.CLAIM],
    )
    def post(self, request: Request) -> Response:
        """Set capacity aside. Answers at once with STATUS_CREATING."""
        distinct = HEADER in request.headers
        return Response(operations.claim_create(request_actor(request), request.data, distinct=distinct))


class ClaimView(APIView):
    """One capacity claim."""

    @extend_schema(responses=shapes.OneClaimSerializer, operation_id="GetCapacityClaim")
    def get(self, request: Request, id: str) -> Response:
        """Read a capacity claim."""
        return Response(operations.claim_read(request_actor(request), id_in_path("CapacityClaim", id)))

    @extend_schema(
        request=shapes.ClaimUpdateSerializer,
        responses=shapes.OneClaimSerializer,
        operation_id="UpdateCapacityClaim",
        examples=[examples.RESIZED],
    )
    def patch(self, request: Request, id: str) -> Response:
        """Change how many instances the claim has; every other field is fixed."""
        wanted = id_in_path("CapacityClaim", id)
        return Response(operations.claim_update(request_actor(request), wanted, request.data))

    @extend_schema(responses=shapes.OneClaimSerializer, operation_id="DeleteCapacityClaim")
    def delete(self, request: Request, id: str) -> Response:
        """Give the claim's instances back; it is gone once all of them are released."""
        return Response(operations.claim_delete(request_actor(request), id_in_path("CapacityClaim", id)))


class ClaimParametersView(APIView):
    """What can be claimed where."""

    @extend_schema(responses=shapes.ClaimParametersSerializer, operation_id="GetCapacityClaimParameters")
    def get(self, request: Request) -> Response:
        """Instance types that can be claimed, by zone."""
        return Response(operations.claim_parameters())
