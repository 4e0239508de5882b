"""Requests that are right, for tests to change."""

from typing import Any


def claim(name: str = "mine", **changes: Any) -> dict[str, Any]:
    block = {"instanceId": "gb200-4x", "instanceCount": 2, "capacityType": "CAPACITY_TYPE_MANAGED",
             "zones": ["US-WEST-04A"], **changes}  # fmt: skip
    return {"name": name, "resources": block}


def gateway(name: str = "front", **changes: Any) -> dict[str, Any]:
    return {"name": name, "coreWeaveAuth": {}, "bodyBasedRouting": {"apiType": "API_TYPE_OPENAI"}, **changes}


def deployment(gateway: str, name: str = "chat", **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "gatewayIds": [gateway],
        "runtime": {"engine": "vllm", "version": "0.21.0", "engineEnv": {"VLLM_USE_FLASHINFER_MOE_FP4": "1"}},
        "resources": {"instanceType": "GB200-4X", "gpuCount": 2},
        "model": {"name": "llama-4", "bucket": "weights", "path": "a/b"},
        "autoscaling": {"min": 1, "max": 4, "capacityClasses": ["CAPACITY_CLASS_ON_DEMAND", "CAPACITY_CLASS_RESERVED"]},
        "traffic": {},
        **changes,
    }
