"""`/api/v1/deployments/{id}/explanation`: why it has no more replicas, and what would change it (R19)."""

from datetime import datetime
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from claims.core.conditions import timestamp
from console.common import clock
from console.common.errors import InvalidArgument
from console.organizations.api.fields import query_time
from console.organizations.api.permissions import request_actor
from deployments.api.shapes import ExplanationShape
from deployments.api.v1 import decision_to, deployment_in
from deployments.core.reasons import stage
from deployments.models import Deployment
from deployments.replay.past import Then, explanation_at
from deployments.replay.said import replay_to
from deployments.shortage import Explanation, explanation_of

AT = OpenApiParameter("at", OpenApiTypes.DATETIME, description="A time of the past. Default: now.")


class ExplanationView(APIView):
    @extend_schema(responses=ExplanationShape, operation_id="ExplainDeployment", parameters=[AT])
    def get(self, request: Request, id: str) -> Response:
        """Which bound, class and zone; who holds the GPUs and with what right; what is expected when; what would help.

        Made anew by the planner from the state of this moment. With `at`, why it was so then: the newest decision by
        that time, made once more, what followed, and, where its pass is recorded (24 hours), who held what, what was on
        its way and when it came, and the smallest changes that would have helped. Before the first decision `reason` is
        null.
        """
        deployment, now = deployment_in(request, id), clock.now()
        at = query_time(request, "at")
        if at is not None:
            return Response(_then(deployment, at, now, platform=request_actor(request).is_platform))
        found = explanation_of(deployment, now, platform=request_actor(request).is_platform)
        head = {"deploymentId": str(deployment.id), "at": timestamp(now)}
        return Response({**head, **(explanation_to(found) if found else {"reason": None})})


def _then(deployment: Deployment, at: datetime, now: datetime, *, platform: bool) -> dict[str, Any]:
    if at > now:
        raise InvalidArgument.of("at", "must not lie in the future")
    found = explanation_at(deployment, at, platform=platform)
    head = {"deploymentId": str(deployment.id), "at": timestamp(at)}
    return {**head, **(then_to(found) if found else {"reason": None})}


def then_to(found: Then) -> dict[str, Any]:
    """Of a time of the past; what only the record of the pass can tell is left out where there is none."""
    one, grew = found.decision, found.grew
    told = explanation_to(found.why) if found.why else {
        "reason": {"code": found.reason.name, "stage": stage(found.reason)},
        "text": found.text,
        "loadAsksFor": found.wishes,
        "wanted": one.wanted,
        "granted": one.granted,
        "missing": {"replicas": one.wanted - one.granted, "gpus": found.missing_gpus},
        "changes": [{"kind": "max", "text": f"max {found.max_that_helps}", "moreReplicasNow": None, "id": None}]
        if found.max_that_helps else [],
    }  # fmt: skip
    return {
        **told,
        "decision": decision_to(one),
        "plannedAt": timestamp(found.planned_at) if found.planned_at else None,
        "replay": replay_to(found.replay),
        "after": [decision_to(each) for each in found.after],
        "grewAt": timestamp(grew.at) if grew else None,
    }


def explanation_to(found: Explanation) -> dict[str, Any]:
    def at(moment: datetime | None) -> str | None:
        return timestamp(moment) if moment else None

    return {
        "reason": {"code": found.code.name, "stage": stage(found.code)},
        "text": found.text,
        "loadAsksFor": found.wishes,
        "wanted": found.wanted,
        "granted": found.granted,
        "missing": {"replicas": found.missing, "gpus": found.missing_gpus},
        "room": [
            {"zone": one.zone, "capacityClass": f"CAPACITY_CLASS_{one.capacity_class.name}", "allowed": one.allowed,
             "gpus": one.gpus, "free": one.free, "largestOnOneInstance": one.largest, "emptyInstances": one.whole,
             "kept": one.kept, "onInstancesOfOthers": one.blocked}
            for one in found.rooms
        ],
        "holders": [
            {"kind": one.kind, "name": one.name, "id": str(one.id) if one.id else None, "gpus": one.gpus,
             "gpusAboveMin": one.above_min, "priority": one.priority, "right": one.right}
            for one in found.holders
        ],
        "ahead": [
            {"kind": one.kind, "name": one.name, "id": str(one.id) if one.id else None, "gpus": one.gpus,
             "text": one.text}
            for one in found.ahead
        ],
        "expected": [
            {"gpus": one.gpus, "zone": one.zone, "text": one.text, "at": at(one.at)} for one in found.expected
        ],
        "changes": [
            {"kind": one.kind, "text": one.text, "moreReplicasNow": one.replicas, "id": str(one.id) if one.id else None}
            for one in found.changes
        ],
        "lookAhead": found.look_ahead,
        "decision": decision_to(found.decision) if found.decision else None,
    }  # fmt: skip
