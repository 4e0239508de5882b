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
from console.organizations.models import Organization
from deployments.api.shapes import ExplanationShape
from deployments.api.v1 import decision_to, decisions_to, deployment_in
from deployments.core.reasons import stage
from deployments.models import Deployment
from deployments.replay.past import Then, explanation_at, to_its_end
from deployments.replay.said import replay_to
from deployments.shortage import Explanation, explanation_of
from deployments.shortage.limits import Limits

AT = OpenApiParameter(
    "at",
    OpenApiTypes.DATETIME,
    description="A time of the past; one in whole seconds means that second to its end. Default: now.",
)


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
            return Response(
                _then(deployment, at, request.query_params["at"], now, platform=request_actor(request).is_platform)
            )
        found = explanation_of(deployment, now, platform=request_actor(request).is_platform)
        head = {"deploymentId": str(deployment.id), "at": timestamp(now)}
        return Response({**head, **(explanation_to(found, deployment.organization) if found else {"reason": None})})


def _then(deployment: Deployment, at: datetime, text: str, now: datetime, *, platform: bool) -> dict[str, Any]:
    if at > now:
        raise InvalidArgument.of("at", "must not lie in the future")
    found = explanation_at(deployment, min(to_its_end(at, text), now), platform=platform)
    head = {"deploymentId": str(deployment.id), "at": timestamp(at)}
    return {**head, **(then_to(found, deployment.organization) if found else {"reason": None})}


def then_to(found: Then, organization: Organization) -> dict[str, Any]:
    """Of a time of the past; what only the record of the pass can tell is left out where there is none."""
    one, grew, load, helped = found.decision, found.grew, found.load, found.helped
    decision, *after = decisions_to([one, *found.after], organization)
    told = explanation_to(found.why, organization) if found.why else {
        "reason": {"code": found.reason.name, "stage": stage(found.reason)},
        "bound": found.bound.name,
        "text": found.told,
        "whyNotFewer": found.fewer or None,
        "loadAsksFor": found.asks,
        "dampedTo": found.wishes,
        **limits_to(found.limits),
        "wanted": one.wanted,
        "granted": one.granted,
        "missing": {"replicas": one.wanted - one.granted, "gpus": found.missing_gpus},
        "changes": [_remedy(helped[0], helped[1])] if helped else [],
    }  # fmt: skip
    return {
        **told,
        "load": {"at": timestamp(load.at), "queued": load.queued, "running": load.running} if load else None,
        "decision": decision,
        "plannedAt": timestamp(found.planned_at) if found.planned_at else None,
        "replay": replay_to(found.replay),
        "after": after,
        "grewAt": timestamp(grew.at) if grew else None,
    }


def _remedy(kind: str, text: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "text": text,
        "moreReplicas": None,
        "moreReplicasNow": None,
        "id": None,
        "values": {},
        "first": {},
    }


def limits_to(found: Limits) -> dict[str, Any]:
    """Holds and schedule windows that were in force."""
    return {
        "holds": [
            {"kind": one.kind, "id": str(one.id), "size": one.size, "reason": one.reason, "createdBy": one.created_by,
             "createdAt": timestamp(one.created_at), "expiresAt": timestamp(one.expires_at) if one.expires_at else None}
            for one in found.holds
        ],
        "windows": [
            {"id": str(one.row.id), "min": one.row.min, "max": one.row.max, "text": one.words,
             "until": timestamp(one.until)}
            for one in found.windows
        ],
    }  # fmt: skip


def explanation_to(found: Explanation, organization: Organization) -> dict[str, Any]:
    def at(moment: datetime | None) -> str | None:
        return timestamp(moment) if moment else None

    return {
        "reason": {"code": found.code.name, "stage": stage(found.code)},
        "bound": found.bound.name,
        "text": found.text,
        "whyNotFewer": found.fewer or None,
        "load": {"at": timestamp(found.sampled), "queued": found.queued, "running": found.running}
        if found.sampled and found.running is not None else None,
        "loadAsksFor": found.asks,
        "dampedTo": found.wishes,
        **limits_to(found.limits),
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
            _remedy(one.kind, one.text) | {"moreReplicas": one.replicas, "moreReplicasNow": one.now, "values": one.values,
                                           "first": one.first, "id": str(one.id) if one.id else None}
            for one in found.changes
        ],
        "lookAhead": found.look_ahead,
        "decision": decision_to(found.decision, organization) if found.decision else None,
    }  # fmt: skip
