"""`/api/v1/claims`: capacity claims in Headroom's own form. With `?preview=true` a change is answered with what it would
do, under the same role and with the same refusals, and nothing is changed."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, PolymorphicProxySerializer, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from claims import services
from claims.api.examples import CLAIM
from claims.api.operations import claim_made
from claims.api.serializers import ClaimCreateSerializer
from claims.api.shapes import OneOwnClaim, OwnClaimShape
from claims.api.wire import own_claim_to, own_claims_to, resources_from
from claims.core.states import Status
from claims.labels import labelled
from claims.models import CapacityClaim, UsageKind
from claims.selectors import claim_get, claims_of, pending_changes
from claims.services.claims import claim_locked, resources_of
from claims.services.creation import offering_wanted
from claims.services.labels import claim_labelled
from console.common import clock
from console.common.errors import InvalidArgument
from console.organizations.actors import Actor
from console.organizations.api.etags import Tagged
from console.organizations.api.fields import UInt32Field, checked
from console.organizations.api.idempotency import HEADER, idempotent
from console.organizations.api.ids import id_in_path
from console.organizations.api.labels import LABEL, LabelsField, label_filter
from console.organizations.api.listing import Filter, Listing, sparse
from console.organizations.api.permissions import request_actor
from console.organizations.api.schema import Page
from deployments.api.examples import RESIZE
from deployments.api.previews import PreviewShape, preview_to
from deployments.impact.claims import ClaimPreview, claim_preview, creation_preview, refused

PREVIEW = OpenApiParameter(
    "preview", OpenApiTypes.BOOL, description="Answer with what the change would do, and change nothing."
)


class ResizeRequest(serializers.Serializer):  # type: ignore[type-arg]
    instanceCount = UInt32Field(source="instance_count")


class OwnClaimCreateSerializer(ClaimCreateSerializer):
    labels = LabelsField(required=False)


class ClaimPage(Page):
    items = sparse(OwnClaimShape)(many=True)


class OnePreview(serializers.Serializer):  # type: ignore[type-arg]
    preview = PreviewShape()


CLAIM_OR_PREVIEW = PolymorphicProxySerializer(
    component_name="ClaimOrPreview", serializers=[OneOwnClaim, OnePreview],
    resource_type_field_name=None,
)  # fmt: skip


def wants_preview(request: Request) -> bool:
    """Whether the address asks for a preview; InvalidArgument for what is neither true nor false."""
    text = request.query_params.get("preview", "false")
    if text not in ("true", "false"):
        raise InvalidArgument.of("preview", f"must be true or false; it is {text!r}")
    return text == "true"


def answered(request: Request, act: Callable[[], CapacityClaim], foresee: Callable[[], ClaimPreview]) -> Response:
    """Do it; or say what it would do, once it is known that it would not be refused."""
    if not wants_preview(request):
        return Response({"capacityClaim": own_claim_to(act())})
    refused(act)
    found = preview_to(foresee())
    if not request_actor(request).sees_money:
        del found["price"]
    return Response({"preview": found})


def claim_in(request: Request, id: str) -> CapacityClaim:
    return claim_get(request_actor(request).require_organization(), id_in_path("CapacityClaim", id))


def claim_hold(request: Request, claim: CapacityClaim) -> object:
    return claim_locked(claim.organization, claim.id)


def labelled_claim_made(actor: Actor, data: dict[str, Any], distinct: bool) -> CapacityClaim:
    """The claim that a checked `OwnClaimCreateSerializer` asks for, with its labels, or neither."""
    if "labels" not in data:
        return claim_made(actor, data, distinct)
    return claim_labelled(actor=actor, labels=data["labels"], make=lambda: claim_made(actor, data, distinct))


CLAIMS = Listing(
    {"createdAt": ("pk",), "updatedAt": ("updated_at", "pk"), "name": ("name", "pk")}, "createdAt",
    {"status": Filter("status", "Only in this status.", [one.value for one in Status]),
     "zone": Filter("offering__zone__name__iexact", "Only of this zone."),
     "instanceId": Filter("offering__instance_type__name__iexact", "Only of this instance type."),
     "name": Filter("name", "Only with this name; several claims may have it."),
     "updatedAfter": Filter("updated_at__gt", "Only what was updated after this time.", type=OpenApiTypes.DATETIME)},
    OwnClaimShape,
)  # fmt: skip
CLAIM_TAG = Tagged(
    claim_in,
    lambda one: [one.id, one.status == Status.DELETING, one.target, *map(repr, pending_changes(one))],
    claim_hold,
)


class ClaimsView(APIView):
    """The organization's capacity claims, in Headroom's own form."""

    @extend_schema(responses=ClaimPage, operation_id="ListClaims", parameters=[LABEL, *CLAIMS.parameters])
    def get(self, request: Request) -> Response:
        """The capacity claims of the organization, in order of creation if nothing else is asked for."""
        organization = request_actor(request).require_organization()
        found = labelled(claims_of(organization), organization, UsageKind.CLAIM, label_filter(request))
        return Response(CLAIMS.stored_with(request, found, own_claims_to))

    @idempotent()
    @extend_schema(
        request=OwnClaimCreateSerializer, responses=CLAIM_OR_PREVIEW, operation_id="CreateClaim",
        parameters=[PREVIEW], examples=[CLAIM],
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """Set capacity aside, or, with `preview=true`, say what it would do: instances at once and later, quota and
        price before and after. Refusals are the same."""
        data = checked(OwnClaimCreateSerializer(data=request.data))
        actor, distinct = request_actor(request), HEADER in request.headers

        def foresee() -> ClaimPreview:
            resources = resources_from(data["resources"])
            return creation_preview(
                actor.require_organization(), offering_wanted(data["name"], resources), resources, clock.now()
            )

        return answered(request, lambda: labelled_claim_made(actor, data, distinct), foresee)


class ClaimView(APIView):
    """One capacity claim, in Headroom's own form."""

    @CLAIM_TAG.shown
    @extend_schema(responses=OneOwnClaim, operation_id="GetClaim")
    def get(self, request: Request, id: str) -> Response:
        """Read a capacity claim."""
        return Response({"capacityClaim": own_claim_to(claim_in(request, id))})

    @CLAIM_TAG.edited
    @extend_schema(
        request=ResizeRequest, responses=CLAIM_OR_PREVIEW, operation_id="ResizeClaim", parameters=[PREVIEW],
        examples=[RESIZE],
    )  # fmt: skip
    def patch(self, request: Request, id: str) -> Response:
        """Change how many instances the claim has, or, with `preview=true`, say what that would do: instances that it
        gives up or gets, replicas that move, stop or wait, quota and price before and after, and for whom instances
        become free. Refusals are the same."""
        data, claim, actor = checked(ResizeRequest(data=request.data)), claim_in(request, id), request_actor(request)
        count = data["instance_count"]
        wanted = replace(resources_of(claim), instance_count=count)
        return answered(
            request, lambda: services.claim_resize(actor=actor, claim_id=claim.id, resources=wanted),
            lambda: claim_preview(claim, count, clock.now()),
        )  # fmt: skip

    @CLAIM_TAG.edited
    @extend_schema(responses=CLAIM_OR_PREVIEW, operation_id="DeleteClaim", parameters=[PREVIEW])
    def delete(self, request: Request, id: str) -> Response:
        """Give the claim's instances back, or, with `preview=true`, say what that would do. Refusals are the same."""
        claim, actor = claim_in(request, id), request_actor(request)
        return answered(
            request, lambda: services.claim_delete(actor=actor, claim_id=claim.id),
            lambda: claim_preview(claim, 0, clock.now()),
        )  # fmt: skip
