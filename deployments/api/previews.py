"""`/api/v1/capacityclaims/{id}/preview`: what another size of a claim, or its deletion, would do. Nothing is changed."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from claims.core.conditions import timestamp
from claims.selectors import claim_get
from console.common import clock
from console.common.errors import InvalidArgument, PermissionDenied
from console.common.money import plain
from console.organizations.api.fields import FlagField, UInt32Field, checked
from console.organizations.api.idempotency import idempotent
from console.organizations.api.ids import id_in_path
from console.organizations.api.permissions import HasRole, request_actor
from deployments.api.examples import PREVIEW
from deployments.impact.claims import ClaimPreview, Price, QuotaChange, claim_preview
from deployments.impact.reader import Impact, Moved, Stopped, Who


class AnyRole(HasRole):
    """A POST that changes nothing: any role may."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        actor = request_actor(request)
        if actor.role is None and not actor.is_platform:
            raise PermissionDenied(f"{actor.name} has no role in this organization.")
        return True


class PreviewRequest(serializers.Serializer):  # type: ignore[type-arg]
    instanceCount = UInt32Field(source="instance_count", required=False, help_text="The new size; 0 is a deletion.")
    delete = FlagField(required=False, help_text="Preview the deletion instead of a size.")


class DeploymentName(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.UUIDField()
    name = serializers.CharField()


class MoveShape(serializers.Serializer):  # type: ignore[type-arg]
    replica = serializers.CharField()
    deployment = DeploymentName()
    gpus = serializers.IntegerField()
    instance = serializers.CharField(help_text="Where it is.")
    to = serializers.ListField(child=serializers.CharField(), help_text="Instances of its replacement.")
    zone = serializers.CharField()
    capacityClass = serializers.ChoiceField(["CAPACITY_CLASS_RESERVED", "CAPACITY_CLASS_ON_DEMAND"])
    at = serializers.DateTimeField(help_text="When it goes: its replacement is ready by then.")


class StopShape(serializers.Serializer):  # type: ignore[type-arg]
    replica = serializers.CharField()
    deployment = DeploymentName()
    gpus = serializers.IntegerField()
    instance = serializers.CharField()
    at = serializers.DateTimeField()
    to = serializers.ListField(child=serializers.CharField(), help_text="Where it starts anew; empty: it does not.")
    waits = serializers.BooleanField(help_text="Whether its deployment is short of it afterwards.")
    reason = serializers.CharField()
    text = serializers.CharField()


class ShortShape(serializers.Serializer):  # type: ignore[type-arg]
    deployment = DeploymentName()
    replicas = serializers.IntegerField()


class GivenUpShape(serializers.Serializer):  # type: ignore[type-arg]
    instance = serializers.CharField()
    state = serializers.CharField()
    gpusUsed = serializers.IntegerField()


class QuotaChangeShape(serializers.Serializer):  # type: ignore[type-arg]
    limit = serializers.IntegerField()
    committedBefore = serializers.IntegerField()
    committedAfter = serializers.IntegerField(help_text="Once what is given up is released.")
    freeBefore = serializers.IntegerField()
    freeAfter = serializers.IntegerField()


class PriceShape(serializers.Serializer):  # type: ignore[type-arg]
    currency = serializers.CharField()
    of = serializers.ChoiceField(["CLAIM", "CUSTOMER_CLAIMS_OF_THE_OFFERING"])
    hourBefore = serializers.CharField()
    hourAfter = serializers.CharField()
    monthBefore = serializers.CharField(help_text="730 hours.")
    monthAfter = serializers.CharField()


class WaitingClaimShape(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.UUIDField()
    name = serializers.CharField()
    instances = serializers.IntegerField()


class FreedShape(serializers.Serializer):  # type: ignore[type-arg]
    instances = serializers.IntegerField(help_text="All that are given up.")
    claims = WaitingClaimShape(many=True, help_text="The organization's own claims that wait, and get so many.")
    otherClaims = serializers.IntegerField(help_text="To claims of others that wait.")
    pool = serializers.IntegerField(help_text="Free in the managed pool for whoever comes next.")
    leavePool = serializers.IntegerField(help_text="Taken out of a pool that is to be smaller.")
    released = serializers.IntegerField(help_text="Machines that go away.")
    quota = serializers.IntegerField(help_text="Instances of the organization's quota.")


class PreviewShape(serializers.Serializer):  # type: ignore[type-arg]
    instanceCountBefore = serializers.IntegerField()
    instanceCountAfter = serializers.IntegerField()
    effectiveAt = serializers.DateTimeField(allow_null=True, help_text="When it takes effect; null: at once.")
    refusal = serializers.CharField(allow_null=True, help_text="Why the change would be refused; null: it would not.")
    givenUp = GivenUpShape(many=True)
    added = serializers.IntegerField()
    addedAtOnce = serializers.IntegerField()
    convertedInPlace = serializers.IntegerField(help_text="Of these, where own on-demand replicas run, which stay.")
    takenBack = serializers.IntegerField(help_text="Of these, given up before and still draining.")
    moves = MoveShape(many=True)
    stops = StopShape(many=True)
    short = ShortShape(many=True)
    emptyAt = serializers.DateTimeField(allow_null=True)
    complete = serializers.BooleanField(help_text="False: more would follow than was looked at.")
    freed = FreedShape(help_text="What becomes free once nothing runs on it, and for whom.")
    quota = QuotaChangeShape(allow_null=True, help_text="Of CUSTOMER claims.")
    price = PriceShape(required=False, allow_null=True, help_text="For roles that see money; null: nobody set one.")


EXAMPLE = OpenApiExample("From three instances to two", response_only=True, value={
    "instanceCountBefore": 3, "instanceCountAfter": 2, "effectiveAt": None, "refusal": None,
    "givenUp": [{"instance": "us-west-04a-gb200-4x-0f3a9c21d4", "state": "READY", "gpusUsed": 1}],
    "added": 0, "addedAtOnce": 0, "convertedInPlace": 0, "takenBack": 0,
    "moves": [{"replica": "118", "deployment": {"id": "019352c5-90f1-7d0f-8d52-6b2f9b1f7a11", "name": "chat"}, "gpus": 1,
               "instance": "us-west-04a-gb200-4x-0f3a9c21d4", "to": ["us-west-04a-gb200-4x-77b1e06d18"],
               "zone": "US-WEST-04A", "capacityClass": "CAPACITY_CLASS_ON_DEMAND", "at": "2026-11-27T10:02:05Z"}],
    "freed": {"instances": 1, "claims": [], "otherClaims": 0, "pool": 1, "leavePool": 0, "released": 0, "quota": 0},
    "stops": [], "short": [], "emptyAt": "2026-11-27T10:02:10Z", "complete": True, "quota": None,
    "price": {"currency": "USD", "of": "CLAIM", "hourBefore": "126", "hourAfter": "84", "monthBefore": "91980",
              "monthAfter": "61320"},
})  # fmt: skip


class ClaimPreviewView(APIView):
    permission_classes = [AnyRole]

    @idempotent()
    @extend_schema(
        request=PreviewRequest,
        responses=PreviewShape,
        operation_id="PreviewCapacityClaim",
        examples=[PREVIEW, EXAMPLE],
    )
    def post(self, request: Request, id: str) -> Response:
        """What another size of the claim, or its deletion, would do: instances given up, replicas that move or stop,
        quota and price before and after. The planner of the scaling loop answers, at today's load."""
        data = checked(PreviewRequest(data=request.data))
        actor = request_actor(request)
        claim = claim_get(actor.require_organization(), id_in_path("CapacityClaim", id))
        found = preview_to(claim_preview(claim, _count(data), clock.now()))
        if not actor.sees_money:
            del found["price"]
        return Response(found)


def _count(data: dict[str, Any]) -> int:
    count: int | None = data.get("instance_count")
    if data.get("delete"):
        if count:
            raise InvalidArgument.of("delete", "is a deletion; leave instance_count out")
        return 0
    if count is None:
        raise InvalidArgument.of("instance_count", "is required, unless delete is true")
    return count


def preview_to(preview: ClaimPreview) -> dict[str, Any]:
    return {
        "instanceCountBefore": preview.before,
        "instanceCountAfter": preview.count,
        "effectiveAt": timestamp(preview.at) if preview.at else None,
        "refusal": preview.refusal or None,
        "givenUp": [{"instance": one.name, "state": one.state, "gpusUsed": one.gpus_used} for one in preview.given_up],
        "added": preview.gets.total,
        "addedAtOnce": preview.gets.at_once,
        "convertedInPlace": preview.gets.converted,
        "takenBack": preview.gets.taken_back,
        **impact_to(preview.impact),
        "freed": freed_to(preview),
        "quota": quota_to(preview.quota) if preview.quota else None,
        "price": price_to(preview.price) if preview.price else None,
    }


def freed_to(preview: ClaimPreview) -> dict[str, Any]:
    freed = preview.freed
    return {
        "instances": freed.total,
        "claims": [{"id": str(one.id), "name": one.name, "instances": count} for one, count in freed.own],
        "otherClaims": freed.others, "pool": freed.pool, "leavePool": freed.removed, "released": freed.released,
        "quota": max(0, preview.quota.free_after - preview.quota.row.free) if preview.quota else 0,
    }  # fmt: skip


def impact_to(impact: Impact) -> dict[str, Any]:
    return {
        "moves": [move_to(one) for one in impact.moves],
        "stops": [stop_to(one) for one in impact.stops],
        "short": [{"deployment": who_to(who), "replicas": count} for who, count in impact.short],
        "emptyAt": timestamp(impact.empty_at) if impact.empty_at else None,
        "complete": impact.complete,
    }


def who_to(who: Who) -> dict[str, str]:
    return {"id": str(who.id), "name": who.name}


def move_to(one: Moved) -> dict[str, Any]:
    return {
        "replica": str(one.replica), "deployment": who_to(one.who), "gpus": one.gpus, "instance": one.source,
        "to": list(one.to), "zone": one.zone, "capacityClass": one.capacity_class.label, "at": timestamp(one.at),
    }  # fmt: skip


def stop_to(one: Stopped) -> dict[str, Any]:
    return {
        "replica": str(one.replica), "deployment": who_to(one.who), "gpus": one.gpus, "instance": one.source,
        "at": timestamp(one.at), "to": list(one.to), "waits": one.waits, "reason": one.reason, "text": one.text,
    }  # fmt: skip


def quota_to(quota: QuotaChange) -> dict[str, int]:
    return {"limit": quota.row.limit, "committedBefore": quota.row.committed, "committedAfter": quota.committed_after,
            "freeBefore": quota.row.free, "freeAfter": quota.free_after}  # fmt: skip


def price_to(price: Price) -> dict[str, str]:
    return {
        "currency": "USD", "of": "CUSTOMER_CLAIMS_OF_THE_OFFERING" if price.shared else "CLAIM",
        "hourBefore": plain(price.before), "hourAfter": plain(price.after),
        "monthBefore": plain(price.month_before), "monthAfter": plain(price.month_after),
    }  # fmt: skip
