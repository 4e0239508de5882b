"""`/api/v1/claims/{id}/labels`: what people call a claim by."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from claims import services
from claims.labels import labels_get
from claims.models import CapacityClaim, UsageKind
from claims.selectors import claim_shown
from claims.services.labels import claim_held
from console.organizations.api.etags import Tagged
from console.organizations.api.fields import checked
from console.organizations.api.ids import id_in_path
from console.organizations.api.labels import LABELS, LabelsSerializer, LabelsShape
from console.organizations.api.permissions import request_actor


def claim_in(request: Request, id: str) -> CapacityClaim:
    return claim_shown(request_actor(request).require_organization(), id_in_path("CapacityClaim", id))


def labels_to(claim: CapacityClaim) -> dict[str, dict[str, str]]:
    return {"labels": labels_get(claim.organization, UsageKind.CLAIM, claim.id)}


LABELS_TAG = Tagged(
    claim_in, lambda one: [one.id, labels_to(one)], lambda _, one: claim_held(one.organization, one.id)
)  # fmt: skip


class ClaimLabelsView(APIView):
    """Labels of a capacity claim."""

    @LABELS_TAG.shown
    @extend_schema(responses=LabelsShape, operation_id="GetClaimLabels")
    def get(self, request: Request, id: str) -> Response:
        """The labels of the claim; none is an empty object."""
        return Response(labels_to(claim_in(request, id)))

    @LABELS_TAG.edited
    @extend_schema(
        request=LabelsSerializer, responses=LabelsShape, operation_id="SetClaimLabels", examples=[LABELS]
    )  # fmt: skip
    def put(self, request: Request, id: str) -> Response:
        """Give the claim these labels instead of those it has. Lists, usage and FOCUS exports sort by them, earlier
        hours too."""
        claim, sent = claim_in(request, id), checked(LabelsSerializer(data=request.data))
        services.claim_labels_set(actor=request_actor(request), claim_id=claim.id, labels=sent["labels"])
        return Response(labels_to(claim))
