"""`/api/v1/claims/{id}/history`: what happened to a claim, also to one that is gone."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from claims.core.conditions import timestamp
from claims.history import Entry, Kind, claim_history, claim_name, cursor_of, place_from
from console.common.paging import page, parse_limit
from console.organizations.api.ids import id_in_path
from console.organizations.api.permissions import request_actor
from console.organizations.api.schema import PAGING, Page


class EntryShape(serializers.Serializer):  # type: ignore[type-arg]
    at = serializers.DateTimeField()
    kind = serializers.ChoiceField([one.value for one in Kind])
    who = serializers.CharField(help_text="Sign-in name, `token NAME`, or the loop that acted.")
    what = serializers.CharField(
        help_text="The action of a request, `Status`, the type of a condition, or ALLOCATED, GIVEN_UP, LOST."
    )
    before = serializers.JSONField(help_text="What it was; null where there is nothing to say.")
    after = serializers.JSONField(help_text="What it became; null where there is nothing to say.")
    reason = serializers.CharField(allow_blank=True)
    instances = serializers.IntegerField(help_text="Instances that came or went; else 0.")
    text = serializers.CharField(allow_blank=True)


class HistoryShape(Page):
    items = EntryShape(many=True)


class HistoryView(APIView):
    @extend_schema(
        responses=HistoryShape, operation_id="GetClaimHistory",
        parameters=PAGING,
    )  # fmt: skip
    def get(self, request: Request, id: str) -> Response:
        """Everything that happened to a claim, newest first: who asked for what, changes of its status and conditions,
        instances it got, gave up and lost. A claim that is gone keeps its history."""
        organization, limit = (
            request_actor(request).require_organization(),
            parse_limit(request.query_params.get("limit")),
        )
        claim_id = id_in_path("CapacityClaim", id)
        claim_name(organization, claim_id)
        rows, more = claim_history(organization, claim_id, limit, place_from(request.query_params.get("after")))
        return Response(page([entry_to(one) for one in rows], cursor_of(more) if more else None))


def entry_to(one: Entry) -> dict[str, Any]:
    return {
        "at": timestamp(one.at), "kind": one.kind.value, "who": one.who, "what": one.what, "before": one.before,
        "after": one.after, "reason": one.reason, "instances": one.instances, "text": one.text,
    }  # fmt: skip
