"""`/api/v1/backtests`: what would have been with other settings, machines or policies (docs/backtests.md)."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from claims.core.conditions import timestamp
from console.common import clock
from console.organizations.api.etags import Tagged
from console.organizations.api.fields import TextField, UInt32Field, checked
from console.organizations.api.idempotency import idempotent
from console.organizations.api.ids import id_in_path
from console.organizations.api.listing import Filter, Listing
from console.organizations.api.permissions import request_actor
from deployments.api.backtest_shapes import BacktestPage, BacktestShape
from deployments.backtests.asked import MOST_BASELINES, MOST_VARIANTS, Asked, Variant
from deployments.backtests.baselines import BASELINES
from deployments.backtests.selectors import backtest_get, backtests_of
from deployments.backtests.services import backtest_cancel, backtest_create, backtest_lock
from deployments.models import Backtest, BacktestState

MEASURES = {
    "requests": "requests", "shareWithin1s": "share_within_1s", "shareWithin5s": "share_within_5s",
    "waitP50Seconds": "wait_p50_s", "waitP95Seconds": "wait_p95_s", "waitP99Seconds": "wait_p99_s",
    "gpuHours": "gpu_hours", "changesPerHour": "changes_per_hour", "replicasMost": "replicas_most",
    "shortSeconds": "short_s",
}  # fmt: skip
MOST_TRACE = 1_000_000  # characters; longer ones come over the page


class VariantSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """What is other than it is set; what is left out is as it is set today."""

    name = TextField(required=False, default="", max_length=40, help_text="Empty: named for what differs.")
    min = UInt32Field(required=False)
    max = UInt32Field(required=False)
    concurrency = UInt32Field(required=False, help_text="Target: requests that a replica is to have in flight.")
    scaleDownSeconds = serializers.FloatField(source="scale_down_s", required=False)
    instanceType = TextField(source="instance_type", required=False, max_length=60)
    gpuCount = UInt32Field(source="gpu_count", required=False, help_text="GPUs of a replica.")
    slots = UInt32Field(required=False, help_text="Requests that a replica can run at once.")
    startUpSeconds = serializers.FloatField(source="start_up_s", required=False, help_text="Start command to ready.")
    usdPerGpuHour = serializers.DecimalField(15, 6, source="usd_per_gpu_hour", required=False)
    claimInstances = UInt32Field(
        source="claim_instances", required=False,
        help_text="It has a claim of so many instances for itself, and nothing else; all of the claim is paid for.",
    )  # fmt: skip


class TraceSerializer(serializers.Serializer):  # type: ignore[type-arg]
    csv = TextField(
        max_length=MOST_TRACE, help_text="Columns timestamp_s and service_s (optional), or window_start_s, requests_per_s "
                                         "and burstiness_cv; times in seconds.",
    )  # fmt: skip
    scale = serializers.FloatField(required=False, default=1.0, help_text="Times the requests.")
    meanServiceSeconds = serializers.FloatField(
        source="mean_service_s", required=False, default=8.0, help_text="Where the trace has no service times."
    )


class BacktestSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """Recorded demand from `start` to `end`, or a trace; and at least one variant or baseline."""

    deploymentId = serializers.UUIDField(source="deployment_id")
    start = serializers.DateTimeField(required=False, help_text="Of recorded demand.")
    end = serializers.DateTimeField(required=False, help_text="Default: now.")
    trace = TraceSerializer(required=False)
    variants = VariantSerializer(many=True, required=False, default=list, help_text=f"At most {MOST_VARIANTS}.")
    baselines = serializers.ListField(child=serializers.ChoiceField(list(BASELINES)), required=False, default=list,
                                      max_length=MOST_BASELINES, help_text="Other policies, by name.")  # fmt: skip
    seed = UInt32Field(
        required=False, default=0, help_text="Other seeds draw other moments within the recorded counts."
    )


BACKTESTS = Listing(
    {"createdAt": ("pk",)}, "-createdAt",  # ids grow with time
    {"deploymentId": Filter("deployment__id", "Only of this deployment.", type=OpenApiTypes.UUID),
     "state": Filter("state", "Only in this state.", BacktestState.values)},
)  # fmt: skip


class BacktestsView(APIView):
    @extend_schema(responses=BacktestPage, operation_id="ListBacktests", parameters=BACKTESTS.parameters)
    def get(self, request: Request) -> Response:
        """Backtests of the organization, newest first, without their results."""
        found = backtests_of(request_actor(request).require_organization())
        return Response(BACKTESTS.stored(request, found, summary_to))

    @idempotent()
    @extend_schema(
        request=BacktestSerializer, responses=BacktestShape, operation_id="CreateBacktest",
        examples=[OpenApiExample("Yesterday with a higher target, and beside it Knative", request_only=True, value={
            "deploymentId": "0198c0de-0000-7000-8000-000000000000", "start": "2026-12-01T00:00:00Z",
            "end": "2026-12-02T00:00:00Z", "variants": [{"concurrency": 12, "max": 20}], "baselines": ["knative"]})],
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """Ask for a backtest of a deployment; a worker begins within seconds, and the answer's id says how far it is."""
        data = checked(BacktestSerializer(data=request.data))
        actor, trace = request_actor(request), data.get("trace")
        asked = Asked(
            start=data.get("start"), end=data.get("end"), trace=trace["csv"].encode() if trace else None,
            **({"scale": trace["scale"], "mean_service_s": trace["mean_service_s"]} if trace else {}),
            variants=[Variant(**one) for one in data["variants"]], baselines=data["baselines"], seed=data["seed"],
        )  # fmt: skip
        run = backtest_create(actor=actor, deployment_id=data["deployment_id"], asked=asked, now=clock.now())
        return Response(backtest_to(run, money=actor.sees_money))


def backtest_in(request: Request, id: str) -> Backtest:
    return backtest_get(request_actor(request).require_organization(), id_in_path("Backtest", id))


BACKTEST = Tagged(backtest_in, lambda run: [run.id, run.ended_at], lambda request, run: backtest_lock(run))


class BacktestView(APIView):
    @BACKTEST.shown
    @extend_schema(responses=BacktestShape, operation_id="GetBacktest")
    def get(self, request: Request, id: str) -> Response:
        """How far it is, and what came of it. Costs only for roles that see money."""
        return Response(backtest_to(backtest_in(request, id), money=request_actor(request).sees_money))


class BacktestCancelView(APIView):
    @idempotent()
    @BACKTEST.edited
    @extend_schema(request=None, responses=BacktestShape, operation_id="CancelBacktest")
    def post(self, request: Request, id: str) -> Response:
        """End it. One that is over already stays as it is."""
        actor = request_actor(request)
        run = backtest_cancel(actor=actor, backtest_id=id_in_path("Backtest", id), now=clock.now())
        return Response(backtest_to(run, money=actor.sees_money))


def summary_to(run: Backtest) -> dict[str, Any]:
    source = run.request["source"]
    return {
        "id": str(run.id),
        "deploymentId": str(run.deployment.id) if run.deployment else None,
        "deploymentName": run.deployment_name,
        "state": run.state,
        "progress": round(run.progress, 4),
        "error": run.error or None if run.state == "FAILED" else None,
        "replays": {"kind": source["kind"], "start": source.get("start"), "end": source.get("end"),
                   "traceName": source.get("name"), "scale": source.get("scale"),
                   "meanServiceSeconds": source.get("mean_service_s"), "seed": run.request["seed"]},
        "createdBy": run.created_by,
        "createdAt": timestamp(run.created_at),
        "endedAt": timestamp(run.ended_at) if run.ended_at else None,
        "endedBy": run.ended_by or None,
    }  # fmt: skip


def backtest_to(run: Backtest, *, money: bool) -> dict[str, Any]:
    """`money`: whether whoever asks sees money."""
    sides = [side_to(side, money) for side in run.request["sides"]]
    return summary_to(run) | {"sides": sides, "result": result_to(run.result, money) if run.result else None}


def side_to(side: Mapping[str, Any], money: bool) -> dict[str, Any]:
    seen = {"usdPerGpuHour": side["usd_per_gpu_hour"]} if money else {}
    return {
        "name": side["name"], "policy": side["policy"], "min": side["min"], "max": side["max"],
        "concurrency": side["concurrency"], "scaleDownSeconds": side["settings"].get("scale_down_s"),
        "instanceType": side["instance_type"], "gpuCount": side["gpus"], "slots": side["slots"],
        "startUpSeconds": side["start_up_s"], "startUpsMeasured": side["start_ups_measured"],
        "claimReplicas": side["room"], **seen,
    }  # fmt: skip


def measures_to(found: Mapping[str, Any], money: bool) -> dict[str, Any]:
    return {name: found[key] for name, key in MEASURES.items()} | ({"cost": found["cost"]} if money else {})


def result_to(found: Mapping[str, Any], money: bool) -> dict[str, Any]:
    demand, series = found["demand"], found["series"]
    return {
        "demand": {"start": demand["start"], "end": demand["end"], "spanSeconds": demand["span_s"],
                   "requests": demand["requests"], "resolutionSeconds": demand["resolution_s"],
                   "pausedSeconds": demand["paused_s"], "missingSeconds": demand["missing_s"],
                   "warmUpSeconds": demand["warm_up_s"], "filledWindows": demand["filled_windows"]},
        "measures": [measures_to(one, money) for one in found["sides"]],
        "curve": [{"concurrency": one["concurrency"], "utilisation": one["utilisation"], **measures_to(one, money)}
                  for one in found["curve"]],
        "series": {"stepSeconds": series["step_s"], "inFlight": series["in_flight"], "replicas": series["replicas"],
                   "queued": series["queued"]},
        "seconds": found["seconds"],
    }  # fmt: skip
