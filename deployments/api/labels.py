"""`/api/v1/deployments/{id}/labels`: what people call a deployment by."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from claims.labels import labels_get
from claims.models import UsageKind
from console.organizations.api.etags import Tagged
from console.organizations.api.fields import checked
from console.organizations.api.labels import LABELS, LabelsSerializer, LabelsShape
from console.organizations.api.permissions import request_actor
from deployments import services
from deployments.api.v1 import deployment_in
from deployments.locks import deployment_locked
from deployments.models import Deployment


def labels_to(one: Deployment) -> dict[str, dict[str, str]]:
    return {"labels": labels_get(one.organization, UsageKind.REPLICA, one.id)}


LABELS_TAG = Tagged(
    deployment_in, lambda one: [one.id, labels_to(one)], lambda _, one: deployment_locked(one.organization, one.id)
)


class DeploymentLabelsView(APIView):
    """Labels of a deployment."""

    @LABELS_TAG.shown
    @extend_schema(responses=LabelsShape, operation_id="GetDeploymentLabels")
    def get(self, request: Request, id: str) -> Response:
        """The labels of the deployment; none is an empty object."""
        return Response(labels_to(deployment_in(request, id)))

    @LABELS_TAG.edited
    @extend_schema(
        request=LabelsSerializer, responses=LabelsShape, operation_id="SetDeploymentLabels", examples=[LABELS]
    )
    def put(self, request: Request, id: str) -> Response:
        """Give the deployment these labels instead of those it has; no replica moves. Lists, usage and FOCUS exports sort
        by them, earlier hours too."""
        one, sent = deployment_in(request, id), checked(LabelsSerializer(data=request.data))
        services.deployment_labels_set(actor=request_actor(request), deployment_id=one.id, labels=sent["labels"])
        return Response(labels_to(one))
