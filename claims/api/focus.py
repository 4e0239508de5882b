"""`/api/v1/focus`: costs in the FinOps Open Cost and Usage Specification, as CSV."""

from collections.abc import Iterator
from datetime import datetime
from itertools import chain

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from claims.focus import period, rows
from claims.focus.charges import Charge, Export
from console.common import clock
from console.common.errors import InvalidArgument
from console.common.streams import csv_stream
from console.organizations.api.fields import query_time
from console.organizations.api.permissions import SeesMoney, request_actor


class FocusView(APIView):
    permission_classes = [SeesMoney]

    @extend_schema(
        responses={(200, "text/csv"): OpenApiTypes.STR},
        operation_id="ExportFocus",
        parameters=[
            OpenApiParameter("start", OpenApiTypes.DATETIME, description="A whole hour; with end, instead of period."),
            OpenApiParameter("end", OpenApiTypes.DATETIME, description="A whole hour, at most 400 days later."),
            OpenApiParameter("period", OpenApiTypes.STR, description=(
                "last-24-hours (of what is rated), month-to-date, or a month such as 2026-11: then the charges that "
                "its statement bills, corrections of earlier months included.")),
        ],
    )  # fmt: skip
    def get(self, request: Request) -> StreamingHttpResponse:
        """FOCUS 1.2 as CSV, streamed: a row for each hour, holder and price, unrounded. Only rated hours are in it."""
        organization, now = request_actor(request).require_organization(), clock.now()
        export = Export(organization)
        charges = chosen(request, export, now)
        lines = chain([list(rows.COLUMNS)], (rows.row(one, organization) for one in charges))
        answer = csv_stream(request._request, lines, f"headroom-{organization.slug}-focus.csv")
        answer["X-Focus-Version"] = rows.VERSION
        if export.rated_until:
            answer["X-Rated-Until"] = rows.time(export.rated_until)
        return answer


def chosen(request: Request, export: Export, now: datetime) -> Iterator[Charge]:
    name = request.query_params.get("period")
    start, end = query_time(request, "start"), query_time(request, "end")
    if name is not None:
        if start or end:
            raise InvalidArgument.of("period", "goes without start and end")
        return period.named(export, name, now)
    if start is None or end is None:
        raise InvalidArgument.of("start" if start is None else "end", "must be given, or a period instead of both")
    return period.between(export, start, end, now)
