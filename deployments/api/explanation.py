"""`/api/v1/deployments/{id}/explanation`: why it has no more replicas, and what would change it (R19)."""

from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from claims.core.conditions import timestamp
from console.common import clock
from console.organizations.api.permissions import request_actor
from deployments.api.shapes import ExplanationShape
from deployments.api.v1 import decision_to, deployment_in
from deployments.core.reasons import stage
from deployments.shortage import Explanation, explanation_of


class ExplanationView(APIView):
    @extend_schema(responses=ExplanationShape, operation_id="ExplainDeployment")
    def get(self, request: Request, id: str) -> Response:
        """Which bound, class and zone; who holds the GPUs and with what right; what is expected when; what would help.

        Made anew by the planner from the state of this moment. Before the first decision `reason` is null.
        """
        deployment, now = deployment_in(request, id), clock.now()
        found = explanation_of(deployment, now, platform=request_actor(request).is_platform)
        head = {"deploymentId": str(deployment.id), "at": timestamp(now)}
        return Response({**head, **(explanation_to(found) if found else {"reason": None})})


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
        "decision": decision_to(found.decision) if found.decision else None,
    }  # fmt: skip
