"""`/api/v1/deployments`: deployments in Headroom's own form, with their labels. They are made and changed over the vendor's
API."""

from collections.abc import Sequence
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from claims.labels import labelled, labels_of
from claims.models import UsageKind
from console.organizations.api.ids import id_in_path
from console.organizations.api.labels import LABEL, LabelsField, label_filter
from console.organizations.api.listing import Filter, Listing, sparse
from console.organizations.api.permissions import request_actor
from console.organizations.api.schema import Page, Shape
from deployments.api.shapes import STATUSES, DeploymentShape
from deployments.api.wire import deployment_to
from deployments.models import Deployment
from deployments.selectors import deployment_shown


class OwnDeploymentShape(DeploymentShape):
    """A deployment as Headroom's own API has it: with its labels."""

    labels = LabelsField()


class OwnDeploymentPage(Page):
    items = sparse(OwnDeploymentShape)(many=True)


class OneOwnDeployment(Shape):
    deployment = OwnDeploymentShape()


DEPLOYMENTS = Listing(
    {"createdAt": ("pk",), "updatedAt": ("updated_at", "pk"), "name": ("name", "pk")}, "createdAt",
    {"status": Filter("status", "Only in this status.", STATUSES),
     "name": Filter("name__iexact", "Only of this name, in any case of letters."),
     "instanceType": Filter("instance_type__name__iexact", "Only of this instance type."),
     "gatewayId": Filter("gateways__id", "Only of this gateway.", type=OpenApiTypes.UUID),
     "updatedAfter": Filter("updated_at__gt", "Only what was updated after this time.", type=OpenApiTypes.DATETIME)},
    OwnDeploymentShape,
)  # fmt: skip


class DeploymentsView(APIView):
    """The organization's deployments, in Headroom's own form."""

    @extend_schema(
        responses=OwnDeploymentPage, operation_id="ListOwnDeployments", parameters=[LABEL, *DEPLOYMENTS.parameters]
    )
    def get(self, request: Request) -> Response:
        """The deployments of the organization, in order of creation if nothing else is asked for."""
        organization = request_actor(request).require_organization()
        rows = Deployment.objects.filter(organization=organization).select_related("autoscaling", "organization")
        found = labelled(rows, organization, UsageKind.REPLICA, label_filter(request))
        return Response(DEPLOYMENTS.stored_with(request, found, own_deployments_to))


class DeploymentView(APIView):
    """One deployment, in Headroom's own form."""

    @extend_schema(responses=OneOwnDeployment, operation_id="GetOwnDeployment")
    def get(self, request: Request, id: str) -> Response:
        """Read a deployment with its labels."""
        one = deployment_shown(request_actor(request).require_organization(), id_in_path("Deployment", id))
        return Response({"deployment": own_deployments_to([one])[0]})


def own_deployments_to(rows: Sequence[Deployment]) -> list[dict[str, Any]]:
    """Deployments of one organization: one query."""
    named = labels_of(rows[0].organization, UsageKind.REPLICA, [one.id for one in rows]) if rows else {}
    return [{**deployment_to(one), "labels": named.get(one.id, {})} for one in rows]
