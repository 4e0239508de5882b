"""GPU memory that a model's weights need, against what a replica has. A pure estimate: what an operator set goes first.

Weights are parameters x bytes of one. The count is read from the model's name ("llama-3-70b", "qwen3-30b-a3b": all
experts are in memory, so the total counts), the bytes from `quantization` or `dtype` of the engine's settings, else from
the name, else 2 (bfloat16). The engine takes `gpu-memory-utilization` of each GPU (vLLM's default: 0.9); what the
weights leave of that is for the KV cache and activations.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

GIB = 2**30
UTILIZATION = 0.9
TIGHT_SHARE = 0.1  # of what the engine may use; less than this left for the KV cache is little
SCALES = {"m": 1e6, "b": 1e9, "t": 1e12}
COUNT = re.compile(r"(?:(\d{1,3})x)?(\d{1,4}(?:\.\d{1,3})?)([mbt])")
# Published totals, in parameters, of models whose names do not say them, and bytes of one as they are published.
KNOWN = {
    "deepseek-r1": (671e9, 1.0), "deepseek-v3": (671e9, 1.0), "kimi-k2": (1000e9, 1.0),
    "llama-4-maverick": (400e9, 2.0), "llama-4-scout": (109e9, 2.0),
}  # fmt: skip
NATIVE = {"gpt-oss": 0.56}  # published in MXFP4 only
FOUR_BITS = 0.56  # half a byte, and the scales of its groups
BYTES = {
    "float32": 4.0, "fp32": 4.0, "float": 4.0,
    "bfloat16": 2.0, "bf16": 2.0, "float16": 2.0, "fp16": 2.0, "half": 2.0,
    "fp8": 1.0, "fbgemm-fp8": 1.0, "int8": 1.0, "w8a8": 1.0, "8bit": 1.0, "experts-int8": 1.0, "modelopt": 1.0,
    "awq": FOUR_BITS, "awq-marlin": FOUR_BITS, "gptq": FOUR_BITS, "gptq-marlin": FOUR_BITS, "int4": FOUR_BITS,
    "w4a16": FOUR_BITS, "4bit": FOUR_BITS, "fp4": FOUR_BITS, "nvfp4": FOUR_BITS, "mxfp4": FOUR_BITS,
    "modelopt-fp4": FOUR_BITS, "bitsandbytes": FOUR_BITS,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fit:
    """Memory of one replica, in GiB. `need` is None where nobody knows it."""

    need: float | None
    how: str  # where `need` comes from
    estimate: bool
    gpus: float  # all memory of the replica's GPUs
    usable: float  # what the engine may take of it

    @property
    def fits(self) -> bool:
        return self.need is None or self.need <= self.usable

    @property
    def left(self) -> float:
        """For the KV cache and activations; negative is what is missing."""
        return self.usable - (self.need or 0.0)

    @property
    def lacks(self) -> float:
        return max(0.0, -self.left)

    @property
    def tight(self) -> bool:
        return self.need is not None and self.fits and self.left < TIGHT_SHARE * self.usable


def memory_fit(
    model_name: str,
    engine_config: Mapping[str, str] | None,
    *,
    gpu_count: int,
    gpu_memory_gib: int,
    set_gib: int | None = None,
) -> Fit:
    """Whether a replica's GPUs hold the model. `set_gib` is what an operator says that it needs."""
    config = engine_config or {}
    gpus = float(gpu_count * gpu_memory_gib)
    usable = gpus * _share(config.get("gpu-memory-utilization"))
    if set_gib is not None:
        return Fit(float(set_gib), "set by an operator", False, gpus, usable)
    found = _weights(model_name.lower(), config)
    if found is None:
        return Fit(None, "the model's name does not say how many parameters it has", True, gpus, usable)
    parameters, size, source = found
    copies = _copies(config)
    text = f"{_spoken(parameters)} parameters x {size:g} bytes ({source})"
    text += f" x {copies} copies (data-parallel-size)" if copies > 1 else ""
    return Fit(parameters * size * copies / GIB, text, True, gpus, usable)


def _weights(name: str, config: Mapping[str, str]) -> tuple[float, float, str] | None:
    """Parameters, bytes of one, and what says so."""
    words = [word for word in re.split(r"[^a-z0-9.]+", name) if word]
    parameters, published = max((_count(word) for word in words), default=0.0), 2.0
    if not parameters:
        known = next((entry for part, entry in KNOWN.items() if part in name), None)
        if known is None:
            return None
        parameters, published = known
    size, source = _bytes(name, words, config, published)
    return parameters, size, source


def _count(word: str) -> float:
    """Parameters that a word of the name stands for; 0 for any other word."""
    found = COUNT.fullmatch(word)
    if found is None:
        return 0.0
    experts, number, scale = found.groups()
    return int(experts or 1) * float(number) * SCALES[scale]


def _bytes(name: str, words: list[str], config: Mapping[str, str], published: float) -> tuple[float, str]:
    for key in ("quantization", "dtype"):
        value = config.get(key, "").lower().replace("_", "-")
        if value in BYTES and not (key == "dtype" and _quantized(words)):
            return BYTES[value], f"{key} {config[key]}"
    for word in words:
        if word in BYTES:
            return BYTES[word], f"{word} in its name"
    native = next((size for part, size in NATIVE.items() if part in name), None)
    if native is not None:
        return native, "as published"
    return published, "bfloat16" if published == 2.0 else "as published"


def _quantized(words: list[str]) -> bool:
    """Then `dtype` is only what it computes in."""
    return any(BYTES.get(word, 2.0) < 2.0 for word in words)


def _copies(config: Mapping[str, str]) -> int:
    """How many times the weights are there: each data-parallel rank has its own, unless experts are spread."""
    if config.get("enable-expert-parallel", "").lower() in ("true", "1", "yes", "on"):
        return 1
    text = config.get("data-parallel-size", "")
    return int(text) if re.fullmatch(r"[1-9]\d?", text) else 1


def _share(text: str | None) -> float:
    try:
        share = float(text) if text else UTILIZATION
    except ValueError:
        return UTILIZATION
    return share if 0 < share <= 1 else UTILIZATION


def _spoken(parameters: float) -> str:
    return f"{parameters / 1e9:g} billion" if parameters >= 1e9 else f"{parameters / 1e6:g} million"
