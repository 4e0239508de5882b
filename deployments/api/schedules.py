"""`/api/v1/deployments/{id}/schedules`: windows of min and max."""

from dataclasses import replace
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from console.common import clock
from console.common.paging import page
from console.organizations.api.etags import Tagged
from console.organizations.api.fields import UInt32Field, checked
from console.organizations.api.idempotency import idempotent
from console.organizations.api.ids import id_in_path
from console.organizations.api.permissions import request_actor
from console.organizations.api.schema import Page, Shape
from deployments.api.examples import SCHEDULE, SCHEDULE_CHANGE
from deployments.api.recurring import OccurrenceShape, RecurringShape, given_in, occurrence_to
from deployments.api.v1 import deployment_in
from deployments.locks import deployment_lock
from deployments.models import ScheduleWindow
from deployments.schedules.selectors import Coming, coming, schedule_get, schedules_of
from deployments.schedules.services import (
    ScheduleAsked,
    asked_of,
    described,
    schedule_change,
    schedule_create,
    schedule_delete,
)


class ScheduleShape(RecurringShape):
    min = UInt32Field(allow_null=True, required=False, help_text="Replicas; null: as otherwise.")
    max = UInt32Field(allow_null=True, required=False, help_text="Replicas; null: as otherwise.")
    until = serializers.DateField(allow_null=True, required=False, help_text="The last day on which it may begin.")


class StoredScheduleShape(ScheduleShape):
    id = serializers.UUIDField()
    open = serializers.BooleanField(help_text="Whether it is under way.")
    next = OccurrenceShape(allow_null=True, help_text="The occurrence under way, else the next; null: all are over.")


class SchedulePage(Page):
    items = StoredScheduleShape(many=True)


class OneSchedule(Shape):
    schedule = StoredScheduleShape()


class SchedulesView(APIView):
    """The windows of a deployment."""

    @extend_schema(responses=SchedulePage, operation_id="ListSchedules")
    def get(self, request: Request, id: str) -> Response:
        """Every window of min and max, those first that are open or come next."""
        return Response(
            page([schedule_to(one) for one in coming(schedules_of(deployment_in(request, id)), clock.now())])
        )

    @idempotent()
    @extend_schema(request=ScheduleShape, responses=OneSchedule, operation_id="CreateSchedule", examples=[SCHEDULE])
    def post(self, request: Request, id: str) -> Response:
        """Give the deployment another min, max or both at times that recur. Replicas for a higher min are started so
        much earlier as they take to get ready. Refused: a window that overlaps another one of the deployment or begins
        again before it ends, an unknown time zone, bounds that do not fit together."""
        deployment = deployment_in(request, id)
        asked = asked_in(request.data)
        return _answer(schedule_create(actor=request_actor(request), deployment_id=deployment.id, asked=asked))


def _schedule(request: Request, id: str, schedule: str) -> ScheduleWindow:
    return schedule_get(deployment_in(request, id), id_in_path("ScheduleWindow", schedule))


SCHEDULE_TAG = Tagged(_schedule, lambda row: [row.id, *described(row).values()],
                      lambda request, row: deployment_lock(row.deployment.key))  # fmt: skip


class ScheduleView(APIView):
    """One window of a deployment."""

    @SCHEDULE_TAG.shown
    @extend_schema(responses=OneSchedule, operation_id="GetSchedule")
    def get(self, request: Request, id: str, schedule: str) -> Response:
        """Read a window."""
        return _answer(_schedule(request, id, schedule))

    @SCHEDULE_TAG.edited
    @extend_schema(
        request=ScheduleShape(partial=True), responses=OneSchedule, operation_id="ChangeSchedule",
        examples=[SCHEDULE_CHANGE],
    )  # fmt: skip
    def patch(self, request: Request, id: str, schedule: str) -> Response:
        """Make it another window; what is not sent stays. Refusals are those of a new one."""
        row = _schedule(request, id, schedule)
        asked = asked_in(request.data, asked_of(row))
        changed = schedule_change(
            actor=request_actor(request), deployment_id=row.deployment.id, schedule_id=row.id, asked=asked
        )
        return _answer(changed)

    @SCHEDULE_TAG.edited
    @extend_schema(responses=OneSchedule, operation_id="DeleteSchedule")
    def delete(self, request: Request, id: str, schedule: str) -> Response:
        """Take the window away and answer with what it was; from the next pass on the deployment has its own bounds."""
        row = _schedule(request, id, schedule)
        actor = request_actor(request)
        return _answer(schedule_delete(actor=actor, deployment_id=row.deployment.id, schedule_id=row.id))


def asked_in(data: Any, was: ScheduleAsked | None = None) -> ScheduleAsked:
    """What was sent, over what there was; InvalidArgument for what is missing or of another form."""
    sent = checked(ScheduleShape(data=data, partial=was is not None))
    given = given_in(sent, {"min": "min", "max": "max"})
    return ScheduleAsked(**given) if was is None else replace(was, **given)


def _answer(row: ScheduleWindow) -> Response:
    return Response({"schedule": schedule_to(coming([row], clock.now())[0])})


def schedule_to(one: Coming) -> dict[str, Any]:
    return {"id": str(one.row.id), **described(one.row), "open": one.open, "next": occurrence_to(one.next)}
