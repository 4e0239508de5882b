"""Examples of bodies, as the demo would take them."""

from drf_spectacular.utils import OpenApiExample

GATEWAY = OpenApiExample("A gateway in one zone", request_only=True, value={
    "name": "edge", "zones": ["US-WEST-04A"], "coreWeaveAuth": {}, "bodyBasedRouting": {"apiType": "API_TYPE_OPENAI"},
})  # fmt: skip
DEPLOYMENT = OpenApiExample("A model that scales from one replica to eight", request_only=True, value={
    "name": "chat", "gatewayIds": ["0198c0de-0000-7000-8000-000000000000"],
    "runtime": {"engine": "vllm", "version": "0.21.0", "engineConfig": {"max-model-len": "32768"}},
    "resources": {"instanceType": "gb200-4x", "gpuCount": 4},
    "model": {"name": "llama-3.3-70b", "bucket": "models", "path": "llama-3.3-70b"},
    "autoscaling": {"min": 1, "max": 8, "priority": 50, "concurrency": 32,
                    "capacityClasses": ["CAPACITY_CLASS_RESERVED", "CAPACITY_CLASS_ON_DEMAND"]},
    "traffic": {"weight": 100},
})  # fmt: skip
WINDOW = OpenApiExample("Four instances on weekdays from eight to six", request_only=True, value={
    "start": "2026-12-01T08:00", "durationMinutes": 600, "recurrence": "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR",
    "timeZone": "Europe/Berlin", "instanceCount": 4,
})  # fmt: skip
SCHEDULE = OpenApiExample("At least eight replicas on weekdays from eight to six", request_only=True, value={
    "start": "2026-12-01T08:00", "durationMinutes": 600, "recurrence": "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR",
    "timeZone": "Europe/Berlin", "min": 8,
})  # fmt: skip
SCHEDULE_CHANGE = OpenApiExample(
    "At least six replicas, at most twelve", request_only=True, value={"min": 6, "max": 12}
)
RESIZE = OpenApiExample("Three instances", request_only=True, value={"instanceCount": 3})
PREVIEW = OpenApiExample("What would two instances do?", request_only=True, value={"instanceCount": 2})
