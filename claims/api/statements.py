"""`/api/v1/statements`: what is paid for each month, closed ones fixed to the cent."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from claims.api import shapes
from claims.api.v1 import hours, priced
from claims.models import StatementStatus
from claims.statements import selectors
from claims.statements.selectors import Line, Summary
from console.common import clock
from console.common.money import plain
from console.organizations.api.listing import Filter, Listing
from console.organizations.api.permissions import SeesMoney, request_actor

STATEMENTS = Listing(
    {"month": ("month",)}, "-month", {"status": Filter("status", "Only in this status.", StatementStatus.values)}
)


class StatementsView(APIView):
    permission_classes = [SeesMoney]

    @extend_schema(responses=shapes.StatementPage, operation_id="ListStatements", parameters=STATEMENTS.parameters)
    def get(self, request: Request) -> Response:
        """Statements by month, the newest first; the total of an open one is what has been used so far."""
        organization = request_actor(request).require_organization()
        rows = priced(lambda: selectors.statements_of(organization, clock.now()))
        return Response(STATEMENTS.made(request, map(summary_to, rows)))


class StatementView(APIView):
    permission_classes = [SeesMoney]

    @extend_schema(responses=shapes.StatementShape, operation_id="GetStatement")
    def get(self, request: Request, month: str) -> Response:
        """One month's statement with its lines; amounts are USD in whole cents."""
        organization, now = request_actor(request).require_organization(), clock.now()
        found = selectors.month_named(organization, month, now)
        one, lines = priced(lambda: selectors.statement_of(organization, found, now))
        return Response(summary_to(one) | {"lines": [line_to(line) for line in lines]})


def summary_to(one: Summary) -> dict[str, Any]:
    return {
        "id": str(one.stored.id) if one.stored else None,
        "month": one.month.name,
        "status": one.status,
        "closesAt": one.closes_at,
        "closedAt": one.stored.closed_at if one.stored else None,
        "currency": "USD",
        "total": f"{one.total:.2f}",
    }


def line_to(line: Line) -> dict[str, Any]:
    return {
        "kind": line.kind, "id": line.holder_id, "name": line.holder_name, "zone": line.zone,
        "instanceId": line.instance_type, "description": line.description, "rate": line.rate,
        "usdPerGpuHour": plain(line.usd_per_gpu_hour), "gpuHours": plain(hours(line.gpu_seconds)),
        "amount": f"{line.amount:.2f}",
        "correctionOf": f"{line.correction_of:%Y-%m}" if line.correction_of else None,
    }  # fmt: skip
