"""GPU memory against the model's need."""

import pytest

from console.common.errors import InvalidArgument, NotFound, PermissionDenied
from console.organizations.models import AuditEvent
from deployments.memory import memory_fit
from deployments.services import model_memory_set
from tests import fleet, world
from tests.cast import Cast


def need(name: str, **config: str) -> float | None:
    keys = {key.replace("_", "-"): value for key, value in config.items()}
    found = memory_fit(name, keys or None, gpu_count=1, gpu_memory_gib=80).need
    return None if found is None else round(found, 1)


@pytest.mark.parametrize(("name", "gib"), [
    ("meta/llama-3-70b", 130.4),  # 70e9 x 2 / 2^30
    ("Qwen/Qwen3-30B-A3B", 55.9),  # all experts are in memory
    ("mixtral-8x7b-instruct", 104.3),
    ("gemma-3-270m", 0.5),
    ("qwen2.5-7b-instruct-1m", 13.0),  # a context of a million is no parameter count
    ("smollm2-1.7b", 3.2),
    ("kimi-1t", 1862.6),
    ("llama-3.1-405b-fp8", 377.2),
    ("llama-3-70b-awq", 36.5),
    ("llama-3-8b-4bit", 4.2),
    ("gpt-oss-120b", 62.6),
    ("deepseek-r1", 624.9),
    ("deepseek-r1-distill-llama-70b", 130.4),
    ("llama-4-scout", 203.0),
    ("nomic-embed-v2", None),
    ("codestral-25", None),
    ("bge-m3", None),
    ("b", None),
])  # fmt: skip
def test_the_name_says_how_many_parameters(name: str, gib: float | None) -> None:
    assert need(name) == gib


@pytest.mark.parametrize(("config", "gib"), [
    ({"dtype": "float32"}, 260.8),
    ({"dtype": "auto"}, 130.4),
    ({"quantization": "fp8"}, 65.2),
    ({"quantization": "AWQ_marlin"}, 36.5),
    ({"quantization": "unheard-of"}, 130.4),
    ({"quantization": "fp8", "dtype": "bfloat16"}, 65.2),
    ({"data_parallel_size": "2"}, 260.8),
    ({"data_parallel_size": "2", "enable_expert_parallel": "true"}, 130.4),
    ({"data_parallel_size": "many"}, 130.4),
])  # fmt: skip
def test_the_engines_settings_say_how_large_one_is(config: dict[str, str], gib: float) -> None:
    assert need("llama-3-70b", **config) == gib


def test_the_type_it_computes_in_is_not_the_size_of_quantized_weights() -> None:
    assert need("llama-3-70b-awq", dtype="float16") == 36.5


def test_it_fits_where_the_engine_may_use_enough() -> None:
    on_two = memory_fit("llama-3-70b", None, gpu_count=2, gpu_memory_gib=80)
    assert (on_two.gpus, on_two.usable, on_two.fits, on_two.estimate) == (160, 144, True, True)
    assert on_two.tight, "13.6 of 144 GiB are left"
    assert not memory_fit("llama-3-70b", None, gpu_count=1, gpu_memory_gib=80).fits
    more = {"gpu-memory-utilization": "0.8"}
    assert not memory_fit("llama-3-70b", more, gpu_count=2, gpu_memory_gib=80).fits
    assert memory_fit("llama-3-70b", {"gpu-memory-utilization": "x"}, gpu_count=2, gpu_memory_gib=80).usable == 144
    assert not memory_fit("llama-3-70b", None, gpu_count=4, gpu_memory_gib=80).tight


def test_what_an_operator_set_goes_before_the_estimate() -> None:
    fit = memory_fit("llama-3-70b", {"quantization": "fp8"}, gpu_count=1, gpu_memory_gib=80, set_gib=75)
    assert (fit.need, fit.estimate, fit.how, fit.fits) == (75.0, False, "set by an operator", False)
    assert round(fit.left, 1) == -3.0


def test_what_nobody_knows_is_no_warning() -> None:
    fit = memory_fit("nomic-embed-v2", None, gpu_count=1, gpu_memory_gib=80)
    assert (fit.need, fit.fits, fit.tight) == (None, True, False)


def test_how_it_was_estimated_is_said() -> None:
    fit = memory_fit("llama-3-70b", {"data-parallel-size": "2"}, gpu_count=1, gpu_memory_gib=80)
    assert fit.how == "70 billion parameters x 2 bytes (bfloat16) x 2 copies (data-parallel-size)"


@pytest.mark.django_db
def test_an_operator_says_what_the_model_needs(cast: Cast) -> None:
    one = fleet.deployment(cast.admin.actor, fleet.gateway(cast.admin.actor), world.offering())
    before = one.updated_at
    model_memory_set(actor=cast.admin.actor, deployment_id=one.id, gib=150)
    model_memory_set(actor=cast.admin.actor, deployment_id=one.id, gib=150)
    kept = fleet.reread(one)
    assert (kept.model_memory_gib, kept.updated_at, kept.revision) == (150, before, 1), "nothing rolls"
    event = AuditEvent.objects.get(action="deployment.memory")
    assert (event.before, event.after) == ({"modelMemoryGib": None}, {"modelMemoryGib": 150})
    for actor, gib, error in (
        (cast.admin.actor, 0, InvalidArgument), (cast.admin.actor, 100_001, InvalidArgument),
        (cast.viewer.actor, 5, PermissionDenied), (cast.outsider.actor, 5, NotFound),
    ):  # fmt: skip
        with pytest.raises(error):
            model_memory_set(actor=actor, deployment_id=one.id, gib=gib)
    assert fleet.reread(one).model_memory_gib == 150
    model_memory_set(actor=cast.admin.actor, deployment_id=one.id, gib=None)
    assert fleet.reread(one).model_memory_gib is None
