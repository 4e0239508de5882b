"""Shapes of requests and answers. Only types are checked here; the rules are in `claims.core.rules`."""

from rest_framework import serializers

from claims.core.rules import KINDS
from console.organizations.api.fields import EnumField, TextField, UInt32Field


class ResourcesSerializer(serializers.Serializer):  # type: ignore[type-arg]
    instanceId = TextField(source="instance_id", max_length=60)
    instanceCount = UInt32Field(source="instance_count")
    capacityType = EnumField(source="capacity_type", names=list(KINDS), numbers=(2, 3))
    zones = serializers.ListField(child=TextField(max_length=40), max_length=100)


class ClaimCreateSerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = TextField(required=False, max_length=40)
    name = TextField(max_length=200)
    resources = ResourcesSerializer()


class ClaimUpdateSerializer(serializers.Serializer):  # type: ignore[type-arg]
    resources = ResourcesSerializer()


class ConditionSerializer(serializers.Serializer):  # type: ignore[type-arg]
    type = serializers.CharField()
    status = serializers.ChoiceField(["STATUS_TRUE", "STATUS_FALSE"])
    lastUpdateTime = serializers.DateTimeField()
    reason = serializers.CharField()
    message = serializers.CharField()
    zone = serializers.CharField()


class ClaimSpecSerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.UUIDField()
    name = serializers.CharField()
    organizationId = serializers.CharField()
    resources = ResourcesSerializer()


class PendingChangeSerializer(serializers.Serializer):  # type: ignore[type-arg]
    instanceCount = serializers.IntegerField()
    effectiveAt = serializers.DateTimeField()


class ClaimStatusSerializer(serializers.Serializer):  # type: ignore[type-arg]
    status = serializers.CharField()
    createdAt = serializers.DateTimeField()
    updatedAt = serializers.DateTimeField()
    allocatedInstances = serializers.IntegerField()
    pendingInstances = serializers.IntegerField()
    pendingChanges = PendingChangeSerializer(many=True)
    conditions = ConditionSerializer(many=True)


class ClaimSerializer(serializers.Serializer):  # type: ignore[type-arg]
    spec = ClaimSpecSerializer()
    status = ClaimStatusSerializer()


class OneClaimSerializer(serializers.Serializer):  # type: ignore[type-arg]
    capacityClaim = ClaimSerializer()


class ClaimListSerializer(serializers.Serializer):  # type: ignore[type-arg]
    capacityClaims = ClaimSerializer(many=True)


class InstanceTypesSerializer(serializers.Serializer):  # type: ignore[type-arg]
    instanceIds = serializers.ListField(child=serializers.CharField())


class ClaimParametersSerializer(serializers.Serializer):  # type: ignore[type-arg]
    zoneInstanceTypes = serializers.DictField(child=InstanceTypesSerializer())
