"""`/v1alpha1/inference/deployments` and `/gateways`, by `deployments.api.operations`."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from claims.api.views import UPDATED_AFTER
from console.organizations.api.fields import query_time
from console.organizations.api.idempotency import idempotent
from console.organizations.api.ids import id_in_path
from console.organizations.api.permissions import request_actor
from deployments.api import examples, operations, shapes
from deployments.api.serializers import DeploymentSerializer, GatewaySerializer

# Empty is the same as not sent, as in protobuf.
ID_OR_NONE = {"anyOf": [{"type": "string", "format": "uuid"}, {"type": "string", "maxLength": 0}]}


class DeploymentsView(APIView):
    @extend_schema(
        responses=shapes.DeploymentList, operation_id="ListDeployments",
        parameters=[UPDATED_AFTER,
                    OpenApiParameter("parentGatewayId", ID_OR_NONE, description="Only those of this gateway.")],
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """List the deployments of the token's organization."""
        after, gateway = query_time(request, "updatedAfter"), request.query_params.get("parentGatewayId")
        return Response(operations.deployment_list(request_actor(request), after, gateway))

    @idempotent()
    @extend_schema(
        request=DeploymentSerializer, responses=shapes.OneDeployment, operation_id="CreateDeployment",
        examples=[examples.DEPLOYMENT],
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """Create a deployment. Answers at once with STATUS_CREATING."""
        return Response(operations.deployment_create(request_actor(request), request.data))


class DeploymentView(APIView):
    @extend_schema(responses=shapes.OneDeployment, operation_id="GetDeployment")
    def get(self, request: Request, id: str) -> Response:
        """Read a deployment."""
        return Response(operations.deployment_read(request_actor(request), id_in_path("Deployment", id)))

    @extend_schema(
        request=DeploymentSerializer, responses=shapes.OneDeployment, operation_id="UpdateDeployment",
        examples=[examples.DEPLOYMENT],
    )  # fmt: skip
    def patch(self, request: Request, id: str) -> Response:
        """Replace the whole spec of a deployment."""
        wanted = id_in_path("Deployment", id)
        return Response(operations.deployment_update(request_actor(request), wanted, request.data))

    @extend_schema(responses=shapes.OneDeployment, operation_id="DeleteDeployment")
    def delete(self, request: Request, id: str) -> Response:
        """Stop all replicas of a deployment and remove it."""
        return Response(operations.deployment_delete(request_actor(request), id_in_path("Deployment", id)))


class DeploymentParametersView(APIView):
    @extend_schema(
        responses=shapes.DeploymentParametersShape, operation_id="GetDeploymentParameters",
        parameters=[OpenApiParameter("gatewayIds", OpenApiTypes.UUID, many=True,
                                     description="Only what is valid for all of these; may be given many times.")],
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """Engines, settings and instance types that a deployment on all of these gateways may have."""
        ids = request.query_params.getlist("gatewayIds")
        return Response(operations.deployment_parameters(request_actor(request), ids))


class GatewaysView(APIView):
    @extend_schema(responses=shapes.GatewayList, operation_id="ListGateways", parameters=[UPDATED_AFTER])
    def get(self, request: Request) -> Response:
        """List the gateways of the token's organization."""
        return Response(operations.gateway_list(request_actor(request), query_time(request, "updatedAfter")))

    @idempotent()
    @extend_schema(
        request=GatewaySerializer, responses=shapes.OneGateway, operation_id="CreateGateway",
        examples=[examples.GATEWAY],
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """Create a gateway. Answers at once with STATUS_CREATING."""
        return Response(operations.gateway_create(request_actor(request), request.data))


class GatewayView(APIView):
    @extend_schema(responses=shapes.OneGateway, operation_id="GetGateway")
    def get(self, request: Request, id: str) -> Response:
        """Read a gateway."""
        return Response(operations.gateway_read(request_actor(request), id_in_path("Gateway", id)))

    @extend_schema(
        request=GatewaySerializer, responses=shapes.OneGateway, operation_id="UpdateGateway",
        examples=[examples.GATEWAY],
    )  # fmt: skip
    def patch(self, request: Request, id: str) -> Response:
        """Replace the spec of a gateway; without endpointConfiguration, the stored one stays."""
        wanted = id_in_path("Gateway", id)
        return Response(operations.gateway_update(request_actor(request), wanted, request.data))

    @extend_schema(responses=shapes.OneGateway, operation_id="DeleteGateway")
    def delete(self, request: Request, id: str) -> Response:
        """Remove a gateway that no deployment uses."""
        return Response(operations.gateway_delete(request_actor(request), id_in_path("Gateway", id)))


class GatewayParametersView(APIView):
    @extend_schema(responses=shapes.GatewayParametersShape, operation_id="GetGatewayParameters")
    def get(self, request: Request) -> Response:
        """Zones that a gateway may name."""
        request_actor(request)
        return Response(operations.gateway_parameters())
