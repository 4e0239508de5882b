"""Shapes of what is answered about backtests."""

from rest_framework import serializers

from console.organizations.api.schema import Page, Shape
from deployments.models import BacktestState


class ReplayedShape(Shape):
    kind = serializers.ChoiceField(["history", "trace"], help_text="Recorded demand of the deployment, or a trace.")
    start = serializers.DateTimeField(allow_null=True)
    end = serializers.DateTimeField(allow_null=True)
    traceName = serializers.CharField(allow_null=True)
    scale = serializers.FloatField(allow_null=True)
    meanServiceSeconds = serializers.FloatField(allow_null=True)
    seed = serializers.IntegerField()


class BacktestSummary(Shape):
    id = serializers.UUIDField()
    deploymentId = serializers.UUIDField(allow_null=True, help_text="Null: it was deleted since.")
    deploymentName = serializers.CharField()
    state = serializers.ChoiceField(BacktestState.values)
    progress = serializers.FloatField(help_text="From 0 to 1.")
    error = serializers.CharField(allow_null=True, help_text="Why it failed.")
    replays = ReplayedShape()
    createdBy = serializers.CharField()
    createdAt = serializers.DateTimeField()
    endedAt = serializers.DateTimeField(allow_null=True)
    endedBy = serializers.CharField(allow_null=True)


class BacktestPage(Page):
    items = BacktestSummary(many=True)


class BacktestSideShape(Shape):
    """Settings and machines that are compared; the first are those that were set."""

    name = serializers.CharField()
    policy = serializers.CharField(help_text="`headroom`, or the name of a baseline.")
    min = serializers.IntegerField()
    max = serializers.IntegerField()
    concurrency = serializers.IntegerField()
    scaleDownSeconds = serializers.FloatField(allow_null=True, help_text="Null: the fleet's default.")
    instanceType = serializers.CharField()
    gpuCount = serializers.IntegerField(help_text="GPUs of a replica.")
    slots = serializers.IntegerField(help_text="Requests that a replica runs at once.")
    startUpSeconds = serializers.FloatField()
    startUpsMeasured = serializers.IntegerField(help_text="How many start-ups that time is taken from; 0: assumed.")
    claimReplicas = serializers.IntegerField(
        allow_null=True, help_text="Replicas that the claim holds; null: no claim."
    )
    usdPerGpuHour = serializers.CharField(allow_null=True, required=False, help_text="For roles that see money.")


class MeasuresShape(Shape):
    """What came of it. Shares and waits are null where no request came."""

    requests = serializers.IntegerField()
    shareWithin1s = serializers.FloatField(allow_null=True, help_text="Share of requests that waited at most 1 s.")
    shareWithin5s = serializers.FloatField(allow_null=True)
    waitP50Seconds = serializers.FloatField(allow_null=True)
    waitP95Seconds = serializers.FloatField(allow_null=True)
    waitP99Seconds = serializers.FloatField(allow_null=True)
    gpuHours = serializers.FloatField(help_text="From start command to end of drain.")
    changesPerHour = serializers.FloatField()
    replicasMost = serializers.IntegerField()
    shortSeconds = serializers.FloatField(help_text="For how long more was wanted than found room.")
    cost = serializers.CharField(allow_null=True, required=False, help_text="USD; null: no price is set.")


class CurveShape(MeasuresShape):
    concurrency = serializers.IntegerField()
    utilisation = serializers.FloatField(help_text="Concurrency as a share of slots.")


class DemandShape(Shape):
    start = serializers.DateTimeField(allow_null=True)
    end = serializers.DateTimeField(allow_null=True)
    spanSeconds = serializers.FloatField()
    requests = serializers.IntegerField()
    resolutionSeconds = serializers.IntegerField(allow_null=True, help_text="Of the records; null for a trace.")
    pausedSeconds = serializers.FloatField(help_text="Nobody looked; what came meanwhile is spread evenly.")
    missingSeconds = serializers.FloatField(help_text="Requests were not counted; none come.")
    warmUpSeconds = serializers.FloatField(help_text="Run before the range and not counted.")
    filledWindows = serializers.IntegerField(help_text="Windows of a trace that were taken for holes and filled.")


class SeriesShape(Shape):
    """Point n is of the time from n x stepSeconds after the beginning."""

    stepSeconds = serializers.FloatField()
    inFlight = serializers.ListField(child=serializers.FloatField(), help_text="Requests that run if nobody waits.")
    replicas = serializers.ListField(
        child=serializers.ListField(child=serializers.FloatField()), help_text="Of each side."
    )
    queued = serializers.ListField(
        child=serializers.ListField(child=serializers.FloatField()), help_text="Of each side."
    )


class ResultShape(Shape):
    demand = DemandShape()
    measures = MeasuresShape(many=True, help_text="Of each side, in their order.")
    curve = CurveShape(many=True, help_text="What is set, over target concurrency.")
    series = SeriesShape()
    seconds = serializers.FloatField(help_text="What the run took.")


class BacktestShape(BacktestSummary):
    sides = BacktestSideShape(many=True)
    result = ResultShape(allow_null=True)
