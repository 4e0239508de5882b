"""Shapes of requests. Only types are checked here; the rules are in `deployments.core.rules`."""

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from console.organizations.api.fields import EnumField, FlagField, TextField, UInt32Field

CLASS_NAMES = ["CAPACITY_CLASS_RESERVED", "CAPACITY_CLASS_ON_DEMAND"]


class RuntimeSerializer(serializers.Serializer):  # type: ignore[type-arg]
    engine = TextField(max_length=100)
    version = TextField(required=False, max_length=200)
    engineConfig = serializers.DictField(source="engine_config", child=TextField(), required=False)
    engineEnv = serializers.DictField(source="engine_env", child=TextField(), required=False)


class DeploymentResourcesSerializer(serializers.Serializer):  # type: ignore[type-arg]
    instanceType = TextField(source="instance_type", max_length=60)
    gpuCount = UInt32Field(source="gpu_count")


class ModelSerializer(serializers.Serializer):  # type: ignore[type-arg]
    name = TextField()
    bucket = TextField()
    path = TextField()


class AutoscalingSerializer(serializers.Serializer):  # type: ignore[type-arg]
    min = UInt32Field()
    max = UInt32Field()
    priority = UInt32Field(required=False)
    concurrency = UInt32Field(required=False)
    capacityClasses = serializers.ListField(
        source="capacity_classes", child=EnumField(CLASS_NAMES, (1, 2)), required=False, max_length=10
    )


class TrafficSerializer(serializers.Serializer):  # type: ignore[type-arg]
    weight = UInt32Field(required=False)


class DeploymentSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """The body of a creation and of an update, which replaces everything."""

    id = TextField(required=False, max_length=40)
    name = TextField(max_length=200)
    gatewayIds = serializers.ListField(source="gateway_ids", child=TextField(max_length=40), max_length=100)
    runtime = RuntimeSerializer()
    resources = DeploymentResourcesSerializer()
    model = ModelSerializer()
    autoscaling = AutoscalingSerializer()
    traffic = TrafficSerializer()
    disabled = FlagField(required=False)


@extend_schema_field({"type": "object"})
class EmptySerializer(serializers.Serializer):  # type: ignore[type-arg]
    """A message without fields."""


class WeightsAndBiasesSerializer(serializers.Serializer):  # type: ignore[type-arg]
    apiKey = TextField(required=False)
    serverUrl = TextField(required=False)
    enableUsageReports = FlagField(required=False)
    enableRateLimiting = FlagField(required=False)


class BodyBasedRoutingSerializer(serializers.Serializer):  # type: ignore[type-arg]
    apiType = EnumField(["API_TYPE_OPENAI"], (1,))


class HeaderBasedRoutingSerializer(serializers.Serializer):  # type: ignore[type-arg]
    headerName = TextField(max_length=200)


class EndpointConfigurationSerializer(serializers.Serializer):  # type: ignore[type-arg]
    additionalDns = serializers.ListField(child=TextField(max_length=253), required=False, max_length=100)


class GatewaySerializer(serializers.Serializer):  # type: ignore[type-arg]
    """The body of a creation and of an update; exactly one auth and one routing member."""

    id = TextField(required=False, max_length=40)
    name = TextField(max_length=200)
    zones = serializers.ListField(child=TextField(max_length=40), required=False, max_length=100)
    coreWeaveAuth = EmptySerializer(required=False)
    weightsAndBiasesAuth = WeightsAndBiasesSerializer(required=False)
    bodyBasedRouting = BodyBasedRoutingSerializer(required=False)
    headerBasedRouting = HeaderBasedRoutingSerializer(required=False)
    pathBasedRouting = EmptySerializer(required=False)
    endpointConfiguration = EndpointConfigurationSerializer(required=False)
