"""`/api/v1/deployments/{id}/decisions|signals|replicas`: what the vendor's API has no address for."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from claims.core.conditions import timestamp
from console.common import clock
from console.common.errors import InvalidArgument, NotFound
from console.common.ids import parse_key
from console.common.paging import page
from console.organizations.api.fields import query_time
from console.organizations.api.idempotency import idempotent
from console.organizations.api.ids import id_in_path
from console.organizations.api.listing import Filter, Listing
from console.organizations.api.permissions import request_actor
from console.organizations.models import Organization
from deployments import services
from deployments.api import shapes
from deployments.core import explain
from deployments.core.plan import Bound
from deployments.core.waits import percentiles
from deployments.history.selectors import Span, history_span
from deployments.loop import history
from deployments.loop.points import COUNTERS, GAUGES, Points
from deployments.models import CapacityClass, Decision, Deployment, Replica
from deployments.replay.search import bound_by
from deployments.selectors import deployment_get, names_in, replicas_of
from deployments.services.replicas import RESTART

RESOLUTIONS = {"5s": 5, "1m": 60, "1h": 3600}
MOST_POINTS = 20_000
WAITS = (50, 95, 99)  # percentiles of waits that a point has


def deployment_in(request: Request, id: str) -> Deployment:
    return deployment_get(request_actor(request).require_organization(), id_in_path("Deployment", id))


def decisions_to(decisions: Sequence[Decision], organization: Organization) -> list[dict[str, Any]]:
    """As the API has them; other deployments of the organization by name. One query for all of them."""
    names = names_in(decisions, organization)
    return [_decision_to(one, names) for one in decisions]


def decision_to(decision: Decision, organization: Organization) -> dict[str, Any]:
    return decisions_to([decision], organization)[0]


def _decision_to(decision: Decision, names: Mapping[int, str]) -> dict[str, Any]:
    return {
        "id": decision.id,
        "at": timestamp(decision.at),
        "wanted": decision.wanted,
        "granted": decision.granted,
        "current": decision.current,
        "bound": decision.bound,
        "madeAfterwards": decision.made_afterwards,
        "reasons": explain.steps(decision.record, names),
        "text": explain.line(decision.record, names),
    }


DECISIONS = Listing({"at": ("pk",)}, "-at", {
    "bound": Filter("", "Only those that this limit decided.", [one.name for one in Bound]),
    "since": Filter("at__gte", "Made then or later.", type=OpenApiTypes.DATETIME),
    "until": Filter("at__lt", "Made before then.", type=OpenApiTypes.DATETIME),
}, shapes.DecisionShape)  # fmt: skip
REPLICAS = Listing({"createdAt": ("pk",)}, "createdAt")  # ids grow with time


class DecisionsView(APIView):
    @extend_schema(responses=shapes.DecisionPage, operation_id="ListDecisions", parameters=DECISIONS.parameters)
    def get(self, request: Request, id: str) -> Response:
        """Decisions of the autoscaler, newest first, each with the numbers and reasons of every stage."""
        deployment, bound = deployment_in(request, id), DECISIONS.filters["bound"].value(request, "bound")
        found = Decision.objects.filter(bound_by(bound), deployment=deployment)
        return Response(DECISIONS.stored_with(request, found, lambda rows: decisions_to(rows, deployment.organization)))


class SignalsView(APIView):
    @extend_schema(
        responses=shapes.PointPage, operation_id="ListSignals",
        parameters=[OpenApiParameter("start", OpenApiTypes.DATETIME, description="Default: an hour before `end`."),
                    OpenApiParameter("end", OpenApiTypes.DATETIME, description="Default: now."),
                    OpenApiParameter("resolution", enum=list(RESOLUTIONS), default="5s",
                                     description=f"Length of a point. At most {MOST_POINTS} points.")],
    )  # fmt: skip
    def get(self, request: Request, id: str) -> Response:
        """Queue, running requests and counters over time; counters are what was added since the point before. `waitP50Seconds` and its like are percentiles of how long the requests that started in the point had waited, read from buckets (0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1, ... 700 s), within which they are interpolated. What the simulator made for the time before the deployment says `madeAfterwards`."""
        deployment = deployment_in(request, id)
        end = query_time(request, "end", clock.now())
        assert end is not None
        start = query_time(request, "start", end - timedelta(hours=1))
        assert start is not None
        name = request.query_params.get("resolution", "5s")
        if name not in RESOLUTIONS:
            raise InvalidArgument.of("resolution", f"must be one of {', '.join(RESOLUTIONS)}; it is {name!r}")
        step = RESOLUTIONS[name]
        if start >= end:
            raise InvalidArgument.of("start", "must lie before end")
        if (end - start).total_seconds() / step > MOST_POINTS:
            raise InvalidArgument.of("resolution", f"gives more than {MOST_POINTS} points; choose a coarser one")
        return Response(
            page(points_to(history.series(deployment, start, end, step, waits=True), history_span([deployment.key])))
        )


def points_to(points: Points, made: Span | None = None) -> list[dict[str, Any]]:
    """`made` is the time of which history was made afterwards."""
    items, (begins, until) = [], (made[0].timestamp(), made[1].timestamp()) if made else (0.0, 0.0)
    waited = np.stack([percentiles(points.waits, percent) for percent in WAITS], axis=1).tolist()
    for at, gauges, counters, waits in zip(
        points.at.tolist(), points.gauges.tolist(), points.counters.tolist(), waited, strict=True
    ):
        means = {name: known(values[1]) for name, values in zip(GAUGES, gauges, strict=True)}
        added = {name: known(value) for name, value in zip(COUNTERS, counters, strict=True)}
        items.append({
            "at": timestamp(datetime.fromtimestamp(at, UTC)),
            **means,
            "arrived": added["arrived"], "finished": added["finished"],
            "serviceSeconds": added["service_seconds"],
            "waitedLe1s": added["waited_le_1s"], "waitedLe5s": added["waited_le_5s"],
            **{f"waitP{percent}Seconds": known(wait) for percent, wait in zip(WAITS, waits, strict=True)},
            "madeAfterwards": begins <= at < until,
        })  # fmt: skip
    return items


def known(value: float) -> float | int | None:
    """Whole numbers without a point; null where the backend does not know it."""
    if math.isnan(value):
        return None
    return int(value) if value.is_integer() else round(value, 3)


class ReplicasView(APIView):
    @extend_schema(responses=shapes.ReplicaPage, operation_id="ListReplicas", parameters=REPLICAS.parameters)
    def get(self, request: Request, id: str) -> Response:
        """Replicas that hold GPUs, on which instances, and what becomes of them."""
        return Response(REPLICAS.stored(request, replicas_of(deployment_in(request, id)), replica_to))


class RestartView(APIView):
    @idempotent()
    @extend_schema(request=None, responses=shapes.OneReplica, operation_id="RestartReplica")
    def post(self, request: Request, id: str, key: str) -> Response:
        """Have a replica replaced by a new one: the new one is started first where there is room for both."""
        replica_key = parse_key(key)
        if replica_key is None:
            raise NotFound("Replica", key)
        replica = services.replica_restart(
            actor=request_actor(request), deployment_id=id_in_path("Deployment", id), replica_key=replica_key
        )
        return Response({"replica": replica_to(replica)})


def replica_to(replica: Replica) -> dict[str, Any]:
    placements = list(replica.placements.all())
    return {
        "id": str(replica.key),
        "state": replica.get_state_display(),
        "capacityClass": CapacityClass(replica.capacity_class).label,
        "revision": replica.revision,
        "restartRequested": replica.revision == RESTART,
        "replaces": str(replica.replaces_id) if replica.replaces_id else None,
        "reason": replica.reason or None,
        "crashes": replica.crashes,
        "lastError": replica.last_error or None,
        "zone": placements[0].instance.offering.zone.name if placements else None,
        "placements": [{"instance": one.instance.name, "gpus": one.gpus} for one in placements],
        "createdAt": timestamp(replica.created_at),
        "readyAt": timestamp(replica.ready_at) if replica.ready_at else None,
        "expectedAt": timestamp(replica.expected_at) if replica.expected_at else None,
    }
