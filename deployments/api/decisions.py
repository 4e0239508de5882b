"""`/api/v1/decisions`: search over what the autoscaler decided, one decision, and one made once more."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from console.common.errors import InvalidArgument, NotFound
from console.common.ids import parse_key, parse_uuid
from console.common.paging import decode_cursor, encode_cursor, page, parse_limit
from console.organizations.api.errors import snake_case
from console.organizations.api.fields import query_time
from console.organizations.api.permissions import request_actor
from console.organizations.api.schema import PAGING
from console.organizations.models import Organization
from deployments.api import shapes
from deployments.api.v1 import decisions_to
from deployments.models import Decision
from deployments.replay.again import decision_replay
from deployments.replay.said import replay_to
from deployments.replay.search import BOUNDS, CLASSES, REASONS, Asked, Place, decision_get, decisions_found

T = TypeVar("T")
NAMED = {one.name: one for one in REASONS}
BOUND_NAMES = {one: one for one in BOUNDS}
CLASS_NAMES = {f"CAPACITY_CLASS_{name}": one for name, one in CLASSES.items()}
FILTERS = [
    OpenApiParameter("deployment", OpenApiTypes.UUID, description="Id of the deployment."),
    OpenApiParameter("from", OpenApiTypes.DATETIME, description="Not before this time."),
    OpenApiParameter("to", OpenApiTypes.DATETIME, description="Before this time."),
    OpenApiParameter("reason", enum=sorted(NAMED), description="Reason code of any stage."),
    OpenApiParameter("bound", enum=BOUNDS, description="The limit that decided."),
    OpenApiParameter("class", enum=sorted(CLASS_NAMES), description="The capacity class that ran short."),
    OpenApiParameter("zone", description="The zone that ran short, in any case of letters."),
]


class AllDecisionsView(APIView):
    @extend_schema(responses=shapes.FoundPage, operation_id="SearchDecisions", parameters=[*FILTERS, *PAGING])
    def get(self, request: Request) -> Response:
        """Decisions of all the organization's deployments, newest first, narrowed by what is given; all of it has to
        fit. A decision is written when the size wanted, the size granted or the limit that bound them changed."""
        organization, limit = (
            request_actor(request).require_organization(),
            parse_limit(request.query_params.get("limit")),
        )
        rows = decisions_found(organization, _asked(request), limit + 1, _after(request.query_params.get("after")))
        last = rows[limit - 1] if len(rows) > limit else None
        more = encode_cursor([last.at.isoformat(), last.id]) if last else None
        return Response(page(found_to(rows[:limit], organization), more))


class DecisionView(APIView):
    @extend_schema(responses=shapes.OneFound, operation_id="GetDecision")
    def get(self, request: Request, id: str) -> Response:
        """One decision, with the numbers and reasons of every stage."""
        organization = request_actor(request).require_organization()
        return Response({"decision": found_to([decision_in(request, id)], organization)[0]})


class ReplayView(APIView):
    @extend_schema(responses=shapes.ReplayShape, operation_id="ReplayDecision")
    def get(self, request: Request, id: str) -> Response:
        """Make the decision once more: stages 1 to 5 from its own numbers, and contention and placement too where the
        pass it was made in is recorded (24 hours). Whole numbers and reason codes have to agree; each one that does not
        is told. Nothing is stored and nothing acted on."""
        return Response(replay_to(decision_replay(decision_in(request, id))))


def decision_in(request: Request, id: str) -> Decision:
    organization = request_actor(request).require_organization()
    key = parse_key(id)
    if key is None:
        raise NotFound("Decision", id)
    return decision_get(organization, key)


def found_to(found: Sequence[Decision], organization: Organization) -> list[dict[str, Any]]:
    return [
        {"deploymentId": str(one.deployment.id), "deploymentName": one.deployment.name, **told}
        for one, told in zip(found, decisions_to(found, organization), strict=True)
    ]


def _asked(request: Request) -> Asked:
    given = request.query_params
    deployment = given.get("deployment")
    if deployment is not None and parse_uuid(deployment) is None:
        raise InvalidArgument.of("deployment", "must be the id of a deployment")
    return Asked(
        deployment=parse_uuid(deployment) if deployment else None,
        since=query_time(request, "from"), until=query_time(request, "to"),
        reason=_one_of(request, "reason", NAMED), bound=_one_of(request, "bound", BOUND_NAMES),
        capacity_class=_one_of(request, "class", CLASS_NAMES), zone=_zone(given.get("zone")),
    )  # fmt: skip


def _zone(text: str | None) -> str | None:
    if text is not None and ("\0" in text or len(text) > 60):
        raise InvalidArgument.of("zone", "must be the name of a zone")
    return text


def _one_of(request: Request, name: str, known: Mapping[str, T]) -> T | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    if text.upper() not in known:
        raise InvalidArgument.of(snake_case(name), f"must be one of {', '.join(sorted(known))}")
    return known[text.upper()]


def _after(cursor: str | None) -> Place | None:
    if not cursor:
        return None
    position = decode_cursor(cursor)
    try:
        at, id = position
        if not isinstance(id, int) or isinstance(id, bool) or not 0 <= id < 2**63:
            raise ValueError
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None:
            raise ValueError
        return moment, id
    except (ValueError, TypeError) as error:
        raise InvalidArgument.of("after", "is not a cursor that this API gave out") from error
