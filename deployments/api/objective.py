"""`/api/v1/deployments/{id}/objective`: what is to be served, instead of damping set by hand, and what was chosen for it."""

import math
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from claims.core.conditions import timestamp
from console.common.errors import InvalidArgument
from console.organizations.api.etags import Tagged
from console.organizations.api.listing import Listing
from console.organizations.api.permissions import request_actor
from console.organizations.api.schema import Page, Shape
from deployments.api.v1 import deployment_in
from deployments.locks import deployment_lock
from deployments.models import DeploymentObjective, ObjectiveChoice, Trigger, Why
from deployments.models.objective import LEAST_SHARE, LONGEST_WAIT, MOST_SHARE
from deployments.objective.selectors import objective_get, objective_of
from deployments.objective.services import objective_clear, objective_set
from deployments.objective.words import advice_in_words, trigger_in_words, why_in_words

EXAMPLE = OpenApiExample("99 % within a second, for at most 120 USD an hour", request_only=True,
                         value={"share": 0.99, "longestWaitSeconds": 1, "priceCeiling": "120.00"})  # fmt: skip


class ObjectiveRequest(Shape):
    share = serializers.FloatField(
        min_value=LEAST_SHARE, max_value=MOST_SHARE, help_text="Of requests, that are to wait no longer: 0.99."
    )
    longestWaitSeconds = serializers.FloatField(required=False, default=1, help_text="1, by which replays measure.")
    priceCeiling = serializers.CharField(
        required=False, allow_null=True, default=None,
        help_text="USD an hour, all replicas at the on-demand price, in whole cents: 120.00. An upper bound like max.",
    )  # fmt: skip


class ObjectiveSettingShape(Shape):
    targetConcurrency = serializers.IntegerField(help_text="Requests that a replica is meant for.")
    scaleDownDelaySeconds = serializers.FloatField(help_text="How long the highest recommendation is kept.")
    floorShare = serializers.FloatField(help_text="Replicas always kept, of those the busiest of the last day needed.")
    floor = serializers.IntegerField(help_text="Replicas that this comes to; 0: none beside min.")
    lookAhead = serializers.FloatField(help_text="Share of the time that the look-ahead's margin suffices; 0: none.")


class ReplayedDayShape(Shape):
    share = serializers.FloatField(help_text="Of requests that wait no longer.")
    gpuHoursADay = serializers.FloatField()


class ObjectiveAdviceShape(Shape):
    kind = serializers.ChoiceField(["share", "max", "startup", "capacity"])
    text = serializers.CharField()


class ObjectiveChoiceShape(Shape):
    id = serializers.IntegerField()
    at = serializers.DateTimeField()
    trigger = serializers.ChoiceField([one.name for one in Trigger], help_text="Why it was looked for a setting.")
    why = serializers.ChoiceField([one.name for one in Why], help_text="Why it is this one.")
    text = serializers.CharField(help_text="Both in words.")
    lacks = serializers.CharField(allow_null=True, help_text="What there was too little of to choose by.")
    setting = ObjectiveSettingShape()
    changed = serializers.BooleanField(help_text="Whether it is another setting than before.")
    objective = serializers.FloatField(help_text="Share that was asked for.")
    goal = serializers.FloatField(help_text="Share that a replay had to reach: with its margin, and what fell short.")
    share = serializers.FloatField(allow_null=True, help_text="Share that its replay reached, over the last week.")
    expected = ReplayedDayShape(allow_null=True, help_text="What its replay came to over the last day.")
    before = ReplayedDayShape(allow_null=True, help_text="What the replay of the setting before came to, that day.")
    reachedShare = serializers.FloatField(allow_null=True, help_text="What really came in the day before.")
    cameGpuHoursADay = serializers.FloatField(allow_null=True)
    hoursReplayed = serializers.FloatField()
    requestsReplayed = serializers.IntegerField()
    startUpSeconds = serializers.FloatField(allow_null=True, help_text="The measured start-up time it was made with.")
    tookSeconds = serializers.FloatField(help_text="How long the replay took.")
    min = serializers.IntegerField()
    max = serializers.IntegerField(help_text="The price ceiling applied.")
    advice = ObjectiveAdviceShape(many=True, help_text="Where nothing met the objective: what would have.")


class ObjectiveShape(Shape):
    share = serializers.FloatField()
    longestWaitSeconds = serializers.FloatField()
    priceCeiling = serializers.CharField(
        allow_null=True, required=False, help_text="USD an hour; only for roles that see money."
    )
    setAt = serializers.DateTimeField()
    setBy = serializers.CharField()
    setting = ObjectiveSettingShape(help_text="What the scaling loop goes by now.")
    ceiling = serializers.IntegerField(allow_null=True, help_text="Replicas that the price ceiling pays for.")
    choosing = serializers.BooleanField(help_text="Whether another choice is due or being made.")
    lastHourShare = serializers.FloatField(allow_null=True, help_text="Null: too few requests, or not counted.")
    lastHourRequests = serializers.IntegerField()
    choice = ObjectiveChoiceShape(allow_null=True, help_text="Null: nothing was chosen yet, it is the preset.")


class OneObjective(Shape):
    objective = ObjectiveShape()


class ObjectiveChoicePage(Page):
    items = ObjectiveChoiceShape(many=True)


def _found(request: Request, id: str) -> DeploymentObjective | None:
    return objective_of(deployment_in(request, id))


def _lock(request: Request, row: DeploymentObjective | None) -> None:
    """The deployment's row, as the services lock it first."""
    if row is not None:
        deployment_lock(row.pk)


OBJECTIVE = Tagged(_found, lambda row: (row.share, row.longest_wait, row.price_ceiling), _lock)
CHOICES = Listing({"at": ("pk",)}, "-at", shape=ObjectiveChoiceShape)


class ObjectiveView(APIView):
    @OBJECTIVE.shown
    @extend_schema(responses=OneObjective, operation_id="GetObjective")
    def get(self, request: Request, id: str) -> Response:
        """The objective of a deployment, what is gone by for it and what came of the last hour. NOT_FOUND where it has
        none: then it is sized by the settings set by hand."""
        return Response(objective_to(objective_get(deployment_in(request, id)), request))

    @OBJECTIVE.edited
    @extend_schema(request=ObjectiveRequest, responses=OneObjective, operation_id="SetObjective", examples=[EXAMPLE])
    def put(self, request: Request, id: str) -> Response:
        """State what is to be served. From now on the deployment is sized by what is chosen for it, within min and max; by
        a preset until enough has been seen. The same again changes nothing."""
        deployment, data = deployment_in(request, id), request.data if isinstance(request.data, dict) else {}
        objective_set(
            actor=request_actor(request), deployment_id=deployment.id, share=_number(data, "share", None),
            longest_wait=_seconds(_number(data, "longestWaitSeconds", LONGEST_WAIT.total_seconds())),
            price_ceiling=_amount(data.get("priceCeiling")),
        )  # fmt: skip
        return Response(objective_to(objective_get(deployment), request))

    @OBJECTIVE.edited
    @extend_schema(responses={204: None}, operation_id="DeleteObjective")
    def delete(self, request: Request, id: str) -> Response:
        """Size it by the settings set by hand again. What was chosen stays as history; again changes nothing."""
        objective_clear(actor=request_actor(request), deployment_id=deployment_in(request, id).id)
        return Response(status=204)


class ChoicesView(APIView):
    @extend_schema(responses=ObjectiveChoicePage, operation_id="ListObjectiveChoices", parameters=CHOICES.parameters)
    def get(self, request: Request, id: str) -> Response:
        """Settings that were chosen, newest first, with why, what was expected and what came; those of an objective that
        was removed too."""
        found = ObjectiveChoice.objects.filter(deployment=deployment_in(request, id))
        return Response(CHOICES.stored(request, found, choice_to))


def objective_to(row: DeploymentObjective, request: Request) -> dict[str, Any]:
    found = {
        "share": row.share,
        "longestWaitSeconds": row.longest_wait.total_seconds(),
        "setAt": timestamp(row.set_at),
        "setBy": row.set_by,
        "setting": setting_to(row),
        "ceiling": row.ceiling,
        "choosing": row.due is not None,
        "lastHourShare": row.reached,
        "lastHourRequests": row.started,
        "choice": choice_to(row.choice) if row.choice else None,
    }
    if request_actor(request).sees_money:
        found["priceCeiling"] = None if row.price_ceiling is None else f"{row.price_ceiling:.2f}"
    return {"objective": found}


def setting_to(row: DeploymentObjective | ObjectiveChoice) -> dict[str, Any]:
    return {"targetConcurrency": row.target, "scaleDownDelaySeconds": row.scale_down_delay.total_seconds(),
            "floorShare": row.floor_share, "floor": row.floor, "lookAhead": row.ahead}  # fmt: skip


def choice_to(one: ObjectiveChoice) -> dict[str, Any]:
    return {
        "id": one.pk,
        "at": timestamp(one.at),
        "trigger": Trigger(one.trigger).name,
        "why": Why(one.why).name,
        "text": f"{trigger_in_words(one)} {why_in_words(one)}",
        "lacks": one.lacks or None,
        "setting": setting_to(one),
        "changed": one.changed,
        "objective": one.objective,
        "goal": one.goal,
        "share": one.share,
        "expected": _expected(one.expected_share, one.expected_gpu_hours),
        "before": _expected(one.before_share, one.before_gpu_hours),
        "reachedShare": one.reached,
        "cameGpuHoursADay": one.came_gpu_hours,
        "hoursReplayed": one.hours,
        "requestsReplayed": one.requests,
        "startUpSeconds": one.startup.total_seconds() if one.startup else None,
        "tookSeconds": one.took.total_seconds(),
        "min": one.min,
        "max": one.max,
        "advice": [
            {"kind": each["kind"], "text": text} for each, text in zip(one.advice, advice_in_words(one), strict=True)
        ],
    }


def _expected(share: float | None, gpu_hours: float | None) -> dict[str, float] | None:
    return None if share is None or gpu_hours is None else {"share": share, "gpuHoursADay": gpu_hours}


def _number(data: dict[str, Any], name: str, otherwise: float | None) -> float:
    sent = data.get(name, otherwise)
    if isinstance(sent, bool) or not isinstance(sent, int | float) or not math.isfinite(sent) or abs(sent) > 1e6:
        raise InvalidArgument.of(_snake(name), "must be a number" if name in data else "value is required")
    return float(sent)


def _snake(name: str) -> str:
    return "longest_wait" if name == "longestWaitSeconds" else name


def _seconds(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


def _amount(sent: Any) -> Decimal | None:
    if sent is None:
        return None
    if isinstance(sent, bool) or not isinstance(sent, str | int | float) or len(str(sent)) > 40:
        raise InvalidArgument.of("price_ceiling", 'must be an amount such as "120.00"')
    try:
        return Decimal(str(sent))
    except InvalidOperation as error:
        raise InvalidArgument.of("price_ceiling", 'must be an amount such as "120.00"') from error
