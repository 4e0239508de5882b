"""`/api/v1/events`: what happened to claims and deployments by itself."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from claims.core.conditions import timestamp
from claims.history import cursor_of, place_from
from console.common.paging import page, parse_limit
from console.organizations.api.listing import FIELDS, Filter, fields_in, only, sparse
from console.organizations.api.permissions import request_actor
from console.organizations.api.schema import PAGING, Page, Shape
from deployments.events import Event, EventKind, Wanted, events_of


class EventShape(Shape):
    at = serializers.DateTimeField()
    kind = serializers.ChoiceField([one.value for one in EventKind])
    objectId = serializers.UUIDField(help_text="Of the claim or the deployment; it may be gone.")
    objectName = serializers.CharField()
    what = serializers.CharField(
        help_text="`Status` or the type of a condition of a claim; `Replicas` of a deployment."
    )
    before = serializers.JSONField(help_text="A word, or a number of replicas; null where there was nothing.")
    after = serializers.JSONField(help_text="A word, or a number of replicas.")
    reason = serializers.CharField(help_text="For programs: the reason of the condition, or the limit that decided.")
    text = serializers.CharField(allow_blank=True, help_text="For people.")


class EventPage(Page):
    items = sparse(EventShape)(many=True)


FILTERS = {
    "kind": Filter("kind", "Only of this kind.", [one.value for one in EventKind]),
    "objectId": Filter("object_id", "Of this claim or deployment.", type=OpenApiTypes.UUID),
    "since": Filter("since", "Then or later: what a follower asks for.", type=OpenApiTypes.DATETIME),
    "until": Filter("until", "Before then.", type=OpenApiTypes.DATETIME),
}


class EventsView(APIView):
    @extend_schema(
        responses=EventPage, operation_id="ListEvents",
        parameters=[*(one.parameter(name) for name, one in FILTERS.items()), FIELDS(EventShape), *PAGING],
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """What happened by itself, the newest first: status and conditions of claims, and decisions that changed how many
        replicas a deployment has. What somebody asked for is in the audit trail."""
        organization = request_actor(request).require_organization()
        values = {one.where: one.value(request, name) for name, one in FILTERS.items()}
        wanted = Wanted(**{name: value for name, value in values.items() if value is not None})
        limit, names = parse_limit(request.query_params.get("limit")), fields_in(request, EventShape)
        rows, more = events_of(organization, wanted, limit, place_from(request.query_params.get("after")))
        return Response(page(only(names, map(event_to, rows)), cursor_of(more) if more else None))


def event_to(one: Event) -> dict[str, Any]:
    return {
        "at": timestamp(one.place.at), "kind": one.kind.value, "objectId": str(one.object_id),
        "objectName": one.object_name, "what": one.what, "before": one.before, "after": one.after,
        "reason": one.reason, "text": one.text,
    }  # fmt: skip
