"""`/api/v1/claims/{id}/windows` and the calendars: recurring windows of capacity claims. With `?preview=true` a change is
answered with what it would do, under the same role and with the same refusals, and nothing is changed."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from drf_spectacular.utils import OpenApiParameter, PolymorphicProxySerializer, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from claims import calendar, services
from claims.calendar import Span
from claims.core.conditions import timestamp
from claims.core.window_rules import WindowAsked
from claims.core.windows import zone_names
from claims.models import CapacityClaim, ClaimWindow
from claims.quotas import offering_named
from claims.selectors import quotas_of
from claims.services.windows import asked_of, described, windows_if
from claims.window_rows import Upcoming, upcoming
from claims.windows import window_get, windows_of
from console.common import clock
from console.common.errors import InvalidArgument
from console.common.money import plain
from console.common.paging import page
from console.organizations.api.etags import Tagged
from console.organizations.api.fields import UInt32Field, checked
from console.organizations.api.idempotency import idempotent
from console.organizations.api.ids import id_in_path
from console.organizations.api.permissions import request_actor
from deployments.api.claims import PREVIEW, claim_hold, claim_in, wants_preview
from deployments.api.examples import RESIZE, WINDOW
from deployments.api.previews import PreviewShape, preview_to
from deployments.api.recurring import OccurrenceShape, RecurringShape, given_in, occurrence_to
from deployments.impact.claims import refused
from deployments.impact.windows import Promise, WindowPreview, window_preview


class WindowShape(RecurringShape):
    instanceCount = UInt32Field(help_text="Instances that the claim has at least while it is open.")
    until = serializers.DateField(allow_null=True, required=False, help_text="The last day on which it may begin.")


class StoredWindowShape(WindowShape):
    id = serializers.UUIDField()
    next = OccurrenceShape(allow_null=True, help_text="The occurrence under way, else the next; null: all are over.")


class WindowPage(serializers.Serializer):  # type: ignore[type-arg]
    items = StoredWindowShape(many=True)
    nextCursor = serializers.CharField(allow_null=True)


class OneWindow(serializers.Serializer):  # type: ignore[type-arg]
    window = StoredWindowShape()


class PromiseShape(serializers.Serializer):  # type: ignore[type-arg]
    instanceHours = serializers.CharField()
    earlyInstanceHours = serializers.CharField(
        help_text="Before windows begin, with their instances ready and paid for; not in `instanceHours`."
    )
    usd = serializers.CharField(
        allow_null=True, required=False, help_text="Of both kinds of hours. Only for roles that see money."
    )


class WindowPreviewShape(serializers.Serializer):  # type: ignore[type-arg]
    next = OccurrenceShape(allow_null=True)
    opensEarlySeconds = serializers.FloatField(help_text="90th percentile of the join times: it opens so much earlier.")
    promisedBefore = serializers.IntegerField(
        help_text="Instances that the claim may come to want; quota is committed."
    )
    promisedAfter = serializers.IntegerField()
    thirtyDaysBefore = PromiseShape()
    thirtyDaysAfter = PromiseShape()
    now = PreviewShape(help_text="What changes at once.")


class OneWindowPreview(serializers.Serializer):  # type: ignore[type-arg]
    preview = WindowPreviewShape()


class SpanShape(serializers.Serializer):  # type: ignore[type-arg]
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    instances = serializers.IntegerField(help_text="Promised.")
    lacking = serializers.IntegerField(help_text="Of these, what today's pool or quota cannot give.")


class CalendarShape(serializers.Serializer):  # type: ignore[type-arg]
    timeZone = serializers.CharField(help_text="Its days: from today, two weeks.")
    available = serializers.IntegerField(help_text="Instances of the pool, or of the quota beside other use.")
    items = SpanShape(many=True)
    nextCursor = serializers.CharField(allow_null=True)


WINDOW_OR_PREVIEW = PolymorphicProxySerializer(
    component_name="WindowOrPreview", serializers=[OneWindow, OneWindowPreview], resource_type_field_name=None
)
TYPE = OpenApiParameter(
    "instance_type", location=OpenApiParameter.PATH, description="Name of the instance type, in any case of letters."
)
ZONE = OpenApiParameter("timeZone", description="Whose days it shows; default UTC.")


class WindowsView(APIView):
    """The recurring windows of a claim."""

    @extend_schema(responses=WindowPage, operation_id="ListClaimWindows")
    def get(self, request: Request, id: str) -> Response:
        """Every window of the claim, those first that are open or come next."""
        return Response(page([window_to(one) for one in upcoming(windows_of(claim_in(request, id)), clock.now())]))

    @idempotent()
    @extend_schema(
        request=WindowShape,
        responses=WINDOW_OR_PREVIEW,
        operation_id="CreateClaimWindow",
        parameters=[PREVIEW],
        examples=[WINDOW],
    )
    def post(self, request: Request, id: str) -> Response:
        """Give the claim another window, or, with `preview=true`, say what that would do. It may open at once. Refused:
        a window that overlaps another one of the claim or begins again before it ends, an unknown time zone, and more
        instances than the pool or the free quota has."""
        claim, actor, wanted = claim_in(request, id), request_actor(request), asked_in(request.data)
        return answered(
            request, lambda: services.window_create(actor=actor, claim_id=claim.id, asked=wanted),
            lambda: _foreseen(claim, wanted, None),
        )  # fmt: skip


def _window(request: Request, id: str, window: str) -> ClaimWindow:
    return window_get(claim_in(request, id), id_in_path("ClaimWindow", window))


WINDOW_TAG = Tagged(_window, lambda one: [one.id, *described(one).values()],
                    lambda request, one: claim_hold(request, one.claim))  # fmt: skip


class WindowView(APIView):
    """One window of a claim."""

    @WINDOW_TAG.shown
    @extend_schema(responses=OneWindow, operation_id="GetClaimWindow")
    def get(self, request: Request, id: str, window: str) -> Response:
        """Read a window."""
        return Response({"window": window_to(upcoming([_window(request, id, window)], clock.now())[0])})

    @WINDOW_TAG.edited
    @extend_schema(
        request=WindowShape(partial=True), responses=WINDOW_OR_PREVIEW, operation_id="ChangeClaimWindow",
        parameters=[PREVIEW], examples=[RESIZE],
    )  # fmt: skip
    def patch(self, request: Request, id: str, window: str) -> Response:
        """Make it another window, or, with `preview=true`, say what that would do. What is not sent stays. Refusals are
        those of a new one."""
        claim, row, actor = claim_in(request, id), _window(request, id, window), request_actor(request)
        wanted = asked_in(request.data, asked_of(row))
        return answered(
            request,
            lambda: services.window_change(actor=actor, claim_id=claim.id, window_id=row.id, asked=wanted),
            lambda: _foreseen(claim, wanted, row),
        )  # fmt: skip

    @WINDOW_TAG.edited
    @extend_schema(responses=WINDOW_OR_PREVIEW, operation_id="DeleteClaimWindow", parameters=[PREVIEW])
    def delete(self, request: Request, id: str, window: str) -> Response:
        """Take the window away and answer with what it was, or, with `preview=true`, say what that would do. What it
        holds open goes as with a reduction of the claim."""
        claim, row, actor = claim_in(request, id), _window(request, id, window), request_actor(request)

        def act() -> ClaimWindow:
            services.window_delete(actor=actor, claim_id=claim.id, window_id=row.id)
            return row

        return answered(request, act, lambda: _foreseen(claim, None, row))


class ClaimCalendarView(APIView):
    @extend_schema(responses=CalendarShape, operation_id="GetClaimCalendar", parameters=[ZONE])
    def get(self, request: Request, id: str) -> Response:
        """What the claim promises in the next two weeks, base and windows together, and what of it cannot be had with
        today's pool or quota."""
        claim, zone, now = claim_in(request, id), _zone(request), clock.now()
        quotas = {row.offering.key: row for row in quotas_of(claim.organization)}
        spans = calendar.window_spans([claim], quotas, now, zone).get(claim.key, [])
        row = quotas.get(claim.offering_id)
        quota = max(0, row.limit - row.other_usage) if row else 0
        return Response(calendar_to(spans, zone, claim.offering.pool_wanted if claim.kind == "SERVERLESS" else quota))


class PoolCalendarView(APIView):
    @extend_schema(responses=CalendarShape, operation_id="GetPoolCalendar", parameters=[ZONE, TYPE])
    def get(self, request: Request, zone: str, instance_type: str) -> Response:
        """What the claims of a managed pool, of all organizations, promise together in the next two weeks, and how many
        more that is than the pool is to have."""
        request_actor(request)
        offering, days, now = offering_named(zone, instance_type), _zone(request), clock.now()
        return Response(calendar_to(calendar.pool_calendar(offering, now, days), days, offering.pool_wanted))


def answered(request: Request, act: Callable[[], ClaimWindow], foresee: Callable[[], WindowPreview]) -> Response:
    """Do it; or say what it would do, once it is known that it would not be refused."""
    if not wants_preview(request):
        return Response({"window": window_to(upcoming([act()], clock.now())[0])})
    refused(act)
    return Response({"preview": window_preview_to(foresee(), money=request_actor(request).sees_money)})


def asked_in(data: Any, was: WindowAsked | None = None) -> WindowAsked:
    """What was sent, over what there was; InvalidArgument for what is missing or of another form."""
    sent = checked(WindowShape(data=data, partial=was is not None))
    given = given_in(sent, {"instanceCount": "instance_count"})
    return WindowAsked(**given) if was is None else replace(was, **given)


def _zone(request: Request) -> ZoneInfo:
    name = request.query_params.get("timeZone", "UTC")
    if name not in zone_names():
        raise InvalidArgument.of("time_zone", f"{name[:64]!r} is no time zone of the IANA database")
    return ZoneInfo(name)


def _foreseen(claim: CapacityClaim, wanted: WindowAsked | None, was: ClaimWindow | None) -> WindowPreview:
    rows, row = windows_if(claim, wanted, was, clock.now())
    return window_preview(claim, rows, row, clock.now())


def window_to(one: Upcoming[ClaimWindow]) -> dict[str, Any]:
    return {"id": str(one.row.id), **described(one.row), "next": occurrence_to(one.next)}


def window_preview_to(preview: WindowPreview, *, money: bool) -> dict[str, Any]:
    now = preview_to(preview.now)
    if not money:
        del now["price"]
    return {
        "next": occurrence_to(preview.next),
        "opensEarlySeconds": preview.lead.total_seconds(),
        "promisedBefore": preview.peak_before,
        "promisedAfter": preview.peak_after,
        "thirtyDaysBefore": promise_to(preview.before, money=money),
        "thirtyDaysAfter": promise_to(preview.after, money=money),
        "now": now,
    }


def promise_to(promise: Promise, *, money: bool) -> dict[str, Any]:
    usd = None if promise.usd is None else plain(promise.usd.quantize(Decimal("1e-6")))
    return {
        "instanceHours": plain(promise.instance_hours.quantize(Decimal("1e-6"))),
        "earlyInstanceHours": plain(promise.early_hours.quantize(Decimal("1e-6"))),
        **({"usd": usd} if money else {}),
    }


def calendar_to(spans: Sequence[Span], zone: ZoneInfo, available: int) -> dict[str, Any]:
    return {
        "timeZone": zone.key, "available": available,
        **page([{"start": timestamp(one.start), "end": timestamp(one.end), "instances": one.count,
                 "lacking": one.lacking} for one in spans]),
    }  # fmt: skip
