"""Shapes of what is answered about gateways and deployments."""

from typing import Any

from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from rest_framework import serializers

from claims.api.serializers import ConditionSerializer
from claims.core.states import Status
from console.organizations.api.listing import sparse
from console.organizations.api.schema import Page, Shape
from deployments.api.serializers import (
    AutoscalingSerializer,
    BodyBasedRoutingSerializer,
    DeploymentResourcesSerializer,
    EmptySerializer,
    EndpointConfigurationSerializer,
    HeaderBasedRoutingSerializer,
    ModelSerializer,
    RuntimeSerializer,
    TrafficSerializer,
)
from deployments.core.plan import Bound
from deployments.core.states import ReplicaState
from deployments.models import CapacityClass

CLASSES = [one.label for one in CapacityClass]
STATUSES = [one.value for one in Status]


class NumbersField(serializers.DictField):
    """Numbers and words by their names."""


class NumbersSchema(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    target_class = NumbersField

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": {"type": ["number", "string", "null"]}}


class StatusShape(Shape):
    status = serializers.ChoiceField(STATUSES)
    createdAt = serializers.DateTimeField()
    updatedAt = serializers.DateTimeField()
    conditions = ConditionSerializer(many=True)


class DeploymentSpecShape(Shape):
    """Every value as it was sent; what was not sent is left out."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    organizationId = serializers.CharField()
    gatewayIds = serializers.ListField(child=serializers.CharField())
    disabled = serializers.BooleanField()
    runtime = RuntimeSerializer()
    resources = DeploymentResourcesSerializer()
    model = ModelSerializer()
    autoscaling = AutoscalingSerializer()
    traffic = TrafficSerializer()


class DeploymentShape(Shape):
    spec = DeploymentSpecShape()
    status = StatusShape()


class OneDeployment(Shape):
    deployment = DeploymentShape()


class DeploymentList(Shape):
    items = DeploymentShape(many=True)


class VersionsShape(Shape):
    versions = serializers.ListField(child=serializers.CharField(), help_text="The newest first.")


class KeysShape(Shape):
    allowedKeys = serializers.ListField(child=serializers.CharField())


class NamesShape(Shape):
    allowedNames = serializers.ListField(child=serializers.CharField())


class RuntimeParametersShape(Shape):
    """By engine."""

    runtimeVersions = serializers.DictField(child=VersionsShape())
    runtimeConfigOptions = serializers.DictField(child=KeysShape())
    engineEnvOptions = serializers.DictField(child=NamesShape())


class ResourceParametersShape(Shape):
    instanceTypes = serializers.ListField(child=serializers.CharField())


class DeploymentParametersShape(Shape):
    gatewayIds = serializers.ListField(child=serializers.CharField())
    runtimeParameters = RuntimeParametersShape()
    resourceParameters = ResourceParametersShape()


class WeightsAndBiasesShape(Shape):
    """Without the key, which is never shown."""

    serverUrl = serializers.CharField(required=False)
    enableUsageReports = serializers.BooleanField(required=False)
    enableRateLimiting = serializers.BooleanField(required=False)


class GatewaySpecShape(Shape):
    """One of the two kinds of sign-in, and one of the three of routing."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    organizationId = serializers.CharField()
    zones = serializers.ListField(child=serializers.CharField(), help_text="None: all.")
    coreWeaveAuth = EmptySerializer(required=False)
    weightsAndBiasesAuth = WeightsAndBiasesShape(required=False)
    bodyBasedRouting = BodyBasedRoutingSerializer(required=False)
    headerBasedRouting = HeaderBasedRoutingSerializer(required=False)
    pathBasedRouting = EmptySerializer(required=False)
    endpointConfiguration = EndpointConfigurationSerializer(required=False)


class GatewayStatusShape(StatusShape):
    endpoints = serializers.ListField(child=serializers.CharField())


class GatewayShape(Shape):
    spec = GatewaySpecShape()
    status = GatewayStatusShape()


class OneGateway(Shape):
    gateway = GatewayShape()


class GatewayList(Shape):
    items = GatewayShape(many=True)


class GatewayParametersShape(Shape):
    zones = serializers.ListField(child=serializers.CharField())


class ReasonShape(Shape):
    code = serializers.CharField(help_text="For programs; `text` says it to people.")
    stage = serializers.CharField()


class StageShape(ReasonShape):
    numbers = NumbersField()
    text = serializers.CharField(allow_blank=True)


class DecisionShape(Shape):
    id = serializers.IntegerField()
    at = serializers.DateTimeField()
    wanted = serializers.IntegerField(help_text="Replicas that load, schedule and bounds ask for.")
    granted = serializers.IntegerField(help_text="Replicas that capacity gives.")
    current = serializers.IntegerField(help_text="Replicas there were.")
    bound = serializers.ChoiceField([one.name for one in Bound], help_text="The limit that decided.")
    madeAfterwards = serializers.BooleanField(help_text="Made by the simulator for the time before the deployment.")
    reasons = StageShape(many=True, help_text="Every stage, in order.")
    text = serializers.CharField()


class DecisionPage(Page):
    items = sparse(DecisionShape)(many=True)


class FoundShape(DecisionShape):
    deploymentId = serializers.UUIDField()
    deploymentName = serializers.CharField()


class FoundPage(Page):
    items = FoundShape(many=True)


class OneFound(Shape):
    decision = FoundShape()


class AnyValueField(serializers.JSONField):
    """A number, a word or a list of them."""


class AnyValueSchema(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    target_class = AnyValueField

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        return {"type": ["integer", "string", "array"], "items": {"type": ["integer", "string"]}}


class DifferenceShape(Shape):
    name = serializers.CharField(help_text="The stage and its number.")
    stored = AnyValueField(help_text="As it was decided.")
    now = AnyValueField(help_text="As it comes out now.")


class ComparedShape(Shape):
    compared = serializers.IntegerField(help_text="Numbers and reason codes that were compared.")
    differences = DifferenceShape(many=True)


class PassShape(ComparedShape):
    recordedBytes = serializers.IntegerField()
    otherDeployments = serializers.IntegerField(help_text="Deployments that were planned in the same pass.")
    othersThatDiffer = serializers.IntegerField(help_text="Of these, those that get another answer now.")


class ReplayShape(Shape):
    """A decision made once more."""

    decisionId = serializers.IntegerField()
    same = serializers.BooleanField(help_text="Whether everything that was run again came out as it was.")
    row = ComparedShape(help_text="Stages 1 to 5, from the numbers of the decision alone.")
    unreadable = serializers.CharField(allow_null=True, help_text="Why the record of its pass cannot be read.")

    def get_fields(self) -> dict[str, Any]:
        """`pass` is no name that Python has."""
        whole = PassShape(allow_null=True, help_text="The whole pass; null: it is not recorded, or no longer.")
        return {**super().get_fields(), "pass": whole}


class PointShape(Shape):
    """A point of time; null is what nobody knows."""

    at = serializers.DateTimeField(help_text="Its beginning.")
    queued = serializers.FloatField(allow_null=True, help_text="Requests that wait, on average.")
    active = serializers.FloatField(allow_null=True, help_text="Requests that run, on average.")
    ready = serializers.FloatField(allow_null=True, help_text="Replicas that serve, on average.")
    starting = serializers.FloatField(allow_null=True, help_text="Replicas that start, on average.")
    arrived = serializers.FloatField(allow_null=True, help_text="Requests that came.")
    finished = serializers.FloatField(allow_null=True, help_text="Requests that ended.")
    serviceSeconds = serializers.FloatField(allow_null=True, help_text="How long those that ended had run, together.")
    waitedLe1s = serializers.FloatField(allow_null=True, help_text="Requests that waited at most a second.")
    waitedLe5s = serializers.FloatField(allow_null=True, help_text="Requests that waited at most five seconds.")
    waitP50Seconds = serializers.FloatField(allow_null=True)
    waitP95Seconds = serializers.FloatField(allow_null=True)
    waitP99Seconds = serializers.FloatField(allow_null=True)
    madeAfterwards = serializers.BooleanField()


class PointPage(Page):
    items = PointShape(many=True)


class PlacementShape(Shape):
    instance = serializers.CharField()
    gpus = serializers.IntegerField()


class ReplicaShape(Shape):
    id = serializers.CharField()
    state = serializers.ChoiceField([one.name for one in ReplicaState])
    capacityClass = serializers.ChoiceField(CLASSES)
    revision = serializers.IntegerField(help_text="Grows when a change of the deployment has it replaced.")
    restartRequested = serializers.BooleanField()
    replaces = serializers.CharField(allow_null=True, help_text="Id of the replica that goes once this one is ready.")
    reason = serializers.CharField(allow_null=True, help_text="Why it is moved or stopped.")
    crashes = serializers.IntegerField()
    lastError = serializers.CharField(allow_null=True)
    zone = serializers.CharField(allow_null=True)
    placements = PlacementShape(many=True)
    createdAt = serializers.DateTimeField()
    readyAt = serializers.DateTimeField(allow_null=True)
    expectedAt = serializers.DateTimeField(allow_null=True, help_text="When it is expected to be ready.")


class ReplicaPage(Page):
    items = ReplicaShape(many=True)


class OneReplica(Shape):
    replica = ReplicaShape()


class MissingShape(Shape):
    replicas = serializers.IntegerField()
    gpus = serializers.IntegerField()


class RoomShape(Shape):
    zone = serializers.CharField()
    capacityClass = serializers.ChoiceField(CLASSES)
    allowed = serializers.BooleanField(help_text="Whether the deployment may use it.")
    gpus = serializers.IntegerField()
    free = serializers.IntegerField()
    largestOnOneInstance = serializers.IntegerField()
    emptyInstances = serializers.IntegerField()
    kept = serializers.IntegerField(help_text="Free, and kept for a waiting claim, cordoned or draining.")
    onInstancesOfOthers = serializers.IntegerField()


class HolderShape(Shape):
    kind = serializers.CharField()
    name = serializers.CharField()
    id = serializers.CharField(allow_null=True, help_text="Null where it is another organization's.")
    gpus = serializers.IntegerField()
    gpusAboveMin = serializers.IntegerField()
    priority = serializers.IntegerField(allow_null=True)
    right = serializers.CharField(help_text="By what right.")


class AheadShape(Shape):
    kind = serializers.CharField()
    name = serializers.CharField()
    id = serializers.CharField(allow_null=True)
    gpus = serializers.IntegerField()
    text = serializers.CharField()


class AwaitedShape(Shape):
    gpus = serializers.IntegerField()
    zone = serializers.CharField()
    text = serializers.CharField()
    at = serializers.DateTimeField(allow_null=True)


class RemedyShape(Shape):
    kind = serializers.CharField()
    text = serializers.CharField()
    moreReplicas = serializers.IntegerField(allow_null=True, help_text="In all; null where nobody can tell any more.")
    moreReplicasNow = serializers.IntegerField(
        allow_null=True, help_text="Of these at once, without waiting for instances."
    )
    id = serializers.CharField(allow_null=True, help_text="Of the claim, window, hold or other deployment to change.")
    values = serializers.DictField(child=serializers.CharField(), help_text="What is set there.")
    first = serializers.DictField(child=serializers.CharField(), help_text="What the deployment itself needs before.")


class HoldingShape(Shape):
    kind = serializers.ChoiceField(["FREEZE", "PIN"])
    id = serializers.UUIDField()
    size = serializers.IntegerField(allow_null=True, help_text="Replicas, of a pin.")
    reason = serializers.CharField()
    createdBy = serializers.CharField()
    createdAt = serializers.DateTimeField()
    expiresAt = serializers.DateTimeField(allow_null=True, help_text="Null: until somebody ends it.")


class OpenWindowShape(Shape):
    id = serializers.UUIDField()
    min = serializers.IntegerField(allow_null=True)
    max = serializers.IntegerField(allow_null=True)
    text = serializers.CharField(help_text="When it is, and who made it.")
    until = serializers.DateTimeField()


class LoadShape(Shape):
    at = serializers.DateTimeField(help_text="Of the sample; of a past time the beginning of the point of history.")
    queued = serializers.FloatField()
    running = serializers.FloatField()


class ExplanationShape(Shape):
    """Before the first decision only the first three."""

    deploymentId = serializers.UUIDField()
    at = serializers.DateTimeField()
    reason = ReasonShape(allow_null=True)
    text = serializers.CharField(required=False)
    bound = serializers.ChoiceField([one.name for one in Bound], required=False, help_text="The limit of `reason`.")
    whyNotFewer = serializers.CharField(
        required=False, allow_null=True, help_text="What keeps more than load asks for; null where nothing does."
    )
    load = LoadShape(
        required=False, allow_null=True, help_text="Requests at that moment; null where they are not known."
    )
    loadAsksFor = serializers.IntegerField(
        required=False,
        allow_null=True,
        help_text="Replicas for the load by itself, before damping; null without a signal.",
    )
    dampedTo = serializers.IntegerField(
        required=False, help_text="Replicas after damping (delay, tolerance, burst), before holds and bounds."
    )
    holds = HoldingShape(many=True, required=False, help_text="Freezes and pins in force at that moment.")
    windows = OpenWindowShape(many=True, required=False, help_text="Schedule windows that are open at that moment.")
    wanted = serializers.IntegerField(required=False)
    granted = serializers.IntegerField(required=False)
    missing = MissingShape(required=False)
    room = RoomShape(many=True, required=False)
    holders = HolderShape(many=True, required=False)
    ahead = AheadShape(many=True, required=False, help_text="Who comes before it.")
    expected = AwaitedShape(many=True, required=False)
    changes = RemedyShape(many=True, required=False, help_text="What would give it more, or would have.")
    lookAhead = StageShape(
        allow_null=True, required=False,
        help_text="Load that is expected by the time that another replica would be ready; null: it does not look ahead.",
    )  # fmt: skip
    decision = DecisionShape(allow_null=True, required=False)
    plannedAt = serializers.DateTimeField(
        allow_null=True, required=False, help_text="Of a past time: when the recorded pass was that this is made from."
    )
    replay = ReplayShape(required=False, help_text="Of a past time: the decision made once more.")
    after = DecisionShape(many=True, required=False, help_text="Of a past time: the decisions that followed.")
    grewAt = serializers.DateTimeField(
        allow_null=True, required=False, help_text="Of a past time: when one of these first gave more."
    )


class HoldShape(Shape):
    id = serializers.UUIDField()
    kind = serializers.ChoiceField(["FREEZE", "PIN"])
    scope = serializers.ChoiceField(["DEPLOYMENT", "ORGANIZATION", "FLEET"])
    deploymentId = serializers.UUIDField(allow_null=True)
    size = serializers.IntegerField(allow_null=True, help_text="Replicas, of a pin.")
    reason = serializers.CharField()
    inForce = serializers.BooleanField()
    createdBy = serializers.CharField()
    createdAt = serializers.DateTimeField()
    expiresAt = serializers.DateTimeField(allow_null=True)
    endedBy = serializers.CharField(allow_null=True)
    endedAt = serializers.DateTimeField(allow_null=True)


class HoldPage(Page):
    items = HoldShape(many=True)
