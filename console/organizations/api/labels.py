"""Labels over `/api/v1`: their shape, and the filter by them. What they may be is in `console.common.labels`."""

from typing import Any

from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiParameter
from rest_framework import serializers
from rest_framework.request import Request

from console.common.labels import KEY, LONGEST_KEY, LONGEST_WORD, MOST_LABELS, VALUE, shown, wanted_labels
from console.organizations.api.schema import Shape

LABEL = OpenApiParameter(
    "label", many=True,
    description="Only what has this label, as `team=search`, or as `team` with any value; where it is given several times, "
                "all of them.",
)  # fmt: skip
LABELS = OpenApiExample(
    "A team and where it runs", request_only=True,
    value={"labels": {"team": "search", "environment": "production", "example.com/cost-center": "4711"}},
)  # fmt: skip


class LabelsField(serializers.Field[dict[str, str], Any, dict[str, str], Any]):
    """An object of text by keys."""

    def to_internal_value(self, data: Any) -> dict[str, str]:
        if not isinstance(data, dict):
            raise serializers.ValidationError('must be an object such as {"team": "search"}')
        wrong = [f"{shown(key)}: must be a string" for key, value in data.items() if not isinstance(value, str)]
        if wrong:
            raise serializers.ValidationError(wrong[:MOST_LABELS])
        return data

    def to_representation(self, value: dict[str, str]) -> dict[str, str]:
        return value


class LabelsFieldSchema(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    target_class = LabelsField

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        return {
            "type": "object",
            "propertyNames": {"pattern": f"^{KEY}$", "maxLength": LONGEST_KEY},
            "additionalProperties": {"type": "string", "pattern": f"^{VALUE}$", "maxLength": LONGEST_WORD},
            "maxProperties": MOST_LABELS,
        }


class LabelsSerializer(serializers.Serializer):  # type: ignore[type-arg]
    labels = LabelsField(help_text="All of them: what is not named is taken away.")


class LabelsShape(Shape):
    labels = LabelsField()


def label_filter(request: Request) -> dict[str, str | None] | None:
    """What the address asks for, as `claims.labels.labelled` takes it."""
    return wanted_labels(request.query_params.getlist("label"))
