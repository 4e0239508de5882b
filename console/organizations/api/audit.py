"""`/api/v1/audit`: who changed what, from what to what."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from console.organizations.api.fields import rfc3339
from console.organizations.api.listing import Filter, Listing, sparse
from console.organizations.api.permissions import request_actor
from console.organizations.api.schema import Page, Shape
from console.organizations.models import AuditEvent
from console.organizations.selectors import audit_of


class AuditShape(Shape):
    id = serializers.IntegerField()
    at = serializers.DateTimeField()
    actor = serializers.CharField(help_text="Sign-in name, `token NAME`, or the loop that acted.")
    action = serializers.CharField(help_text="`noun.verb`, for instance claim.create.")
    objectType = serializers.CharField()
    objectId = serializers.CharField()
    objectName = serializers.CharField(allow_blank=True)
    before = serializers.JSONField(help_text="What it was; null where there was nothing.")
    after = serializers.JSONField(help_text="What it became; null where there is nothing.")
    requestId = serializers.CharField(allow_blank=True, help_text="`X-Request-ID` of the request that did it.")


class AuditPage(Page):
    items = sparse(AuditShape)(many=True)


AUDIT = Listing(
    {"at": ("pk",)}, "-at",  # numbered as it was written
    {"actor": Filter("actor", "By this one: a sign-in name, or `token NAME`."),
     "action": Filter("action__startswith", "What was done, or how that begins: `claim.`"),
     "objectType": Filter("object_type", "About things of this type, such as CapacityClaim."),
     "objectId": Filter("object_id", "About this very thing."),
     "requestId": Filter("request_id", "By this request."),
     "since": Filter("at__gte", "Then or later.", type=OpenApiTypes.DATETIME),
     "until": Filter("at__lt", "Before then.", type=OpenApiTypes.DATETIME)},
    AuditShape,
)  # fmt: skip


class AuditView(APIView):
    @extend_schema(responses=AuditPage, operation_id="ListAudit", parameters=AUDIT.parameters)
    def get(self, request: Request) -> Response:
        """The organization's audit trail, the newest first. Nothing in it is ever changed. What is about members, tokens
        and channels is for the role admin."""
        return Response(AUDIT.stored(request, audit_of(request_actor(request)), audit_to))


def audit_to(one: AuditEvent) -> dict[str, Any]:
    return {"id": one.pk, "at": rfc3339(one.at), "actor": one.actor, "action": one.action,
            "objectType": one.object_type, "objectId": one.object_id, "objectName": one.object_name,
            "before": one.before, "after": one.after, "requestId": one.request_id}  # fmt: skip
