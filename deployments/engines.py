"""Inference engines that deployments may name: versions (newest first), and the settings they may carry."""

from dataclasses import dataclass

from console.common.errors import FieldViolation


@dataclass(frozen=True, slots=True)
class Engine:
    versions: tuple[str, ...]
    config_keys: tuple[str, ...]
    env_names: tuple[str, ...]


_VLLM_CONFIG = (
    "data-parallel-size", "dtype", "enable-auto-tool-choice", "enable-chunked-prefill", "enable-expert-parallel",
    "enable-prefix-caching", "gpu-memory-utilization", "kv-cache-dtype", "max-model-len", "max-num-batched-tokens",
    "max-num-seqs", "pipeline-parallel-size", "quantization", "reasoning-parser", "served-model-name",
    "speculative-config", "tensor-parallel-size", "tool-call-parser", "trust-remote-code",
)  # fmt: skip
_VLLM_ENV = (
    "VLLM_ATTENTION_BACKEND", "VLLM_LOGGING_LEVEL", "VLLM_USE_DEEP_GEMM", "VLLM_USE_FLASHINFER_MOE_FP4",
    "VLLM_USE_FLASHINFER_MOE_FP8", "VLLM_USE_V1", "VLLM_WORKER_MULTIPROC_METHOD",
)  # fmt: skip

ENGINES: dict[str, Engine] = {
    "vllm": Engine(("0.22.0", "0.21.0", "0.20.1"), _VLLM_CONFIG, _VLLM_ENV),
    "dynamo-vllm": Engine(
        ("1.0.0", "0.9.1"),
        (*_VLLM_CONFIG, "disaggregation-mode", "router-mode"),
        (*_VLLM_ENV, "DYN_LOG", "DYN_ROUTER_TEMPERATURE"),
    ),
}


def validate_runtime(
    engine: str, version: str, config: dict[str, str], environment: dict[str, str]
) -> list[FieldViolation]:
    """Engine, version and settings against what `parameters` offers; no version means the newest."""
    known = ENGINES.get(engine)
    if known is None:
        return [FieldViolation("runtime.engine", f"{engine!r} is not offered; there are {', '.join(ENGINES)}")]
    found = []
    if version and version not in known.versions:
        text = f"{version!r} of {engine} is not offered; there are {', '.join(known.versions)}"
        found.append(FieldViolation("runtime.version", text))
    found += [
        FieldViolation(f'runtime.engine_config["{key}"]', f"is not a setting that {engine} may have")
        for key in sorted(set(config) - set(known.config_keys))
    ]
    found += [
        FieldViolation(f'runtime.engine_env["{name}"]', f"is not a variable that {engine} may have")
        for name in sorted(set(environment) - set(known.env_names))
    ]
    return found
