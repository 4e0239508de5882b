"""`/api/v1/claims/{id}/expected`: when what a claim still lacks is expected."""

from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from claims import joining
from claims.core.conditions import timestamp
from claims.core.states import PENDING_STATES, Status
from claims.core.waits import Expected, Spread
from claims.models import CapacityClaim, ClaimKind, Instance
from claims.selectors import claim_get, claim_numbers, instances_of
from claims.supply import Freed, Supply, Why, supply_of
from console.common import clock
from console.organizations.api.ids import id_in_path
from console.organizations.api.permissions import request_actor
from console.organizations.models import Organization


class JoinTimeShape(serializers.Serializer):  # type: ignore[type-arg]
    medianSeconds = serializers.FloatField()
    p90Seconds = serializers.FloatField()
    measured = serializers.IntegerField(help_text="Recent joins that say so; 0: the backend states it of itself.")


class ExpectedInstanceShape(serializers.Serializer):  # type: ignore[type-arg]
    instance = serializers.CharField()
    state = serializers.CharField()
    expectedAt = serializers.DateTimeField(allow_null=True, help_text="Median; null: it takes longer than all before.")
    expectedUntil = serializers.DateTimeField(allow_null=True, help_text="90th percentile.")
    laterThanUsualSince = serializers.DateTimeField(allow_null=True)


class ExpectedFreedShape(serializers.Serializer):  # type: ignore[type-arg]
    at = serializers.DateTimeField(help_text="At the latest where it is a drain.")
    instances = serializers.IntegerField()
    why = serializers.ChoiceField([one.value for one in Why])
    claim = serializers.UUIDField(
        allow_null=True, help_text="Which gives them up; null: another organization's, or JOIN."
    )


class ExpectedShape(serializers.Serializer):  # type: ignore[type-arg]
    pending = serializers.IntegerField()
    joinTime = JoinTimeShape(allow_null=True, help_text="Of a machine in this place; null: nobody knows.")
    joining = ExpectedInstanceShape(many=True, help_text="CUSTOMER claims: the machines on their way.")
    fromPool = ExpectedFreedShape(
        many=True, help_text="SERVERLESS claims: what is known to free instances for this claim."
    )
    olderClaimsFirst = serializers.IntegerField(help_text="Instances that go to older claims of the pool before.")
    unknown = serializers.IntegerField(help_text="Pending instances of which no time is known.")


class ExpectedView(APIView):
    @extend_schema(responses=ExpectedShape, operation_id="GetCapacityClaimExpected")
    def get(self, request: Request, id: str) -> Response:
        """When the pending instances of a claim are expected: median and 90th percentile of the recent joins in their
        place, corrected for what they have waited; for the managed pool, what frees instances and when."""
        organization = request_actor(request).require_organization()
        claim = claim_get(organization, id_in_path("CapacityClaim", id))
        return Response(expected_to(organization, claim, clock.now()))


def expected_to(organization: Organization, claim: CapacityClaim, now: datetime) -> dict[str, Any]:
    _, pending = claim_numbers(claim)
    waiting = claim.kind == ClaimKind.SERVERLESS and claim.status != Status.DELETING
    supply = supply_of(claim, now) if pending and waiting else Supply((), 0, 0)
    machines = [one for one in instances_of(claim) if one.state in PENDING_STATES]
    expected = joining.expected(machines, now)
    took = joining.join_time(claim.offering)
    return {
        "pending": pending,
        "joinTime": join_time_to(took) if took else None,
        "joining": [_machine_to(one, expected.get(one.key)) for one in machines],
        "fromPool": [_freed_to(one, organization) for one in supply.freed],
        "olderClaimsFirst": supply.ahead,
        "unknown": supply.unknown + sum(one.key not in expected or not expected[one.key].at for one in machines),
    }


def join_time_to(took: Spread) -> dict[str, Any]:
    return {"medianSeconds": took.usual.total_seconds(), "p90Seconds": took.late.total_seconds(), "measured": took.seen}


def _machine_to(one: Instance, found: Expected | None) -> dict[str, Any]:
    at, until, late = (found.at, found.until, found.late_since) if found else (None, None, None)
    return {
        "instance": one.name,
        "state": one.state,
        "expectedAt": timestamp(at) if at else None,
        "expectedUntil": timestamp(until) if until else None,
        "laterThanUsualSince": timestamp(late) if late else None,
    }


def _freed_to(one: Freed, organization: Organization) -> dict[str, Any]:
    own = one.claim is not None and one.claim.organization_id == organization.key
    claim = str(one.claim.id) if own and one.claim else None
    return {"at": timestamp(one.at), "instances": one.count, "why": one.why.value, "claim": claim}
