"""`/v1alpha1/inference/deployments` and `/gateways`: parse, call a service, write the answer."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from claims.api.views import UPDATED_AFTER, checked
from console.common.errors import FieldViolation, InvalidArgument
from console.common.ids import parse_uuid
from console.organizations.api.fields import query_time
from console.organizations.api.ids import id_in_body, id_in_path
from console.organizations.api.permissions import request_actor
from deployments import services
from deployments.api.serializers import DeploymentSerializer, GatewaySerializer
from deployments.api.wire import (
    deployment_from,
    deployment_parameters_to,
    deployment_to,
    gateway_from,
    gateway_to,
)
from deployments.selectors import deployment_get, deployments_of, gateway_get, gateways_of
from deployments.zones import all_zones, common_zones, types_in

KEY = OpenApiParameter("Idempotency-Key", location=OpenApiParameter.HEADER)
ANY = OpenApiTypes.OBJECT


class DeploymentsView(APIView):
    @extend_schema(
        responses=ANY, operation_id="ListDeployments",
        parameters=[UPDATED_AFTER, OpenApiParameter("parentGatewayId", OpenApiTypes.UUID)],
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """List the deployments of the token's organization."""
        found = deployments_of(request_actor(request).require_organization())
        after, gateway = query_time(request, "updatedAfter"), request.query_params.get("parentGatewayId")
        if after is not None:
            found = found.filter(updated_at__gt=after)
        if gateway:
            id = parse_uuid(gateway)
            if id is None:
                raise InvalidArgument.of("parent_gateway_id", "value must be a valid UUID")
            found = found.filter(gateways__id=id)
        return Response({"items": [deployment_to(one) for one in found]})

    @extend_schema(request=DeploymentSerializer, responses=ANY, operation_id="CreateDeployment", parameters=[KEY])
    def post(self, request: Request) -> Response:
        """Create a deployment. Answers at once with STATUS_CREATING."""
        data = checked(DeploymentSerializer(data=request.data))
        actor = request_actor(request)
        deployment = services.deployment_create(
            actor=actor,
            organization=actor.require_organization(),
            spec=deployment_from(data),
            id=id_in_body(data.get("id")),
            idempotency_key=request.headers.get("Idempotency-Key"),
        )
        return Response({"deployment": deployment_to(deployment)})


class DeploymentView(APIView):
    @extend_schema(responses=ANY, operation_id="GetDeployment")
    def get(self, request: Request, id: str) -> Response:
        """Read a deployment."""
        organization = request_actor(request).require_organization()
        return Response({"deployment": deployment_to(deployment_get(organization, id_in_path("Deployment", id)))})

    @extend_schema(request=DeploymentSerializer, responses=ANY, operation_id="UpdateDeployment")
    def patch(self, request: Request, id: str) -> Response:
        """Replace the whole spec of a deployment."""
        data = checked(DeploymentSerializer(data=request.data))
        deployment = services.deployment_update(
            actor=request_actor(request),
            deployment_id=id_in_path("Deployment", id),
            spec=deployment_from(data),
        )
        return Response({"deployment": deployment_to(deployment)})

    @extend_schema(responses=ANY, operation_id="DeleteDeployment")
    def delete(self, request: Request, id: str) -> Response:
        """Stop all replicas of a deployment and remove it."""
        deployment = services.deployment_delete(
            actor=request_actor(request), deployment_id=id_in_path("Deployment", id)
        )
        return Response({"deployment": deployment_to(deployment)})


class DeploymentParametersView(APIView):
    @extend_schema(
        responses=ANY, operation_id="GetDeploymentParameters",
        parameters=[OpenApiParameter("gatewayIds", OpenApiTypes.UUID, many=True)],
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """Engines, settings and instance types that a deployment on all of these gateways may have."""
        organization = request_actor(request).require_organization()
        ids = request.query_params.getlist("gatewayIds")
        zones = []
        for place, text in enumerate(ids):
            id = parse_uuid(text)
            gateway = gateways_of(organization).filter(id=id).first() if id else None
            if gateway is None:
                raise InvalidArgument([FieldViolation(f"gateway_ids[{place}]", f"there is no gateway {text!r}")])
            zones.append(gateway.sent_zones)
        return Response(deployment_parameters_to(ids, types_in(common_zones(zones, all_zones()))))


class GatewaysView(APIView):
    @extend_schema(responses=ANY, operation_id="ListGateways", parameters=[UPDATED_AFTER])
    def get(self, request: Request) -> Response:
        """List the gateways of the token's organization."""
        found = gateways_of(request_actor(request).require_organization())
        after = query_time(request, "updatedAfter")
        if after is not None:
            found = found.filter(updated_at__gt=after)
        return Response({"items": [gateway_to(one) for one in found]})

    @extend_schema(request=GatewaySerializer, responses=ANY, operation_id="CreateGateway", parameters=[KEY])
    def post(self, request: Request) -> Response:
        """Create a gateway. Answers at once with STATUS_CREATING."""
        data = checked(GatewaySerializer(data=request.data))
        actor = request_actor(request)
        gateway = services.gateway_create(
            actor=actor,
            organization=actor.require_organization(),
            spec=gateway_from(data),
            id=id_in_body(data.get("id")),
            idempotency_key=request.headers.get("Idempotency-Key"),
        )
        return Response({"gateway": gateway_to(gateway)})


class GatewayView(APIView):
    @extend_schema(responses=ANY, operation_id="GetGateway")
    def get(self, request: Request, id: str) -> Response:
        """Read a gateway."""
        organization = request_actor(request).require_organization()
        return Response({"gateway": gateway_to(gateway_get(organization, id_in_path("Gateway", id)))})

    @extend_schema(request=GatewaySerializer, responses=ANY, operation_id="UpdateGateway")
    def patch(self, request: Request, id: str) -> Response:
        """Replace the spec of a gateway; without endpointConfiguration, the stored one stays."""
        data = checked(GatewaySerializer(data=request.data))
        gateway = services.gateway_update(
            actor=request_actor(request), gateway_id=id_in_path("Gateway", id), spec=gateway_from(data)
        )
        return Response({"gateway": gateway_to(gateway)})

    @extend_schema(responses=ANY, operation_id="DeleteGateway")
    def delete(self, request: Request, id: str) -> Response:
        """Remove a gateway that no deployment uses."""
        gateway = services.gateway_delete(actor=request_actor(request), gateway_id=id_in_path("Gateway", id))
        return Response({"gateway": gateway_to(gateway)})


class GatewayParametersView(APIView):
    @extend_schema(responses=ANY, operation_id="GetGatewayParameters")
    def get(self, request: Request) -> Response:
        """Zones that a gateway may name."""
        request_actor(request)
        return Response({"zones": all_zones()})
