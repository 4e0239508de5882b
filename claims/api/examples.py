"""Examples of bodies, as the demo would take them."""

from drf_spectacular.utils import OpenApiExample

_RESOURCES = {"instanceId": "gb200-4x", "instanceCount": 2, "capacityType": "CAPACITY_TYPE_SERVERLESS",
              "zones": ["US-WEST-04A"]}  # fmt: skip
CLAIM = OpenApiExample(
    "Two instances set aside", request_only=True, value={"name": "chat-reserved", "resources": _RESOURCES}
)
RESIZED = OpenApiExample(
    "Three instances instead of two", request_only=True, value={"resources": {**_RESOURCES, "instanceCount": 3}}
)
BUDGET = OpenApiExample("Five thousand dollars a month", request_only=True, value={"amount": "5000.00"})
